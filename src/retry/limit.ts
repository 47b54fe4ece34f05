import type { Clock } from '../lib/clock.ts';
import type { Cluster, RetryBudget } from '../model/cluster.ts';
import { type RequestWindow, requestWindow } from './window.ts';

/** How many retries of a cluster may be under way at once. */
export type RetryLimitPolicy =
  /** A number (`connectionPool.http.maxRetries`). */
  | { readonly kind: 'fixed'; readonly max: number }
  /** A share of what is under way (`retryBudget`). */
  | ({ readonly kind: 'budget' } & RetryBudget & {
        /**
         * Retries beyond the share that good answers have paid for, at most; each pays for one.
         * With a reserve, tries that no server has seen may also be made again without limit.
         */
        readonly reserve: number;
      });

/**
 * What holds for clusters of which nothing is said, unlike in Istio, where retries are not limited:
 * a fifth, and 3 in any case. Envoy's figures for a budget.
 */
export const defaultRetryBudget: RetryBudget = { percent: 20, intervalMs: 0, minRetryConcurrency: 3 };

/** So many that half of 40 calls may fail at once, so few that an outage does not notice. */
const defaultReserve = 20;

/**
 * Which limit a cluster has. A budget goes before `maxRetries`, as in Envoy; both go before
 * `otherwise`, which is what holds for the whole mesh.
 */
export function retryLimitPolicy(
  { limits, retryBudget }: Pick<Cluster, 'limits' | 'retryBudget'>,
  otherwise: RetryBudget | 'unlimited',
): RetryLimitPolicy {
  if (retryBudget !== undefined) return { kind: 'budget', ...retryBudget, reserve: 0 };
  if (Number.isFinite(limits.maxRetries) || otherwise === 'unlimited') return { kind: 'fixed', max: limits.maxRetries };
  return { kind: 'budget', ...otherwise, reserve: defaultReserve };
}

/** The place of one retry: it counts against the limit, or is free. */
export type RetryPlace = 'counted' | 'free';

/** The retries of one cluster: those that wait for their time, and those that were sent. */
export interface RetryLimit {
  readonly policy: RetryLimitPolicy;
  /** Retries that wait or are under way. */
  readonly active: number;
  /** Retries that got a place so far, and those that got none. Only grow. */
  readonly granted: number;
  readonly refused: number;
  /** Must it be told of each call that begins? Only a budget with an interval must. */
  readonly counts: boolean;
  /** A call begins. */
  began(): void;
  /** A call got a good answer. */
  good(): void;
  /**
   * Takes a place for a retry, which now waits; nothing when there is none. `sent`: may the server
   * have seen the try before?
   */
  enter(sent: boolean): RetryPlace | undefined;
  /** A retry has waited, and is sent. */
  sent(): void;
  /** A retry has an answer or failed, after it was {@link sent}. */
  leave(place: RetryPlace): void;
  /** A retry ends before it was sent. */
  withdraw(place: RetryPlace): void;
  /** Another policy holds from now on; what is under way still counts. */
  adopt(policy: RetryLimitPolicy): void;
}

/** `underWay` counts the tries of the cluster that wait for a connection or an answer, retries included. */
export function createRetryLimit(first: RetryLimitPolicy, clock: Clock, underWay: () => number): RetryLimit {
  let policy = first;
  let window = windowOf(policy, clock);
  let reserve = reserveOf(policy);
  let waiting = 0;
  let sent = 0;
  let counted = 0;
  let granted = 0;
  let refused = 0;

  /** Counting what is under way is spared below the floor. */
  const withinShare = (): boolean => {
    if (policy.kind === 'fixed') return counted < policy.max;
    if (counted < policy.minRetryConcurrency) return true;
    // Retries are no reason for more retries: a fifth of the calls is a fifth, and not a quarter
    // (of which a fifth are retries).
    const calls = Math.max(underWay() - sent, window?.count() ?? 0);
    return counted < Math.floor((policy.percent * calls) / 100);
  };

  const placeFor = (seen: boolean): RetryPlace | undefined => {
    // Nobody has more to do because of what nobody saw.
    if (!seen && reserveOf(policy) > 0) return 'free';
    if (withinShare()) {
      counted++;
      return 'counted';
    }
    if (reserve < 1) return undefined;
    reserve--;
    return 'free';
  };

  return {
    get policy() {
      return policy;
    },
    get active() {
      return waiting + sent;
    },
    get granted() {
      return granted;
    },
    get refused() {
      return refused;
    },
    get counts() {
      return window !== undefined;
    },
    began: () => window?.add(),
    good() {
      if (policy.kind === 'budget' && reserve < policy.reserve) reserve++;
    },
    enter(seen) {
      const place = placeFor(seen);
      if (place === undefined) refused++;
      else {
        waiting++;
        granted++;
      }
      return place;
    },
    sent() {
      waiting--;
      sent++;
    },
    leave(place) {
      sent--;
      if (place === 'counted') counted--;
    },
    withdraw(place) {
      waiting--;
      if (place === 'counted') counted--;
    },
    adopt(next) {
      reserve = reserveOf(policy) === 0 ? reserveOf(next) : Math.min(reserve, reserveOf(next));
      policy = next;
      window = windowOf(next, clock, window);
    },
  };
}

function reserveOf(policy: RetryLimitPolicy): number {
  return policy.kind === 'budget' ? policy.reserve : 0;
}

function windowOf(policy: RetryLimitPolicy, clock: Clock, old?: RequestWindow): RequestWindow | undefined {
  if (policy.kind === 'fixed' || policy.intervalMs <= 0) return undefined;
  return old?.lengthMs === policy.intervalMs ? old : requestWindow(policy.intervalMs, clock);
}
