import type { Clock } from '../lib/clock.ts';
import { highOf, lowOf } from '../lib/xxhash64.ts';
import type { ConsistentHash } from '../model/cluster.ts';
import { withinBounds } from './bounded-load.ts';
import { type Candidate, weighted } from './candidate.ts';
import type { HashTable } from './hash-table.ts';
import { createMaglev } from './maglev.ts';
import { createRing, type PointCache } from './ring.ts';

/** An endpoint that is found by hash. */
export interface HashedCandidate extends Candidate {
  /** `10.0.0.7:9080`. */
  readonly name: string;
}

/** Chooses by the hash of a request, among a set that changes. */
export interface HashBalancer<E> {
  /**
   * The set as it is now. Costs nothing by itself: the table is made when it is next asked for.
   * `weightOf`: in place of the weights that the endpoints have of themselves.
   */
  use(candidates: readonly E[], weightOf?: (endpoint: E) => number): void;
  /** The endpoint for a hash; `attempt` above 0: another choice for the same hash, often another endpoint. */
  pick(hash: bigint, attempt?: number): E | undefined;
}

/** A table made for a set. */
interface Made<E> {
  readonly endpoints: readonly E[];
  readonly weights: readonly number[];
  readonly table: HashTable;
}

/**
 * Ring hash or Maglev over a set that changes. Endpoints that stay keep nearly all of their keys.
 *
 * A table is made when a set is asked for the first time, and making tables takes at most a
 * twentieth of the time: when endpoints change all the time, the last table stays in use for a
 * moment (20 times what it cost to make, so milliseconds), without those that have left.
 */
export function createHashBalancer<E extends HashedCandidate>(policy: ConsistentHash, clock: Clock): HashBalancer<E> {
  const { algorithm, balanceFactor } = policy;
  const points: PointCache = new Map();
  let current: readonly E[] = [];
  let weightOf: ((endpoint: E) => number) | undefined;
  let made: Made<E> | undefined;
  /** The table is that of the current set. */
  let fresh = true;
  /** Monotonic time before which no other table is made. */
  let notBefore = Number.NEGATIVE_INFINITY;
  /** The current set, while the table is that of an older one. */
  let members: ReadonlySet<E> | undefined;

  const make = (startedAt: number): void => {
    const endpoints = weighted(current);
    const given = endpoints.map((endpoint) => weightOf?.(endpoint) ?? (endpoint.weight || 1));
    const total = given.reduce((sum, weight) => sum + weight, 0);
    const weights = given.map((weight) => weight / total);
    const names = endpoints.map(({ name }) => name);
    const set = { names, weights };
    const table =
      algorithm.kind === 'maglev'
        ? createMaglev(set, algorithm.tableSize)
        : createRing(set, algorithm.minimumRingSize, points);
    forget(points, names);
    made = { endpoints, weights, table };
    fresh = true;
    members = undefined;
    const endedAt = clock.now();
    notBefore = endedAt + pauseFactor * (endedAt - startedAt);
  };

  const find = ({ endpoints, weights, table }: Made<E>, hash: bigint, attempt: number): E => {
    const found = table.find(highOf(hash), lowOf(hash), attempt);
    return balanceFactor === undefined
      ? (endpoints[found] as E)
      : withinBounds(endpoints, weights, found, hash, balanceFactor);
  };

  return {
    use(candidates, weigh) {
      current = candidates;
      weightOf = weigh;
      fresh = false;
      members = undefined;
    },
    pick(hash, attempt = 0) {
      if (current.length <= 1) return current[0];
      if (!fresh) {
        const now = clock.now();
        if (made === undefined || now >= notBefore) make(now);
      }
      const table = made as Made<E>;
      if (fresh) return find(table, hash, attempt);
      members ??= new Set(current);
      for (let i = attempt; i < attempt + staleAttempts; i++) {
        const endpoint = find(table, hash, i);
        if (members.has(endpoint)) return endpoint;
      }
      return current[lowOf(hash) % current.length];
    },
  };
}

/** Pause after a table was made, in multiples of what that took. */
const pauseFactor = 20;
/** Choices of an old table that may be gone before anyone of the current set is taken. */
const staleAttempts = 16;

/** Keeps the points of those that are there. */
function forget(points: PointCache, names: readonly string[]): void {
  if (points.size <= names.length) return;
  const known = new Set(names);
  for (const name of points.keys()) if (!known.has(name)) points.delete(name);
}
