import type { VirtualHost } from '../model/route.ts';
import type { Snapshot, WildcardHost } from '../model/snapshot.ts';
import { type Collector, sayOnce } from './collector.ts';
import type { VirtualService } from './istio-virtual-service.ts';
import { createRegistry } from './registry.ts';
import type { SidecarScope } from './sidecar-scope.ts';
import { compareWildcards, compileVirtualHosts, type VirtualHostSources } from './virtual-hosts.ts';

/**
 * The names that a workload may call under its Sidecar. Each listener has services and rules of its
 * own, so each is compiled by itself, and what it says of other ports than its own is dropped.
 */
export function compileScopedHosts(
  scope: SidecarScope,
  sources: VirtualHostSources,
  collector: Collector,
): Pick<Snapshot, 'hosts' | 'wildcardHosts'> {
  const once = sayOnce(collector);
  const hosts = new Map<string, VirtualHost>();
  const wildcards = new Map<string, WildcardHost>();
  const checked = new Set<VirtualService>();
  for (const { services, virtualServices, serves } of scope.listeners) {
    const callable = createRegistry(services, sources.workload.namespace, once);
    const compiled = compileVirtualHosts({ ...sources, callable, virtualServices, checked }, once);
    for (const [name, host] of compiled.hosts) {
      if (!hosts.has(name) && serves(Number(name.slice(name.lastIndexOf(':') + 1)))) hosts.set(name, host);
    }
    for (const wildcard of compiled.wildcardHosts) {
      const name = `${wildcard.suffix}:${wildcard.port}`;
      if (!wildcards.has(name) && serves(wildcard.port)) wildcards.set(name, wildcard);
    }
  }
  return { hosts, wildcardHosts: [...wildcards.values()].sort(compareWildcards) };
}
