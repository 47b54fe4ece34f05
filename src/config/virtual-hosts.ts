import type { RetryPolicy, VirtualHost } from '../model/route.ts';
import type { Snapshot, WildcardHost } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import type { Clusters } from './clusters.ts';
import type { Collector } from './collector.ts';
import { createDelegates } from './delegates.ts';
import { createDestinationLinks } from './destination-links.ts';
import { type DestinationRules, hostMatches } from './destination-rules.ts';
import { createHostCompiler, hostAndPort } from './host-compiler.ts';
import { createHostOwners, type HostOwners } from './host-owners.ts';
import { isForMesh, type VirtualService } from './istio-virtual-service.ts';
import { isHttp } from './protocol.ts';
import type { Registry } from './registry.ts';
import { rememberPart } from './remember.ts';
import { resolveHost } from './resource.ts';
import type { MeshService } from './service.ts';

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

/** What a compilation of virtual hosts leaves behind. */
export interface CompiledHosts extends Pick<Snapshot, 'hosts' | 'wildcardHosts'> {
  readonly owners: HostOwners;
  /** How often each cluster is led to. */
  readonly uses: ReadonlyMap<string, number>;
}

const namesFound = rememberPart<MeshService, readonly string[]>();

/** Where Istio serves hosts of a VirtualService that are no services. */
export const defaultPort = 80;

/** Every name that the workload may call, with its routes. */
export function compileVirtualHosts(sources: VirtualHostSources, collector: Collector): CompiledHosts {
  const { clusters, rules, virtualServices, workload, defaultRetry } = sources;
  const registry = sources.callable ?? sources.registry;
  const hosts = new Map<string, VirtualHost>();
  const wildcardHosts: WildcardHost[] = [];
  const delegates = createDelegates(virtualServices, workload.clusterDomain, collector);
  const owners = createHostOwners(virtualServices, registry, workload, collector);
  const links = createDestinationLinks(sources.registry, clusters, rules, workload, collector);
  const uses = new Map<string, number>();
  const use = (cluster: string): void => void uses.set(cluster, (uses.get(cluster) ?? 0) + 1);
  const compiler = createHostCompiler(
    { clusters, links, workload, defaultRetry, rulesIn: delegates.rulesOf, use },
    collector,
  );
  // Names that others could claim too (short names, addresses) come after all full names.
  const aliases: { readonly names: readonly string[]; readonly virtualHost: VirtualHost }[] = [];

  for (const service of registry.services) {
    const candidates = owners.forHttp(service.host);
    const forConnections = owners.forConnections(service.host);
    for (const port of service.ports) {
      const virtualHost = compiler.hostOf(service, port, candidates, forConnections);
      addName(service.host, port.number, virtualHost);
      const names = otherNames(service, port.number, workload);
      if (names.length > 0) aliases.push({ names, virtualHost });
    }
  }
  const portsBeside = new Map<VirtualService, ReadonlySet<number>>();
  for (const [host, candidates] of owners.byHost) {
    for (const port of portsWithoutService(host, candidates)) {
      const there = candidates.filter((owner) => port === defaultPort || portsOfServices(owner).has(port));
      const stranger = compiler.strangerOf(host, port, there);
      if (stranger !== undefined) addName(host, port, stranger);
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
  return { hosts, wildcardHosts, owners, uses };

  /**
   * Where a host of VirtualServices is served without a service on that port: as in Istio on port 80, and on the HTTP
   * ports of the services that stand beside it.
   */
  function portsWithoutService(host: string, candidates: readonly VirtualService[]): ReadonlySet<number> {
    const ports = new Set([defaultPort]);
    for (const owner of candidates) for (const port of portsOfServices(owner)) ports.add(port);
    const wide = host.startsWith('*');
    const named = wide ? undefined : registry.find(host);
    const services = wide ? registry.services.filter((each) => overlap(host, each.host)) : named ? [named] : [];
    for (const service of services) for (const port of service.ports) ports.delete(port.number);
    return ports;
  }

  /** HTTP ports of the services that a VirtualService names, or has for itself by a wildcard. */
  function portsOfServices(owner: VirtualService): ReadonlySet<number> {
    const known = portsBeside.get(owner);
    if (known !== undefined) return known;
    const ports = new Set<number>();
    for (const name of owner.body.spec.hosts ?? []) {
      const host = resolveHost(name, owner.namespace, workload.clusterDomain);
      const services = host.startsWith('*')
        ? registry.services.filter((each) => overlap(host, each.host) && owners.forHttp(each.host)[0] === owner)
        : [registry.find(host)];
      for (const service of services) {
        for (const port of service?.ports ?? []) if (isHttp(port.protocol)) ports.add(port.number);
      }
    }
    portsBeside.set(owner, ports);
    return ports;
  }

  /** The name of a virtual host is that of its host and port. */
  function addName(host: string, port: number, virtualHost: VirtualHost): void {
    if (host.startsWith('*')) wildcardHosts.push({ suffix: host.slice(1), port, virtualHost });
    else hosts.set(virtualHost.name, virtualHost);
  }
}

/** Is there a name that both cover? */
function overlap(a: string, b: string): boolean {
  return hostMatches(a, b) || hostMatches(b, a);
}

/** Names of a service beside its host, with the port. */
export function otherNames(service: MeshService, port: number, workload: Workload): readonly string[] {
  return namesFound(service, port, [workload], () => {
    const { host, addresses, aliases = [] } = service;
    const names = [...shortNames(host, workload), ...addresses];
    for (const other of aliases) names.push(other, ...shortNames(other, workload));
    return names.map((name) => hostAndPort(name, port));
  });
}

/** Longest suffix first. */
export function compareWildcards(a: WildcardHost, b: WildcardHost): number {
  return b.suffix.length - a.suffix.length || a.port - b.port || (a.suffix < b.suffix ? -1 : 1);
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
