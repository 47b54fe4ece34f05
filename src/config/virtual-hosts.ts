import { clusterName } from '../model/cluster.ts';
import type { Route, VirtualHost } from '../model/route.ts';
import { defaultRetryPolicy } from '../model/route.ts';
import type { Snapshot, WildcardHost } from '../model/snapshot.ts';
import type { Workload } from '../model/workload.ts';
import type { Clusters } from './clusters.ts';
import type { Collector } from './collector.ts';
import type { DestinationRules } from './destination-rules.ts';
import { hostMatches, specificity } from './destination-rules.ts';
import type { Path } from './document.ts';
import {
  compileHttpRoutes,
  type DestinationSpec,
  isForMesh,
  type VirtualServiceBody,
} from './istio-virtual-service.ts';
import { describePlace, describeResource } from './problem.ts';
import { isHttp } from './protocol.ts';
import type { Registry } from './registry.ts';
import { byAge, isExported, type Resource, resolveHost } from './resource.ts';
import type { MeshService, ServicePort } from './service.ts';

type VirtualService = Resource<VirtualServiceBody>;

/** What virtual hosts are made of. */
export interface VirtualHostSources {
  readonly registry: Registry;
  readonly clusters: Clusters;
  readonly rules: DestinationRules;
  readonly virtualServices: readonly VirtualService[];
  readonly workload: Workload;
}

/** Where Istio serves the hosts of a VirtualService that has no service at all among its hosts. */
const defaultPort = 80;

