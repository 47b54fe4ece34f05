import type { BreakerPolicy } from './breaker.ts';
import type { HealthCheckPolicy } from './health-check.ts';
import type { TlsParameters } from './tls-parameters.ts';

/** A group of endpoints that answer for one service, port and subset, with their policy. */
export interface Cluster {
  /** Istio's name: `outbound|9080|v1|reviews.bookinfo.svc.cluster.local`. */
  readonly name: string;
  /** Fully qualified service host. */
  readonly host: string;
  readonly port: number;
  /** Subset of the DestinationRule, or '' for all endpoints. */
  readonly subset: string;
  readonly protocol: ServiceProtocol;
  /**
   * HTTP/2 is spoken to its endpoints: `always`, or `asCaller` for calls whose cause came in over
   * HTTP/2 (Istio `useClientProtocol`). Absent: HTTP/1.1.
   */
  readonly http2?: 'always' | 'asCaller';
  readonly discovery: Discovery;
  readonly balance: BalancePolicy;
  /** Each process calls so many of the endpoints, its own choice of them. Not where there is a {@link hash}. */
  readonly subsetSize?: number;
  /** Instead of {@link balance}; requests without a key go to the least loaded. */
  readonly hash?: ConsistentHash;
  /** Absent: the endpoints of one priority are called alike, near or far. */
  readonly localities?: LocalityBalance;
  readonly warmup?: WarmupPolicy;
  readonly tls: UpstreamTls;
  /** What may be spoken of TLS that the mesh speaks. Absent: all that it knows, from TLS 1.2 on. */
  readonly tlsParameters?: TlsParameters;
  /** SNI of Istio mutual TLS, when it is not the one that is made of the cluster's name (`tls.sni`). */
  readonly serverName?: string;
  readonly outlier?: OutlierPolicy;
  readonly breaker?: BreakerPolicy;
  readonly healthCheck?: HealthCheckPolicy;
  readonly limits: ConnectionLimits;
  /** Calls that are answered and not sent, because the control plane says that there are too many. Absent: none. */
  readonly drops?: readonly DropOverload[];
  readonly retryBudget?: RetryBudget;
  readonly tunnel?: TunnelPolicy;
  /** Version of the PROXY protocol that connections to its endpoints begin with (`proxyProtocol`). */
  readonly proxyProtocol?: 1 | 2;
  /** SPIFFE IDs that a server of this cluster may prove. Empty: any identity of the trust domain. */
  readonly serverIdentities: readonly string[];
  /** The trust domains meant by that, when they are not just that of the workload's settings. */
  readonly trustDomains?: readonly string[];
  /** Its servers are known to be of other trust domains than this workload, or of none. Absent: false. */
  readonly foreign?: true;
  /** It is known to the registry, and no part of the mesh (`MESH_EXTERNAL`). Absent: false. */
  readonly external?: true;
}

/** How the port speaks, from the port name or `appProtocol`, as Istio selects it. */
export type ServiceProtocol = 'http' | 'http2' | 'grpc' | 'https' | 'tls' | 'tcp';

/** Where the endpoints come from. */
export type Discovery =
  /** The list is part of the configuration. */
  | { readonly kind: 'static'; readonly endpoints: readonly Endpoint[] }
  /** Each address is a name, resolved again and again (`resolution: DNS`). */
  | {
      readonly kind: 'dns';
      readonly endpoints: readonly Endpoint[];
      /**
       * `first`: one endpoint, which is the first address of the newest answer. Connections that
       * there are stay when the answer changes (`resolution: DNS_ROUND_ROBIN`). Absent: all addresses.
       */
      readonly use?: 'first';
    }
  /** The address that the caller named is used as it is (`resolution: NONE`, `DYNAMIC_DNS`). */
  | {
      readonly kind: 'original';
      /** Port instead of the one that the caller named (`targetPort`). */
      readonly port?: number;
      /** All endpoints that are known of the service accept Istio mTLS; counts where TLS is `auto`. */
      readonly speaksMtls?: true;
    };

