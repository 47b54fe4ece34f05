import { isDeepStrictEqual } from 'node:util';
import type { AccessLogPolicy } from './access-log.ts';
import type { AuthorizationPolicy } from './authorization.ts';
import type { Cluster } from './cluster.ts';
import type { InboundPolicy } from './inbound.ts';
import type { MetricOverrides } from './metric-overrides.ts';
import type { VirtualHost } from './route.ts';
import type { TracingPolicy } from './tracing.ts';
import type { MeshTrust } from './trust.ts';

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
  /** Under `ALLOW_ANY`: the cluster through which hosts that nothing matches are called. Absent: directly. */
  readonly egressProxy?: string;
  /** How often names are asked for whose answers have no time to live. Absent: 30,000 ms. */
  readonly dnsRefreshMs?: number;
  readonly inbound: InboundPolicy;
  /** EgressPolicies that select this workload. Absent: it may call whatever it can reach. */
  readonly egress?: readonly AuthorizationPolicy[];
  /** Present where some balancer wants to know who else calls. */
  readonly callers?: Callers;
  /** Present where the mesh says more of trust than the identity source. */
  readonly trust?: MeshTrust;
  /** Absent: no access log, Istio's default. */
  readonly accessLog?: AccessLogPolicy;
  /** Absent: Istio's metrics with all of their labels. */
  readonly metricOverrides?: MetricOverrides;
  /** What is traced, where there is a tracer. Absent: `defaultTracingPolicy`. */
  readonly tracing?: TracingPolicy;
}

/** How many processes there are of the workload that calls, itself included, by `region/zone/subzone`. */
export type Callers = Readonly<Record<string, number>>;

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
  if (previous === undefined || previous === next || sharesWith.get(next)?.deref() === previous) return next;
  const clusters = keepClusters(previous.clusters, next.clusters);
  const { hosts, wildcardHosts } = keepHosts(previous, next);
  return markShared(previous, {
    ...next,
    clusters,
    hosts,
    wildcardHosts,
    inbound: keep(previous.inbound, next.inbound),
    ...(next.egress === undefined ? {} : { egress: keep(previous.egress, next.egress) }),
    ...(next.callers === undefined ? {} : { callers: keep(previous.callers, next.callers) }),
    ...(next.accessLog === undefined ? {} : { accessLog: keep(previous.accessLog, next.accessLog) }),
    ...(next.metricOverrides === undefined
      ? {}
      : { metricOverrides: keep(previous.metricOverrides, next.metricOverrides) }),
    ...(next.trust === undefined ? {} : { trust: keep(previous.trust, next.trust) }),
    ...(next.tracing === undefined ? {} : { tracing: keep(previous.tracing, next.tracing) }),
  });
}

/** Says that `next` has all of `previous` in it that did not change, so that nobody compares them. */
export function markShared(previous: Snapshot, next: Snapshot): Snapshot {
  sharesWith.set(next, new WeakRef(previous));
  return next;
}

/** The snapshot with which another was compared already; weakly, or each would keep all before it. */
const sharesWith = new WeakMap<Snapshot, WeakRef<Snapshot>>();

function keepClusters(before: Snapshot['clusters'], next: Snapshot['clusters']): Snapshot['clusters'] {
  let kept: Map<string, Cluster> | undefined;
  for (const [name, fresh] of next) {
    const cluster = keep(before.get(name), fresh);
    if (cluster === fresh) continue;
    kept ??= new Map(next);
    kept.set(name, cluster);
  }
  return kept ?? next;
}

/** Several names share one virtual host object; that sharing stays, also when there is a new name. */
function keepHosts(previous: Snapshot, next: Snapshot): Pick<Snapshot, 'hosts' | 'wildcardHosts'> {
  const kept = new Map<VirtualHost, VirtualHost>();
  let before: Map<string, VirtualHost> | undefined;
  const keepHost = (known: VirtualHost | undefined, fresh: VirtualHost): VirtualHost => {
    // Mostly it is the very same.
    if (known === fresh) return fresh;
    let result = kept.get(fresh);
    if (result === undefined) {
      before ??= hostsByName(previous);
      kept.set(fresh, (result = keepRoutes(before.get(fresh.name), fresh)));
    }
    return result;
  };
  let hosts: Map<string, VirtualHost> | undefined;
  for (const [name, fresh] of next.hosts) {
    const host = keepHost(previous.hosts.get(name), fresh);
    if (host === fresh) continue;
    hosts ??= new Map(next.hosts);
    hosts.set(name, host);
  }
  const wildcardHosts = next.wildcardHosts.map((wildcard, index) => {
    const virtualHost = keepHost(previous.wildcardHosts[index]?.virtualHost, wildcard.virtualHost);
    return virtualHost === wildcard.virtualHost ? wildcard : { ...wildcard, virtualHost };
  });
  return { hosts: hosts ?? next.hosts, wildcardHosts };
}

function hostsByName({ hosts, wildcardHosts }: Snapshot): Map<string, VirtualHost> {
  const byName = new Map<string, VirtualHost>();
  for (const { virtualHost } of wildcardHosts) byName.set(virtualHost.name, virtualHost);
  for (const host of hosts.values()) byName.set(host.name, host);
  return byName;
}

/** The old object, or as many of its routes as did not change. */
export function keepRoutes(old: VirtualHost | undefined, fresh: VirtualHost): VirtualHost {
  if (old === undefined || old === fresh || isDeepStrictEqual(old, fresh)) return old ?? fresh;
  const before = new Map(old.routes.map((route) => [route.name, route]));
  return { ...fresh, routes: fresh.routes.map((route) => keep(before.get(route.name), route)) };
}

function keep<T>(old: T | undefined, fresh: T): T {
  return old !== undefined && (old === fresh || isDeepStrictEqual(old, fresh)) ? old : fresh;
}
