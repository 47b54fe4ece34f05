import type { Collector } from './collector.ts';
import { exportToAnnotation } from './export-to.ts';
import type { SelectableWorkload } from './istio-workload-entry.ts';
import { protocolOfPort } from './protocol.ts';
import type { Resource } from './resource.ts';
import { type MeshService, type ServiceEndpoint, type ServicePort, speaksMtls, workloadName } from './service.ts';
import { canonicalAddress, isHostName, isIpAddress, selects } from './values.ts';

export interface ServiceBody {
  readonly spec: {
    readonly type?: string;
    readonly ports?: readonly {
      readonly port: number;
      readonly name?: string;
      readonly protocol?: string;
      readonly appProtocol?: string;
      readonly targetPort?: unknown;
    }[];
    readonly clusterIP?: string;
    readonly clusterIPs?: readonly string[];
    readonly externalName?: string;
    readonly selector?: Readonly<Record<string, string>>;
  };
}

export interface EndpointSliceBody {
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    readonly conditions?: { readonly ready?: boolean };
    readonly targetRef?: { readonly kind?: string; readonly name?: string; readonly namespace?: string };
  }[];
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[];
}

export interface PodBody {
  readonly metadata: {
    readonly ownerReferences?: readonly {
      readonly kind?: string;
      readonly name?: string;
      readonly controller?: boolean;
    }[];
  };
  readonly spec?: { readonly serviceAccountName?: string };
}

/** What the endpoints of Kubernetes services are made of. */
export interface KubernetesSources {
  /** EndpointSlices by `namespace/service`. */
  readonly slices: ReadonlyMap<string, readonly Resource<EndpointSliceBody>[]>;
  /** Pods by `namespace/name`. */
  readonly pods: ReadonlyMap<string, Resource<PodBody>>;
  readonly workloads: readonly SelectableWorkload[];
  readonly clusterDomain: string;
}

const serviceNameLabel = 'kubernetes.io/service-name';

