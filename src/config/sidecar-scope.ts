import { hostMatches } from './destination-rules.ts';
import type { EgressListener, Sidecar } from './istio-sidecar.ts';
import { isForMesh, type VirtualServiceBody } from './istio-virtual-service.ts';
import { isExported, type Resource, resolveHost } from './resource.ts';
import type { MeshService } from './service.ts';

type VirtualService = Resource<VirtualServiceBody>;

/** What a workload may call, and by which rules, after its Sidecar was applied. */
export interface SidecarScope {
  /** Services that may be destinations: the imported ones, and those to which imported rules lead. */
  readonly services: readonly MeshService[];
  readonly listeners: readonly ListenerScope[];
}

/** The part of it that holds for some ports. */
export interface ListenerScope {
  /** Services that can be called by name. */
  readonly services: readonly MeshService[];
  /** Rules for them, and all rules without hosts, to which others delegate. */
  readonly virtualServices: readonly VirtualService[];
  serves(port: number): boolean;
}

/** What a scope is made of. */
export interface ScopeSources {
  /** Every service of the mesh, also those that are not exported to the namespace. */
  readonly services: readonly MeshService[];
  readonly virtualServices: readonly VirtualService[];
  readonly namespace: string;
  readonly clusterDomain: string;
}

/**
 * Istio's scope of a Sidecar. Each egress listener imports services and VirtualServices by
 * `namespace/host`; a port belongs to the listener that names it, else to the one without a port.
 * Nothing when the Sidecar imports everything, as it is without one.
 */
export function createSidecarScope(sidecar: Sidecar | undefined, sources: ScopeSources): SidecarScope | undefined {
  const egress = sidecar?.body.spec.egress ?? [];
  const everything = egress.length === 1 && egress[0]?.port === undefined && egress[0]?.hosts.includes('*/*');
  if (egress.length === 0 || everything) return undefined;
  const ports = new Set(egress.flatMap((listener) => portOf(listener) ?? []));
  const imports = createImports();
  const visible = sources.services.filter((each) => isExported(each.exportTo, each.namespace, sources.namespace));
  const listeners = egress.map((listener): ListenerScope => {
    const hosts = importedHosts(listener, sources.namespace);
    const port = portOf(listener);
    const services = visible.filter((each) => hosts.hasService(each)).flatMap((each) => withPorts(each, port) ?? []);
    const virtualServices = sources.virtualServices.filter((each) => isImported(each, hosts, sources));
    for (const service of services) imports.add(service);
    return {
      services,
      virtualServices,
      serves: (number) => (port === undefined ? !ports.has(number) : number === port),
    };
  });
  const byHost = indexByHost(visible);
  const delegates = new Map(sources.virtualServices.map((each) => [`${each.namespace}/${each.name}`, each]));
  egress.forEach((listener, index) => {
    const port = portOf(listener);
    for (const virtualService of listeners[index]?.virtualServices ?? []) {
      // Rules that others delegate to are followed from there.
      if ((virtualService.body.spec.hosts ?? []).length === 0) continue;
      for (const [host, wanted] of destinationsOf(virtualService, delegates, sources)) {
        const candidates = byHost.get(host);
        if (candidates === undefined) continue;
        // Istio: the own namespace, else the first by the alphabet.
        const namespace = candidates.has(sources.namespace) ? sources.namespace : [...candidates.keys()].sort()[0];
        for (const service of candidates.get(namespace ?? '') ?? []) {
          const trimmed = port === undefined ? withAnyPort(service, wanted) : withPorts(service, port);
          if (trimmed !== undefined) imports.follow(trimmed);
        }
      }
    }
  });
  return { services: imports.services(), listeners };
}

/** Applications call proxy ports and sockets by themselves, for hosts at any port; here that is `mesh.fetch`. */
function portOf({ port }: EgressListener): number | undefined {
  return port === undefined || port.number === 0 || port.protocol?.toUpperCase() === 'HTTP_PROXY'
    ? undefined
    : port.number;
}

interface ImportedHosts {
  hasService(service: MeshService): boolean;
  hasRule(namespace: string, host: string): boolean;
}

interface HostSet {
  readonly exact: Set<string>;
  readonly wildcards: string[];
}

function importedHosts({ hosts }: EgressListener, own: string): ImportedHosts {
  const byNamespace = new Map<string, HostSet>();
  for (const text of hosts) {
    const slash = text.indexOf('/');
    const given = text.slice(0, slash);
    const namespace = given === '.' ? own : given;
    const host = text.slice(slash + 1).toLowerCase();
    const set = byNamespace.get(namespace) ?? { exact: new Set<string>(), wildcards: [] };
    byNamespace.set(namespace, set);
    if (host.startsWith('*')) set.wildcards.push(host);
    else set.exact.add(host);
  }
  const sets = (namespace: string): readonly HostSet[] =>
    [byNamespace.get(namespace), byNamespace.get('*')].filter((set) => set !== undefined);
  return {
    hasService: ({ namespace, host }) =>
      sets(namespace).some(
        ({ exact, wildcards }) => exact.has(host) || wildcards.some((each) => hostMatches(each, host)),
      ),
    hasRule: (namespace, host) =>
      sets(namespace).some(
        ({ exact, wildcards }) =>
          exact.has(host) ||
          wildcards.some((each) => hostMatches(each, host) || hostMatches(host, each)) ||
          // A rule for `*.example.com` is for an imported `a.example.com` too.
          (host.startsWith('*') && [...exact].some((each) => hostMatches(host, each))),
      ),
  };
}

