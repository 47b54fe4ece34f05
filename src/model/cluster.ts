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
  readonly discovery: Discovery;
  readonly balance: BalancePolicy;
  readonly tls: UpstreamTls;
  readonly outlier?: OutlierPolicy;
  readonly limits: ConnectionLimits;
  /** SPIFFE IDs that a server of this cluster may prove. Empty: any identity of the trust domain. */
  readonly serverIdentities: readonly string[];
}

/** How the port speaks, from the port name or `appProtocol`, as Istio selects it. */
export type ServiceProtocol = 'http' | 'http2' | 'grpc' | 'https' | 'tls' | 'tcp';

/** Where the endpoints come from. */
export type Discovery =
  /** The list is part of the configuration. */
  | { readonly kind: 'static'; readonly endpoints: readonly Endpoint[] }
  /** Each address is a name, resolved again and again (`resolution: DNS`). */
  | { readonly kind: 'dns'; readonly endpoints: readonly Endpoint[] }
  /** The address that the caller named is used as it is (`resolution: NONE`). */
  | { readonly kind: 'original' };

/** One place where a service can be reached. */
export interface Endpoint {
  /** IP address, or a DNS name when the discovery is `dns`. */
  readonly address: string;
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
  /** Name of the workload for people and telemetry, '' when unknown. */
  readonly workload: string;
}

/** `LEAST_REQUEST` (default), `ROUND_ROBIN`, `RANDOM`. */
export type BalancePolicy = 'LEAST_REQUEST' | 'ROUND_ROBIN' | 'RANDOM';

/** TLS towards the endpoints of a cluster. */
export type UpstreamTls =
  /** Istio auto-mTLS: mTLS to endpoints that speak it, plaintext to others. */
  | 'auto'
  /** ISTIO_MUTUAL: mTLS to every endpoint, or no call at all. */
  | 'mutual'
  /** DISABLE. */
  | 'disable';

/** Istio `OutlierDetection`: consecutive errors eject an endpoint for a while. */
export interface OutlierPolicy {
  /** 0 turns it off. Istio default 5. */
  readonly consecutive5xx: number;
  /** 502, 503, 504 and connection failures; 0 (default) turns it off. */
  readonly consecutiveGatewayErrors: number;
  /** Sweep interval in milliseconds. Istio default 10,000. */
  readonly intervalMs: number;
  /** Ejected for this time multiplied by the number of ejections. Istio default 30,000. */
  readonly baseEjectionMs: number;
  /** At most this share of the endpoints is ejected, 0 to 100. Istio default 10. */
  readonly maxEjectionPercent: number;
  /** Below this share of healthy endpoints ejections are ignored. Istio default 0: never. */
  readonly minHealthPercent: number;
}

/** Istio `connectionPool`. Infinity means no limit, Istio's default. */
export interface ConnectionLimits {
  /** Connections to each endpoint of the cluster (`tcp.maxConnections`; in Envoy to all of them together). */
  readonly maxConnections: number;
  /** Requests in flight, queued ones included (`http.http2MaxRequests`). */
  readonly maxRequests: number;
  /** Retries in flight at once (`http.maxRetries`). */
  readonly maxRetries: number;
  /** `tcp.connectTimeout`, default 10,000 ms. */
  readonly connectTimeoutMs: number;
  /** `http.idleTimeout`, default one hour; an idle connection is closed after it. */
  readonly idleTimeoutMs: number;
}

export const defaultConnectionLimits: ConnectionLimits = {
  maxConnections: Number.POSITIVE_INFINITY,
  maxRequests: Number.POSITIVE_INFINITY,
  maxRetries: Number.POSITIVE_INFINITY,
  connectTimeoutMs: 10_000,
  idleTimeoutMs: 3_600_000,
};

/** Istio's cluster name for a service, port and subset. */
export function clusterName(host: string, port: number, subset = ''): string {
  return `outbound|${port}|${subset}|${host}`;
}
