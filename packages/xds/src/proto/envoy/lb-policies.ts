import { enumOf, message, uint64, wrapped } from '../kinds.ts';
import { type Schema, schema, single } from '../schema.ts';
import { type LoadBalancingPolicy, loadBalancingPolicySchema } from './cluster-lb.ts';
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

/** `envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash.HashFunction`. */
export type RingHashHashFunction = 'DEFAULT_HASH' | 'XX_HASH' | 'MURMUR_HASH_2';

const ringHashHashFunctionKind = enumOf('DEFAULT_HASH', 'XX_HASH', 'MURMUR_HASH_2');

/** `envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig`. */
export interface LocalityLbConfig {
  readonly zone_aware_lb_config: ZoneAwareLbConfig | undefined;
  readonly locality_weighted_lb_config: LocalityWeightedLbConfig | undefined;
}

export const localityLbConfigSchema: Schema<LocalityLbConfig> = schema<LocalityLbConfig>(
  'envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig',
  {
    fields: {
      zone_aware_lb_config: single(
        1,
        message(() => zoneAwareLbConfigSchema),
      ),
      locality_weighted_lb_config: single(
        2,
        message(() => localityWeightedLbConfigSchema),
      ),
    },
    oneofs: [['zone_aware_lb_config', 'locality_weighted_lb_config']],
  },
);

export const zoneAwareLbConfigSchema: Schema<ZoneAwareLbConfig> = zoneAware(
  'envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig',
);

export const localityWeightedLbConfigSchema: Schema<LocalityWeightedLbConfig> = localityWeighted(
  'envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.LocalityWeightedLbConfig',
);

export const slowStartConfigSchema: Schema<SlowStartConfig> = slowStart(
  'envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig',
);

export const consistentHashingLbConfigSchema: Schema<ConsistentHashingLbConfig> = consistentHashing(
  'envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig',
);

/** `envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin`. */
export interface RoundRobin {
  readonly slow_start_config: SlowStartConfig | undefined;
  readonly locality_lb_config: LocalityLbConfig | undefined;
}

export const roundRobinSchema: Schema<RoundRobin> = schema<RoundRobin>(
  'envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin',
  {
    fields: {
      slow_start_config: single(
        1,
        message(() => slowStartConfigSchema),
      ),
      locality_lb_config: single(
        2,
        message(() => localityLbConfigSchema),
      ),
    },
  },
);

/** `envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest`. */
export interface LeastRequest {
  readonly slow_start_config: SlowStartConfig | undefined;
  readonly locality_lb_config: LocalityLbConfig | undefined;
}

export const leastRequestSchema: Schema<LeastRequest> = schema<LeastRequest>(
  'envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest',
  {
    fields: {
      slow_start_config: single(
        3,
        message(() => slowStartConfigSchema),
      ),
      locality_lb_config: single(
        4,
        message(() => localityLbConfigSchema),
      ),
    },
    ignored: { 1: 'choice_count', 2: 'active_request_bias', 5: 'enable_full_scan', 6: 'selection_method' },
  },
);

/** `envoy.extensions.load_balancing_policies.random.v3.Random`. */
export interface Random {
  readonly locality_lb_config: LocalityLbConfig | undefined;
}

export const randomSchema: Schema<Random> = schema<Random>(
  'envoy.extensions.load_balancing_policies.random.v3.Random',
  {
    fields: {
      locality_lb_config: single(
        1,
        message(() => localityLbConfigSchema),
      ),
    },
  },
);

/** `envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash`. */
export interface RingHash {
  readonly hash_function: RingHashHashFunction | number;
  readonly minimum_ring_size: number | undefined;
  readonly maximum_ring_size: number | undefined;
  readonly consistent_hashing_lb_config: ConsistentHashingLbConfig | undefined;
  readonly locality_weighted_lb_config: LocalityWeightedLbConfig | undefined;
}

export const ringHashSchema: Schema<RingHash> = schema<RingHash>(
  'envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash',
  {
    fields: {
      hash_function: single(1, ringHashHashFunctionKind),
      minimum_ring_size: single(2, wrapped(uint64)),
      maximum_ring_size: single(3, wrapped(uint64)),
      consistent_hashing_lb_config: single(
        6,
        message(() => consistentHashingLbConfigSchema),
      ),
      locality_weighted_lb_config: single(
        7,
        message(() => localityWeightedLbConfigSchema),
      ),
    },
    ignored: { 4: 'use_hostname_for_hashing', 5: 'hash_balance_factor' },
  },
);

/** `envoy.extensions.load_balancing_policies.maglev.v3.Maglev`. */
export interface Maglev {
  readonly table_size: number | undefined;
  readonly consistent_hashing_lb_config: ConsistentHashingLbConfig | undefined;
  readonly locality_weighted_lb_config: LocalityWeightedLbConfig | undefined;
}

export const maglevSchema: Schema<Maglev> = schema<Maglev>(
  'envoy.extensions.load_balancing_policies.maglev.v3.Maglev',
  {
    fields: {
      table_size: single(1, wrapped(uint64)),
      consistent_hashing_lb_config: single(
        2,
        message(() => consistentHashingLbConfigSchema),
      ),
      locality_weighted_lb_config: single(
        3,
        message(() => localityWeightedLbConfigSchema),
      ),
    },
  },
);

/** `envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality`. */
export interface WrrLocality {
  readonly endpoint_picking_policy: LoadBalancingPolicy | undefined;
}

export const wrrLocalitySchema: Schema<WrrLocality> = schema<WrrLocality>(
  'envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality',
  {
    fields: {
      endpoint_picking_policy: single(
        1,
        message(() => loadBalancingPolicySchema),
      ),
    },
  },
);

/** `envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin`: it says all by being there. */
export type ClientSideWeightedRoundRobin = Readonly<Record<string, never>>;

export const clientSideWeightedRoundRobinSchema: Schema<ClientSideWeightedRoundRobin> =
  schema<ClientSideWeightedRoundRobin>(
    'envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin',
    {
      fields: {},
      ignored: {
        1: 'enable_oob_load_report',
        2: 'oob_reporting_period',
        3: 'blackout_period',
        4: 'weight_expiration_period',
        5: 'weight_update_period',
        6: 'error_utilization_penalty',
      },
    },
  );

/** `envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst`: it says all by being there. */
export type PickFirst = Readonly<Record<string, never>>;

export const pickFirstSchema: Schema<PickFirst> = schema<PickFirst>(
  'envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst',
  {
    fields: {},
    ignored: { 1: 'shuffle_address_list' },
  },
);

/** `envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided`: it says all by being there. */
export type ClusterProvided = Readonly<Record<string, never>>;

export const clusterProvidedSchema: Schema<ClusterProvided> = schema<ClusterProvided>(
  'envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided',
  {
    fields: {},
  },
);
