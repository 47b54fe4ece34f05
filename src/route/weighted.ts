import type { Random } from '../lib/random.ts';

/** Chooses by relative weight. Weight 0 is never chosen unless all are 0. Built once per route. */
export function createWeightedChoice<T>(
  options: readonly { readonly weight: number; readonly value: T }[],
  random: Random,
): () => T {
  const [first] = options;
  if (first === undefined) throw new TypeError('a weighted choice needs at least one option');
  const usable = options.filter((option) => option.weight > 0);
  const [only] = usable;
  if (usable.length <= 1) {
    const { value } = only ?? first;
    return () => value;
  }
  const total = usable.reduce((sum, option) => sum + option.weight, 0);
  return () => {
    let left = random() * total;
    for (const option of usable) {
      left -= option.weight;
      if (left < 0) return option.value;
    }
    return (usable.at(-1) as (typeof usable)[number]).value;
  };
}
