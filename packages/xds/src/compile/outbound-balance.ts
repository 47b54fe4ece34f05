import type { BalancePolicy, ConsistentHash, WarmupPolicy } from 'inmesh/model';
import { type Any, typeOf } from '../proto/any.ts';
import type { Cluster } from '../proto/envoy/cluster.ts';
import type { CommonLbConfig } from '../proto/envoy/cluster-lb.ts';
import {
  clientSideWeightedRoundRobinSchema,
  clusterProvidedSchema,
  type LocalityLbConfig,
  leastRequestSchema,
  maglevSchema,
  pickFirstSchema,
  randomSchema,
  ringHashSchema,
  roundRobinSchema,
  wrrLocalitySchema,
} from '../proto/envoy/lb-policies.ts';
import { ResourceError } from '../resources.ts';
import type { Remarks } from './outbound-remarks.ts';
import { unpackAt } from './unpack.ts';

/** How endpoints of a cluster are chosen; the keys of a hash are a matter of routes. */
export interface ReadBalance {
  readonly balance: BalancePolicy;
  readonly hash?: Omit<ConsistentHash, 'key' | 'furtherKeys'>;
  readonly warmup?: WarmupPolicy;
  readonly locality?: 'weighted' | { readonly minClusterSize: number };
  /** The address that the caller named. */
  readonly original?: true;
}

interface SlowStart {
  readonly slow_start_window: number | undefined;
  readonly aggression: { readonly default_value: number } | undefined;
  readonly min_weight_percent: { readonly value: number } | undefined;
}

export function balanceOf(cluster: Cluster, remarks: Remarks): ReadBalance {
  const { load_balancing_policy: policy } = cluster;
  if (policy === undefined) return legacyBalance(cluster, remarks);
  let refused: string | undefined;
  for (const [index, { typed_extension_config: extension }] of policy.policies.entries()) {
    const path = `load_balancing_policy.policies[${index}].typed_extension_config.typed_config`;
    const read = extension === undefined ? undefined : extensionBalance(extension.typed_config, path, remarks, 0);
    if (read !== undefined) return read;
    // Envoy takes the first policy that it knows, as gRPC does (gRFC A52).
    refused ??= extension?.typed_config === undefined ? extension?.name : typeOf(extension.typed_config);
  }
  throw new ResourceError('load_balancing_policy.policies', 'expected a policy that is known here', { value: refused });
}

const maxDepth = 16;

function extensionBalance(
  config: Any | undefined,
  path: string,
  remarks: Remarks,
  depth: number,
): ReadBalance | undefined {
  if (depth > maxDepth) throw new ResourceError(path, `expected at most ${maxDepth} policies in each other`);
  const note = (field: string): void => remarks.ignored(field, 'not read');
  switch (config === undefined ? '' : typeOf(config)) {
    case roundRobinSchema.name: {
      const read = unpackAt(roundRobinSchema, config, path, note);
      return { balance: 'ROUND_ROBIN', ...warmupOf(read?.slow_start_config), ...localityOf(read?.locality_lb_config) };
    }
    case leastRequestSchema.name: {
      const read = unpackAt(leastRequestSchema, config, path, note);
      return {
        balance: 'LEAST_REQUEST',
        ...warmupOf(read?.slow_start_config),
        ...localityOf(read?.locality_lb_config),
      };
    }
    case randomSchema.name:
      return { balance: 'RANDOM', ...localityOf(unpackAt(randomSchema, config, path, note)?.locality_lb_config) };
    case ringHashSchema.name: {
      const read = unpackAt(ringHashSchema, config, path, note);
      const locality = read?.locality_weighted_lb_config === undefined ? {} : { locality: 'weighted' as const };
      const factor = read?.consistent_hashing_lb_config?.hash_balance_factor;
      return {
        balance: 'LEAST_REQUEST',
        hash: ring(read?.minimum_ring_size, read?.maximum_ring_size, factor, path),
        ...locality,
      };
    }
    case maglevSchema.name: {
      const read = unpackAt(maglevSchema, config, path, note);
      const locality = read?.locality_weighted_lb_config === undefined ? {} : { locality: 'weighted' as const };
      const factor = read?.consistent_hashing_lb_config?.hash_balance_factor;
      return { balance: 'LEAST_REQUEST', hash: maglev(read?.table_size, factor, path), ...locality };
    }
    case clientSideWeightedRoundRobinSchema.name:
      remarks.approximated(path, 'weights follow what servers report of their load, with times of our own');
      return { balance: 'UTILIZATION' };
    case pickFirstSchema.name:
      remarks.approximated(path, 'endpoints take turns, and are not stayed with');
      return { balance: 'ROUND_ROBIN' };
    case wrrLocalitySchema.name: {
      const inner = unpackAt(wrrLocalitySchema, config, path, note)?.endpoint_picking_policy;
      for (const [index, { typed_extension_config: extension }] of inner?.policies.entries() ?? []) {
        const at = `${path}.endpoint_picking_policy.policies[${index}].typed_extension_config.typed_config`;
        const read =
          extension === undefined ? undefined : extensionBalance(extension.typed_config, at, remarks, depth + 1);
        if (read !== undefined) return { ...read, locality: 'weighted' };
      }
      return undefined;
    }
    case clusterProvidedSchema.name:
      return { balance: 'LEAST_REQUEST', original: true };
    default:
      return undefined;
  }
}

