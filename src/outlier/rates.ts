import type { FailurePercentagePolicy, SuccessRatePolicy } from '../model/cluster.ts';
import type { Rate } from './host.ts';

export function newRate(): Rate {
  return { current: { total: 0, good: 0 }, previous: { total: 0, good: 0 } };
}

/** Ends an interval: what was counted in it can now be judged. */
export function turnRate(rate: Rate): void {
  const { current, previous } = rate;
  previous.total = 0;
  previous.good = 0;
  rate.current = previous;
  rate.previous = current;
}

/** One endpoint in the interval that is judged. */
export interface RateSample<H> {
  readonly host: H;
  readonly total: number;
  /** 0 to 100. */
  readonly successPercent: number;
}

/**
 * Whose success rate is lower than the mean by more than the factor times the standard deviation,
 * among those with enough requests (Envoy's success-rate detection, gRFC A50).
 */
export function findSlackers<H>(
  samples: readonly RateSample<H>[],
  { minimumHosts, requestVolume, stdevFactor }: SuccessRatePolicy,
): readonly H[] {
  const valid = samples.filter(({ total }) => total >= requestVolume);
  if (valid.length === 0 || valid.length < minimumHosts) return [];
  const mean = valid.reduce((sum, { successPercent }) => sum + successPercent, 0) / valid.length;
  const variance = valid.reduce((sum, { successPercent }) => sum + (successPercent - mean) ** 2, 0) / valid.length;
  const threshold = mean - (stdevFactor / 1_000) * Math.sqrt(variance);
  return valid.filter(({ successPercent }) => successPercent < threshold).map(({ host }) => host);
}

/** Of whose requests the given share failed, among those with enough of them. */
export function findFailing<H>(
  samples: readonly RateSample<H>[],
  { minimumHosts, requestVolume, threshold }: FailurePercentagePolicy,
): readonly H[] {
  const valid = samples.filter(({ total }) => total >= requestVolume);
  if (valid.length === 0 || valid.length < minimumHosts) return [];
  return valid.filter(({ successPercent }) => 100 - successPercent >= threshold).map(({ host }) => host);
}
