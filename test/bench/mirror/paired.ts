import { quantile } from '../measure.ts';

/** Latencies of two windows that follow each other, one with copies and one without. */
export interface Pair {
  readonly on: readonly number[];
  readonly off: readonly number[];
}

export interface Comparison {
  readonly calls: number;
  /** Median over all windows of the quantile within one. */
  readonly on: number;
  readonly off: number;
  /** Median over all pairs of the quantile with copies divided by the one without. */
  readonly ratio: number;
  /** 95 % interval of the ratio: pairs drawn again, with replacement. */
  readonly from: number;
  readonly to: number;
}

/**
 * Compares a quantile with and without copies, pair by pair. What disturbs a machine now and then makes single
 * windows many times slower: in the quantile of all calls together it would be all that one sees, the median of
 * many pairs passes over it.
 */
export function compare(pairs: readonly Pair[], q: number, random: () => number, draws = 1_000): Comparison {
  const within = (latencies: readonly number[]): number => quantile(Float64Array.from(latencies).sort(), q);
  const on = pairs.map((pair) => within(pair.on));
  const off = pairs.map((pair) => within(pair.off));
  const ratios = on.map((each, index) => each / (off[index] as number));
  const medians = Array.from({ length: draws }, () =>
    median(ratios.map(() => ratios[Math.floor(random() * ratios.length)] as number)),
  ).sort((a, b) => a - b);
  return {
    calls: pairs.reduce((sum, pair) => sum + pair.on.length + pair.off.length, 0),
    on: median(on),
    off: median(off),
    ratio: median(ratios),
    from: medians[Math.floor(draws * 0.025)] ?? Number.NaN,
    to: medians[Math.ceil(draws * 0.975) - 1] ?? Number.NaN,
  };
}

function median(values: readonly number[]): number {
  return quantile(Float64Array.from(values).sort(), 0.5);
}
