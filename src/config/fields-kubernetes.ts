import type { KindTable } from './schema.ts';
import {
  any,
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
          'only ExternalName differs',
        ),
        ports: list(
          object({
            name: string(),
            port: required(port),
            protocol: enforced(oneOfValues('TCP', 'UDP', 'SCTP'), 'other than TCP is left out'),
            appProtocol: string(),
            targetPort: enforced(any, 'the numbers in the EndpointSlice count'),
            nodePort: ignored(integer(0, 65_535)),
          }),
        ),
        clusterIP: enforced(string(), 'a name for the service; `None` (headless) is balanced like others'),
        clusterIPs: list(string()),
        externalName: string(),
        selector: enforced(map(string()), 'selects WorkloadEntry documents; pods come with the EndpointSlice'),
        externalIPs: ignored(list(string())),
        externalTrafficPolicy: ignored(string()),
        internalTrafficPolicy: ignored(string()),
        trafficDistribution: ignored(string()),
        healthCheckNodePort: ignored(integer(0, 65_535)),
        ipFamilies: ignored(family),
        ipFamilyPolicy: ignored(string()),
        loadBalancerClass: ignored(string()),
        loadBalancerIP: ignored(string()),
        loadBalancerSourceRanges: ignored(list(string())),
        allocateLoadBalancerNodePorts: ignored(boolean),
        publishNotReadyAddresses: ignored(boolean, 'Kubernetes writes it into the EndpointSlice'),
        sessionAffinity: ignored(string()),
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
            serving: ignored(boolean),
            terminating: ignored(boolean),
          }),
          targetRef: enforced(openObject({ kind: string(), name: string(), namespace: string() }), 'to a Pod document'),
          hostname: ignored(string()),
          nodeName: ignored(string()),
          zone: ignored(string()),
          hints: ignored(any),
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

/** Core `v1` Pod: only read for the labels and service accounts of endpoints. */
export const podTable: KindTable = {
  kind: 'Pod',
  group: '',
  versions: ['v1'],
  status: 'enforced',
  note: 'read for labels, service account and owner of the endpoints that refer to it; the rest of it is of no concern',
  reference: 'https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/',
  fields: { spec: { type: openObject({ serviceAccountName: string() }) } },
};