/** One place where a service can be reached. */
export interface Endpoint {
  /** IP address, a DNS name when the discovery is `dns`, or `unix://` and the path of a Unix socket. */
  readonly address: string;
  /** Where connections go that cannot be made to `address`: the same name in the other family of IP (RFC 8305). */
  readonly otherFamily?: string;
  readonly port: number;
  /** Relative weight, at least 1. */
  readonly weight: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Does it accept Istio mTLS? From label `security.istio.io/tlsMode` or a service account, as in Istio. */
  readonly speaksMtls: boolean;
  /** SPIFFE ID that this very endpoint must prove, when its service account is known. */
  readonly spiffeId?: string;
  /** `region/zone/subzone`, '' when unknown. */
  readonly locality: string;
  /** Endpoints of priority 0 come first; the next ones as far as too few of them are left. Absent: 0. */
  readonly priority?: number;
  /** Name of the workload for people and telemetry, '' when unknown. */
  readonly workload: string;
}

/** Envoy's `drop_overloads`, of one category. */
export interface DropOverload {
  readonly category: string;
  /** Of the calls that earlier categories let pass. */
  readonly percent: number;
}

/** Istio's `loadBalancer.simple`. Default `LEAST_REQUEST`. */
export type IstioBalancePolicy = 'LEAST_REQUEST' | 'ROUND_ROBIN' | 'RANDOM';

/**
 * Istio's, and two more. `PEAK_EWMA`: the least of latency times requests under way. `UTILIZATION`:
 * weights by what the servers report of their load.
 */
export type BalancePolicy = IstioBalancePolicy | 'PEAK_EWMA' | 'UTILIZATION';

/** Istio `consistentHash`: requests with the same key go to the same endpoint. */
export interface ConsistentHash {
  /** What is hashed. Absent: nothing, so that each request goes anywhere. */
  readonly key?: HashKey;
  /** More that is mixed in, in this order; Istio has one key only. */
  readonly furtherKeys?: readonly HashKey[];
  readonly algorithm: /** Default 1,024 points, Envoy's. */
    | { readonly kind: 'ringHash'; readonly minimumRingSize: number }
    /** A prime number. */
    | { readonly kind: 'maglev'; readonly tableSize: number };
  /** No endpoint gets more than this percentage of its share of what is under way (Envoy `hash_balance_factor`). */
  readonly balanceFactor?: number;
}

/** Where a request's key is. After a `terminal` key that the request has, further ones do not count. */
export type HashKey = { readonly terminal?: boolean } & (
  | { readonly kind: 'header'; readonly name: string }
  | { readonly kind: 'query'; readonly name: string }
  | { readonly kind: 'sourceIp' }
  | {
      readonly kind: 'cookie';
      readonly name: string;
      readonly path: string;
      /** A cookie with this life is made when there is none; 0: until the browser closes. Absent: none is made. */
      readonly ttlMs?: number;
      readonly attributes: readonly { readonly name: string; readonly value: string }[];
    }
);

/** How the tries that one priority gets are shared among the localities of its endpoints. */
export type LocalityBalance =
  /** By weights, Envoy's `locality_weighted_lb_config`. A locality without a weight gets nothing. */
  | { readonly kind: 'weighted'; readonly weights: readonly LocalityWeight[] }
  /** The own locality as far as its share of the endpoints reaches, Envoy's `zone_aware_lb_config`. */
  | {
      readonly kind: 'zones';
      /** `region/zone/subzone` of this workload. */
      readonly own: string;
      /** With fewer available endpoints localities do not count. Istio default 6. */
      readonly minClusterSize: number;
    };

export interface LocalityWeight {
  readonly priority: number;
  /** As that of the endpoints. */
  readonly locality: string;
  readonly weight: number;
}

/** Istio `warmup`: a new endpoint gets its share of calls little by little. */
export interface WarmupPolicy {
  readonly durationMs: number;
  /** Share at the beginning, 0 to 100. Default 10. */
  readonly minimumPercent: number;
  /** 1 (default) is linear; above it is faster at first. */
  readonly aggression: number;
}

