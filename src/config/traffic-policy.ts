import type {
  BalancePolicy,
  ConnectionLimits,
  ConsistentHash,
  HashKey,
  OriginatedTls,
  OutlierPolicy,
  RetryBudget,
  TcpKeepalive,
  TunnelPolicy,
  UpstreamTls,
  WarmupPolicy,
} from '../model/cluster.ts';
import { defaultConnectionLimits } from '../model/cluster.ts';
import { compileLocality, compileZones, type LocalityPolicy, type ZoneAwarePolicy } from './locality-policy.ts';
import type {
  CommonParts,
  ConnectionPoolSpec,
  ConsistentHashSpec,
  LoadBalancerSpec,
  MergedParts,
  OutlierSpec,
  TlsSpec,
  TrafficPolicy,
} from './traffic-policy-spec.ts';
import { durationMs } from './values.ts';

/** What a cluster takes from its policy. */
export interface ClusterPolicy {
  readonly balance: BalancePolicy;
  /** `PASSTHROUGH`: no balancing, the address that the caller named. */
  readonly passthrough: boolean;
  readonly hash?: ConsistentHash;
  readonly locality?: LocalityPolicy;
  readonly zoneAware?: ZoneAwarePolicy;
  readonly warmup?: WarmupPolicy;
  /** Absent: automatic, as the service decides. */
  readonly tls?: UpstreamTls;
  /** SNI of Istio mutual TLS. */
  readonly serverName?: string;
  /** Present: the only identities that servers of Istio mutual TLS may prove. */
  readonly subjectAltNames?: readonly string[];
  readonly outlier?: OutlierPolicy;
  readonly limits: ConnectionLimits;
  /** `h2UpgradePolicy`. Absent: as the mesh has it. */
  readonly http2Upgrade?: boolean;
  readonly useClientProtocol: boolean;
  readonly retryBudget?: RetryBudget;
  readonly tunnel?: TunnelPolicy;
  readonly proxyProtocol?: 1 | 2;
}

/**
 * The parts that hold for one port and subset: the subset's over the rule's, and the settings of a
 * port over both. Port settings do not inherit: of the four parts that they can have, what they
 * leave out has its default. The other parts have no settings for ports: those of the rule hold on
 * for the port of a subset, and end where the rule itself has settings for the port (Istio
 * `GetPortLevelTrafficPolicy`, `MergeSubsetTrafficPolicy`); but for the tunnel, which holds for every port.
 */
export function mergePolicies(
  rule: TrafficPolicy | undefined,
  subset: TrafficPolicy | undefined,
  port: number,
): MergedParts {
  return mergeOver(mergeOver({}, rule, port), subset, port);
}

function mergeOver(base: MergedParts, over: TrafficPolicy | undefined, port: number): MergedParts {
  if (over === undefined) return base;
  const ofPort = over.portLevelSettings?.find((settings) => settings.port.number === port);
  if (ofPort === undefined) {
    const { portLevelSettings: _, ...parts } = over;
    return { ...base, ...parts };
  }
  const { port: _, ...parts } = ofPort;
  const { proxyProtocol, retryBudget } = base;
  // Not a matter of ports: istiod asks the rule itself for it.
  const tunnel = over.tunnel ?? base.tunnel;
  return {
    ...(tunnel === undefined ? {} : { tunnel }),
    ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
    ...(retryBudget === undefined ? {} : { retryBudget }),
    ...parts,
  };
}

/** Translates merged parts to the words of the model. */
export function compilePolicy(parts: MergedParts, connectTimeoutMs?: number): ClusterPolicy {
  const { loadBalancer, tls, outlierDetection, connectionPool, tunnel, proxyProtocol, retryBudget } = parts;
  return {
    ...compileBalance(loadBalancer ?? {}),
    ...(tls === undefined ? {} : compileTls(tls)),
    ...(outlierDetection === undefined ? {} : { outlier: compileOutlier(outlierDetection) }),
    limits: compileLimits(connectionPool ?? {}, connectTimeoutMs ?? defaultConnectionLimits.connectTimeoutMs),
    ...compileVersion(connectionPool ?? {}),
    ...(retryBudget === undefined ? {} : { retryBudget: compileBudget(retryBudget) }),
    ...(tunnel === undefined
      ? {}
      : {
          tunnel: {
            method: tunnel.protocol === 'POST' ? 'POST' : 'CONNECT',
            targetHost: tunnel.targetHost,
            targetPort: tunnel.targetPort,
          },
        }),
    ...(proxyProtocol === undefined ? {} : { proxyProtocol: proxyProtocol.version === 'V2' ? 2 : 1 }),
  };
}

