/**
 * A circuit breaker in Node's sense of the word (`inmesh.dev/v1` CircuitBreaker): a destination that
 * fails too large a share of its calls is left alone for a while. What Istio calls circuit breaking
 * is in `ConnectionLimits` and `OutlierPolicy`.
 */
export interface BreakerPolicy {
  /** Opens when more than this share of the calls in the window failed, 0 to 99. Default 50. */
  readonly errorThresholdPercentage: number;
  /** Only these last milliseconds count. Default 10,000. */
  readonly rollingWindowMs: number;
  /** Stays closed as long as the window has fewer calls than this. Default 20. */
  readonly volumeThreshold: number;
  /** Open for this long, then one call is let through as a trial. Default 30,000 ms. */
  readonly resetTimeoutMs: number;
  /** A trial without an answer after this time has failed. Default 10,000 ms. */
  readonly trialTimeoutMs: number;
  readonly failures: BreakerFailures;
  /** What callers get while the breaker is open. Absent: an error, 503. */
  readonly fallback?: FallbackAnswer;
}

/** Which calls have failed. */
export interface BreakerFailures {
  /** Responses with one of these. Absent (default): 500 to 599. */
  readonly statuses?: readonly number[];
  /** Calls that the destination did not answer: no connection, a reset, no healthy endpoint. Default true. */
  readonly errors: boolean;
  /** Calls whose time ran out. Default true. */
  readonly timeouts: boolean;
}

/** A response in place of the destination's. */
export interface FallbackAnswer {
  /** 200 to 599. */
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
}

/** What holds where nothing else is said. */
export const defaultBreakerPolicy: BreakerPolicy = {
  errorThresholdPercentage: 50,
  rollingWindowMs: 10_000,
  volumeThreshold: 20,
  resetTimeoutMs: 30_000,
  trialTimeoutMs: 10_000,
  failures: { errors: true, timeouts: true },
};
