import { xxHash64 } from '../lib/xxhash64.ts';
import type { HashedSet, HashTable } from './hash-table.ts';

/** Hashes of points, upper and lower half by turns, by the name of their endpoint: kept for the next ring. */
export type PointCache = Map<string, Uint32Array>;

/** Rings larger than what is asked for, because weights differ a lot, end here; in Envoy at 8,388,608. */
export const maxScaledRing = 262_144;

/**
 * Ring hash as Envoy builds it: point number i of an endpoint is XXH64 of `<address>_<i>`, each
 * endpoint has points by its weight, the least of them a whole number, all of them at least
 * `minimumSize`. A hash belongs to the first point that is not before it.
 */
export function createRing(
  { names, weights }: HashedSet,
  minimumSize: number,
  cache: PointCache = new Map(),
): HashTable {
  const counts = pointCounts(weights, minimumSize);
  const size = counts.reduce((sum, count) => sum + count, 0);
  const highs = new Uint32Array(size);
  const lows = new Uint32Array(size);
  const owners = new Uint32Array(size);
  let at = 0;
  for (let owner = 0; owner < names.length; owner++) {
    const count = counts[owner] as number;
    const points = pointsOf(names[owner] as string, count, cache);
    for (let i = 0; i < count; i++, at++) {
      highs[at] = points[2 * i] as number;
      lows[at] = points[2 * i + 1] as number;
      owners[at] = owner;
    }
  }
  const order = sortedOrder(highs, lows);
  const [ringHighs, ringLows, ringOwners] = [highs, lows, owners].map((each) => {
    const sorted = new Uint32Array(size);
    for (let i = 0; i < size; i++) sorted[i] = each[order[i] as number] as number;
    return sorted;
  }) as [Uint32Array, Uint32Array, Uint32Array];

  const { shift, starts } = indexOf(ringHighs);
  return {
    size,
    find(high, low, attempt) {
      let at = starts[high >>> shift] as number;
      while (at < size) {
        const found = ringHighs[at] as number;
        if (found > high || (found === high && (ringLows[at] as number) >= low)) break;
        at++;
      }
      return ringOwners[(at + attempt) % size] as number;
    },
  };
}

/**
 * Where to look first: points are spread evenly, so with about as many drawers as points the right
 * one is the first or second of its drawer. A binary search would take five to ten times as many steps.
 */
function indexOf(highs: Uint32Array): { readonly shift: number; readonly starts: Uint32Array } {
  const bits = Math.max(1, Math.ceil(Math.log2(highs.length)));
  const shift = 32 - bits;
  const starts = new Uint32Array(2 ** bits);
  let at = 0;
  for (let drawer = 0; drawer < starts.length; drawer++) {
    while (at < highs.length && (highs[at] as number) >>> shift < drawer) at++;
    starts[drawer] = at;
  }
  return { shift, starts };
}

/** How many points each endpoint has: running sums, so that fractions add up as they do in Envoy. */
function pointCounts(weights: readonly number[], minimumSize: number): readonly number[] {
  const least = weights.reduce((min, weight) => Math.min(min, weight), 1);
  const scale = Math.min(Math.ceil(least * minimumSize) / least, Math.max(minimumSize, maxScaledRing));
  let target = 0;
  let made = 0;
  return weights.map((weight) => {
    target += scale * weight;
    const count = Math.max(0, Math.ceil(target) - made);
    made += count;
    return count;
  });
}

function pointsOf(name: string, count: number, cache: PointCache): Uint32Array {
  const known = cache.get(name);
  if (known !== undefined && known.length >= 2 * count) return known;
  const points = new Uint32Array(2 * count);
  const from = known === undefined ? 0 : known.length / 2;
  if (known !== undefined) points.set(known);
  const prefix = `${name}_`;
  for (let i = from; i < count; i++) {
    const { high, low } = xxHash64(prefix + i);
    points[2 * i] = high;
    points[2 * i + 1] = low;
  }
  cache.set(name, points);
  return points;
}

/**
 * The indexes in the order of their hashes. Sorting plain numbers is many times faster than sorting
 * with a function: the number is the upper part of the hash and the index behind it, in 53 bits.
 */
function sortedOrder(highs: Uint32Array, lows: Uint32Array): Uint32Array {
  const size = highs.length;
  const indexBits = Math.max(1, Math.ceil(Math.log2(size)));
  const indexes = 2 ** indexBits;
  // Of 2^21 points all 32 bits of the upper half go along, of more points fewer.
  const dropped = 2 ** Math.max(0, indexBits - 21);
  const keys = new Float64Array(size);
  for (let i = 0; i < size; i++) keys[i] = Math.floor((highs[i] as number) / dropped) * indexes + i;
  keys.sort();
  const order = new Uint32Array(size);
  for (let i = 0; i < size; i++) order[i] = (keys[i] as number) % indexes;
  // What the number does not say apart is told by the rest: hardly ever more than two neighbours.
  for (let i = 1; i < size; i++) {
    const index = order[i] as number;
    let at = i;
    for (; at > 0 && isBefore(index, order[at - 1] as number, highs, lows); at--) order[at] = order[at - 1] as number;
    order[at] = index;
  }
  return order;
}

function isBefore(a: number, b: number, highs: Uint32Array, lows: Uint32Array): boolean {
  const difference = (highs[a] as number) - (highs[b] as number);
  return difference < 0 || (difference === 0 && (lows[a] as number) < (lows[b] as number));
}
