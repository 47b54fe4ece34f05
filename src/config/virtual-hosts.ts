import type { ConnectionRoute, RetryPolicy, Route, SkippedRule, VirtualHost } from '../model/route.ts';
import type { Snapshot, WildcardHost } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import type { Clusters } from './clusters.ts';
import type { Collector } from './collector.ts';
import { createDelegates, type HttpRule } from './delegates.ts';
import { createDestinationLinks, type Link } from './destination-links.ts';
import { type DestinationRules, hostMatches } from './destination-rules.ts';
import { createHostOwners } from './host-owners.ts';
import { createExtensions } from './inmesh-annotations.ts';
import { type CompiledConnections, compileTcpRules, compileTlsRules } from './istio-connections.ts';
import { type CompiledRules, compileHttpRules } from './istio-http-routes.ts';
import { isForMesh, type VirtualService } from './istio-virtual-service.ts';
import { isHttp } from './protocol.ts';
import type { Registry } from './registry.ts';
import { type RememberedPart, rememberPart } from './remember.ts';
import { resolveHost } from './resource.ts';
import type { MeshService, ServicePort } from './service.ts';

/** What virtual hosts are made of. */
export interface VirtualHostSources {
  /** Services to which rules may lead. */
  readonly registry: Registry;
  /** Services that can be called by name, when these are not all. */
  readonly callable?: Registry;
  readonly clusters: Clusters;
  readonly rules: DestinationRules;
  readonly virtualServices: readonly VirtualService[];
  readonly workload: Workload;
  /** For HTTP routes without `retries`, and for services without a VirtualService; nothing: no retries. */
  readonly defaultRetry: RetryPolicy | undefined;
  /** VirtualServices whose destinations have been looked at in the same compilation. */
  readonly checked?: Set<VirtualService>;
}

/** What was made of rules, and what of it depends on other resources. */
interface Linked<Result> {
  readonly result: Result;
  readonly links: readonly Link[];
}

/** By the list of rules, for each port. */
const rulesCompiled = rememberPart<readonly HttpRule[], Linked<CompiledRules>>();
const connectionsCompiled = rememberPart<MeshService, Linked<CompiledConnections>>();
const hostCompiled = rememberPart<MeshService, VirtualHost>();
const strangerCompiled = rememberPart<CompiledRules, VirtualHost>();
const namesFound = rememberPart<MeshService, readonly string[]>();
const noConnections: CompiledConnections = { connections: [], skipped: [], closed: false };
const noRules: CompiledRules = { routes: [], skipped: [] };

/** Where Istio serves hosts of a VirtualService that are no services. */
const defaultPort = 80;

