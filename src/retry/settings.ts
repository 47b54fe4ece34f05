import type { RetryBudget } from '../model/cluster.ts';
import { defaultRetryBudget } from './limit.ts';

/** What holds for the retries of a whole process. */
export interface RetrySettings {
  /** Where a cluster has neither a budget nor a number of its own. */
  readonly budget: RetryBudget | 'unlimited';
  /** Are answers of services retried that have made retries of their own in vain? */
  readonly nested: boolean;
  /** How much of a body that is a stream is kept so that it can be sent again. 0: nothing. */
  readonly replayBytes: number;
  /** Are Envoy's headers obeyed by which a request overrides its route (`x-envoy-retry-on` and others)? */
  readonly overrides: boolean;
}

export const defaultRetrySettings: RetrySettings = {
  budget: defaultRetryBudget,
  nested: false,
  replayBytes: 65_536,
  overrides: false,
};
