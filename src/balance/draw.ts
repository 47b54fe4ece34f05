import type { Random } from '../lib/random.ts';

/** A place in a list, drawn at random: each comes as often as its weight says. */
export type Draw = () => number;

/** Draws places of these weights, which are fixed: O(1) when they are all the same, else O(log n). */
export function drawByWeight(weights: readonly number[], random: Random): Draw {
  const { length } = weights;
  if (weights.every((weight) => weight === weights[0])) return () => Math.floor(random() * length);
  const sums: number[] = [];
  let total = 0;
  for (const weight of weights) sums.push((total += weight));
  return () => {
    const target = random() * total;
    let low = 0;
    let high = length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sums[middle] as number) > target) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}
