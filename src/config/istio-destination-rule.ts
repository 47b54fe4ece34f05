import type { BalancePolicy, ConnectionLimits, OutlierPolicy, UpstreamTls } from '../model/cluster.ts';
import { defaultConnectionLimits } from '../model/cluster.ts';
import { parseSpiffeId } from '../model/spiffe-id.ts';
import type { Collector } from './collector.ts';
import type { Path } from './document.ts';
import type { Resource } from './resource.ts';
import { durationMs, isWildcardHostName } from './values.ts';

export interface DestinationRuleBody {
  readonly spec: {
    readonly host: string;
    readonly trafficPolicy?: TrafficPolicy;
    readonly subsets?: readonly SubsetSpec[];
    readonly exportTo?: readonly string[];
    readonly workloadSelector?: { readonly matchLabels?: Readonly<Record<string, string>> };
  };
}

export interface SubsetSpec {
  readonly name: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly trafficPolicy?: TrafficPolicy;
}

/** The parts of a policy; a more specific policy replaces whole parts, never single fields. */
export interface PolicyParts {
  readonly loadBalancer?: { readonly simple?: string };
  readonly connectionPool?: {
    readonly tcp?: { readonly maxConnections?: number; readonly connectTimeout?: string };
    readonly http?: { readonly http2MaxRequests?: number; readonly maxRetries?: number; readonly idleTimeout?: string };
  };
  readonly outlierDetection?: {
    readonly consecutive5xxErrors?: number;
    readonly consecutiveGatewayErrors?: number;
    readonly interval?: string;
    readonly baseEjectionTime?: string;
    readonly maxEjectionPercent?: number;
    readonly minHealthPercent?: number;
  };
  readonly tls?: { readonly mode: string; readonly subjectAltNames?: readonly string[] };
}

export interface TrafficPolicy extends PolicyParts {
  readonly portLevelSettings?: readonly (PolicyParts & { readonly port: { readonly number: number } })[];
}

/** Checks what a field table cannot say. */
export function checkDestinationRule(resource: Resource<DestinationRuleBody>, collector: Collector): void {
  const { spec } = resource.body;
  if (spec.host !== '*' && !isWildcardHostName(spec.host)) {
    collector.problem(resource, ['spec', 'host'], 'must be a host name or *.<domain>', spec.host);
  }
  checkPolicy(resource, spec.trafficPolicy, ['spec', 'trafficPolicy'], collector);
  const names = new Set<string>();
  spec.subsets?.forEach((subset, index) => {
    const path = ['spec', 'subsets', index];
    if (subset.name === '') collector.problem(resource, [...path, 'name'], 'must not be empty', '');
    if (names.has(subset.name)) collector.problem(resource, [...path, 'name'], 'is there twice', subset.name);
    names.add(subset.name);
    checkPolicy(resource, subset.trafficPolicy, [...path, 'trafficPolicy'], collector);
  });
}

function checkPolicy(resource: Resource, policy: TrafficPolicy | undefined, path: Path, collector: Collector): void {
  if (policy === undefined) return;
  checkTls(resource, policy.tls, [...path, 'tls'], collector);
  const ports = new Set<number>();
  policy.portLevelSettings?.forEach((settings, index) => {
    const at = [...path, 'portLevelSettings', index];
    const { number } = settings.port;
    if (ports.has(number)) collector.problem(resource, [...at, 'port', 'number'], 'is there twice', number);
    ports.add(number);
    checkTls(resource, settings.tls, [...at, 'tls'], collector);
  });
}

function checkTls(resource: Resource, tls: PolicyParts['tls'], path: Path, collector: Collector): void {
  if (tls === undefined) return;
  if (tls.mode === 'SIMPLE' || tls.mode === 'MUTUAL') {
    const why = 'inmesh does not originate TLS other than Istio mutual TLS yet, and would send plaintext';
    collector.problem(resource, [...path, 'mode'], `is refused: ${why}`, tls.mode);
  }
  if (tls.mode !== 'ISTIO_MUTUAL') return;
  tls.subjectAltNames?.forEach((name, index) => {
    try {
      parseSpiffeId(name);
    } catch {
      collector.problem(resource, [...path, 'subjectAltNames', index], 'must be a SPIFFE ID', name);
    }
  });
}

