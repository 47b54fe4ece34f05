import { duration, message, uint32, uint64, wrapped } from '../kinds.ts';
import { type Schema, schema, single } from '../schema.ts';
import { type RuntimeDouble, runtimeDoubleSchema } from './base.ts';
import { type Percent, percentSchema } from './ranges.ts';

// Messages that Envoy has twice, under two names: in its clusters, and in the load balancing policies that came later.

/** `SlowStartConfig`. */
export interface SlowStartConfig {
  readonly slow_start_window: number | undefined;
  readonly aggression: RuntimeDouble | undefined;
  readonly min_weight_percent: Percent | undefined;
}

export function slowStart(name: string): Schema<SlowStartConfig> {
  return schema<SlowStartConfig>(name, {
    fields: {
      slow_start_window: single(1, duration),
      aggression: single(
        2,
        message(() => runtimeDoubleSchema),
      ),
      min_weight_percent: single(
        3,
        message(() => percentSchema),
      ),
    },
  });
}

/** `ZoneAwareLbConfig`. */
export interface ZoneAwareLbConfig {
  readonly routing_enabled: Percent | undefined;
  readonly min_cluster_size: number | undefined;
}

export function zoneAware(name: string): Schema<ZoneAwareLbConfig> {
  return schema<ZoneAwareLbConfig>(name, {
    fields: {
      routing_enabled: single(
        1,
        message(() => percentSchema),
      ),
      min_cluster_size: single(2, wrapped(uint64)),
    },
    ignored: { 3: 'fail_traffic_on_panic' },
  });
}

/** `LocalityWeightedLbConfig`: it says all by being there. */
export type LocalityWeightedLbConfig = Readonly<Record<string, never>>;

export function localityWeighted(name: string): Schema<LocalityWeightedLbConfig> {
  return schema<LocalityWeightedLbConfig>(name, { fields: {} });
}

/** `ConsistentHashingLbConfig`. */
export interface ConsistentHashingLbConfig {
  readonly hash_balance_factor: number | undefined;
}

export function consistentHashing(name: string): Schema<ConsistentHashingLbConfig> {
  return schema<ConsistentHashingLbConfig>(name, {
    fields: {
      hash_balance_factor: single(2, wrapped(uint32)),
    },
    ignored: { 1: 'use_hostname_for_hashing' },
  });
}
