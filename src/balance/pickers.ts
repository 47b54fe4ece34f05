import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { joinHash } from '../lib/xxhash64.ts';
import type { BalancePolicy, ConsistentHash, WarmupPolicy } from '../model/cluster.ts';
import { createBalancer, type Remembered } from './balancer.ts';
import type { Picker } from './candidate.ts';
import { createHashBalancer, type HashBalancer, type HashedCandidate } from './hash-balancer.ts';
import { createPicker } from './picker.ts';
import { createSlowStart, type SlowStart } from './slow-start.ts';
import { createSubset, type Subset } from './subset.ts';

/** How the endpoints of one cluster are chosen; fits {@link Cluster}. */
export interface Balancing {
  readonly balance: BalancePolicy;
  readonly subsetSize?: number;
  readonly hash?: ConsistentHash;
  readonly warmup?: WarmupPolicy;
}

/** Makes the pickers of one cluster, and remembers for them what outlives a set: tables, and who is new. */
export interface Pickers<E> {
  /** What holds from now on, and who there is. To be told of each change, before pickers are made. */
  use(balancing: Balancing, all: readonly E[]): void;
  /**
   * A picker over a set. Sets of which only one at a time is in use, like all endpoints of one
   * priority, have the same `slot`, so that a consistent hash moves only what it must. `weightOf`: for a
   * consistent hash, in place of the weights that the endpoints have of themselves.
   */
  of(endpoints: readonly E[], slot: number, weightOf?: (endpoint: E) => number): Picker<E>;
  /** Those of a set that this process calls: all, or its subset of them. */
  ours(endpoints: readonly E[]): readonly E[];
  close(): void;
}

export interface PickersDependencies {
  readonly clock: Clock;
  readonly random: Random;
  /** Name of this process, by which it chooses a subset of many endpoints. Default ''. */
  readonly instance?: string;
  /** Endpoints that were new are no longer: other pickers will do now. */
  warm(): void;
}

/** An endpoint that may be out of service for a while. */
interface Served extends Remembered, HashedCandidate {
  readonly available: boolean;
}

export function createPickers<E extends Served>(dependencies: PickersDependencies): Pickers<E> {
  const { clock, instance = '', random, warm } = dependencies;
  let balance: BalancePolicy = 'LEAST_REQUEST';
  let hash: ConsistentHash | undefined;
  let warmup: WarmupPolicy | undefined;
  /** Kept as long as its size: it remembers lots. */
  let subset: Subset<E> | undefined;
  let slowStart: SlowStart<E> | undefined;
  let factorOf: ((endpoint: E) => number) | undefined;
  const tables = new Map<number, HashBalancer<E>>();

  const ours = (endpoints: readonly E[]): readonly E[] => subset?.of(endpoints) ?? endpoints;

  const plain = (endpoints: readonly E[]): Picker<E> =>
    createBalancer(balance, ours(endpoints), { clock, random, ...(factorOf === undefined ? {} : { factorOf }) });

  const hashed = (
    policy: ConsistentHash,
    endpoints: readonly E[],
    slot: number,
    weightOf: ((endpoint: E) => number) | undefined,
  ): Picker<E> => {
    let table = tables.get(slot);
    if (table === undefined) tables.set(slot, (table = createHashBalancer<E>(policy, clock)));
    table.use(endpoints, weightOf);
    const { pick } = table;
    if (weightOf !== undefined) return (of = anyHash(random), attempt) => pick(of, attempt);
    // Where a request has no key any endpoint will do.
    let keyless: Picker<E> | undefined;
    return (of, attempt) =>
      of === undefined ? (keyless ??= createPicker('LEAST_REQUEST', endpoints, random))() : pick(of, attempt);
  };

  return {
    use(balancing, all) {
      balance = balancing.balance;
      if (!isDeepStrictEqual(hash, balancing.hash)) {
        tables.clear();
        hash = balancing.hash;
      }
      // As in Envoy: not where the key decides.
      const wanted = hash === undefined ? balancing.warmup : undefined;
      if (!isDeepStrictEqual(warmup, wanted)) {
        slowStart?.close();
        warmup = wanted;
        slowStart = wanted === undefined ? undefined : createSlowStart<E>(wanted, clock, warm);
      }
      // Nor here: the same key must lead every process to the same endpoint.
      const size = hash === undefined ? balancing.subsetSize : undefined;
      if (size !== subset?.size) subset = size === undefined ? undefined : createSubset(instance, size);
      factorOf = slowStart?.update(all.filter(({ available }) => available));
    },
    of: (endpoints, slot, weightOf) =>
      hash === undefined ? plain(endpoints) : hashed(hash, endpoints, slot, weightOf),
    ours,
    close: () => slowStart?.close(),
  };
}

/** For a request without a key, where only the table knows the weights. */
function anyHash(random: Random): bigint {
  return joinHash(Math.floor(random() * 4_294_967_296), Math.floor(random() * 4_294_967_296));
}