/** Every name that the workload may call, with its routes. */
export function compileVirtualHosts(
  sources: VirtualHostSources,
  collector: Collector,
): Pick<Snapshot, 'hosts' | 'wildcardHosts'> {
  const { clusters, rules, virtualServices, workload, defaultRetry } = sources;
  const registry = sources.callable ?? sources.registry;
  const hosts = new Map<string, VirtualHost>();
  const wildcardHosts: WildcardHost[] = [];
  const delegates = createDelegates(virtualServices, workload.clusterDomain, collector);
  const extensions = createExtensions();
  const owners = createHostOwners(virtualServices, registry, workload, collector);
  const links = createDestinationLinks(sources.registry, clusters, rules, workload, collector);
  const compiled = new Map<VirtualService, Map<number, CompiledRules>>();
  // Names that others could claim too (short names, addresses) come after all full names.
  const aliases: { readonly names: readonly string[]; readonly virtualHost: VirtualHost }[] = [];

  for (const service of registry.services) {
    const candidates = owners.forHttp(service.host);
    const forConnections = owners.forConnections(service.host);
    for (const port of service.ports) {
      const virtualHost = hostOf(service, port, candidates, forConnections);
      addName(service.host, port.number, virtualHost);
      const names = namesFound(service, port.number, [workload], () =>
        namesOf(service).map((name) => hostAndPort(name, port.number)),
      );
      if (names.length > 0) aliases.push({ names, virtualHost });
    }
  }
  for (const [host, candidates] of owners.byHost) {
    if (isServed(host)) continue;
    for (const port of portsOfUnknownHosts(candidates)) {
      const found = rulesFor(candidates, port);
      const name = hostAndPort(host, port);
      if (found.length === 0 || found.at(-1)?.routes.length === 0) continue;
      const last = found.at(-1) as CompiledRules;
      const make = (): VirtualHost => ({
        name,
        routes: last.routes,
        ...withSkipped(found.flatMap((each) => each.skipped)),
      });
      addName(host, port, strangerCompiled(last, name, found, make));
    }
  }
  for (const { names, virtualHost } of aliases) {
    for (const name of names) if (!hosts.has(name)) hosts.set(name, virtualHost);
  }
  const { checked = new Set() } = sources;
  for (const virtualService of virtualServices) {
    if (!isForMesh(virtualService) || checked.has(virtualService)) continue;
    checked.add(virtualService);
    links.check(virtualService);
  }
  wildcardHosts.sort(compareWildcards);
  return { hosts, wildcardHosts };

  /** Names of a service beside its host. */
  function namesOf({ host, addresses, aliases: others = [] }: MeshService): readonly string[] {
    const names = [...shortNames(host, workload), ...addresses];
    for (const other of others) names.push(other, ...shortNames(other, workload));
    return names;
  }

  /** Some service has this host, and with it the routes. */
  function isServed(host: string): boolean {
    if (!host.startsWith('*')) return registry.find(host) !== undefined;
    return registry.services.some((service) => hostMatches(host, service.host));
  }

  /** As in Istio: port 80, and the HTTP ports of the services that stand beside it in the same VirtualService. */
  function portsOfUnknownHosts(candidates: readonly VirtualService[]): ReadonlySet<number> {
    const ports = new Set([defaultPort]);
    for (const { namespace, body } of candidates) {
      for (const name of body.spec.hosts ?? []) {
        const host = resolveHost(name, namespace, workload.clusterDomain);
        const beside = host.startsWith('*')
          ? registry.services.filter((service) => hostMatches(host, service.host))
          : [registry.find(host)];
        for (const service of beside) {
          for (const port of service?.ports ?? []) if (isHttp(port.protocol)) ports.add(port.number);
        }
      }
    }
    return ports;
  }

  /** The name of a virtual host is that of its host and port. */
  function addName(host: string, port: number, virtualHost: VirtualHost): void {
    if (host.startsWith('*')) wildcardHosts.push({ suffix: host.slice(1), port, virtualHost });
    else hosts.set(virtualHost.name, virtualHost);
  }

  function hostOf(
    service: MeshService,
    port: ServicePort,
    candidates: readonly VirtualService[],
    forConnections: readonly VirtualService[],
  ): VirtualHost {
    const http = isHttp(port.protocol);
    const found = http ? rulesFor(candidates, port.number) : [];
    const ofConnections = connectionsFor(service, port, forConnections);
    const last = found.at(-1) ?? noRules;
    const opaque =
      http || ofConnections.connections.length === 0 ? undefined : opaqueRoute(service, ofConnections.connections);
    const routed = opaque !== undefined || last.routes.length > 0;
    const open = ofConnections.connections.length > 0 && !ofConnections.closed;
    // Used in any case where the service answers for itself.
    if (!routed || open) clusters.use(service, port);
    return hostCompiled(service, port.number, [port, http && defaultRetry, ofConnections, ...found], () => {
      const given = opaque === undefined ? last.routes : [opaque];
      // A VirtualService of which nothing applies leaves the service as it was.
      const routes = given.length > 0 ? given : [defaultRoute(service, port, http)];
      const connections = open
        ? [...ofConnections.connections, defaultConnection(service, port)]
        : ofConnections.connections;
      return {
        name: hostAndPort(service.host, port.number),
        routes,
        ...withSkipped([...found.flatMap(({ skipped }) => skipped), ...ofConnections.skipped]),
        ...(connections.length === 0 ? {} : { connections }),
      };
    });
  }

  /** What VirtualServices say of a port, up to the first that has a rule for it. */
  function rulesFor(candidates: readonly VirtualService[], port: number): readonly CompiledRules[] {
    const all: CompiledRules[] = [];
    for (const owner of candidates) {
      const found = rulesOf(owner, port);
      all.push(found);
      if (found.routes.length > 0) break;
    }
    return all;
  }

  function rulesOf(owner: VirtualService, port: number): CompiledRules {
    const byPort = compiled.get(owner) ?? new Map<number, CompiledRules>();
    compiled.set(owner, byPort);
    let found = byPort.get(port);
    if (found === undefined) {
      const rules = delegates.rulesOf(owner);
      found = linked(rulesCompiled, rules, port, [workload, defaultRetry], () => {
        const caller = { namespace: workload.namespace, labels: workload.labels, port };
        const clusterOf =
          () =>
          (destination: Parameters<typeof links.forHttp>[0]): string =>
            links.forHttp(destination, port);
        const extensionsOf = (rule: HttpRule) => extensions.of(rule);
        return compileHttpRules(rules, { caller, defaultRetry, clusterOf, extensionsOf }, collector);
      });
      byPort.set(port, found);
    }
    return found;
  }

  /** Makes what was not made before, and what leads elsewhere by now. */
  function linked<Key extends object, Result>(
    step: RememberedPart<Key, Linked<Result>>,
    key: Key,
    port: number,
    inputs: readonly unknown[],
    make: () => Result,
  ): Result {
    let isNew = false;
    const watched = (): Linked<Result> => {
      isNew = true;
      return links.watch(make);
    };
    const found = step(key, port, inputs, watched);
    if (isNew || links.again(found.links)) return found.result;
    return step.again(key, port, inputs, watched).result;
  }

  function connectionsFor(
    service: MeshService,
    port: ServicePort,
    candidates: readonly VirtualService[],
  ): CompiledConnections {
    if (candidates.length === 0) return noConnections;
    return linked(connectionsCompiled, service, port.number, [port, workload, ...candidates], () => {
      const context = {
        caller: { namespace: workload.namespace, labels: workload.labels, port: port.number },
        clusterOf: (owner: VirtualService, { host, ...rest }: Parameters<typeof links.forHttp>[0]) =>
          links.forConnection(
            { ...rest, host: resolveHost(host, owner.namespace, workload.clusterDomain) },
            port.number,
          ),
      };
      const tls = port.protocol === 'tls' || port.protocol === 'https';
      return (tls ? compileTlsRules : compileTcpRules)(candidates, context, collector);
    });
  }

  function defaultConnection(service: MeshService, port: ServicePort): ConnectionRoute {
    return { name: 'default', destinations: [{ cluster: clusters.use(service, port) ?? '', weight: 1 }] };
  }

  function defaultRoute(service: MeshService, port: ServicePort, http: boolean): Route {
    const cluster = clusters.use(service, port) ?? '';
    // Retries are a matter of HTTP: Istio carries other protocols as bytes.
    return {
      name: 'default',
      matches: [],
      destinations: [{ cluster, weight: 1 }],
      ...(http && defaultRetry !== undefined ? { retry: defaultRetry } : {}),
    };
  }
}

