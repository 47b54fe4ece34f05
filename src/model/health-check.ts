import type { HeaderValue } from './route.ts';

/**
 * Active health checks of a cluster's endpoints (`inmesh.dev/v1` HealthCheck), with the meaning of
 * Envoy's `core.HealthCheck`.
 */
export interface HealthCheckPolicy {
  readonly probe: HttpProbe | TcpProbe | GrpcProbe;
  /** Port of the endpoints that is asked instead of the one that calls go to (`health_check_config.port_value`). */
  readonly port?: number;
  /** A check without a result after this time has failed. */
  readonly timeoutMs: number;
  /** From one result to the next check. */
  readonly intervalMs: number;
  /** Each wait is longer by a random time up to this. */
  readonly intervalJitterMs: number;
  /** Likewise, as a share of the wait, 0 to 100. */
  readonly intervalJitterPercent: number;
  /** The first check waits for a random time up to this. */
  readonly initialJitterMs: number;
  /** After a check that failed (`unhealthy_interval`). */
  readonly unhealthyIntervalMs: number;
  /** After a check that failed, but not often enough yet (`unhealthy_edge_interval`). */
  readonly unhealthyEdgeIntervalMs: number;
  /** After a check that passed, but not often enough yet (`healthy_edge_interval`). */
  readonly healthyEdgeIntervalMs: number;
  /** So many failures in a row make an endpoint unhealthy; a status that is not expected does at once. */
  readonly unhealthyThreshold: number;
  /** So many passes in a row make it healthy again; the very first pass does at once. */
  readonly healthyThreshold: number;
  /** Endpoints that were never checked do not count when panic is worked out (`ignore_new_hosts_until_first_hc`). */
  readonly ignoreNew: boolean;
  /** Below this share of healthy endpoints health is ignored, 0 to 100. */
  readonly minHealthPercent: number;
}

/** A request, and the statuses that are good. */
export interface HttpProbe {
  readonly kind: 'http';
  readonly method: string;
  readonly path: string;
  /** Host header. */
  readonly host: string;
  readonly headers: readonly HeaderValue[];
  readonly expected: readonly StatusRange[];
  /** These are bad, but count towards the threshold. */
  readonly retriable: readonly StatusRange[];
}

/** Both ends are part of it. */
export interface StatusRange {
  readonly from: number;
  readonly to: number;
}

/** A connection; with `receive` an answer in which each of these comes after the one before. */
export interface TcpProbe {
  readonly kind: 'tcp';
  readonly send?: Uint8Array;
  readonly receive: readonly Uint8Array[];
}

/** A call of `grpc.health.v1.Health/Check`. */
export interface GrpcProbe {
  readonly kind: 'grpc';
  /** '' for the server as a whole. */
  readonly service: string;
  /** `:authority`. */
  readonly host: string;
  readonly headers: readonly HeaderValue[];
}

/** What came of asking an endpoint. */
export type ProbeAnswer =
  | {
      readonly kind: 'http';
      readonly status: number;
      /** It has the header `x-envoy-immediate-health-check-fail`. */
      readonly wantsOut: boolean;
    }
  /** A connection was made, and what came on it is what should. */
  | { readonly kind: 'connected' }
  | { readonly kind: 'grpc'; readonly serving: boolean; readonly message: string }
  /** There was no answer. */
  | { readonly kind: 'error'; readonly message: string };
