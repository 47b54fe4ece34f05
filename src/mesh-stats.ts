import type { AuthorizationCount } from './authz/tallies.ts';
import type { FaultStatus } from './fault/active.ts';
import type { IdentityHealth } from './identity/store.ts';
import type { JwksStatus } from './jwt/key-sources.ts';
import type { MetricOverrides } from './model/metric-overrides.ts';
import type { Workload } from './model/workload.ts';
import type { OverloadStatus } from './overload/protection.ts';
import type { AuthorizerStatus } from './server-authorizers.ts';
import type { RateLimitStatus } from './server-limits.ts';
import type { SeriesSnapshot, TcpSeriesSnapshot } from './telemetry/metrics.ts';
import type { RouteStatus } from './telemetry/route-stats.ts';
import type { InboundConnections } from './transport/connection-counts.ts';

/** What a source of configuration has said so far. Counters only grow. */
export interface ConfigCounts {
  readonly accepted: number;
  readonly rejected: number;
  /** How often the source was out of reach. */
  readonly lost: number;
  /** When the configuration in force was accepted, milliseconds since the epoch. */
  readonly acceptedAt?: number;
}

/** State of the certificate in use, for people and health checks. */
export interface IdentityStatus {
  readonly spiffeId: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Counts accepted certificates, from 1. */
  readonly generation: number;
}

/** One endpoint as the balancer sees it. */
export interface EndpointStatus {
  readonly cluster: string;
  readonly address: string;
  readonly workload: string;
  readonly healthy: boolean;
  readonly inFlight: number;
  /** How often outlier detection has ejected it so far. */
  readonly ejections: number;
  /** Why it is not healthy, in Envoy's words: `consecutive_5xx`, `success_rate`, `failed_active_hc` … */
  readonly reason?: string;
  /** Why its last health check failed: `status 503`. */
  readonly problem?: string;
}

/** One cluster that was called so far. Names follow Envoy's statistics of clusters. */
export interface ClusterStatus {
  readonly cluster: string;
  /** Envoy `membership_total`. */
  readonly endpoints: number;
  /** Those that may be chosen (`membership_healthy`). */
  readonly healthy: number;
  /** Tries under way, whatever they wait for (`upstream_rq_active`). */
  readonly active: number;
  /** Retries: under way, made so far (`upstream_rq_retry`), and not made because enough were under way (`upstream_rq_retry_overflow`). */
  readonly retries: { readonly active: number; readonly made: number; readonly overflow: number };
  /** Envoy `outlier_detection.*`; counters only grow. Absent without outlier detection. */
  readonly outlierDetection?: OutlierDetectionStatus;
  /** Envoy `health_check.*`; counters only grow. Absent without health checks. */
  readonly healthCheck?: HealthCheckStatus;
}

export interface HealthCheckStatus {
  /** Endpoints that pass now. */
  readonly healthy: number;
  readonly attempt: number;
  readonly success: number;
  readonly failure: number;
  /** Of the failures, those without an answer. */
  readonly networkFailure: number;
  /** Of the failures, those that an endpoint announced on a call. */
  readonly passiveFailure: number;
}

export interface OutlierDetectionStatus {
  /** Endpoints that are out now (`ejections_active`). */
  readonly active: number;
  /** Ejections by cause (`ejections_enforced_<cause>`). */
  readonly enforced: Readonly<Record<string, number>>;
  /** What was found, by cause, ejected or not (`ejections_detected_<cause>`). */
  readonly detected: Readonly<Record<string, number>>;
  /** Findings that were let pass because enough endpoints were out (`ejections_overflow`). */
  readonly overflow: number;
}

/** One circuit breaker (`inmesh.dev/v1` CircuitBreaker) of a cluster that was called. */
export interface BreakerStatus {
  readonly cluster: string;
  /** `closed`: calls pass. `open`: none does. `halfOpen`: one, which decides. */
  readonly state: 'closed' | 'open' | 'halfOpen';
  /** Calls in the rolling window that counted, and failures among them. */
  readonly calls: number;
  readonly failures: number;
  /** How often it has opened. */
  readonly openings: number;
  /** Calls that it has refused. */
  readonly refusals: number;
}

/** Whether a mesh can do its work, for readiness probes and people. */
export interface MeshHealth {
  /** There are a configuration and, where this process has one, a certificate that is valid now; and it is not closing. */
  readonly ready: boolean;
  /** Why it is not ready. */
  readonly reasons: readonly string[];
  /** What is wrong while it is ready: a certificate that was not renewed in time, a source or an issuer's keys out of reach. */
  readonly warnings: readonly string[];
  /** Absent: this process has no identity. */
  readonly identity: IdentityHealth | undefined;
}

/** Counters and state, taken at one moment. */
export interface MeshStats {
  readonly workload: Workload;
  readonly configVersion: string | undefined;
  /** The certificate in use; nothing before the first one, and nothing once it has expired. */
  readonly identity: IdentityStatus | undefined;
  /** How the identity is doing, also when there is none; absent where this process has none at all. */
  readonly identityHealth: IdentityHealth | undefined;
  /** What was accepted and refused of configuration. */
  readonly config: ConfigCounts;
  readonly requests: readonly SeriesSnapshot[];
  /** What Telemetries make of Istio's metrics of these, when they are shown; absent: nothing. */
  readonly metricOverrides?: MetricOverrides | undefined;
  /** Lines of the access log that were dropped: who reads them is too slow, or they cannot be written. */
  readonly accessLogDropped: number;
  /** Connections of `mesh.connect` and `mesh.listenTcp`. */
  readonly tcp: readonly TcpSeriesSnapshot[];
  readonly endpoints: readonly EndpointStatus[];
  readonly clusters: readonly ClusterStatus[];
  readonly breakers: readonly BreakerStatus[];
  /** Faults that routes inject into calls. */
  readonly faults: FaultStatus;
  /** Calls that met a `match` with a `statPrefix`. */
  readonly routes: readonly RouteStatus[];
  /** What EgressPolicies have decided so far about outbound calls; with `dryRun`, what those would have that are only tried out. */
  readonly egress: readonly AuthorizationCount[];
  /** What the RateLimits of this workload have refused. */
  readonly rateLimits: readonly RateLimitStatus[];
  /** The keys of tokens that are fetched, by where they come from. */
  readonly jwks: readonly JwksStatus[];
  /** What external authorizers (AuthorizationPolicy `CUSTOM`) were asked and said; none asked yet: none here. */
  readonly authorizers: readonly AuthorizerStatus[];
  /** How this server protects itself (`inmesh.dev/v1` OverloadPolicy); nothing without one, or before the first request. */
  readonly overload: OverloadStatus | undefined;
  /**
   * What AuthorizationPolicies have decided so far, by policy; with `dryRun`, what those would have that
   * are only tried out. Policies without a request are not in it.
   */
  readonly authorization: readonly AuthorizationCount[];
  /** Of the ports that `mesh.listen` opened. */
  readonly connections: InboundConnections;
}