/**
 * The parts that hold for one port and subset: the subset's over the rule's, and the settings of a
 * port over both. Port settings do not inherit: what they leave out has its default (Istio
 * `TrafficPolicy.PortTrafficPolicy`).
 */
export function mergePolicies(
  rule: TrafficPolicy | undefined,
  subset: TrafficPolicy | undefined,
  port: number,
): PolicyParts {
  const merge = (base: PolicyParts, over: TrafficPolicy | undefined): PolicyParts => {
    if (over === undefined) return base;
    const ofPort = over.portLevelSettings?.find((settings) => settings.port.number === port);
    if (ofPort !== undefined) return ofPort;
    const { portLevelSettings: _, ...parts } = over;
    return { ...base, ...parts };
  };
  return merge(merge({}, rule), subset);
}

/** What a cluster takes from its policy. */
export interface ClusterPolicy {
  readonly balance: BalancePolicy;
  /** `PASSTHROUGH`: no balancing, the address that the caller named. */
  readonly passthrough: boolean;
  /** Absent: automatic, as the service decides. */
  readonly tls?: UpstreamTls;
  /** Present: the only identities that servers may prove. */
  readonly subjectAltNames?: readonly string[];
  readonly outlier?: OutlierPolicy;
  readonly limits: ConnectionLimits;
}

/** Translates merged parts to the words of the model. */
export function compilePolicy(parts: PolicyParts): ClusterPolicy {
  const { tls, outlierDetection, connectionPool } = parts;
  const names = tls?.mode === 'ISTIO_MUTUAL' ? (tls.subjectAltNames ?? []) : [];
  const simple = parts.loadBalancer?.simple;
  return {
    balance: simple === 'ROUND_ROBIN' || simple === 'RANDOM' ? simple : 'LEAST_REQUEST',
    passthrough: simple === 'PASSTHROUGH',
    ...(tls === undefined ? {} : { tls: tls.mode === 'ISTIO_MUTUAL' ? 'mutual' : 'disable' }),
    ...(names.length === 0 ? {} : { subjectAltNames: names }),
    ...(outlierDetection === undefined ? {} : { outlier: compileOutlier(outlierDetection) }),
    limits: compileLimits(connectionPool),
  };
}

function compileOutlier(spec: NonNullable<PolicyParts['outlierDetection']>): OutlierPolicy {
  return {
    consecutive5xx: spec.consecutive5xxErrors ?? 5,
    consecutiveGatewayErrors: spec.consecutiveGatewayErrors ?? 0,
    intervalMs: durationMs(spec.interval) ?? 10_000,
    baseEjectionMs: durationMs(spec.baseEjectionTime) ?? 30_000,
    // Istio cannot tell 0 from absent here.
    maxEjectionPercent: spec.maxEjectionPercent || 10,
    minHealthPercent: spec.minHealthPercent ?? 0,
  };
}

function compileLimits(pool: PolicyParts['connectionPool']): ConnectionLimits {
  const { tcp, http } = pool ?? {};
  // In Istio a limit of 0 means that it is not set.
  return {
    maxConnections: tcp?.maxConnections || defaultConnectionLimits.maxConnections,
    maxRequests: http?.http2MaxRequests || defaultConnectionLimits.maxRequests,
    maxRetries: http?.maxRetries || defaultConnectionLimits.maxRetries,
    connectTimeoutMs: durationMs(tcp?.connectTimeout) ?? defaultConnectionLimits.connectTimeoutMs,
    idleTimeoutMs: durationMs(http?.idleTimeout) ?? defaultConnectionLimits.idleTimeoutMs,
  };
}