function compileBalance(spec: LoadBalancerSpec): Omit<ClusterPolicy, 'limits' | 'useClientProtocol'> {
  const { simple, consistentHash, localityLbSetting, zoneAwareLbSetting, warmup, warmupDurationSecs } = spec;
  const slow = warmup ?? (warmupDurationSecs === undefined ? undefined : { duration: warmupDurationSecs });
  return {
    balance: simple === 'ROUND_ROBIN' || simple === 'RANDOM' ? simple : 'LEAST_REQUEST',
    passthrough: simple === 'PASSTHROUGH',
    ...(consistentHash === undefined ? {} : { hash: compileHash(consistentHash) }),
    ...(localityLbSetting === undefined ? {} : { locality: compileLocality(localityLbSetting) }),
    ...(zoneAwareLbSetting === undefined ? {} : { zoneAware: compileZones(zoneAwareLbSetting) }),
    ...(slow === undefined ? {} : { warmup: compileWarmup(slow) }),
  };
}

function compileHash(spec: ConsistentHashSpec): ConsistentHash {
  const key = compileHashKey(spec);
  const { maglev, ringHash, minimumRingSize } = spec;
  return {
    ...(key === undefined ? {} : { key }),
    algorithm:
      maglev === undefined
        ? // 0 is "not set" in Istio.
          { kind: 'ringHash', minimumRingSize: ringHash?.minimumRingSize || minimumRingSize || 1_024 }
        : { kind: 'maglev', tableSize: maglev.tableSize || 65_537 },
  };
}

function compileHashKey({
  httpHeaderName,
  httpQueryParameterName,
  httpCookie,
  useSourceIp,
}: ConsistentHashSpec): HashKey | undefined {
  if (httpHeaderName !== undefined) return { kind: 'header', name: httpHeaderName.toLowerCase() };
  if (httpQueryParameterName !== undefined) return { kind: 'query', name: httpQueryParameterName };
  if (httpCookie !== undefined) {
    const { name, path = '', ttl, attributes = [] } = httpCookie;
    const ttlMs = durationMs(ttl);
    return {
      kind: 'cookie',
      name,
      path,
      ...(ttlMs === undefined ? {} : { ttlMs: Math.max(0, ttlMs) }),
      attributes: attributes.map((each) => ({ name: each.name, value: each.value ?? '' })),
    };
  }
  return useSourceIp === true ? { kind: 'sourceIp' } : undefined;
}

function compileWarmup(spec: NonNullable<LoadBalancerSpec['warmup']>): WarmupPolicy {
  return {
    durationMs: durationMs(spec.duration),
    minimumPercent: spec.minimumPercent ?? 10,
    aggression: spec.aggression ?? 1,
  };
}

function compileTls(spec: TlsSpec): Pick<ClusterPolicy, 'tls' | 'serverName' | 'subjectAltNames'> {
  const { mode = 'DISABLE', sni = '', subjectAltNames = [] } = spec;
  if (mode === 'DISABLE') return { tls: 'disable' };
  if (mode !== 'ISTIO_MUTUAL') return { tls: compileOrigination(spec, mode) };
  return {
    tls: 'mutual',
    ...(sni === '' ? {} : { serverName: sni }),
    ...(subjectAltNames.length === 0 ? {} : { subjectAltNames }),
  };
}

function compileOrigination(spec: TlsSpec, mode: 'SIMPLE' | 'MUTUAL'): OriginatedTls {
  const { sni = '', subjectAltNames = [], caCertificates = '', caCrl = '', credentialName = '' } = spec;
  const { clientCertificate = '', privateKey = '' } = spec;
  return {
    mode: mode === 'MUTUAL' ? 'mutual' : 'simple',
    ...(sni === '' ? {} : { serverName: sni }),
    subjectAltNames,
    // Istio's own word for the roots of the system.
    ...(caCertificates === '' || caCertificates === 'system' ? {} : { rootFile: caCertificates }),
    ...(caCrl === '' ? {} : { revocationFile: caCrl }),
    // With SIMPLE they stay unused, as in Istio.
    ...(mode === 'MUTUAL' && credentialName === ''
      ? { client: { certificateFile: clientCertificate, keyFile: privateKey } }
      : {}),
    verify: spec.insecureSkipVerify !== true,
    ...(credentialName === ''
      ? {}
      : { unavailable: `credentialName ${credentialName} names a Kubernetes secret, and there are none here` }),
  };
}