/** Every name that the workload may call, with its routes. */
export function compileVirtualHosts(
  sources: VirtualHostSources,
  collector: Collector,
): Pick<Snapshot, 'hosts' | 'wildcardHosts'> {
  const { registry, clusters, workload } = sources;
  const hosts = new Map<string, VirtualHost>();
  const wildcardHosts: WildcardHost[] = [];
  const owners = ownersOfHosts(sources, collector);
  const wildcards = new Map([...owners].filter(([host]) => host.startsWith('*')));
  const links = createLinks(sources, collector);
  // Names that others could claim too (short names, addresses) come after all full names.
  const aliases: { readonly name: string; readonly port: number; readonly virtualHost: VirtualHost }[] = [];

  for (const service of registry.services) {
    const owner = owners.get(service.host) ?? ownerOf(wildcards, service.host);
    for (const port of service.ports) {
      const virtualHost: VirtualHost = {
        name: hostAndPort(service.host, port.number),
        routes: routesOf(service, port, owner),
      };
      addName(service.host, port.number, virtualHost);
      for (const name of [...shortNames(service.host, workload), ...service.addresses]) {
        aliases.push({ name, port: port.number, virtualHost });
      }
    }
  }
  for (const [host, owner] of owners) {
    if (isServed(host)) continue;
    for (const port of portsOfUnknownHosts(owner)) {
      const routes = routesFor(owner, port);
      if (routes.length > 0) addName(host, port, { name: hostAndPort(host, port), routes });
    }
  }
  for (const { name, port, virtualHost } of aliases) {
    const key = hostAndPort(name, port);
    if (!hosts.has(key)) hosts.set(key, virtualHost);
  }
  for (const virtualService of sources.virtualServices) if (isForMesh(virtualService)) links.check(virtualService);
  wildcardHosts.sort((a, b) => b.suffix.length - a.suffix.length || a.port - b.port || (a.suffix < b.suffix ? -1 : 1));
  return { hosts, wildcardHosts };

  /** Some service has this host, and with it the routes. */
  function isServed(host: string): boolean {
    if (!host.startsWith('*')) return registry.find(host) !== undefined;
    return registry.services.some((service) => hostMatches(host, service.host));
  }

  /** As in Istio: the HTTP ports of the services that stand beside it in the same VirtualService. */
  function portsOfUnknownHosts({ namespace, body }: VirtualService): ReadonlySet<number> {
    const ports = new Set<number>();
    for (const name of body.spec.hosts ?? []) {
      const host = resolveHost(name, namespace, workload.clusterDomain);
      const beside = host.startsWith('*')
        ? registry.services.filter((service) => hostMatches(host, service.host))
        : [registry.find(host)];
      for (const service of beside) {
        for (const port of service?.ports ?? []) if (isHttp(port.protocol)) ports.add(port.number);
      }
    }
    return ports.size === 0 ? new Set([defaultPort]) : ports;
  }

  function addName(host: string, port: number, virtualHost: VirtualHost): void {
    if (host.startsWith('*')) wildcardHosts.push({ suffix: host.slice(1), port, virtualHost });
    else hosts.set(hostAndPort(host, port), virtualHost);
  }

  function routesOf(service: MeshService, port: ServicePort, owner: VirtualService | undefined): readonly Route[] {
    const http = isHttp(port.protocol);
    const routes = http && owner !== undefined ? routesFor(owner, port.number) : [];
    // A VirtualService of which nothing applies leaves the service as it was.
    return routes.length > 0 ? routes : [defaultRoute(service, port, http)];
  }

  function routesFor(owner: VirtualService, port: number): readonly Route[] {
    const clusterOf = (destination: DestinationSpec): string => links.clusterOf(owner, destination, port);
    return compileHttpRoutes(owner, { workload, port, clusterOf }, collector);
  }

  function defaultRoute(service: MeshService, port: ServicePort, http: boolean): Route {
    const cluster = clusters.use(service, port) ?? '';
    // Retries are a matter of HTTP: Istio carries other protocols as bytes.
    return {
      name: 'default',
      matches: [],
      destinations: [{ cluster, weight: 1 }],
      ...(http ? { retry: defaultRetryPolicy } : {}),
    };
  }
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

/**
 * Which VirtualService decides for which host. Istio's order: those made for this namespace alone,
 * those exported to it by name, the public ones; older ones first. Others for the same host have no
 * effect, and the report says so.
 */
function ownersOfHosts(
  { registry, virtualServices, workload }: VirtualHostSources,
  collector: Collector,
): ReadonlyMap<string, VirtualService> {
  const owners = new Map<string, VirtualService>();
  const rank = ({ body }: VirtualService): number => {
    const { exportTo = [] } = body.spec;
    return exportTo.length === 0 || exportTo.includes('*') ? 2 : exportTo.includes('.') ? 0 : 1;
  };
  const ordered = virtualServices
    .filter((each) => isForMesh(each) && isExported(each.body.spec.exportTo, each.namespace, workload.namespace))
    .sort((a, b) => rank(a) - rank(b) || byAge(a, b));
  for (const virtualService of ordered) {
    const { hosts = [], http = [] } = virtualService.body.spec;
    if (http.length === 0) continue;
    hosts.forEach((name, index) => {
      const host = resolveHost(name, virtualService.namespace, workload.clusterDomain);
      const first = owners.get(host);
      const long = `${host}.svc.${workload.clusterDomain}`;
      if (registry.find(host) === undefined && registry.find(long) !== undefined) {
        collector.warn(virtualService, ['spec', 'hosts', index], 'enforced', `is not expanded; the service is ${long}`);
      }
      if (first === undefined) owners.set(host, virtualService);
      else if (first !== virtualService) {
        const winner = `${describeResource(first)} (${describePlace(collector.at(first, []))})`;
        collector.warn(virtualService, ['spec', 'hosts', index], 'ignored', `${winner} already routes ${host}`);
      }
    });
  }
  return owners;
}

function ownerOf(wildcards: ReadonlyMap<string, VirtualService>, host: string): VirtualService | undefined {
  let best: string | undefined;
  for (const pattern of wildcards.keys()) {
    if (!hostMatches(pattern, host)) continue;
    if (best === undefined || specificity(pattern) > specificity(best)) best = pattern;
  }
  return best === undefined ? undefined : wildcards.get(best);
}

/** Destinations: from names in a VirtualService to clusters. */
interface Links {
  clusterOf(owner: VirtualService, destination: DestinationSpec, port: number): string;
  /** Reports destinations that lead nowhere; refuses subsets that nobody defines. */
  check(owner: VirtualService): void;
}

function createLinks({ registry, clusters, rules, workload }: VirtualHostSources, collector: Collector): Links {
  const hostOf = (owner: VirtualService, destination: DestinationSpec): string =>
    resolveHost(destination.host, owner.namespace, workload.clusterDomain);
  return {
    clusterOf(owner, destination, port) {
      const host = hostOf(owner, destination);
      const service = registry.find(host);
      // Istio: without a port that of the service if it has one only, else that of the request.
      const only = service?.ports.length === 1 ? service.ports[0]?.number : undefined;
      const number = destination.port?.number ?? only ?? port;
      const target = service?.ports.find((each) => each.number === number);
      const name = clusterName(host, number, destination.subset);
      return service === undefined || target === undefined
        ? name
        : (clusters.use(service, target, destination.subset) ?? name);
    },
    check(owner) {
      owner.body.spec.http?.forEach((route, index) => {
        route.route?.forEach(({ destination }, at) => {
          checkDestination(owner, destination, ['spec', 'http', index, 'route', at, 'destination']);
        });
      });
    },
  };

  function checkDestination(owner: VirtualService, destination: DestinationSpec, path: Path): void {
    const host = hostOf(owner, destination);
    const service = registry.find(host);
    if (service === undefined) {
      const long = `${host}.svc.${workload.clusterDomain}`;
      const hint = registry.find(long) === undefined ? '' : `; write ${long}`;
      collector.warn(owner, [...path, 'host'], 'enforced', `no service has the host ${host}: calls answer 503${hint}`);
      return;
    }
    const number = destination.port?.number;
    if (number !== undefined && !service.ports.some((port) => port.number === number)) {
      const note = `${host} has no port ${number}: calls answer 503`;
      collector.warn(owner, [...path, 'port', 'number'], 'enforced', note);
    }
    const subset = destination.subset ?? '';
    if (subset === '' || rules.find(service)?.subsets.has(subset) === true) return;
    const known = rules.subsetsOf(host);
    if (known.has(subset)) {
      const note = `the DestinationRule with subset ${subset} is not for this workload: calls answer 503`;
      collector.warn(owner, [...path, 'subset'], 'enforced', note);
      return;
    }
    const names = known.size === 0 ? 'there is none' : [...known].slice(0, 10).join(', ');
    const text = `must be a subset that a DestinationRule defines for ${host} (${names})`;
    collector.problem(owner, [...path, 'subset'], text, subset);
  }
}
