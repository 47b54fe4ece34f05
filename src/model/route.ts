import type { Provenance } from './provenance.ts';
import type { StringMatch } from './string-match.ts';

/** What a request to one host and port may do: an ordered list of routes, first match wins. */
export interface VirtualHost {
  /** `reviews.bookinfo.svc.cluster.local:9080`. */
  readonly name: string;
  readonly routes: readonly Route[];
}

/** One HTTP route. */
export interface Route {
  /** Name for people: the Istio route name, or `<VirtualService>#<index>`, or `default`. */
  readonly name: string;
  /** Any one of these must match; an empty list matches every request. */
  readonly matches: readonly RouteMatch[];
  /** At least one. Weights are relative; a single destination gets everything. */
  readonly destinations: readonly WeightedDestination[];
  /** Total time for all tries in milliseconds; absent means none, Istio's default. */
  readonly timeoutMs?: number;
  /** Absent means no retries at all. */
  readonly retry?: RetryPolicy;
  readonly rewrite?: Rewrite;
  /** Absent for the default route that a service has without a VirtualService. */
  readonly provenance?: Provenance;
}

/** All conditions of one `match` entry; all present ones must hold. */
export interface RouteMatch {
  /** Matched against the path without query and fragment. */
  readonly path?: StringMatch;
  /** Ignore the case of `path`; exact and prefix only, as in Istio (`ignoreUriCase`). */
  readonly pathIgnoreCase?: boolean;
  /** Header names are lower case. An absent header never matches. */
  readonly headers?: readonly HeaderMatch[];
}

export interface HeaderMatch {
  readonly name: string;
  readonly match: StringMatch;
}

export interface WeightedDestination {
  /** Name of a cluster in the snapshot. */
  readonly cluster: string;
  readonly weight: number;
}

/** Istio `HTTPRewrite`. */
export interface Rewrite {
  /** Replaces the matched prefix, or the whole path when the match was exact or absent. */
  readonly pathPrefix?: string;
  /** Replaces Host / :authority. */
  readonly authority?: string;
}

/** Istio `HTTPRetry`, with Envoy's meaning. */
export interface RetryPolicy {
  /** Retries after the first try; 0 is no retry. */
  readonly attempts: number;
  /** Time for one try in milliseconds; absent means the route's timeout bounds it. */
  readonly perTryTimeoutMs?: number;
  /** Conditions, Envoy's words. */
  readonly retryOn: readonly RetryOn[];
  /** For `retriable-status-codes`. */
  readonly retriableStatusCodes: readonly number[];
  /** Base of the back-off in milliseconds; full jitter in [0, (2^n - 1) * base), capped at 10 * base. */
  readonly backoffBaseMs: number;
}

/** The `retryOn` vocabulary that inmesh decides on for HTTP. */
export const retryOnWords = [
  '5xx',
  'gateway-error',
  'reset',
  'reset-before-request',
  'connect-failure',
  'envoy-ratelimited',
  'retriable-4xx',
  'refused-stream',
  'retriable-status-codes',
  'cancelled',
  'deadline-exceeded',
  'internal',
  'resource-exhausted',
  'unavailable',
] as const;

export type RetryOn = (typeof retryOnWords)[number];

/** What Istio gives every route without a policy of its own (release 1.32). */
export const defaultRetryPolicy: RetryPolicy = {
  attempts: 2,
  retryOn: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled', 'retriable-status-codes'],
  retriableStatusCodes: [],
  backoffBaseMs: 25,
};
