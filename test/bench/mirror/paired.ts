import { quantile } from '../measure.ts';

/** Latencies of two windows that follow each other, one with copies and one without. */
export interface Pair {
  readonly on: readonly number[];
  readonly off: readonly number[];
}

export interface Comparison {
  readonly calls: number;
  readonly on: number;
  readonly off: number;
  readonly ratio: number;
  /** 95 % interval of the ratio: pairs drawn again, with replacement. */
  readonly from: number;
  readonly to: number;
}

/**
 * Compares a quantile with and without copies. What disturbs a machine for longer than a window disturbs both sides
 * of many pairs, so the ratio is far steadier than the quantiles.
 */
export function compare(pairs: readonly Pair[], q: number, random: () => number, draws = 400): Comparison {
  const of = (drawn: readonly Pair[], side: 'on' | 'off'): number =>
    quantile(Float64Array.from(drawn.flatMap((pair) => pair[side])).sort(), q);
  const ratios = Array.from({ length: draws }, () => {
    const drawn = pairs.map(() => pairs[Math.floor(random() * pairs.length)] as Pair);
    return of(drawn, 'on') / of(drawn, 'off');
  }).sort((a, b) => a - b);
  const on = of(pairs, 'on');
  const off = of(pairs, 'off');
  return {
    calls: pairs.reduce((sum, pair) => sum + pair.on.length + pair.off.length, 0),
    on,
    off,
    ratio: on / off,
    from: ratios[Math.floor(draws * 0.025)] ?? Number.NaN,
    to: ratios[Math.ceil(draws * 0.975) - 1] ?? Number.NaN,
  };
}
