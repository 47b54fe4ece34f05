import type { AuthorizationRule } from './authorization.ts';
import type { Provenance } from './provenance.ts';

/** Something of a request by which callers or requests are told apart. */
export type RateLimitKey =
  /** SPIFFE ID of the caller; '' without one. */
  | { readonly kind: 'principal' }
  /** Address of the other end of the connection, without the port; headers have no say. */
  | { readonly kind: 'remoteAddress' }
  | { readonly kind: 'method' }
  /** Canonical path without query, in lower case, without repeated or final slashes. */
  | { readonly kind: 'path' }
  /** Lower case, without the port. */
  | { readonly kind: 'host' }
  /** `name` in lower case. */
  | { readonly kind: 'header'; readonly name: string }
  /** Claim of the verified token. */
  | { readonly kind: 'claim'; readonly name: string };

/** Envoy `TokenBucket`: each request takes a token, and there is none to take when it is empty. */
export interface TokenBucket {
  /** What it holds, and begins with: requests at once. */
  readonly maxTokens: number;
  /** Tokens that come in each {@link fillIntervalMs}, evenly spread over it. */
  readonly tokensPerFill: number;
  readonly fillIntervalMs: number;
}

/** When an answer tells its caller how much is left. */
export type RateLimitHeaders = 'LIMITED' | 'ALWAYS' | 'NEVER';

/** A limit that this process keeps by itself (Envoy `local_ratelimit`). */
export interface LocalRateLimit {
  /** `shop/api local[0]`: what is counted, is counted under this name. */
  readonly name: string;
  /** For which requests; none: for all. */
  readonly rules: readonly AuthorizationRule[];
  /** Each combination of these values has a bucket of its own; none: one bucket for all requests. */
  readonly by: readonly RateLimitKey[];
  readonly bucket: TokenBucket;
  /** Buckets at most; callers beyond share one more. */
  readonly maxKeys: number;
  /** Counts and reports, and lets everything pass. */
  readonly shadow: boolean;
  readonly headers: RateLimitHeaders;
  readonly provenance: Provenance;
}

/** Limits that a rate limit service keeps for all processes (Envoy `ratelimit`). */
export interface GlobalRateLimit {
  readonly name: string;
  /** `host:port` of the service. */
  readonly service: string;
  readonly domain: string;
  /** Envoy's default is 20 ms. */
  readonly timeoutMs: number;
  /** May requests pass while the service cannot be asked? Envoy's default. */
  readonly failOpen: boolean;
  readonly shadow: boolean;
  readonly headers: RateLimitHeaders;
  readonly descriptors: readonly RateLimitDescriptor[];
  readonly provenance: Provenance;
}

/** What the service is asked about one request. */
export interface RateLimitDescriptor {
  /** For which requests; none: for all. */
  readonly rules: readonly AuthorizationRule[];
  readonly entries: readonly RateLimitEntry[];
}

export interface RateLimitEntry {
  readonly key: string;
  /** A text, or something of the request. A descriptor of which a value is missing is not sent, as in Envoy. */
  readonly value: string | RateLimitKey;
  /** Instead of a value that is missing. */
  readonly otherwise?: string;
}