/** TLS towards the endpoints of a cluster. */
export type UpstreamTls =
  /** Istio auto-mTLS: mTLS to endpoints that speak it, plaintext to others. */
  | 'auto'
  /** ISTIO_MUTUAL: mTLS to every endpoint, or no call at all. */
  | 'mutual'
  /** DISABLE. */
  | 'disable'
  /** SIMPLE, MUTUAL. */
  | OriginatedTls;

/**
 * TLS as outside of the mesh: public or own roots, names instead of identities. The application
 * calls `http:`, the connection is TLS. Files are read when a connection is made, and again when
 * they have changed.
 */
export interface OriginatedTls {
  readonly mode: 'simple' | 'mutual';
  /** SNI (`tls.sni`). Absent: the host of each request, Envoy's `auto_sni`. */
  readonly serverName?: string;
  /**
   * The certificate must have one of these names: DNS name, URI, IP address or mail address. Empty:
   * the server name, Envoy's `auto_san_validation`.
   */
  readonly subjectAltNames: readonly string[];
  /** Beside one of {@link subjectAltNames} the certificate must have the host of the request (Envoy `auto_san_validation`). */
  readonly verifyHost?: true;
  /** PEM file of the roots. Absent: the roots that Node trusts. */
  readonly rootFile?: string;
  /** PEM file of revocation lists. */
  readonly revocationFile?: string;
  /** Certificate and key to show, PEM files. There with `mutual`, unless {@link unavailable}. */
  readonly client?: { readonly certificateFile: string; readonly keyFile: string };
  /** False (`insecureSkipVerify`): any certificate will do. */
  readonly verify: boolean;
  /** Why no connection can be made at all: something that is not to be had here. */
  readonly unavailable?: string;
}

/**
 * Istio `OutlierDetection`: errors eject an endpoint for a while. Parts beyond Istio's API have the
 * meaning of Envoy's message of the same name.
 */
export interface OutlierPolicy {
  /** 0 turns it off. Istio default 5. */
  readonly consecutive5xx: number;
  /** 502, 503, 504 and connection failures; 0 (default) turns it off. */
  readonly consecutiveGatewayErrors: number;
  /** Present: connection failures are counted by themselves, and this many eject (default 5). */
  readonly consecutiveLocalOriginFailures?: number;
  /** Present: these status codes are failures, and no others. */
  readonly errorCodes?: readonly number[];
  /** Sweep interval in milliseconds. Istio default 10,000. */
  readonly intervalMs: number;
  /** Ejected for this time multiplied by the number of ejections. Istio default 30,000. */
  readonly baseEjectionMs: number;
  /** No ejection is longer (`max_ejection_time`). Absent: five minutes, or the base if that is longer. */
  readonly maxEjectionMs?: number;
  /** Each ejection is longer by a random time up to this (`max_ejection_time_jitter`). Default 0. */
  readonly ejectionJitterMs?: number;
  /** At most this share of the endpoints is ejected, 0 to 100. Istio default 10. */
  readonly maxEjectionPercent: number;
  /** One may go even if that is more than the share (`always_eject_one_host`). Default false, as in Envoy and Istio. */
  readonly alwaysEjectOne?: boolean;
  /** Below this share of healthy endpoints ejections are ignored. Istio default 0: never. */
  readonly minHealthPercent: number;
  /** How many in a hundred findings eject (`enforcing_…`), 0 to 100. Absent ones always do. */
  readonly enforcing?: Readonly<Partial<Record<EjectionCause, number>>>;
  /** Absent: off, as in Istio. */
  readonly successRate?: SuccessRatePolicy;
  /** Absent: off, as in Istio. */
  readonly failurePercentage?: FailurePercentagePolicy;
  /** False: a health check that passes does not end an ejection (`successful_active_health_check_uneject_host`). */
  readonly healthCheckReturns?: boolean;
}

/** Why an endpoint was ejected; Envoy's words. */
export type EjectionCause =
  | 'consecutive_5xx'
  | 'consecutive_gateway_failure'
  | 'consecutive_local_origin_failure'
  | 'success_rate'
  | 'local_origin_success_rate'
  | 'failure_percentage'
  | 'local_origin_failure_percentage';

