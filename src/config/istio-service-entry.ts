import type { Collector } from './collector.ts';
import { canonicalHost } from './host-syntax.ts';
import { type SelectableWorkload, type WorkloadSpec, workloadEndpoint } from './istio-workload-entry.ts';
import { protocolOf } from './protocol.ts';
import type { Resource } from './resource.ts';
import {
  type Resolution,
  type ServiceEndpoint,
  type ServicePort,
  type ServiceSource,
  trafficDistributionOf,
} from './service.ts';
import { checkServiceEntry } from './service-entry-check.ts';
import { canonicalAddress, isIpAddress, selects } from './values.ts';

export interface ServiceEntryBody {
  readonly spec: {
    readonly hosts: readonly string[];
    readonly addresses?: readonly string[];
    readonly ports?: readonly {
      readonly number: number;
      readonly name: string;
      readonly protocol?: string;
      readonly targetPort?: number;
    }[];
    readonly location?: 'MESH_EXTERNAL' | 'MESH_INTERNAL';
    readonly resolution?: 'NONE' | 'STATIC' | 'DNS' | 'DNS_ROUND_ROBIN' | 'DYNAMIC_DNS';
    readonly endpoints?: readonly WorkloadSpec[];
    readonly workloadSelector?: { readonly labels?: Readonly<Record<string, string>> };
    readonly exportTo?: readonly string[];
    readonly subjectAltNames?: readonly string[];
  };
}

const resolutions = {
  NONE: 'original',
  // The caller always names a host here, never an address that was resolved before: the same thing.
  DYNAMIC_DNS: 'original',
  STATIC: 'static',
  DNS: 'dns',
  DNS_ROUND_ROBIN: 'dns-first',
} as const satisfies Record<string, Resolution>;

/** One service per host. Every host has the same ports and endpoints. */
export function compileServiceEntry(
  resource: Resource<ServiceEntryBody>,
  workloadsOf: (namespace: string) => readonly SelectableWorkload[],
  collector: Collector,
): readonly ServiceSource[] {
  const { spec } = resource.body;
  const before = collector.problems.length;
  checkServiceEntry(resource, collector);
  if (collector.problems.length > before) return [];
  const resolution = resolutions[spec.resolution ?? 'NONE'];
  const fromDns = resolution === 'dns' || resolution === 'dns-first';
  const dynamic = spec.resolution === 'DYNAMIC_DNS';
  const ports = compilePorts(resource);
  const distribution = trafficDistributionOf(resource.annotations);
  const addresses = compileAddresses(resource, collector);
  const endpoints = resolution === 'original' ? [] : endpointsOf(resource, workloadsOf, collector);
  if (endpoints.length === 0 && resolution === 'static' && spec.workloadSelector === undefined) {
    collector.warn(resource, ['spec'], 'enforced', 'has no endpoints: calls answer 503');
  }
  // Without endpoints the host itself is what DNS is asked for.
  const named = fromDns && (spec.endpoints ?? []).length === 0 && spec.workloadSelector === undefined;
  return [...new Set(spec.hosts.map(canonicalHost))].map((host) => ({
    host,
    namespace: resource.namespace,
    ports,
    addresses,
    resolution,
    endpoints: named ? [hostItself(host, resource.namespace)] : endpoints,
    identities: spec.subjectAltNames ?? [],
    meshExternal: dynamic || spec.location !== 'MESH_INTERNAL',
    ...(spec.exportTo === undefined ? {} : { exportTo: spec.exportTo }),
    ...(distribution === undefined ? {} : { trafficDistribution: distribution }),
    ...(spec.workloadSelector === undefined ? {} : { selector: spec.workloadSelector.labels ?? {} }),
    resource,
  }));
}

/** The DNS name that people call, as an endpoint. */
export function hostItself(host: string, namespace: string): ServiceEndpoint {
  return {
    address: host,
    namespace,
    labels: {},
    weight: 1,
    locality: '',
    workload: '',
    speaksMtls: false,
    portOf: (port) => port.targetPort ?? port.number,
  };
}

function compilePorts({ body }: Resource<ServiceEntryBody>): readonly ServicePort[] {
  return (body.spec.ports ?? []).flatMap(({ number, name, protocol: word, targetPort }) => {
    const protocol = protocolOf(word);
    if (protocol === undefined || protocol === 'none') return [];
    return [{ number, name, protocol, ...(targetPort === undefined ? {} : { targetPort }) }];
  });
}

/** Addresses that are names of the service. */
function compileAddresses(resource: Resource<ServiceEntryBody>, collector: Collector): readonly string[] {
  return (resource.body.spec.addresses ?? []).flatMap((address, index) => {
    if (isIpAddress(address)) return [canonicalAddress(address)];
    const [single = '', bits] = address.split('/');
    // A range of one address is that address.
    if (bits === (single.includes(':') ? '128' : '32')) return [canonicalAddress(single)];
    // As in Istio: HTTP requests are told apart by their host, and a range is none.
    const note = 'an address range is not a name that an HTTP client can call';
    collector.warn(resource, ['spec', 'addresses', index], 'ignored', note);
    return [];
  });
}

function endpointsOf(
  resource: Resource<ServiceEntryBody>,
  workloadsOf: (namespace: string) => readonly SelectableWorkload[],
  collector: Collector,
): readonly ServiceEndpoint[] {
  const { endpoints, workloadSelector, resolution } = resource.body.spec;
  if (workloadSelector === undefined) {
    return (endpoints ?? []).flatMap((endpoint, index) => {
      const owner = { subject: resource, path: ['spec', 'endpoints', index], name: resource.name };
      return workloadEndpoint(endpoint, owner, {}, collector) ?? [];
    });
  }
  const labels = workloadSelector.labels ?? {};
  return workloadsOf(resource.namespace).flatMap((workload) => {
    if (!selects(labels, workload.endpoint.labels)) return [];
    if (resolution === 'STATIC' && !isIpAddress(workload.endpoint.address)) {
      const note = `is left out of ServiceEntry ${resource.name}: its resolution STATIC needs an IP address`;
      collector.warn(workload.resource, ['spec', 'address'], 'ignored', note);
      return [];
    }
    return [workload.endpoint];
  });
}