/**
 * What becomes of calls to a port whose content a sidecar does not read: the first rule that takes such connections,
 * whatever their address; of `tls` rules the first for the name of the service, which is the SNI of such calls.
 */
function opaqueRoute(service: MeshService, connections: readonly ConnectionRoute[]): Route | undefined {
  const found = connections.find(
    ({ sniHosts, destinationSubnets }) =>
      destinationSubnets === undefined &&
      (sniHosts === undefined || sniHosts.some((name) => hostMatches(name, service.host))),
  );
  if (found === undefined) return undefined;
  const { name, destinations, provenance } = found;
  return { name, matches: [], destinations, ...(provenance === undefined ? {} : { provenance }) };
}

function withSkipped(skipped: readonly SkippedRule[]): Pick<VirtualHost, 'skipped'> {
  return skipped.length === 0 ? {} : { skipped };
}

/** Longest suffix first. */
export function compareWildcards(a: WildcardHost, b: WildcardHost): number {
  return b.suffix.length - a.suffix.length || a.port - b.port || (a.suffix < b.suffix ? -1 : 1);
}

/** `reviews.bookinfo:9080`, `[::1]:9080`. */
export function hostAndPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Shorter names of a service of the cluster; the shortest only inside its own namespace. */
export function shortNames(host: string, workload: Workload): readonly string[] {
  const suffix = `.svc.${workload.clusterDomain}`;
  if (!host.endsWith(suffix)) return [];
  const base = host.slice(0, -suffix.length);
  const parts = base.split('.');
  if (parts.length < 2 || host.startsWith('*')) return [];
  const local = parts.slice(1).join('.') === workload.namespace ? [parts[0] as string] : [];
  return [...local, base, `${base}.svc`];
}
