import type { Provenance } from './provenance.ts';
import type { StringMatch } from './string-match.ts';

/** What a request to one host and port may do: an ordered list of routes, first match wins. */
export interface VirtualHost {
  /** `reviews.bookinfo.svc.cluster.local:9080`. */
  readonly name: string;
  readonly routes: readonly Route[];
  /** Rules that can never apply to this workload and port, with the reason; for `explain`. */
  readonly skipped?: readonly SkippedRule[];
  /** Routes of connections whose content the mesh does not read (`tcp` and `tls` rules), in order. */
  readonly connections?: readonly ConnectionRoute[];
}

/** A rule of a VirtualService that was left out when this virtual host was compiled. */
export interface SkippedRule {
  readonly name: string;
  /** `match[0].port is 8080, and this is port 80`. */
  readonly reason: string;
  readonly provenance: Provenance;
}

/** One HTTP route. Exactly one of `destinations` (not empty), `redirect` and `direct` is its action. */
export interface Route {
  /** Name for people: the Istio route name, or `<VirtualService>#<index>`, or `default`. */
  readonly name: string;
  /** Any one of these must match; an empty list matches every request. */
  readonly matches: readonly RouteMatch[];
  /** Weights are relative; a single destination gets everything. Empty for redirects and direct responses. */
  readonly destinations: readonly WeightedDestination[];
  readonly redirect?: Redirect;
  readonly direct?: DirectResponse;
  /** Total time for all tries in milliseconds; absent means none, Istio's default. */
  readonly timeoutMs?: number;
  /** A try that is without a byte for so long is given up (`inmesh.dev`; Envoy `per_try_idle_timeout`). */
  readonly perTryIdleMs?: number;
  /** Absent means no retries at all. */
  readonly retry?: RetryPolicy;
  /** Another try beside one that takes long, for requests that may arrive twice (`inmesh.dev/hedge`). */
  readonly hedge?: HedgePolicy;
  readonly rewrite?: Rewrite;
  /** Applied to requests after the route was chosen, and to responses; those of the destination come first. */
  readonly headers?: HeaderEdits;
  readonly fault?: Fault;
  readonly mirrors?: readonly Mirror[];
  readonly cors?: CorsPolicy;
  /** The same caller always gets the same destination (`inmesh.dev`); absent: each call chooses anew. */
  readonly sticky?: StickySplit;
  /** Absent for the default route that a service has without a VirtualService. */
  readonly provenance?: Provenance;
}

/** All conditions of one `match` entry; all present ones must hold. */
export interface RouteMatch {
  /** Position in `match` of the rule, for people. */
  readonly index?: number;
  /** Name of the match, for people. */
  readonly name?: string;
  /** Matched against the path without query and fragment. */
  readonly path?: StringMatch;
  /** Ignore the case of `path`; exact and prefix only, as in Istio (`ignoreUriCase`). */
  readonly pathIgnoreCase?: boolean;
  readonly scheme?: StringMatch;
  readonly method?: StringMatch;
  /** Host header, with its port if it has one. */
  readonly authority?: StringMatch;
  /** Header names are lower case. An absent header never matches. */
  readonly headers?: readonly HeaderMatch[];
  /** Each is a condition that must not hold. An absent header counts as empty, but not as `present`, as in Envoy. */
  readonly withoutHeaders?: readonly HeaderMatch[];
  /** Names are case-sensitive. `present` also holds for a parameter without a value. */
  readonly queryParams?: readonly QueryMatch[];
  /** Members of the caller's `baggage` (`inmesh.dev`). */
  readonly baggage?: readonly HeaderMatch[];
  /** Label of this match in statistics (Istio `statPrefix`). */
  readonly statPrefix?: string;
}

export interface HeaderMatch {
  /** Lower case; `:path` is the path with its query, `:method`, `:scheme` and `:authority` are those of the request. */
  readonly name: string;
  readonly match: StringMatch;
}

export interface QueryMatch {
  readonly name: string;
  readonly match: StringMatch;
}

export interface WeightedDestination {
  /** Name of a cluster in the snapshot. */
  readonly cluster: string;
  readonly weight: number;
  /** Applied before those of the route. */
  readonly headers?: HeaderEdits;
}

/** Istio `Headers`. */
export interface HeaderEdits {
  readonly request?: HeaderEdit;
  readonly response?: HeaderEdit;
}

/** Names are lower case. Order: remove, set, add, as Envoy evaluates one level. */
export interface HeaderEdit {
  /** Replaces all values. Of `host` and `:authority` on requests: the authority to send. */
  readonly set: readonly HeaderValue[];
  /** One more value. */
  readonly add: readonly HeaderValue[];
  readonly remove: readonly string[];
}

export interface HeaderValue {
  readonly name: string;
  readonly value: string;
  /** Only where the header is there, or is not, before anything of its own level but removals. Absent: in any case. */
  readonly when?: 'present' | 'absent';
  /** Also where nothing is left of the value, which is then empty. Absent: the header stays as it is. */
  readonly keepEmpty?: true;
}

