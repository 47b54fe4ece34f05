/** What a rate limit service is asked: Envoy's `RateLimitRequest`. */
export interface RateLimitQuestion {
  /** `host:port`, as the configuration names the service. */
  readonly service: string;
  readonly domain: string;
  /** Each is limited by itself. */
  readonly descriptors: readonly (readonly RateLimitValue[])[];
  /** How long an answer is waited for. */
  readonly timeoutMs: number;
}

export interface RateLimitValue {
  readonly key: string;
  readonly value: string;
}

/** What it says: Envoy's `RateLimitResponse`. */
export interface RateLimitVerdict {
  readonly limited: boolean;
  /** The tightest limit, when the service tells. */
  readonly state?: { readonly limit: number; readonly remaining: number; readonly resetMs: number };
  /** For the caller, whatever was decided. */
  readonly responseHeaders?: readonly (readonly [string, string])[];
  /** For the application, when the request passes. */
  readonly requestHeaders?: readonly (readonly [string, string])[];
}

/**
 * Asks rate limit services. `@inmesh/ratelimit` has one that speaks Envoy's protocol
 * (`envoy.service.ratelimit.v3`, gRPC).
 */
export interface RateLimitService {
  /** Rejects when there is no answer in time. */
  shouldRateLimit(question: RateLimitQuestion): Promise<RateLimitVerdict>;
  close?(): void | Promise<void>;
}