function compileOutlier(spec: OutlierSpec): OutlierPolicy {
  const codes = spec.outlierDetectionHttpErrorCodes ?? [];
  return {
    consecutive5xx: spec.consecutive5xxErrors ?? 5,
    consecutiveGatewayErrors: spec.consecutiveGatewayErrors ?? 0,
    ...(spec.splitExternalLocalOriginErrors === true
      ? { consecutiveLocalOriginFailures: spec.consecutiveLocalOriginFailures || 5 }
      : {}),
    ...(codes.length === 0 ? {} : { errorCodes: codes }),
    intervalMs: durationMs(spec.interval) ?? 10_000,
    baseEjectionMs: durationMs(spec.baseEjectionTime) ?? 30_000,
    // Istio cannot tell 0 from absent here.
    maxEjectionPercent: spec.maxEjectionPercent || 10,
    minHealthPercent: spec.minHealthPercent ?? 0,
  };
}

function compileVersion({ http = {} }: ConnectionPoolSpec): Pick<ClusterPolicy, 'http2Upgrade' | 'useClientProtocol'> {
  const { h2UpgradePolicy = 'DEFAULT', useClientProtocol = false } = http;
  if (h2UpgradePolicy === 'DEFAULT') return { useClientProtocol };
  return { useClientProtocol, http2Upgrade: h2UpgradePolicy === 'UPGRADE' };
}

function compileLimits({ tcp = {}, http = {} }: ConnectionPoolSpec, connectTimeoutMs: number): ConnectionLimits {
  const unlimited = Number.POSITIVE_INFINITY;
  const { tcpKeepalive, idleTimeout, maxConnectionDuration } = tcp;
  const { http2KeepAlive } = http;
  // In Istio a limit of 0 means that it is not set.
  return {
    maxConnections: tcp.maxConnections || unlimited,
    maxRequests: http.http2MaxRequests || unlimited,
    maxPendingRequests: http.http1MaxPendingRequests || unlimited,
    maxRetries: http.maxRetries || unlimited,
    maxRequestsPerConnection: http.maxRequestsPerConnection || unlimited,
    maxConcurrentStreams: http.maxConcurrentStreams || unlimited,
    connectTimeoutMs: durationMs(tcp.connectTimeout) ?? connectTimeoutMs,
    idleTimeoutMs: durationMs(http.idleTimeout ?? idleTimeout) ?? defaultConnectionLimits.idleTimeoutMs,
    maxConnectionMs: durationMs(maxConnectionDuration) ?? unlimited,
    ...(tcpKeepalive === undefined ? {} : { tcpKeepalive: compileKeepalive(tcpKeepalive) }),
    ...(http2KeepAlive === undefined ? {} : { http2Keepalive: compilePings(http2KeepAlive) }),
  };
}

/** Istio `TcpKeepalive`. */
export type KeepaliveSpec = NonNullable<NonNullable<ConnectionPoolSpec['tcp']>['tcpKeepalive']>;

export function compileKeepalive({ probes, time, interval }: KeepaliveSpec): TcpKeepalive {
  return {
    ...(probes === undefined || probes === 0 ? {} : { probes }),
    ...(time === undefined ? {} : { timeMs: durationMs(time) }),
    ...(interval === undefined ? {} : { intervalMs: durationMs(interval) }),
  };
}

function compilePings({ interval, timeout }: { readonly interval?: string; readonly timeout?: string }) {
  return {
    ...(interval === undefined ? {} : { intervalMs: durationMs(interval) }),
    ...(timeout === undefined ? {} : { timeoutMs: durationMs(timeout) }),
  };
}

function compileBudget(spec: NonNullable<CommonParts['retryBudget']>): RetryBudget {
  return {
    percent: spec.percent ?? 20,
    intervalMs: Math.max(0, durationMs(spec.budgetInterval) ?? 0),
    minRetryConcurrency: spec.minRetryConcurrency || 3,
  };
}
