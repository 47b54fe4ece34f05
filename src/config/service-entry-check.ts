import { parseSpiffeId } from '../model/spiffe-id.ts';
import type { Collector } from './collector.ts';
import { isFqdn, isLabel, isWildcardDomain } from './host-syntax.ts';
import type { ServiceEntryBody } from './istio-service-entry.ts';
import { checkWorkload, type WorkloadSpec } from './istio-workload-entry.ts';
import { knownProtocols, protocolOf } from './protocol.ts';
import type { Resource } from './resource.ts';
import { isCidr, isIpAddress, isZonedAddress } from './values.ts';

type ServiceEntry = Resource<ServiceEntryBody>;

/** Checks a ServiceEntry as Istio's webhook does, and warns of what has no effect here. */
export function checkServiceEntry(resource: ServiceEntry, collector: Collector): void {
  checkHosts(resource, collector);
  checkAddresses(resource, collector);
  checkPorts(resource, collector);
  checkEndpoints(resource, collector);
  checkSelector(resource, collector);
  checkDynamic(resource, collector);
  checkIdentities(resource, collector);
}

function checkHosts(resource: ServiceEntry, collector: Collector): void {
  const { hosts, resolution = 'NONE', endpoints = [] } = resource.body.spec;
  const asksForHost = (resolution === 'DNS' || resolution === 'DNS_ROUND_ROBIN') && endpoints.length === 0;
  hosts.forEach((host, index) => {
    const path = ['spec', 'hosts', index];
    if (host === '*' || !isWildcardDomain(host)) {
      collector.problem(resource, path, 'must be a host name or *.<domain>', host);
    } else if (asksForHost && !isFqdn(host)) {
      collector.problem(resource, path, 'must be a full name when DNS has no endpoints to ask for', host);
    } else if (/^\*[^.]/.test(host)) {
      collector.warn(resource, path, 'enforced', 'Istio advises against a * that stands for a part of a label');
    } else if (!host.includes('.')) {
      // Istio does not expand short names here, while a VirtualService for `reviews` means the long name.
      const long = `${host}.${resource.namespace}.svc.<cluster domain>`;
      collector.warn(resource, path, 'enforced', `is not expanded: other resources that say ${host} mean ${long}`);
    }
  });
}

function checkAddresses(resource: ServiceEntry, collector: Collector): void {
  const { addresses = [], resolution = 'NONE' } = resource.body.spec;
  addresses.forEach((address, index) => {
    const path = ['spec', 'addresses', index];
    if (isIpAddress(address)) return;
    if (isZonedAddress(address) && !address.includes('/')) {
      collector.refuse(resource, path, 'is refused: an address with a zone is not called', address);
    } else if (!isCidr(address)) collector.problem(resource, path, 'must be an IP address or a range', address);
    else if (resolution !== 'STATIC' && resolution !== 'NONE') {
      collector.problem(resource, path, 'a range needs resolution STATIC or NONE', address);
    }
  });
}

function checkPorts(resource: ServiceEntry, collector: Collector): void {
  const { hosts, ports = [], resolution = 'NONE' } = resource.body.spec;
  const numbers = new Set<number>();
  const names = new Set<string>();
  if (ports.length === 0) collector.warn(resource, ['spec'], 'ignored', 'has no ports, so nothing can be called');
  ports.forEach((port, index) => {
    const path = ['spec', 'ports', index];
    if (numbers.has(port.number)) collector.problem(resource, [...path, 'number'], 'is there twice', port.number);
    if (names.has(port.name)) collector.problem(resource, [...path, 'name'], 'is there twice', port.name);
    numbers.add(port.number);
    names.add(port.name);
    if (!isLabel(port.name)) {
      const text = 'must be the name of a port: letters, digits and -, at most 63 of them';
      collector.problem(resource, [...path, 'name'], text, port.name);
    }
    const protocol = protocolOf(port.protocol);
    if (protocol === undefined) {
      collector.problem(resource, [...path, 'protocol'], `must be one of ${knownProtocols.join(', ')}`, port.protocol);
    } else if (protocol === 'none') {
      collector.warn(resource, path, 'ignored', `${port.protocol} is not carried`);
    }
  });
  if (hosts.length < 2 || resolution === 'NONE') return;
  // Of plain TCP nobody can tell which of the hosts was meant.
  const at = ports.findIndex(({ protocol = '' }) => !namesItsHost.has(protocol.toLowerCase()));
  if (at === -1) return;
  const text = `must be HTTP or TLS, because there are several hosts and resolution is ${resolution}`;
  collector.problem(resource, ['spec', 'ports', at, 'protocol'], text, ports[at]?.protocol ?? '');
}

/** Protocols of which each request or connection says which host it is for. */
const namesItsHost: ReadonlySet<string> = new Set(['http', 'http2', 'http_proxy', 'grpc', 'grpc-web', 'https', 'tls']);

