import { parseSpiffeId } from '../model/spiffe-id.ts';
import type { Collector } from './collector.ts';
import { type SelectableWorkload, type WorkloadSpec, workloadEndpoint } from './istio-workload-entry.ts';
import { knownProtocols, protocolOf } from './protocol.ts';
import type { Resource } from './resource.ts';
import type { MeshService, ServiceEndpoint, ServicePort } from './service.ts';
import { canonicalAddress, isCidr, isHostName, isIpAddress, isWildcardHostName, selects } from './values.ts';

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

/** One service per host. Every host has the same ports and endpoints. */
export function compileServiceEntry(
  resource: Resource<ServiceEntryBody>,
  workloads: readonly SelectableWorkload[],
  collector: Collector,
): readonly MeshService[] {
  const { spec } = resource.body;
  const before = collector.problems.length;
  const ports = compilePorts(resource, collector);
  const addresses = compileAddresses(resource, collector);
  checkHosts(resource, collector);
  checkResolution(resource, ports, collector);
  checkIdentities(resource, collector);
  const own = (spec.endpoints ?? []).flatMap((endpoint, index) => {
    const owner = { subject: resource, path: ['spec', 'endpoints', index], name: resource.name };
    return workloadEndpoint(endpoint, owner, {}, collector) ?? [];
  });
  const selected = spec.workloadSelector === undefined ? [] : selectWorkloads(resource, workloads, collector);
  if (collector.problems.length > before) return [];
  const endpoints = [...own, ...selected];
  if (endpoints.length === 0 && spec.resolution === 'STATIC' && spec.workloadSelector === undefined) {
    collector.warn(resource, ['spec'], 'enforced', 'has no endpoints: calls answer 503');
  }
  const resolution = resolutions[spec.resolution ?? 'NONE'];
  return spec.hosts.map((name) => {
    const host = name.toLowerCase();
    // Without endpoints the host itself is what DNS is asked for.
    const named = resolution === 'dns' && endpoints.length === 0 && spec.workloadSelector === undefined;
    return {
      host,
      namespace: resource.namespace,
      ports,
      addresses,
      resolution,
      endpoints: named ? [hostItself(host, resource.namespace)] : endpoints,
      identities: spec.subjectAltNames ?? [],
      meshExternal: spec.location !== 'MESH_INTERNAL',
      ...(spec.exportTo === undefined ? {} : { exportTo: spec.exportTo }),
      resource,
    };
  });
}

const resolutions = {
  NONE: 'original',
  DYNAMIC_DNS: 'original',
  STATIC: 'static',
  DNS: 'dns',
  DNS_ROUND_ROBIN: 'dns',
} as const;

