import type { Random } from '../lib/random.ts';
import type { IstioBalancePolicy } from '../model/cluster.ts';
import { type Candidate, type Picker, weighted } from './candidate.ts';
import { earliestDeadlineFirst } from './edf.ts';

export type { Candidate, Picker } from './candidate.ts';

/**
 * A picker over these candidates. Endpoint weights count in every policy. `factorOf` is what a weight
 * is multiplied by at the moment (slow start, above 0 to 1); RANDOM does not have it, as in Envoy.
 */
export function createPicker<E extends Candidate>(
  policy: IstioBalancePolicy,
  candidates: readonly E[],
  random: Random,
  factorOf?: (endpoint: E) => number,
): Picker<E> {
  const all = weighted(candidates);
  if (all.length === 0) return () => undefined;
  if (all.length === 1) return () => all[0];
  const even = all.every((candidate) => candidate.weight === all[0]?.weight);
  const weightOf = ({ weight }: E): number => (even ? 1 : weight);
  switch (policy) {
    case 'ROUND_ROBIN':
      if (factorOf !== undefined) {
        return earliestDeadlineFirst(all, random, (endpoint) => weightOf(endpoint) * factorOf(endpoint));
      }
      return even ? roundRobin(all, random) : earliestDeadlineFirst(all, random, weightOf);
    case 'RANDOM':
      return even ? () => all[Math.floor(random() * all.length)] : weightedRandom(all, random);
    case 'LEAST_REQUEST':
      if (factorOf !== undefined) {
        return earliestDeadlineFirst(
          all,
          random,
          (endpoint) => (weightOf(endpoint) * factorOf(endpoint)) / (endpoint.inFlight + 1),
        );
      }
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

/**
 * The less loaded of two random ones: "power of two choices", Envoy's LEAST_REQUEST with its default
 * `choice_count`. The two are different here; in Envoy an endpoint may meet itself.
 */
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

/**
 * Envoy's LEAST_REQUEST where weights differ: in turn, each by its weight divided by its load, with the
 * default `active_request_bias` of 1. An endpoint that hangs gets less and less, though never nothing.
 */
function weightedLeastRequest<E extends Candidate>(all: readonly E[], random: Random): Picker<E> {
  return earliestDeadlineFirst(all, random, ({ weight, inFlight }) => weight / (inFlight + 1));
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
