/** Istio's `TrafficPolicy` as it is written; a field table has checked the types. */

/** The parts of a policy; a more specific policy replaces whole parts, never single fields. */
export interface PolicyParts {
  readonly loadBalancer?: LoadBalancerSpec;
  readonly connectionPool?: ConnectionPoolSpec;
  readonly outlierDetection?: OutlierSpec;
  readonly tls?: TlsSpec;
}

/** Parts that there are for all ports only. */
export interface CommonParts {
  readonly tunnel?: { readonly protocol?: string; readonly targetHost: string; readonly targetPort: number };
  readonly proxyProtocol?: { readonly version?: 'V1' | 'V2' };
  readonly retryBudget?: {
    readonly percent?: number;
    readonly budgetInterval?: string;
    readonly minRetryConcurrency?: number;
  };
}

/** Everything that holds for one port and subset. */
export type MergedParts = PolicyParts & CommonParts;

export interface TrafficPolicy extends PolicyParts, CommonParts {
  readonly portLevelSettings?: readonly PortPolicy[];
}

export interface PortPolicy extends PolicyParts {
  readonly port: { readonly number?: number };
}

export interface LoadBalancerSpec {
  readonly simple?: 'UNSPECIFIED' | 'LEAST_CONN' | 'RANDOM' | 'PASSTHROUGH' | 'ROUND_ROBIN' | 'LEAST_REQUEST';
  readonly consistentHash?: ConsistentHashSpec;
  readonly localityLbSetting?: LocalitySpec;
  readonly zoneAwareLbSetting?: ZoneAwareSpec;
  readonly warmupDurationSecs?: string;
  readonly warmup?: { readonly duration: string; readonly minimumPercent?: number; readonly aggression?: number };
}

export interface ConsistentHashSpec {
  readonly httpHeaderName?: string;
  readonly httpQueryParameterName?: string;
  readonly useSourceIp?: boolean;
  readonly httpCookie?: {
    readonly name: string;
    readonly path?: string;
    readonly ttl?: string;
    readonly attributes?: readonly { readonly name: string; readonly value?: string }[];
  };
  readonly ringHash?: { readonly minimumRingSize?: number };
  readonly maglev?: { readonly tableSize?: number };
  readonly minimumRingSize?: number;
}

/** Istio `LocalityLoadBalancerSetting`, in a DestinationRule or for the whole mesh. */
export interface LocalitySpec {
  readonly enabled?: boolean;
  readonly distribute?: readonly { readonly from?: string; readonly to?: Readonly<Record<string, number>> }[];
  readonly failover?: readonly FailoverSpec[];
  readonly failoverPriority?: readonly string[];
}

/** Istio `ZoneAwareLoadBalancerSetting`, in a DestinationRule or for the whole mesh. */
export interface ZoneAwareSpec {
  readonly enabled?: boolean;
  readonly failover?: readonly FailoverSpec[];
  readonly failoverPriority?: readonly string[];
  readonly minClusterSize?: number;
}

export interface FailoverSpec {
  readonly from?: string;
  readonly to?: string;
}

/** Istio `ConnectionPoolSettings`. */
export interface ConnectionPoolSpec {
  readonly tcp?: {
    readonly maxConnections?: number;
    readonly connectTimeout?: string;
    readonly idleTimeout?: string;
    readonly maxConnectionDuration?: string;
    readonly tcpKeepalive?: { readonly probes?: number; readonly time?: string; readonly interval?: string };
  };
  readonly http?: {
    readonly http1MaxPendingRequests?: number;
    readonly http2MaxRequests?: number;
    readonly maxRequestsPerConnection?: number;
    readonly maxRetries?: number;
    readonly idleTimeout?: string;
    readonly h2UpgradePolicy?: 'DEFAULT' | 'DO_NOT_UPGRADE' | 'UPGRADE';
    readonly useClientProtocol?: boolean;
    readonly maxConcurrentStreams?: number;
    readonly http2KeepAlive?: { readonly interval?: string; readonly timeout?: string };
  };
}

export interface OutlierSpec {
  readonly consecutive5xxErrors?: number;
  readonly consecutiveGatewayErrors?: number;
  readonly interval?: string;
  readonly baseEjectionTime?: string;
  readonly maxEjectionPercent?: number;
  readonly minHealthPercent?: number;
  readonly consecutiveErrors?: number;
  readonly splitExternalLocalOriginErrors?: boolean;
  readonly consecutiveLocalOriginFailures?: number;
  readonly outlierDetectionHttpErrorCodes?: readonly number[];
}

/** Istio `ClientTLSSettings`. */
export interface TlsSpec {
  readonly mode?: 'DISABLE' | 'SIMPLE' | 'MUTUAL' | 'ISTIO_MUTUAL';
  readonly sni?: string;
  readonly subjectAltNames?: readonly string[];
  readonly clientCertificate?: string;
  readonly privateKey?: string;
  readonly caCertificates?: string;
  readonly caCrl?: string;
  readonly insecureSkipVerify?: boolean;
  readonly credentialName?: string;
}