function hostItself(host: string, namespace: string): ServiceEndpoint {
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

function compilePorts(resource: Resource<ServiceEntryBody>, collector: Collector): readonly ServicePort[] {
  const numbers = new Set<number>();
  const names = new Set<string>();
  const ports: ServicePort[] = [];
  const given = resource.body.spec.ports ?? [];
  if (given.length === 0) collector.warn(resource, ['spec'], 'ignored', 'has no ports, so nothing can be called');
  given.forEach((port, index) => {
    const path = ['spec', 'ports', index];
    if (numbers.has(port.number)) collector.problem(resource, [...path, 'number'], 'is there twice', port.number);
    if (names.has(port.name)) collector.problem(resource, [...path, 'name'], 'is there twice', port.name);
    numbers.add(port.number);
    names.add(port.name);
    const protocol = protocolOf(port.protocol);
    if (protocol === undefined) {
      collector.problem(resource, [...path, 'protocol'], `must be one of ${knownProtocols.join(', ')}`, port.protocol);
    } else if (protocol === 'none') {
      collector.warn(resource, path, 'ignored', `${port.protocol} is not carried`);
    } else {
      const { number, name, targetPort } = port;
      ports.push({ number, name, protocol, ...(targetPort === undefined ? {} : { targetPort }) });
    }
  });
  return ports;
}

function compileAddresses(resource: Resource<ServiceEntryBody>, collector: Collector): readonly string[] {
  const { addresses = [], resolution = 'NONE' } = resource.body.spec;
  return addresses.flatMap((address, index) => {
    const path = ['spec', 'addresses', index];
    if (isIpAddress(address)) return [canonicalAddress(address)];
    if (!isCidr(address)) collector.problem(resource, path, 'must be an IP address or a range', address);
    else if (resolution !== 'STATIC' && resolution !== 'NONE') {
      collector.problem(resource, path, 'a range needs resolution STATIC or NONE', address);
    } else collector.warn(resource, path, 'ignored', 'an address range is not a name that an HTTP client can call');
    return [];
  });
}

function checkHosts(resource: Resource<ServiceEntryBody>, collector: Collector): void {
  resource.body.spec.hosts.forEach((host, index) => {
    const path = ['spec', 'hosts', index];
    if (!isWildcardHostName(host)) collector.problem(resource, path, 'must be a host name or *.<domain>', host);
    else if (!host.includes('.')) {
      // Istio does not expand short names here, while a VirtualService for `reviews` means the long name.
      const long = `${host}.${resource.namespace}.svc.<cluster domain>`;
      collector.warn(resource, path, 'enforced', `is not expanded: other resources that say ${host} mean ${long}`);
    }
  });
}

function checkResolution(
  resource: Resource<ServiceEntryBody>,
  ports: readonly ServicePort[],
  collector: Collector,
): void {
  const { spec } = resource.body;
  const resolution = spec.resolution ?? 'NONE';
  const endpoints = spec.endpoints ?? [];
  const portNames = new Set((spec.ports ?? ports).map((port) => port.name));
  endpoints.forEach((endpoint, index) => {
    const path = ['spec', 'endpoints', index];
    for (const name of Object.keys(endpoint.ports ?? {})) {
      if (portNames.has(name)) continue;
      collector.problem(resource, [...path, 'ports', name], 'is not the name of a port of this ServiceEntry', name);
    }
    const { address = '' } = endpoint;
    const literal = address === '' || address.startsWith('unix://') || isIpAddress(address);
    if (resolution === 'STATIC' && !literal) {
      collector.problem(resource, [...path, 'address'], 'must be an IP address, because resolution is STATIC', address);
    }
  });
  if (resolutions[resolution] === 'original') {
    if (endpoints.length > 0) {
      collector.problem(resource, ['spec', 'endpoints'], `must be absent when resolution is ${resolution}`);
    }
    return;
  }
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints.length > 1) {
    collector.problem(resource, ['spec', 'endpoints'], 'may have only one entry when resolution is DNS_ROUND_ROBIN');
  }
  spec.hosts.forEach((host, index) => {
    if (resolutions[resolution] !== 'dns' || endpoints.length > 0 || spec.workloadSelector !== undefined) return;
    if (isHostName(host) || !isWildcardHostName(host)) return;
    collector.problem(
      resource,
      ['spec', 'hosts', index],
      'must be a full name when DNS has no endpoints to ask for',
      host,
    );
  });
}

/** Only SPIFFE IDs can be proven in the mesh; of an external service they are left as they are. */
function checkIdentities(resource: Resource<ServiceEntryBody>, collector: Collector): void {
  const { subjectAltNames = [], location } = resource.body.spec;
  if (location !== 'MESH_INTERNAL') return;
  subjectAltNames.forEach((name, index) => {
    try {
      parseSpiffeId(name);
    } catch {
      collector.problem(resource, ['spec', 'subjectAltNames', index], 'must be a SPIFFE ID', name);
    }
  });
}

function selectWorkloads(
  resource: Resource<ServiceEntryBody>,
  workloads: readonly SelectableWorkload[],
  collector: Collector,
): readonly ServiceEndpoint[] {
  const { workloadSelector, resolution = 'NONE' } = resource.body.spec;
  const labels = workloadSelector?.labels ?? {};
  if (Object.keys(labels).length === 0) {
    collector.problem(resource, ['spec', 'workloadSelector'], 'needs at least one label');
    return [];
  }
  return workloads.flatMap((workload) => {
    if (workload.namespace !== resource.namespace || !selects(labels, workload.endpoint.labels)) return [];
    if (resolution === 'STATIC' && !isIpAddress(workload.endpoint.address)) {
      const note = `is left out of ServiceEntry ${resource.name}: its resolution STATIC needs an IP address`;
      collector.warn(workload.resource, ['spec', 'address'], 'ignored', note);
      return [];
    }
    return [workload.endpoint];
  });
}
