import { bool, enumOf, message, uint32, uint64, wrapped } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type TypedExtensionConfig, typedExtensionConfigSchema } from './base.ts';
import {
  type ConsistentHashingLbConfig,
  consistentHashing,
  type LocalityWeightedLbConfig,
  localityWeighted,
  type SlowStartConfig,
  slowStart,
  type ZoneAwareLbConfig,
  zoneAware,
} from './lb-parts.ts';
import { type Percent, percentSchema } from './ranges.ts';

/** `envoy.config.cluster.v3.Cluster.RingHashLbConfig.HashFunction`. */
export type ClusterRingHashLbConfigHashFunction = 'XX_HASH' | 'MURMUR_HASH_2';

const clusterRingHashLbConfigHashFunctionKind = enumOf('XX_HASH', 'MURMUR_HASH_2');

export const clusterSlowStartConfigSchema: Schema<SlowStartConfig> = slowStart(
  'envoy.config.cluster.v3.Cluster.SlowStartConfig',
);

/** `envoy.config.cluster.v3.Cluster.RoundRobinLbConfig`. */
export interface RoundRobinLbConfig {
  readonly slow_start_config: SlowStartConfig | undefined;
}

export const roundRobinLbConfigSchema: Schema<RoundRobinLbConfig> = schema<RoundRobinLbConfig>(
  'envoy.config.cluster.v3.Cluster.RoundRobinLbConfig',
  {
    fields: {
      slow_start_config: single(
        1,
        message(() => clusterSlowStartConfigSchema),
      ),
    },
  },
);

/** `envoy.config.cluster.v3.Cluster.LeastRequestLbConfig`. */
export interface LeastRequestLbConfig {
  readonly slow_start_config: SlowStartConfig | undefined;
}

export const leastRequestLbConfigSchema: Schema<LeastRequestLbConfig> = schema<LeastRequestLbConfig>(
  'envoy.config.cluster.v3.Cluster.LeastRequestLbConfig',
  {
    fields: {
      slow_start_config: single(
        3,
        message(() => clusterSlowStartConfigSchema),
      ),
    },
    ignored: { 1: 'choice_count', 2: 'active_request_bias' },
  },
);

/** `envoy.config.cluster.v3.Cluster.RingHashLbConfig`. */
export interface RingHashLbConfig {
  readonly minimum_ring_size: number | undefined;
  readonly hash_function: ClusterRingHashLbConfigHashFunction | number;
  readonly maximum_ring_size: number | undefined;
}

export const ringHashLbConfigSchema: Schema<RingHashLbConfig> = schema<RingHashLbConfig>(
  'envoy.config.cluster.v3.Cluster.RingHashLbConfig',
  {
    fields: {
      minimum_ring_size: single(1, wrapped(uint64)),
      hash_function: single(3, clusterRingHashLbConfigHashFunctionKind),
      maximum_ring_size: single(4, wrapped(uint64)),
    },
  },
);

/** `envoy.config.cluster.v3.Cluster.MaglevLbConfig`. */
export interface MaglevLbConfig {
  readonly table_size: number | undefined;
}

export const maglevLbConfigSchema: Schema<MaglevLbConfig> = schema<MaglevLbConfig>(
  'envoy.config.cluster.v3.Cluster.MaglevLbConfig',
  {
    fields: {
      table_size: single(1, wrapped(uint64)),
    },
  },
);

/** `envoy.config.cluster.v3.Cluster.OriginalDstLbConfig`. */
export interface OriginalDstLbConfig {
  readonly use_http_header: boolean;
  readonly upstream_port_override: number | undefined;
}

export const originalDstLbConfigSchema: Schema<OriginalDstLbConfig> = schema<OriginalDstLbConfig>(
  'envoy.config.cluster.v3.Cluster.OriginalDstLbConfig',
  {
    fields: {
      use_http_header: single(1, bool),
      upstream_port_override: single(3, wrapped(uint32)),
    },
    ignored: { 2: 'http_header_name', 4: 'metadata_key' },
  },
);

/** `envoy.config.cluster.v3.Cluster.CommonLbConfig`. */
export interface CommonLbConfig {
  readonly healthy_panic_threshold: Percent | undefined;
  readonly zone_aware_lb_config: ZoneAwareLbConfig | undefined;
  readonly locality_weighted_lb_config: LocalityWeightedLbConfig | undefined;
  readonly ignore_new_hosts_until_first_hc: boolean;
  readonly consistent_hashing_lb_config: ConsistentHashingLbConfig | undefined;
}

export const commonLbConfigSchema: Schema<CommonLbConfig> = schema<CommonLbConfig>(
  'envoy.config.cluster.v3.Cluster.CommonLbConfig',
  {
    fields: {
      healthy_panic_threshold: single(
        1,
        message(() => percentSchema),
      ),
      zone_aware_lb_config: single(
        2,
        message(() => clusterZoneAwareLbConfigSchema),
      ),
      locality_weighted_lb_config: single(
        3,
        message(() => clusterLocalityWeightedLbConfigSchema),
      ),
      ignore_new_hosts_until_first_hc: single(5, bool),
      consistent_hashing_lb_config: single(
        7,
        message(() => clusterConsistentHashingLbConfigSchema),
      ),
    },
    ignored: { 4: 'update_merge_window', 6: 'close_connections_on_host_set_change', 8: 'override_host_status' },
    oneofs: [['zone_aware_lb_config', 'locality_weighted_lb_config']],
  },
);

export const clusterZoneAwareLbConfigSchema: Schema<ZoneAwareLbConfig> = zoneAware(
  'envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig',
);

export const clusterLocalityWeightedLbConfigSchema: Schema<LocalityWeightedLbConfig> = localityWeighted(
  'envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig',
);

export const clusterConsistentHashingLbConfigSchema: Schema<ConsistentHashingLbConfig> = consistentHashing(
  'envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig',
);

/** `envoy.config.cluster.v3.LoadBalancingPolicy`. */
export interface LoadBalancingPolicy {
  readonly policies: readonly LoadBalancingPolicyEntry[];
}

export const loadBalancingPolicySchema: Schema<LoadBalancingPolicy> = schema<LoadBalancingPolicy>(
  'envoy.config.cluster.v3.LoadBalancingPolicy',
  {
    fields: {
      policies: repeated(
        1,
        message(() => loadBalancingPolicyEntrySchema),
      ),
    },
  },
);

/** `envoy.config.cluster.v3.LoadBalancingPolicy.Policy`. */
export interface LoadBalancingPolicyEntry {
  readonly typed_extension_config: TypedExtensionConfig | undefined;
}

export const loadBalancingPolicyEntrySchema: Schema<LoadBalancingPolicyEntry> = schema<LoadBalancingPolicyEntry>(
  'envoy.config.cluster.v3.LoadBalancingPolicy.Policy',
  {
    fields: {
      typed_extension_config: single(
        4,
        message(() => typedExtensionConfigSchema),
      ),
    },
  },
);