function localityOf(config: LocalityLbConfig | undefined): Pick<ReadBalance, 'locality'> {
  if (config?.locality_weighted_lb_config !== undefined) return { locality: 'weighted' };
  return zonesOf(config?.zone_aware_lb_config);
}

interface Zones {
  readonly routing_enabled: { readonly value: number } | undefined;
  readonly min_cluster_size: number | undefined;
}

function zonesOf(zones: Zones | undefined): Pick<ReadBalance, 'locality'> {
  if (zones === undefined || zones.routing_enabled?.value === 0) return {};
  return { locality: { minClusterSize: zones.min_cluster_size ?? 6 } };
}

function legacyBalance(cluster: Cluster, remarks: Remarks): ReadBalance {
  const common = cluster.common_lb_config;
  const locality =
    common?.locality_weighted_lb_config === undefined
      ? zonesOf(common?.zone_aware_lb_config)
      : { locality: 'weighted' as const };
  switch (cluster.lb_policy) {
    case 'ROUND_ROBIN':
      return { balance: 'ROUND_ROBIN', ...warmupOf(cluster.round_robin_lb_config?.slow_start_config), ...locality };
    case 'LEAST_REQUEST':
      return { balance: 'LEAST_REQUEST', ...warmupOf(cluster.least_request_lb_config?.slow_start_config), ...locality };
    case 'RANDOM':
      return { balance: 'RANDOM', ...locality };
    case 'RING_HASH': {
      const config = cluster.ring_hash_lb_config;
      if (config?.hash_function === 'MURMUR_HASH_2') {
        remarks.approximated('ring_hash_lb_config.hash_function', 'the hash is xxHash');
      }
      const hash = ring(config?.minimum_ring_size, config?.maximum_ring_size, factorOf(common), 'ring_hash_lb_config');
      return { balance: 'LEAST_REQUEST', hash, ...locality };
    }
    case 'MAGLEV': {
      const hash = maglev(cluster.maglev_lb_config?.table_size, factorOf(common), 'maglev_lb_config');
      return { balance: 'LEAST_REQUEST', hash, ...locality };
    }
    case 'CLUSTER_PROVIDED':
      return { balance: 'LEAST_REQUEST', original: true, ...locality };
    default:
      throw new ResourceError('lb_policy', 'expected a policy that is known here', { value: cluster.lb_policy });
  }
}

function factorOf(common: CommonLbConfig | undefined): number | undefined {
  return common?.consistent_hashing_lb_config?.hash_balance_factor;
}

/** Envoy's limits. */
const maxRing = 8_388_608;
const maxTable = 5_000_011;

function ring(
  minimum = 1_024,
  maximum = maxRing,
  factor: number | undefined,
  path: string,
): Omit<ConsistentHash, 'key' | 'furtherKeys'> {
  if (maximum > maxRing) {
    throw new ResourceError(`${path}.maximum_ring_size`, `expected at most ${maxRing}`, { value: maximum });
  }
  if (minimum > maximum) {
    throw new ResourceError(`${path}.minimum_ring_size`, 'expected at most the maximum', { value: minimum });
  }
  return { algorithm: { kind: 'ringHash', minimumRingSize: minimum }, ...balanceFactor(factor, path) };
}

function maglev(size = 65_537, factor: number | undefined, path: string): Omit<ConsistentHash, 'key' | 'furtherKeys'> {
  if (size > maxTable || !isPrime(size)) {
    throw new ResourceError(`${path}.table_size`, `expected a prime number up to ${maxTable}`, { value: size });
  }
  return { algorithm: { kind: 'maglev', tableSize: size }, ...balanceFactor(factor, path) };
}

function balanceFactor(factor: number | undefined, path: string): Pick<ConsistentHash, 'balanceFactor'> {
  if (factor === undefined) return {};
  if (factor < 100) throw new ResourceError(`${path}.hash_balance_factor`, 'expected at least 100', { value: factor });
  return { balanceFactor: factor };
}

function isPrime(value: number): boolean {
  if (value < 2) return false;
  for (let by = 2; by * by <= value; by += 1) if (value % by === 0) return false;
  return true;
}

function warmupOf(config: SlowStart | undefined): Pick<ReadBalance, 'warmup'> {
  const window = config?.slow_start_window;
  if (config === undefined || window === undefined || window <= 0) return {};
  return {
    warmup: {
      durationMs: window,
      minimumPercent: config.min_weight_percent?.value ?? 10,
      aggression: config.aggression?.default_value ?? 1,
    },
  };
}
