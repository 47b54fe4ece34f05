import type { Clock } from '../lib/clock.ts';
import type { Cluster, RetryBudget } from '../model/cluster.ts';
import { type RequestWindow, requestWindow } from './window.ts';

/** How many retries of a cluster may be under way at once. */
export type RetryLimitPolicy =
  /** A number (`connectionPool.http.maxRetries`). */
  | { readonly kind: 'fixed'; readonly max: number }
  /** A share of what is under way (`retryBudget`). */
  | ({ readonly kind: 'budget' } & RetryBudget);

/**
 * What holds for clusters of which nothing is said, unlike in Istio, where retries are not limited:
 * a fifth, and 3 in any case. Envoy's figures for a budget.
 */
export const defaultRetryBudget: RetryBudget = { percent: 20, intervalMs: 0, minRetryConcurrency: 3 };

/**
 * Which limit a cluster has. A budget goes before `maxRetries`, as in Envoy; both go before
 * `otherwise`, which is what holds for the whole mesh.
 */
export function retryLimitPolicy(
  { limits, retryBudget }: Pick<Cluster, 'limits' | 'retryBudget'>,
  otherwise: RetryBudget | 'unlimited',
): RetryLimitPolicy {
  if (retryBudget !== undefined) return { kind: 'budget', ...retryBudget };
  if (Number.isFinite(limits.maxRetries) || otherwise === 'unlimited') return { kind: 'fixed', max: limits.maxRetries };
  return { kind: 'budget', ...otherwise };
}

/** The retries of one cluster: those that wait for their time, and those that were sent. */
export interface RetryLimit {
  readonly policy: RetryLimitPolicy;
  /** Retries that wait or are under way. */
  readonly active: number;
  /** Must it be told of each call? Only a budget with an interval must. */
  readonly counts: boolean;
  /** A call begins. */
  began(): void;
  /** Takes a place for a retry, which now waits; false when there is none. */
  enter(): boolean;
  /** A retry has waited, and is sent. */
  sent(): void;
  /** A retry has an answer or failed, after it was {@link sent}. */
  leave(): void;
  /** A retry ends before it was sent. */
  withdraw(): void;
  /** Another policy holds from now on; what is under way still counts. */
  adopt(policy: RetryLimitPolicy): void;
}

/** `underWay` counts the tries of the cluster that wait for a connection or an answer, retries included. */
export function createRetryLimit(first: RetryLimitPolicy, clock: Clock, underWay: () => number): RetryLimit {
  let policy = first;
  let window = windowOf(policy, clock);
  let waiting = 0;
  let sent = 0;

  const allowed = (): number => {
    if (policy.kind === 'fixed') return policy.max;
    // Retries are no reason for more retries: a fifth of the calls is a fifth, and not a quarter
    // (of which a fifth are retries).
    const calls = Math.max(underWay() - sent, window?.count() ?? 0);
    return Math.max(policy.minRetryConcurrency, Math.floor((policy.percent * calls) / 100));
  };

  return {
    get policy() {
      return policy;
    },
    get active() {
      return waiting + sent;
    },
    get counts() {
      return window !== undefined;
    },
    began: () => window?.add(),
    enter() {
      const active = waiting + sent;
      // Counting what is under way can be spared below the floor.
      const free = policy.kind === 'budget' && active < policy.minRetryConcurrency;
      if (!free && active >= allowed()) return false;
      waiting++;
      return true;
    },
    sent() {
      waiting--;
      sent++;
    },
    leave() {
      sent--;
    },
    withdraw() {
      waiting--;
    },
    adopt(next) {
      policy = next;
      window = windowOf(next, clock, window);
    },
  };
}

function windowOf(policy: RetryLimitPolicy, clock: Clock, old?: RequestWindow): RequestWindow | undefined {
  if (policy.kind === 'fixed' || policy.intervalMs <= 0) return undefined;
  return old?.lengthMs === policy.intervalMs ? old : requestWindow(policy.intervalMs, clock);
}