/** Endpoints whose success rate of one interval is far below that of the others are ejected. */
export interface SuccessRatePolicy {
  /** With fewer endpoints that had enough requests nobody is. Envoy default 5. */
  readonly minimumHosts: number;
  /** Requests in one interval that an endpoint must have had. Envoy default 100. */
  readonly requestVolume: number;
  /** How many standard deviations below the mean, times 1,000. Envoy default 1,900. */
  readonly stdevFactor: number;
}

/** Endpoints of which this share of the requests of one interval failed are ejected. */
export interface FailurePercentagePolicy {
  /** 0 to 100. Envoy default 85. */
  readonly threshold: number;
  /** Envoy default 5. */
  readonly minimumHosts: number;
  /** Envoy default 50. */
  readonly requestVolume: number;
}

/** Istio `connectionPool`. Infinity means no limit, Istio's default. */
export interface ConnectionLimits {
  /** Connections to all endpoints of the cluster (`tcp.maxConnections`). */
  readonly maxConnections: number;
  /** Requests in flight, queued ones included (`http.http2MaxRequests`). */
  readonly maxRequests: number;
  /** Requests that wait for a connection (`http.http1MaxPendingRequests`). */
  readonly maxPendingRequests: number;
  /** Retries in flight at once (`http.maxRetries`). */
  readonly maxRetries: number;
  /** A connection is closed after this many requests (`http.maxRequestsPerConnection`). */
  readonly maxRequestsPerConnection: number;
  /** Requests at once on one HTTP/2 connection (`http.maxConcurrentStreams`). */
  readonly maxConcurrentStreams: number;
  /** `tcp.connectTimeout`, default 10,000 ms. */
  readonly connectTimeoutMs: number;
  /** `http.idleTimeout`, else `tcp.idleTimeout`, default one hour: an idle connection is closed after it. 0: never. */
  readonly idleTimeoutMs: number;
  /** `tcp.maxConnectionDuration`: a connection is closed after it. */
  readonly maxConnectionMs: number;
  /** `tcp.tcpKeepalive`. Absent: the default of inmesh. */
  readonly tcpKeepalive?: TcpKeepalive;
  /** `http.http2KeepAlive`: PING frames. */
  readonly http2Keepalive?: Http2Keepalive;
}

/** Absent parts are those of the operating system. */
export interface TcpKeepalive {
  readonly probes?: number;
  readonly timeMs?: number;
  readonly intervalMs?: number;
}

export interface Http2Keepalive {
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
}

/** Istio `retryBudget`: how many retries may run at once, as a share of the requests in flight. */
export interface RetryBudget {
  /** 0 to 100. Default 20. */
  readonly percent: number;
  /** Requests of this last while count too; 0 (default): only those in flight. */
  readonly intervalMs: number;
  /** This many may always run. Default 3. */
  readonly minRetryConcurrency: number;
}

/** Istio `tunnel`: connections go through an HTTP proxy. */
export interface TunnelPolicy {
  readonly method: 'CONNECT' | 'POST';
  readonly targetHost: string;
  readonly targetPort: number;
}

export const defaultConnectionLimits: ConnectionLimits = {
  maxConnections: Number.POSITIVE_INFINITY,
  maxRequests: Number.POSITIVE_INFINITY,
  maxPendingRequests: Number.POSITIVE_INFINITY,
  maxRetries: Number.POSITIVE_INFINITY,
  maxRequestsPerConnection: Number.POSITIVE_INFINITY,
  maxConcurrentStreams: Number.POSITIVE_INFINITY,
  connectTimeoutMs: 10_000,
  idleTimeoutMs: 3_600_000,
  maxConnectionMs: Number.POSITIVE_INFINITY,
};

/** Istio's cluster name for a service, port and subset. */
export function clusterName(host: string, port: number, subset = ''): string {
  return `outbound|${port}|${subset}|${host}`;
}