/** Istio `HTTPRewrite`. */
export interface Rewrite {
  /** Replaces the matched prefix, or the whole path when the match was exact or absent. */
  readonly pathPrefix?: string;
  /** Replaces every match of the expression in the path (`uriRegexRewrite`). */
  readonly pathRegex?: RegexRewrite;
  /** Replaces Host / :authority. */
  readonly authority?: string;
}

/** RE2 syntax; `\1` in `substitution` stands for the first group, as in RE2. */
export interface RegexRewrite {
  readonly pattern: string;
  readonly substitution: string;
}

/** Istio `HTTPRedirect`. What is absent stays as it was requested. */
export interface Redirect {
  /** 301 (default), 302, 303, 307 or 308. */
  readonly status: number;
  readonly scheme?: string;
  readonly authority?: string;
  /** A number, the default port of the scheme, or the port that the request came to. */
  readonly port?: number | 'protocol-default' | 'request';
  /** Replaces the path; `prefix` when only the matched prefix is replaced. */
  readonly path?: { readonly value: string; readonly prefix: boolean };
  readonly pathRegex?: RegexRewrite;
}

/** Istio `HTTPDirectResponse`. */
export interface DirectResponse {
  /** 200 to 599. */
  readonly status: number;
  readonly body?: Uint8Array | string;
}

/** Istio `HTTPFaultInjection`. Percentages are 0 to 100, with fractions. */
export interface Fault {
  readonly delay?: { readonly delayMs: number; readonly percent: number };
  readonly abort?: {
    /** HTTP status; with a gRPC status 200, also for requests that are not gRPC, as in Envoy. */
    readonly status: number;
    readonly grpcStatus?: number;
    readonly percent: number;
  };
  /** `call` (as in Istio: ahead of retries and timeouts), or each `try` (`inmesh.dev`). */
  readonly level: 'call' | 'try';
  /** While so many calls with faults are under way in this process, others have none (`inmesh.dev`). Absent: any number. */
  readonly maxActive?: number;
  /** Callers may ask for faults by Envoy's headers, with at most this percentage (`inmesh.dev`). Absent: they may not. */
  readonly byHeaders?: { readonly maxPercent: number };
}

/** Istio `HTTPMirrorPolicy`. */
export interface Mirror {
  readonly cluster: string;
  /** 0 to 100, with fractions. */
  readonly percent: number;
}

/** Istio `CorsPolicy`. */
export interface CorsPolicy {
  readonly allowOrigins: readonly StringMatch[];
  readonly allowMethods: readonly string[];
  readonly allowHeaders: readonly string[];
  readonly exposeHeaders: readonly string[];
  readonly maxAgeMs?: number;
  readonly allowCredentials?: boolean;
  /** `UnmatchedPreflights`: preflights of other origins go on to the service (default) or are answered. */
  readonly forwardUnmatchedPreflights: boolean;
}

/** What identifies a caller for a split that stays. */
export interface StickySplit {
  readonly key:
    | { readonly kind: 'header'; readonly name: string }
    | { readonly kind: 'cookie'; readonly name: string }
    | { readonly kind: 'claim'; readonly name: string }
    | { readonly kind: 'principal' };
  /** Name of the baggage member in which the choice travels on. */
  readonly baggage?: string;
  /** Part of the hash, so that two splits are independent of each other. */
  readonly seed: string;
}

/** One `tcp` or `tls` rule. */
export interface ConnectionRoute {
  readonly name: string;
  /** SNI names (`*.example.com` too); absent for `tcp` rules. */
  readonly sniHosts?: readonly string[];
  /** `destinationSubnets` in CIDR notation; absent: any address. */
  readonly destinationSubnets?: readonly string[];
  readonly destinations: readonly WeightedDestination[];
  readonly provenance?: Provenance;
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
  /** For `retriable-headers`: a response that any of these matches (Envoy `retriable_headers`). */
  readonly retriableHeaders?: readonly HeaderMatch[];
  /** Base of the back-off in milliseconds; full jitter in [0, (2^n - 1) * base), capped at 10 * base. */
  readonly backoffBaseMs: number;
  /**
   * Do retries pass over endpoints that failed the call (`retryIgnorePreviousHosts`)? Absent: yes. `unreached`: over
   * those alone that could not be reached; what a route to a consistent hash has in Istio, since the endpoint of the key
   * is the right one again.
   */
  readonly ignorePreviousHosts?: boolean | 'unreached';
  /**
   * After each two tries the next ones leave out the priorities that were tried (Istio
   * `retryRemoteLocalities`, Envoy's `retry_priority` `previous_priorities`). Absent: they do not.
   */
  readonly otherPriorities?: true;
}

/** When a try has taken long enough for another one to start beside it; the first good answer wins. */
export interface HedgePolicy {
  readonly when:
    | /** After `perTryTimeoutMs` of the retry policy, which then ends no try (Envoy `hedge_on_per_try_timeout`). */
    { readonly kind: 'perTryTimeout' }
    | { readonly kind: 'after'; readonly ms: number }
    /** After the time within which this share of the answers comes, 1 to 99.99, but not before `minMs`. */
    | { readonly kind: 'percentile'; readonly percentile: number; readonly minMs: number };
  /** How many such tries a call may have. Default 1; with `perTryTimeout` as many as the policy has retries. */
  readonly hedges?: number;
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
  'retriable-headers',
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
