import type { KindTable } from './schema.ts';
import {
  any,
  approximated,
  boolean,
  enforced,
  ignored,
  integer,
  list,
  map,
  object,
  oneOfValues,
  openObject,
  required,
  string,
} from './schema.ts';

const port = integer(1, 65_535);
const family = list(oneOfValues('IPv4', 'IPv6'));

/** Core `v1` Service. */
export const serviceTable: KindTable = {
  kind: 'Service',
  group: '',
  versions: ['v1'],
  status: 'enforced',
  reference: 'https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/',
  fields: {
    spec: required(
      object({
        type: enforced(
          oneOfValues('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
          'ExternalName is an alias of the service whose host it names; else DNS is asked for the name',
        ),
        ports: list(
          object({
            name: string(),
            port: required(port),
            protocol: enforced(oneOfValues('TCP', 'UDP', 'SCTP'), 'other than TCP is left out'),
            appProtocol: string(),
            targetPort: enforced(any, 'for WorkloadEntry documents; of pods the numbers in the EndpointSlice count'),
            nodePort: ignored(integer(0, 65_535)),
          }),
        ),
        clusterIP: approximated(
          string(),
          'a name for the service; `None` (headless) is balanced like others, where Istio calls the address that DNS gave',
        ),
        clusterIPs: list(string()),
        externalName: string(),
        selector: enforced(map(string()), 'selects WorkloadEntry documents; pods come with the EndpointSlice'),
        externalIPs: ignored(list(string())),
        externalTrafficPolicy: ignored(string()),
        internalTrafficPolicy: ignored(string(), 'all ready endpoints are called, on whatever node'),
        trafficDistribution: enforced(
          string(),
          'PreferClose and PreferSameZone: own zone, then region; PreferSameNode: own node before; else the annotation `networking.istio.io/traffic-distribution` counts',
        ),
        healthCheckNodePort: ignored(integer(0, 65_535)),
        ipFamilies: ignored(family),
        ipFamilyPolicy: ignored(string()),
        loadBalancerClass: ignored(string()),
        loadBalancerIP: ignored(string()),
        loadBalancerSourceRanges: ignored(list(string())),
        allocateLoadBalancerNodePorts: ignored(boolean),
        publishNotReadyAddresses: ignored(boolean, 'Kubernetes writes it into the EndpointSlice'),
        sessionAffinity: ignored(string(), 'as in Istio; use consistentHash of a DestinationRule'),
        sessionAffinityConfig: ignored(any),
      }),
    ),
  },
};

/** `discovery.k8s.io` EndpointSlice. */
export const endpointSliceTable: KindTable = {
  kind: 'EndpointSlice',
  group: 'discovery.k8s.io',
  versions: ['v1', 'v1beta1'],
  status: 'enforced',
  note: 'belongs to the Service that its label `kubernetes.io/service-name` names',
  reference: 'https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/',
  fields: {
    addressType: enforced(required(oneOfValues('IPv4', 'IPv6', 'FQDN')), 'FQDN is left out'),
    endpoints: {
      type: list(
        object({
          addresses: required(list(string())),
          conditions: object({
            ready: enforced(boolean, 'absent means ready'),
            serving: ignored(boolean, 'as in Istio, only `ready` counts'),
            terminating: ignored(boolean, 'as in Istio, only `ready` counts'),
          }),
          targetRef: enforced(openObject({ kind: string(), name: string(), namespace: string() }), 'to a Pod document'),
          hostname: ignored(string(), 'single pods are not called by name'),
          nodeName: enforced(string(), 'for PreferSameNode'),
          zone: ignored(string(), 'as in Istio; the locality is that of the labels of the Pod'),
          hints: ignored(any, 'as in Istio; localities decide'),
          deprecatedTopology: ignored(any),
          topology: ignored(any),
        }),
      ),
    },
    ports: {
      type: list(
        object({
          name: string(),
          port,
          protocol: string(),
          appProtocol: ignored(string(), 'that of the Service counts'),
        }),
      ),
    },
  },
};

/** Core `v1` Pod: only read for what endpoints need. */
export const podTable: KindTable = {
  kind: 'Pod',
  group: '',
  versions: ['v1'],
  status: 'enforced',
  note: 'read for the endpoints that refer to it, and for the service entries that select it; the rest of it is of no concern',
  reference: 'https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/',
  fields: {
    spec: {
      type: openObject({
        serviceAccountName: string(),
        containers: list(
          openObject({
            ports: enforced(
              list(openObject({ name: string(), containerPort: port, protocol: string() })),
              'named ports are targets of service entries that select the pod',
            ),
          }),
        ),
      }),
    },
    status: {
      type: openObject({
        podIP: enforced(string(), 'a pod without an address is not selected'),
        phase: enforced(string(), 'Failed and Succeeded are not selected'),
        conditions: enforced(
          list(openObject({ type: string(), status: string() })),
          'a pod that is not Ready is not selected',
        ),
      }),
    },
  },
};
