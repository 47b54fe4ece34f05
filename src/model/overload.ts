import type { StringMatch } from './string-match.ts';

/**
 * What protects a server from more than it can do (`inmesh.dev/v1` OverloadPolicy). Each part is
 * absent unless configured, and then does nothing.
 */
export interface OverloadPolicy {
  readonly concurrency?: ConcurrencyPolicy;
  readonly adaptive?: AdaptivePolicy;
  readonly eventLoop?: EventLoopPolicy;
  readonly priority: PriorityPolicy;
  /** Paths that are let in always, and count nowhere: health checks. */
  readonly exemptPaths: readonly StringMatch[];
}

/** How many requests are served at once. */
export interface ConcurrencyPolicy {
  /** Infinity: no limit but the adaptive one. */
  readonly maxRequests: number;
  /** This many may wait for a place. Default 0: nobody waits. */
  readonly maxQueue: number;
  /** Nobody waits longer. Default 100 ms. */
  readonly queueTimeoutMs: number;
  /** One caller has at most this share of the places, 1 to 100, waiting ones included. Default 100. */
  readonly maxSharePercent: number;
}

/** Envoy's gradient controller (`adaptive_concurrency`): a limit that follows the latency. */
export interface AdaptivePolicy {
  /** Latencies of a window are summed up by this percentile, 0 to 100. Default 50. */
  readonly samplePercentile: number;
  /** Length of a window. Default 100 ms. */
  readonly updateIntervalMs: number;
  /** The limit is never higher. Default 1,000. */
  readonly maxLimit: number;
  /** The limit is never lower. Absent: {@link minConcurrency}. Present: it is not lowered to measure either. */
  readonly minLimit?: number;
  /** How often the latency without load is measured. Default 60,000 ms. */
  readonly minRttIntervalMs: number;
  /** It is the latency of this many requests. Default 50. */
  readonly minRttRequests: number;
  /** The measurement begins later by a random time up to this share of the interval, 0 to 100. Default 15. */
  readonly jitterPercent: number;
  /** The limit while it is measured. Default 3. */
  readonly minConcurrency: number;
  /** A latency that is higher by this share is still as good as without load. Default 25. */
  readonly bufferPercent: number;
}

/** Requests are turned away while the event loop is late. */
export interface EventLoopPolicy {
  /** Begins above this delay. Default 100 ms. */
  readonly maxDelayMs: number;
  /** Goes back below this one. Default half of it. */
  readonly resumeDelayMs: number;
  /** At most this share is turned away. Default 95. */
  readonly maxShedPercent: number;
}

/** Who says how urgent a request is. */
export interface PriorityPolicy {
  /** Lower case. Its value is RFC 9218's (`u=1`) or a number, 0 (most urgent) to 7. Default `priority`. */
  readonly header: string;
  /** SPIFFE IDs (without `spiffe://`) that are believed; absent: whoever has proven one. */
  readonly principals?: readonly StringMatch[];
}
