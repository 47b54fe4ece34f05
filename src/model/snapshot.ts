import { isDeepStrictEqual } from 'node:util';
import type { Cluster } from './cluster.ts';
import type { InboundPolicy } from './inbound.ts';
import type { VirtualHost } from './route.ts';

/**
 * All that the mesh is told, at one moment. Never changed after it was built: a call reads one
 * snapshot at its start and keeps it to its end, so that no call mixes two configurations.
 */
export interface Snapshot {
  /** Changes with every accepted configuration; for people and telemetry. */
  readonly version: string;
  /**
   * Every name by which this workload may call a service, lower case and with port: short names,
   * `name.namespace`, the full name, IP addresses (IPv6 in brackets). `reviews:9080` and
   * `reviews.bookinfo.svc.cluster.local:9080` map to the same object.
   */
  readonly hosts: ReadonlyMap<string, VirtualHost>;
  /** `*.example.com` hosts, most specific (longest suffix) first. */
  readonly wildcardHosts: readonly WildcardHost[];
  /** By cluster name. */
  readonly clusters: ReadonlyMap<string, Cluster>;
  /** Hosts that nothing matches: called directly (ALLOW_ANY) or refused (REGISTRY_ONLY). */
  readonly outboundPolicy: OutboundPolicy;
  readonly inbound: InboundPolicy;
}

export type OutboundPolicy = 'ALLOW_ANY' | 'REGISTRY_ONLY';

export interface WildcardHost {
  /** With the leading dot: `.example.com`. '' matches every host. */
  readonly suffix: string;
  readonly port: number;
  readonly virtualHost: VirtualHost;
}

/**
 * Keeps the object identity of whatever did not change between two snapshots, so that reconciling
 * costs what changed and not what exists.
 */
export function shareUnchanged(previous: Snapshot | undefined, next: Snapshot): Snapshot {
  if (previous === undefined) return next;
  const clusters = new Map<string, Cluster>();
  for (const [name, cluster] of next.clusters) clusters.set(name, keep(previous.clusters.get(name), cluster));
  // Several names share one virtual host object; keep that sharing, also when there is a new name.
  const before = new Map<string, VirtualHost>();
  for (const { virtualHost } of previous.wildcardHosts) before.set(virtualHost.name, virtualHost);
  for (const host of previous.hosts.values()) before.set(host.name, host);
  const kept = new Map<VirtualHost, VirtualHost>();
  const keepHost = (fresh: VirtualHost): VirtualHost => {
    let result = kept.get(fresh);
    if (result === undefined) kept.set(fresh, (result = keepRoutes(before.get(fresh.name), fresh)));
    return result;
  };
  const hosts = new Map<string, VirtualHost>();
  for (const [name, host] of next.hosts) hosts.set(name, keepHost(host));
  const wildcardHosts = next.wildcardHosts.map((w) => ({ ...w, virtualHost: keepHost(w.virtualHost) }));
  return { ...next, clusters, hosts, wildcardHosts, inbound: keep(previous.inbound, next.inbound) };
}

function keepRoutes(old: VirtualHost | undefined, fresh: VirtualHost): VirtualHost {
  if (old === undefined || isDeepStrictEqual(old, fresh)) return old ?? fresh;
  const before = new Map(old.routes.map((route) => [route.name, route]));
  return { ...fresh, routes: fresh.routes.map((route) => keep(before.get(route.name), route)) };
}

function keep<T>(old: T | undefined, fresh: T): T {
  return old !== undefined && isDeepStrictEqual(old, fresh) ? old : fresh;
}