function isImported(resource: VirtualService, hosts: ImportedHosts, { clusterDomain }: ScopeSources): boolean {
  const names = resource.body.spec.hosts ?? [];
  if (names.length === 0) return true;
  return names.some((name) => hosts.hasRule(resource.namespace, resolveHost(name, resource.namespace, clusterDomain)));
}

/** A service with this port alone; whole without a port, and nothing when it has no such port. */
function withPorts(service: MeshService, port: number | undefined): MeshService | undefined {
  return port === undefined ? service : withAnyPort(service, new Set([port]));
}

/** A service with those of its ports that are wanted; 0 means any of them. */
function withAnyPort(service: MeshService, wanted: ReadonlySet<number>): MeshService | undefined {
  if (wanted.has(0)) return service;
  const ports = service.ports.filter((port) => wanted.has(port.number));
  if (ports.length === service.ports.length) return service;
  return ports.length === 0 ? undefined : { ...service, ports };
}

/** Services by name, with the ports that any listener imports. */
function createImports() {
  const byResource = new Map<string, MeshService>();
  const namespaces = new Map<string, string>();
  const add = (service: MeshService): void => {
    const { resource } = service;
    const key = `${resource.kind} ${resource.namespace}/${resource.name} ${service.host}`;
    const known = byResource.get(key);
    if (known === undefined) byResource.set(key, service);
    else if (known !== service) {
      const numbers = new Set(known.ports.map((port) => port.number));
      const more = service.ports.filter((port) => !numbers.has(port.number));
      if (more.length > 0) byResource.set(key, { ...known, ports: [...known.ports, ...more] });
    }
    if (!namespaces.has(service.host)) namespaces.set(service.host, service.namespace);
  };
  return {
    add,
    /** As `add`, but what was imported by its name is not replaced by one of another namespace. */
    follow(service: MeshService): void {
      const namespace = namespaces.get(service.host);
      if (namespace === undefined || namespace === service.namespace) add(service);
    },
    services: (): readonly MeshService[] => [...byResource.values()],
  };
}

function indexByHost(services: readonly MeshService[]): ReadonlyMap<string, ReadonlyMap<string, MeshService[]>> {
  const byHost = new Map<string, Map<string, MeshService[]>>();
  for (const service of services) {
    const byNamespace = byHost.get(service.host) ?? new Map<string, MeshService[]>();
    byHost.set(service.host, byNamespace);
    const same = byNamespace.get(service.namespace);
    if (same === undefined) byNamespace.set(service.namespace, [service]);
    else same.push(service);
  }
  return byHost;
}

interface AnyDestination {
  readonly host?: string;
  readonly port?: { readonly number?: number };
}

/** Every place in a VirtualService that names a destination. */
interface AnyRules {
  readonly http?: readonly {
    readonly match?: readonly { readonly sourceNamespace?: string }[];
    readonly route?: readonly { readonly destination?: AnyDestination }[];
    readonly mirror?: AnyDestination;
    readonly mirrors?: readonly { readonly destination?: AnyDestination }[];
    readonly delegate?: { readonly name?: string; readonly namespace?: string };
  }[];
  readonly tcp?: readonly { readonly route?: readonly { readonly destination?: AnyDestination }[] }[];
  readonly tls?: readonly { readonly route?: readonly { readonly destination?: AnyDestination }[] }[];
}

/** Hosts to which the rules lead, with the ports that they name; 0 where they name none. */
function destinationsOf(
  virtualService: VirtualService,
  delegates: ReadonlyMap<string, VirtualService>,
  { namespace, clusterDomain }: ScopeSources,
): ReadonlyMap<string, ReadonlySet<number>> {
  const found = new Map<string, Set<number>>();
  if (!isForMesh(virtualService)) return found;
  collect(virtualService, true);
  return found;

  function collect(resource: VirtualService, mayDelegate: boolean): void {
    const add = (destination: AnyDestination | undefined): void => {
      if (destination?.host === undefined) return;
      const host = resolveHost(destination.host, resource.namespace, clusterDomain);
      const ports = found.get(host) ?? new Set<number>();
      found.set(host, ports);
      ports.add(destination.port?.number ?? 0);
    };
    const { http = [], tcp = [], tls = [] } = resource.body.spec as AnyRules;
    for (const { match = [], route = [], mirror, mirrors = [], delegate } of http) {
      const callers = match.flatMap((each) => each.sourceNamespace || []);
      // Rules for callers of other namespaces lead nowhere from here.
      if (callers.length > 0 && !callers.includes(namespace)) continue;
      for (const each of [...route, ...mirrors]) add(each.destination);
      add(mirror);
      const target = delegate && delegates.get(`${delegate.namespace || resource.namespace}/${delegate.name ?? ''}`);
      if (target !== undefined && mayDelegate) collect(target, false);
    }
    for (const { route = [] } of [...tcp, ...tls]) for (const each of route) add(each.destination);
  }
}
