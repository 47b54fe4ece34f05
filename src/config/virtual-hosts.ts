import type { ConnectionRoute, RetryPolicy, Route, SkippedRule, VirtualHost } from '../model/route.ts';
import type { Snapshot, WildcardHost } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import type { Clusters } from './clusters.ts';
import type { Collector } from './collector.ts';
import { createDelegates, type HttpRule } from './delegates.ts';
import { createDestinationLinks } from './destination-links.ts';
import { type DestinationRules, hostMatches } from './destination-rules.ts';
import { createHostOwners } from './host-owners.ts';
import { createExtensions } from './inmesh-annotations.ts';
import { type CompiledConnections, compileTcpRules, compileTlsRules } from './istio-connections.ts';
import { type CompiledRules, compileHttpRules } from './istio-http-routes.ts';
import { isForMesh, type VirtualService } from './istio-virtual-service.ts';
import { isHttp } from './protocol.ts';
import type { Registry } from './registry.ts';
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
}

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
  const aliases: { readonly name: string; readonly port: number; readonly virtualHost: VirtualHost }[] = [];

  for (const service of registry.services) {
    const candidates = owners.forHttp(service.host);
    const forConnections = owners.forConnections(service.host);
    for (const port of service.ports) {
      const virtualHost = hostOf(service, port, candidates, forConnections);
      addName(service.host, port.number, virtualHost);
      for (const name of namesOf(service)) aliases.push({ name, port: port.number, virtualHost });
    }
  }
  for (const [host, candidates] of owners.byHost) {
    if (isServed(host)) continue;
    for (const port of portsOfUnknownHosts(candidates)) {
      const { routes, skipped } = rulesFor(candidates, port);
      if (routes.length > 0) addName(host, port, { name: hostAndPort(host, port), routes, ...withSkipped(skipped) });
    }
  }
  for (const { name, port, virtualHost } of aliases) {
    const key = hostAndPort(name, port);
    if (!hosts.has(key)) hosts.set(key, virtualHost);
  }
  for (const virtualService of virtualServices) if (isForMesh(virtualService)) links.check(virtualService);
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

  function addName(host: string, port: number, virtualHost: VirtualHost): void {
    if (host.startsWith('*')) wildcardHosts.push({ suffix: host.slice(1), port, virtualHost });
    else hosts.set(hostAndPort(host, port), virtualHost);
  }

  function hostOf(
    service: MeshService,
    port: ServicePort,
    candidates: readonly VirtualService[],
    forConnections: readonly VirtualService[],
  ): VirtualHost {
    const http = isHttp(port.protocol);
    const ofHttp: CompiledRules = http ? rulesFor(candidates, port.number) : { routes: [], skipped: [] };
    const ofConnections = connectionsFor(forConnections, port);
    const opaque = http ? undefined : opaqueRoute(service, ofConnections.connections);
    const given = opaque === undefined ? ofHttp.routes : [opaque];
    // A VirtualService of which nothing applies leaves the service as it was.
    const routes = given.length > 0 ? given : [defaultRoute(service, port, http)];
    const connections =
      ofConnections.connections.length === 0 || ofConnections.closed
        ? ofConnections.connections
        : [...ofConnections.connections, defaultConnection(service, port)];
    return {
      name: hostAndPort(service.host, port.number),
      routes,
      ...withSkipped([...ofHttp.skipped, ...ofConnections.skipped]),
      ...(connections.length === 0 ? {} : { connections }),
    };
  }

  /** The rules of the first VirtualService that has one for the port. */
  function rulesFor(candidates: readonly VirtualService[], port: number): CompiledRules {
    const skipped: SkippedRule[] = [];
    for (const owner of candidates) {
      const found = rulesOf(owner, port);
      skipped.push(...found.skipped);
      if (found.routes.length > 0) return { routes: found.routes, skipped };
    }
    return { routes: [], skipped };
  }

  function rulesOf(owner: VirtualService, port: number): CompiledRules {
    const byPort = compiled.get(owner) ?? new Map<number, CompiledRules>();
    compiled.set(owner, byPort);
    let found = byPort.get(port);
    if (found === undefined) {
      const caller = { namespace: workload.namespace, labels: workload.labels, port };
      const clusterOf =
        () =>
        (destination: Parameters<typeof links.forHttp>[0]): string =>
          links.forHttp(destination, port);
      const extensionsOf = (rule: HttpRule) => extensions.of(rule);
      found = compileHttpRules(delegates.rulesOf(owner), { caller, defaultRetry, clusterOf, extensionsOf }, collector);
      byPort.set(port, found);
    }
    return found;
  }

  function connectionsFor(candidates: readonly VirtualService[], port: ServicePort): CompiledConnections {
    const context = {
      caller: { namespace: workload.namespace, labels: workload.labels, port: port.number },
      clusterOf: (owner: VirtualService, { host, ...rest }: Parameters<typeof links.forHttp>[0]) =>
        links.forConnection({ ...rest, host: resolveHost(host, owner.namespace, workload.clusterDomain) }, port.number),
    };
    const tls = port.protocol === 'tls' || port.protocol === 'https';
    return (tls ? compileTlsRules : compileTcpRules)(candidates, context, collector);
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
