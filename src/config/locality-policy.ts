import type { FailoverSpec, LocalitySpec, ZoneAwareSpec } from './traffic-policy-spec.ts';

/** Istio `localityLbSetting`. */
export interface LocalityPolicy {
  readonly enabled: boolean;
  /** Not empty: these weights, and no failover. */
  readonly distribute: readonly LocalityDistribution[];
  readonly failover: readonly LocalityFailover[];
  /** `label` or `label=value`, most important first. */
  readonly failoverPriority: readonly string[];
}

export interface LocalityDistribution {
  /** `region/zone/subzone`, the last part may be `*`. */
  readonly from: string;
  /** Locality to percent; the sum is 100. */
  readonly to: Readonly<Record<string, number>>;
}

/** Regions. */
export interface LocalityFailover {
  readonly from: string;
  readonly to: string;
}

/** Istio `zoneAwareLbSetting`. */
export interface ZoneAwarePolicy {
  readonly enabled: boolean;
  /** With fewer endpoints in the own region zones do not count. Default 6. */
  readonly minClusterSize: number;
  readonly failover: readonly LocalityFailover[];
  readonly failoverPriority: readonly string[];
}

/** What is near comes first, if outlier detection says who is left: Istio's `MeshConfig` has this from the start. */
export const defaultLocality: LocalityPolicy = { enabled: true, distribute: [], failover: [], failoverPriority: [] };

/** Istio's setting with its defaults. */
export function compileLocality(spec: LocalitySpec): LocalityPolicy {
  return {
    enabled: spec.enabled ?? true,
    distribute: (spec.distribute ?? []).map(({ from = '', to = {} }) => ({ from, to })),
    failover: compileFailover(spec.failover),
    failoverPriority: spec.failoverPriority ?? [],
  };
}

/** Istio's setting with its defaults. */
export function compileZones(spec: ZoneAwareSpec): ZoneAwarePolicy {
  return {
    enabled: spec.enabled ?? true,
    minClusterSize: spec.minClusterSize ?? 6,
    failover: compileFailover(spec.failover),
    failoverPriority: spec.failoverPriority ?? [],
  };
}

function compileFailover(spec: readonly FailoverSpec[] = []): LocalityPolicy['failover'] {
  return spec.map(({ from = '', to = '' }) => ({ from, to }));
}
