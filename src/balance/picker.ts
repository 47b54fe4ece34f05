import type { Random } from '../lib/random.ts';
import type { BalancePolicy } from '../model/cluster.ts';

/** What a balancer needs to know of an endpoint. */
export interface Candidate {
  readonly weight: number;
  /** Tries that are on their way. */
  inFlight: number;
}

/** Chooses one of a fixed set. Built anew when the set changes; picking is O(1) or O(log n). */
export type Picker<E> = () => E | undefined;

/** A picker over these candidates. Endpoint weights count in every policy. */
export function createPicker<E extends Candidate>(policy: BalancePolicy, all: readonly E[], random: Random): Picker<E> {
  if (all.length === 0) return () => undefined;
  if (all.length === 1) return () => all[0];
  const even = all.every((candidate) => candidate.weight === all[0]?.weight);
  switch (policy) {
    case 'ROUND_ROBIN':
      return even ? roundRobin(all, random) : weightedRoundRobin(all, random);
    case 'RANDOM':
      return even ? () => all[Math.floor(random() * all.length)] : weightedRandom(all, random);
    case 'LEAST_REQUEST':
      return even ? leastRequest(all, random) : weightedLeastRequest(all, random);
    default:
      throw new TypeError(`unknown balance policy ${String(policy satisfies never)}`);
  }
}

function roundRobin<E>(all: readonly E[], random: Random): Picker<E> {
  // Starting anywhere keeps a thousand clients that start together from one endpoint.
  let at = Math.floor(random() * all.length);
  return () => {
    at = at + 1 >= all.length ? 0 : at + 1;
    return all[at];
  };
}

/** The less loaded of two different random ones: "power of two choices", Envoy's LEAST_REQUEST. */
function leastRequest<E extends Candidate>(all: readonly E[], random: Random): Picker<E> {
  return () => {
    const first = Math.floor(random() * all.length);
    let second = Math.floor(random() * (all.length - 1));
    if (second >= first) second++;
    const a = all[first] as E;
    const b = all[second] as E;
    return b.inFlight < a.inFlight ? b : a;
  };
}

function weightedRandom<E extends Candidate>(all: readonly E[], random: Random): Picker<E> {
  const sums: number[] = [];
  let total = 0;
  for (const candidate of all) sums.push((total += candidate.weight));
  return () => {
    const target = random() * total;
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] as number) > target) high = middle;
      else low = middle + 1;
    }
    return all[low];
  };
}

/**
 * Earliest deadline first: each endpoint comes round every 1/weight, so that a weight of 2 gets
 * exactly every second pick of three, evenly spaced. A binary heap keeps it at O(log n).
 */
function weightedRoundRobin<E extends Candidate>(all: readonly E[], random: Random): Picker<E> {
  const heap = all.map((endpoint) => ({ endpoint, due: random() / endpoint.weight }));
  heap.sort((a, b) => a.due - b.due);
  return () => {
    const top = heap[0] as (typeof heap)[number];
    top.due += 1 / top.endpoint.weight;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const right = heap[child + 1];
      if (right !== undefined && right.due < (heap[child] as typeof top).due) child++;
      const smaller = heap[child];
      if (smaller === undefined || smaller.due >= top.due) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = top;
    return top.endpoint;
  };
}

/**
 * Two drawn by weight, then the one with the lower load for its weight. As long as there is no load
 * the first draw decides, so that idle endpoints get their weight and not only the heaviest one.
 */
function weightedLeastRequest<E extends Candidate>(all: readonly E[], random: Random): Picker<E> {
  const draw = weightedRandom(all, random);
  return () => {
    const a = draw() as E;
    let b = draw() as E;
    if (a === b) b = draw() as E;
    return b.inFlight / b.weight < a.inFlight / a.weight ? b : a;
  };
}