function checkEndpoints(resource: ServiceEntry, collector: Collector): void {
  const { endpoints, ports = [], resolution = 'NONE' } = resource.body.spec;
  if (endpoints === undefined) return;
  // An empty list is one too for Kubernetes.
  if (resolution === 'NONE') {
    collector.problem(resource, ['spec', 'endpoints'], 'must be absent when resolution is NONE');
    return;
  }
  if (resolution === 'DNS_ROUND_ROBIN' && endpoints.length > 1) {
    collector.problem(resource, ['spec', 'endpoints'], 'may have only one entry when resolution is DNS_ROUND_ROBIN');
  }
  const names = new Set(ports.map((port) => port.name));
  endpoints.forEach((endpoint, index) => {
    const path = ['spec', 'endpoints', index];
    for (const name of Object.keys(endpoint.ports ?? {})) {
      if (names.has(name)) continue;
      collector.problem(resource, [...path, 'ports', name], 'is not the name of a port of this ServiceEntry', name);
    }
    if (resolution === 'STATIC' && endpoint.address?.startsWith('unix://') && ports.length !== 1) {
      collector.problem(resource, [...path, 'address'], 'a Unix socket needs exactly one port', ports.length);
    }
    const owner = { subject: resource, path, name: resource.name };
    checkWorkload(endpoint, owner, collector, resolution === 'STATIC' ? 'not with STATIC' : 'allowed');
    if (resolution !== 'STATIC') checkNamedAddress(resource, endpoint, index, collector);
  });
}

/** With DNS an endpoint has an address, and not that of a Unix socket. */
function checkNamedAddress(resource: ServiceEntry, endpoint: WorkloadSpec, index: number, collector: Collector): void {
  const { address = '', network = '' } = endpoint;
  const path = ['spec', 'endpoints', index];
  if (address.startsWith('unix://')) {
    collector.problem(resource, [...path, 'address'], 'a Unix socket needs resolution STATIC', address);
  } else if (address === '' && network !== '') {
    collector.problem(resource, path, 'needs the field address');
  }
}

function checkSelector(resource: ServiceEntry, collector: Collector): void {
  const { workloadSelector, resolution = 'NONE' } = resource.body.spec;
  if (workloadSelector === undefined) return;
  const { labels = {} } = workloadSelector;
  const path = ['spec', 'workloadSelector'];
  if (Object.keys(labels).length === 0) {
    collector.warn(resource, path, 'enforced', 'has no label: it selects every workload of the namespace');
  }
  if (resolution === 'NONE') {
    collector.warn(resource, path, 'ignored', 'with resolution NONE calls go to the address that the caller named');
  }
}

const dynamicProtocols: ReadonlySet<string> = new Set(['http', 'http2', 'grpc', 'tls']);

/** What is resolved as it is called can only be known by a name that is in the request or in the SNI. */
function checkDynamic(resource: ServiceEntry, collector: Collector): void {
  const { hosts, addresses = [], endpoints = [], location, ports = [], resolution } = resource.body.spec;
  if (resolution !== 'DYNAMIC_DNS') return;
  hosts.forEach((host, index) => {
    if (host.startsWith('*')) return;
    collector.problem(resource, ['spec', 'hosts', index], 'must begin with *, because resolution is DYNAMIC_DNS', host);
  });
  for (const [name, values] of [
    ['addresses', addresses],
    ['endpoints', endpoints],
  ] as const) {
    if (values.length > 0) {
      collector.problem(resource, ['spec', name], 'must be absent when resolution is DYNAMIC_DNS');
    }
  }
  ports.forEach(({ protocol = '' }, index) => {
    if (dynamicProtocols.has(protocol.toLowerCase())) return;
    const message = 'must be HTTP, HTTP2, GRPC or TLS, because resolution is DYNAMIC_DNS';
    collector.problem(resource, ['spec', 'ports', index, 'protocol'], message, protocol);
  });
  if (location !== 'MESH_INTERNAL') return;
  const waypoint = resource.labels['istio.io/use-waypoint'] ?? '';
  if (waypoint !== '' && waypoint.toLowerCase() !== 'none') {
    collector.problem(
      resource,
      ['spec', 'location'],
      'must be MESH_EXTERNAL with DYNAMIC_DNS and a waypoint',
      location,
    );
  }
  const note = 'DYNAMIC_DNS is for MESH_EXTERNAL, and it is taken for that';
  collector.warn(resource, ['spec', 'location'], 'ignored', note);
}

/** Only SPIFFE IDs can be proven in the mesh; of an external service they are left as they are. */
function checkIdentities(resource: ServiceEntry, collector: Collector): void {
  const { subjectAltNames = [], location } = resource.body.spec;
  if (location !== 'MESH_INTERNAL') return;
  subjectAltNames.forEach((name, index) => {
    try {
      parseSpiffeId(name);
    } catch {
      const note = 'is not a SPIFFE ID, and no server of the mesh can prove it';
      collector.warn(resource, ['spec', 'subjectAltNames', index], 'enforced', note);
    }
  });
}