/** Sorts EndpointSlices by the service that they belong to. */
export function groupSlices(
  slices: readonly Resource<EndpointSliceBody>[],
  collector: Collector,
): ReadonlyMap<string, readonly Resource<EndpointSliceBody>[]> {
  const groups = new Map<string, Resource<EndpointSliceBody>[]>();
  for (const slice of slices) {
    const service = slice.labels[serviceNameLabel];
    if (service === undefined) {
      collector.warn(slice, ['metadata', 'labels'], 'ignored', `has no label ${serviceNameLabel}`);
    } else if (slice.body.addressType === 'FQDN') {
      collector.warn(slice, ['addressType'], 'ignored', 'slices of names are left out');
    } else {
      const key = `${slice.namespace}/${service}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [slice]);
      else group.push(slice);
    }
  }
  return groups;
}

/** A Kubernetes Service with the endpoints of its slices and of the WorkloadEntries it selects. */
export function compileKubernetesService(
  resource: Resource<ServiceBody>,
  sources: KubernetesSources,
  collector: Collector,
): MeshService {
  const { spec } = resource.body;
  const exportTo = (resource.annotations[exportToAnnotation] || undefined)?.split(',').map((part) => part.trim());
  const external = spec.type === 'ExternalName';
  const clusterIps = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
  return {
    host: `${resource.name}.${resource.namespace}.svc.${sources.clusterDomain}`.toLowerCase(),
    namespace: resource.namespace,
    ports: compilePorts(resource, collector),
    addresses: clusterIps.filter((address) => isIpAddress(address)).map(canonicalAddress),
    resolution: external ? 'dns' : 'static',
    endpoints: external ? externalName(resource, collector) : endpointsOf(resource, sources, collector),
    identities: [],
    meshExternal: external,
    ...(exportTo === undefined ? {} : { exportTo }),
    resource,
  };
}

function compilePorts(resource: Resource<ServiceBody>, collector: Collector): readonly ServicePort[] {
  const given = resource.body.spec.ports ?? [];
  return given.flatMap((port, index) => {
    const protocol = protocolOfPort(port);
    if (protocol === 'none') {
      collector.warn(resource, ['spec', 'ports', index], 'ignored', `${port.protocol ?? port.name} is not carried`);
      return [];
    }
    const name = port.name ?? '';
    if (given.length > 1 && name === '') {
      collector.problem(resource, ['spec', 'ports', index], 'needs the field name, because there are several ports');
    }
    const targetPort = typeof port.targetPort === 'number' ? port.targetPort : undefined;
    return [{ number: port.port, name, protocol, ...(targetPort === undefined ? {} : { targetPort }) }];
  });
}

function externalName(resource: Resource<ServiceBody>, collector: Collector): readonly ServiceEndpoint[] {
  const { externalName: name = '' } = resource.body.spec;
  if (!isHostName(name)) {
    collector.problem(resource, ['spec', 'externalName'], 'must be a DNS name', name);
    return [];
  }
  return [
    {
      address: name.toLowerCase(),
      namespace: resource.namespace,
      labels: {},
      weight: 1,
      locality: '',
      workload: '',
      speaksMtls: false,
      portOf: (port) => port.number,
    },
  ];
}

function endpointsOf(
  resource: Resource<ServiceBody>,
  sources: KubernetesSources,
  collector: Collector,
): readonly ServiceEndpoint[] {
  const result: ServiceEndpoint[] = [];
  // During an update the same address may be in two slices.
  const seen = new Set<string>();
  for (const slice of sources.slices.get(`${resource.namespace}/${resource.name}`) ?? []) {
    const ports = new Map((slice.body.ports ?? []).map((port) => [port.name ?? '', port.port]));
    slice.body.endpoints?.forEach((endpoint, index) => {
      if (endpoint.conditions?.ready === false) return;
      endpoint.addresses.forEach((address, at) => {
        if (!isIpAddress(address)) {
          collector.problem(slice, ['endpoints', index, 'addresses', at], 'must be an IP address', address);
        }
      });
      // Kubernetes: the addresses are of one endpoint, and consumers use the first.
      const address = endpoint.addresses[0]?.toLowerCase();
      const key = `${address} ${[...ports.values()].join(' ')}`;
      if (address === undefined || seen.has(key)) return;
      seen.add(key);
      const { targetRef } = endpoint;
      const pod =
        targetRef?.kind === 'Pod'
          ? sources.pods.get(`${targetRef.namespace ?? slice.namespace}/${targetRef.name ?? ''}`)
          : undefined;
      result.push({ address, weight: 1, ...describePod(pod, slice.namespace), portOf: (port) => ports.get(port.name) });
    });
  }
  const { selector } = resource.body.spec;
  if (selector !== undefined && Object.keys(selector).length > 0) {
    for (const { namespace, endpoint } of sources.workloads) {
      if (namespace === resource.namespace && selects(selector, endpoint.labels)) result.push(endpoint);
    }
  }
  return result;
}

type PodFacts = Omit<ServiceEndpoint, 'address' | 'weight' | 'portOf'>;

function describePod(pod: Resource<PodBody> | undefined, namespace: string): PodFacts {
  if (pod === undefined) return { namespace, labels: {}, locality: '', workload: '', speaksMtls: false };
  const { labels } = pod;
  return {
    namespace: pod.namespace,
    labels,
    // Istio's label for a locality, with dots where a locality has slashes.
    locality: labels['istio-locality']?.replaceAll('.', '/') ?? '',
    workload: workloadOfPod(pod),
    serviceAccount: pod.body.spec?.serviceAccountName ?? 'default',
    // Every pod has a service account, so here only the label tells.
    speaksMtls: speaksMtls(labels, undefined),
  };
}

/** Name of the Deployment, StatefulSet … behind a pod, as Istio finds it. */
function workloadOfPod(pod: Resource<PodBody>): string {
  const owner = pod.body.metadata.ownerReferences?.find((each) => each.controller === true);
  if (owner?.name === undefined) return workloadName(pod.labels) || pod.name;
  const hash = pod.labels['pod-template-hash'];
  const suffix = `-${hash}`;
  return owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(suffix)
    ? owner.name.slice(0, -suffix.length)
    : owner.name;
}
