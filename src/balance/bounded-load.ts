import { mersenneTwister } from '../lib/mersenne.ts';
import { lowOf } from '../lib/xxhash64.ts';
import type { Candidate } from './candidate.ts';

/**
 * Consistent hashing with bounded loads, as Envoy does it (`hash_balance_factor`): nobody gets much more
 * than `factor` percent of its share of the requests under way. What one cannot take goes to others,
 * in an order that the hash alone gives, so that a key overflows to the same ones each time.
 *
 * @param found index of the one that the hash belongs to
 */
export function withinBounds<E extends Candidate>(
  all: readonly E[],
  weights: readonly number[],
  found: number,
  hash: bigint,
  factor: number,
): E {
  const first = all[found] as E;
  // One request is always allowed, and most endpoints have no more: nothing needs to be counted.
  if (first.inFlight <= 1) return first;
  let active = 0;
  for (const { inFlight } of all) active += inFlight;
  const slots = Math.floor(((active + 1) * factor + 99) / 100);
  const overload = (index: number): number =>
    (all[index] as E).inFlight / Math.max(1, Math.ceil(slots * (weights[index] as number)));

  if (overload(found) <= 1) return first;
  const random = mersenneTwister(lowOf(hash));
  const order = Uint32Array.from(all, (_, i) => i);
  for (let i = 0; i < order.length; i++) {
    const j = i + below(order.length - i, random);
    const index = order[j] as number;
    order[j] = order[i] as number;
    order[i] = index;
    if (overload(index) <= 1) return all[index] as E;
  }
  // Does not happen: all slots together are more than the requests under way.
  return first;
}

/** A number from 0 up to but not including the limit, the way Envoy draws it. */
function below(limit: number, random: () => number): number {
  const bucket = Math.floor(4_294_967_296 / limit);
  let drawn: number;
  do drawn = Math.floor(random() / bucket);
  while (drawn >= limit);
  return drawn;
}
