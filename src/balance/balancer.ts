import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import type { BalancePolicy } from '../model/cluster.ts';
import type { Candidate, Picker } from './candidate.ts';
import { type LatencyMemory, peakEwma } from './peak-ewma.ts';
import { createPicker } from './picker.ts';
import { byUtilization, type ReportMemory } from './utilization.ts';

/** An endpoint with what is remembered of it. */
export interface Remembered extends Candidate {
  /** For PEAK_EWMA. */
  readonly latency: LatencyMemory;
  /** For UTILIZATION: once it has reported. */
  readonly reports: ReportMemory | undefined;
}

/** What balancers are given. */
export interface BalancerDependencies<E> {
  readonly clock: Clock;
  readonly random: Random;
  /** What a weight is multiplied by at the moment: slow start. */
  readonly factorOf?: (endpoint: E) => number;
}

/** A picker of any policy: Istio's, and those of inmesh, which go by what was seen of the endpoints. */
export function createBalancer<E extends Remembered>(
  policy: BalancePolicy,
  candidates: readonly E[],
  dependencies: BalancerDependencies<E>,
): Picker<E> {
  switch (policy) {
    case 'PEAK_EWMA':
      return peakEwma(candidates, { ...dependencies, latencyOf: ({ latency }) => latency });
    case 'UTILIZATION':
      return byUtilization(candidates, { ...dependencies, reportsOf: ({ reports }) => reports });
    default:
      return createPicker(policy, candidates, dependencies.random, dependencies.factorOf);
  }
}
