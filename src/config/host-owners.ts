import type { Workload } from '../model/workload.ts';
import type { Collector } from './collector.ts';
import { hostMatches, specificity } from './destination-rules.ts';
import { isDelegate, isForMesh, type VirtualService } from './istio-virtual-service.ts';
import { describePlace, describeResource } from './problem.ts';
import type { Registry } from './registry.ts';
import { byAge, isExported, resolveHost } from './resource.ts';

/** Which VirtualServices decide for which host. */
export interface HostOwners {
  /** Those that this workload sees, in Istio's order. */
  readonly visible: readonly VirtualService[];
  /** Every host of these, with its VirtualServices in order: the first that has a rule for a port decides there. */
  readonly byHost: ReadonlyMap<string, readonly VirtualService[]>;
  /** Those for the HTTP calls to a host: with its very name, else that of its most specific wildcard. */
  forHttp(host: string): readonly VirtualService[];
  /** Those for the connections to a host: all that cover it. */
  forConnections(host: string): readonly VirtualService[];
}

/**
 * Istio's order: VirtualServices made for this namespace alone, those exported to it by name, the public ones; older
 * ones first. For HTTP one alone decides for a host and port; that others have no effect is said in the report.
 */
export function createHostOwners(
  virtualServices: readonly VirtualService[],
  registry: Registry,
  { namespace, clusterDomain }: Workload,
  collector: Collector,
): HostOwners {
  const rank = ({ body }: VirtualService): number => {
    const { exportTo = [] } = body.spec;
    return exportTo.length === 0 || exportTo.includes('*') ? 2 : exportTo.includes('.') ? 0 : 1;
  };
  const visible = virtualServices
    .filter(
      (each) => isForMesh(each) && !isDelegate(each) && isExported(each.body.spec.exportTo, each.namespace, namespace),
    )
    .sort((a, b) => rank(a) - rank(b) || byAge(a, b));
  const byHost = new Map<string, VirtualService[]>();
  const connections: { readonly owner: VirtualService; readonly hosts: readonly string[] }[] = [];
  for (const owner of visible) {
    const { hosts = [], http = [], tcp = [], tls = [] } = owner.body.spec;
    const full = hosts.map((name) => resolveHost(name, owner.namespace, clusterDomain));
    if (tcp.length > 0 || tls.length > 0) connections.push({ owner, hosts: full });
    for (const [index, host] of full.entries()) {
      const long = `${host}.svc.${clusterDomain}`;
      if (registry.find(host) === undefined && registry.find(long) !== undefined) {
        collector.warn(owner, ['spec', 'hosts', index], 'enforced', `is not expanded; the service is ${long}`);
      }
      if (http.length === 0) continue;
      const owners = byHost.get(host) ?? [];
      byHost.set(host, owners);
      const [first] = owners;
      if (first !== undefined) {
        const winner = `${describeResource(first)} (${describePlace(collector.at(first, []))})`;
        collector.warn(owner, ['spec', 'hosts', index], 'ignored', `${winner} already routes ${host}`);
      }
      owners.push(owner);
    }
  }
  const wildcards = [...byHost.keys()].filter((host) => host.startsWith('*'));
  return {
    visible,
    byHost,
    forHttp(host) {
      const exact = byHost.get(host);
      if (exact !== undefined) return exact;
      let best: string | undefined;
      for (const pattern of wildcards) {
        if (!hostMatches(pattern, host)) continue;
        if (best === undefined || specificity(pattern) > specificity(best)) best = pattern;
      }
      // Istio looks for the VirtualService of a wildcard once, whatever the port.
      return best === undefined ? [] : (byHost.get(best) ?? []).slice(0, 1);
    },
    forConnections: (host) =>
      connections
        .filter(({ hosts }) => hosts.some((name) => hostMatches(name, host) || hostMatches(host, name)))
        .map(({ owner }) => owner),
  };
}
