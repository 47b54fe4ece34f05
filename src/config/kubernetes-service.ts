import type { Collector } from './collector.ts';
import { exportToAnnotation } from './export-to.ts';
import { canonicalHost, isFqdn } from './host-syntax.ts';
import { hostItself } from './istio-service-entry.ts';
import { namedPort, type SelectableWorkload } from './istio-workload-entry.ts';
import { describePod, type PodBody } from './kubernetes-pod.ts';
import { protocolOfPort } from './protocol.ts';
import type { Resource } from './resource.ts';
import { type ServiceEndpoint, type ServicePort, type ServiceSource, trafficDistributionOf } from './service.ts';
import { canonicalAddress, isIpAddress, selects } from './values.ts';

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
    readonly trafficDistribution?: string;
  };
}

export interface EndpointSliceBody {
  readonly addressType: 'IPv4' | 'IPv6' | 'FQDN';
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    readonly conditions?: { readonly ready?: boolean };
    readonly nodeName?: string;
    readonly targetRef?: { readonly kind?: string; readonly name?: string; readonly namespace?: string };
  }[];
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[];
}

/** What the endpoints of Kubernetes services are made of. */
export interface KubernetesSources {
  /** EndpointSlices by `namespace/service`. */
  readonly slices: ReadonlyMap<string, readonly Resource<EndpointSliceBody>[]>;
  /** Pods by `namespace/name`. */
  readonly pods: ReadonlyMap<string, Resource<PodBody>>;
  /** WorkloadEntries of a namespace. */
  workloadsOf(namespace: string): readonly SelectableWorkload[];
  readonly trustDomain: string;
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
): ServiceSource {
  const { spec } = resource.body;
  const exportTo = (resource.annotations[exportToAnnotation] || undefined)?.split(',').map((part) => part.trim());
  const distribution = trafficDistributionOf(resource.annotations, spec.trafficDistribution);
  const common = {
    host: `${resource.name}.${resource.namespace}.svc.${sources.clusterDomain}`.toLowerCase(),
    namespace: resource.namespace,
    ports: compilePorts(resource, collector),
    ...(exportTo === undefined ? {} : { exportTo }),
    ...(distribution === undefined ? {} : { trafficDistribution: distribution }),
    resource,
  };
  if (spec.type === 'ExternalName') {
    const target = externalName(resource, collector);
    return {
      ...common,
      addresses: [],
      resolution: 'dns',
      // Unless it names another service of the mesh, a call goes where DNS leads, as it does without a mesh.
      endpoints: target === undefined ? [] : [{ ...hostItself(target, resource.namespace), portOf: (p) => p.number }],
      identities: [],
      meshExternal: true,
      ...(target === undefined ? {} : { aliasOf: target }),
    };
  }
  const clusterIps = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
  return {
    ...common,
    addresses: clusterIps.filter((address) => isIpAddress(address)).map(canonicalAddress),
    resolution: 'static',
    endpoints: endpointsOf(resource, sources, collector),
    identities: accountsOf(resource, sources.trustDomain),
    meshExternal: false,
  };
}

/** Accounts that annotations add to those of the pods. */
function accountsOf({ annotations, namespace }: Resource, trustDomain: string): readonly string[] {
  const list = (text: string | undefined): readonly string[] =>
    text === undefined || text === '' ? [] : text.split(',').map((each) => each.trim());
  return [
    ...list(annotations['alpha.istio.io/canonical-serviceaccounts']).map((id) =>
      id.startsWith('spiffe://') ? id : `spiffe://${id}`,
    ),
    ...list(annotations['alpha.istio.io/kubernetes-serviceaccounts']).map(
      (account) => `spiffe://${trustDomain}/ns/${namespace}/sa/${account}`,
    ),
  ];
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
    const { targetPort } = port;
    return [
      {
        number: port.port,
        name,
        protocol,
        ...(typeof targetPort === 'number' && targetPort > 0 ? { targetPort } : {}),
        ...(typeof targetPort === 'string' && targetPort !== '' ? { targetPortName: targetPort } : {}),
      },
    ];
  });
}

function externalName(resource: Resource<ServiceBody>, collector: Collector): string | undefined {
  const { externalName: name = '' } = resource.body.spec;
  if (isFqdn(name)) return canonicalHost(name);
  collector.problem(resource, ['spec', 'externalName'], 'must be a DNS name', name);
  return undefined;
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
      const address = endpoint.addresses[0] === undefined ? undefined : canonicalAddress(endpoint.addresses[0]);
      const key = `${address} ${[...ports.values()].join(' ')}`;
      if (address === undefined || seen.has(key)) return;
      seen.add(key);
      const { nodeName, targetRef } = endpoint;
      const pod =
        targetRef?.kind === 'Pod'
          ? sources.pods.get(`${targetRef.namespace ?? slice.namespace}/${targetRef.name ?? ''}`)
          : undefined;
      result.push({
        address,
        weight: 1,
        ...describePod(pod, slice.namespace),
        ...(nodeName === undefined ? {} : { node: nodeName }),
        portOf: (port) => ports.get(port.name),
      });
    });
  }
  const { selector } = resource.body.spec;
  if (selector !== undefined && Object.keys(selector).length > 0) {
    for (const { endpoint, ports } of sources.workloadsOf(resource.namespace)) {
      // Kubernetes knows endpoints by their IP address only.
      if (!isIpAddress(endpoint.address) || !selects(selector, endpoint.labels)) continue;
      result.push({ ...endpoint, portOf: (port) => portOfWorkload(ports, port) });
    }
  }
  return result;
}

/** Where a WorkloadEntry serves a port of a Kubernetes Service: a target by name must be there. */
function portOfWorkload(ports: Readonly<Record<string, number>>, port: ServicePort): number | undefined {
  if (port.targetPortName !== undefined) return namedPort(ports, port.targetPortName);
  return namedPort(ports, port.name) ?? port.targetPort ?? port.number;
}
