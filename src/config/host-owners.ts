import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import { hostMatches, specificity } from './destination-rules.ts';
import { isDelegate, isForMesh, type VirtualService } from './istio-virtual-service.ts';
import { describePlace, describeResource } from './problem.ts';
import type { Registry } from './registry.ts';
import { rememberPart } from './remember.ts';
import { byAge, isExported, resolveHost } from './resource.ts';

/** Which VirtualServices decide for which host. */
export interface HostOwners {
  /** Those that this workload sees, in Istio's order. */
  readonly visible: readonly VirtualService[];
  /** Every host of these, with its VirtualServices in order: the first that has a rule for a port decides there. */
  readonly byHost: ReadonlyMap<string, readonly VirtualService[]>;
  /** Those for the HTTP calls to a service: with its very name, else the first with its most specific wildcard. */
  forHttp(host: string): readonly VirtualService[];
  /** Those for the connections to a host: all that cover it. */
  forConnections(host: string): readonly VirtualService[];
}

/**
 * Istio's order: VirtualServices of this namespace that are not public, those of others exported to it by name, the
 * public ones; older ones first. For HTTP one alone decides for a host and port; that others have no effect is said in the report.
 */
export function createHostOwners(
  virtualServices: readonly VirtualService[],
  registry: Registry,
  { namespace, clusterDomain }: Workload,
  collector: Collector,
): HostOwners {
  const rank = ({ namespace: owner, body }: VirtualService): number => {
    const { exportTo = [] } = body.spec;
    if (exportTo.length === 0 || exportTo.includes('*')) return 2;
    return owner === namespace ? 0 : 1;
  };
  const visible = virtualServices
    .filter(
      (each) => isForMesh(each) && !isDelegate(each) && isExported(each.body.spec.exportTo, each.namespace, namespace),
    )
    .sort((a, b) => rank(a) - rank(b) || byAge(a, b));
  const byHost = new Map<string, VirtualService[]>();
  // Who names a host first, with or without rules for HTTP: wildcards step back behind such names.
  const claims = new Map<string, VirtualService>();
  const connections = createConnectionOwners();
  for (const owner of visible) {
    const { http = [], tcp = [], tls = [] } = owner.body.spec;
    const full = fullHosts(owner, 'hosts', [clusterDomain], () =>
      (owner.body.spec.hosts ?? []).map((name) => resolveHost(name, owner.namespace, clusterDomain)),
    );
    if (tcp.length > 0 || tls.length > 0) connections.add(owner, full);
    for (const [index, host] of full.entries()) {
      if (!claims.has(host)) claims.set(host, owner);
      if (registry.find(host) === undefined) {
        const long = `${host}.svc.${clusterDomain}`;
        if (registry.find(long) !== undefined) {
          collector.warn(owner, ['spec', 'hosts', index], 'enforced', `is not expanded; the service is ${long}`);
        }
      }
      if (http.length === 0) continue;
      const owners = byHost.get(host);
      if (owners === undefined) {
        byHost.set(host, [owner]);
        continue;
      }
      const [first] = owners;
      if (first !== undefined) {
        const winner = `${describeResource(first)} (${describePlace(collector.at(first, []))})`;
        collector.warn(owner, ['spec', 'hosts', index], 'ignored', `${winner} already routes ${host}`);
      }
      owners.push(owner);
    }
  }
  const wildcards = [...claims.keys()].filter((host) => host.startsWith('*'));
  return {
    visible,
    byHost,
    forHttp(host) {
      if (!host.startsWith('*') && claims.has(host)) return byHost.get(host) ?? noOwners;
      let best: string | undefined;
      for (const pattern of wildcards) {
        if (!hostMatches(pattern, host)) continue;
        if (best === undefined || specificity(pattern) > specificity(best)) best = pattern;
      }
      // Istio looks for the VirtualService of a wildcard once, whatever its rules and the port.
      const owner = best === undefined ? undefined : claims.get(best);
      return owner === undefined || (owner.body.spec.http ?? []).length === 0 ? noOwners : [owner];
    },
    forConnections: connections.of,
  };
}

const fullHosts = rememberPart<VirtualService, readonly string[]>();

interface ConnectionOwner {
  readonly owner: VirtualService;
  readonly hosts: readonly string[];
  /** Place in the order. */
  readonly place: number;
}

/** VirtualServices with rules for connections, in order, found by the host. */
function createConnectionOwners() {
  const all: ConnectionOwner[] = [];
  const exact = new Map<string, ConnectionOwner[]>();
  const wide: ConnectionOwner[] = [];
  return {
    add(owner: VirtualService, hosts: readonly string[]): void {
      const entry = { owner, hosts, place: all.length };
      all.push(entry);
      if (hosts.some((host) => host.startsWith('*'))) {
        wide.push(entry);
        return;
      }
      for (const host of new Set(hosts)) {
        const list = exact.get(host);
        if (list === undefined) exact.set(host, [entry]);
        else list.push(entry);
      }
    },
    of(host: string): readonly VirtualService[] {
      const covers = ({ hosts }: ConnectionOwner): boolean =>
        hosts.some((name) => hostMatches(name, host) || hostMatches(host, name));
      if (host.startsWith('*')) return all.filter(covers).map(({ owner }) => owner);
      const named = exact.get(host);
      if (wide.length === 0) return named === undefined ? noOwners : named.map(({ owner }) => owner);
      return [...(named ?? []), ...wide.filter(covers)].sort((a, b) => a.place - b.place).map(({ owner }) => owner);
    },
  };
}

const noOwners: readonly VirtualService[] = [];
