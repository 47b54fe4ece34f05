import type { TcpKeepalive } from '../model/cluster.ts';
import type { ForwardClientCert, PathNormalization } from '../model/inbound.ts';
import type { RetryPolicy } from '../model/route.ts';
import { defaultRetryPolicy } from '../model/route.ts';
import type { OutboundPolicy } from '../model/snapshot.ts';
import type { TlsParameters } from '../model/tls-parameters.ts';
import type { MeshTrust, TrustAnchor } from '../model/trust.ts';
import type { NamedAuthorizer } from './extension-providers.ts';
import { defaultLocality, type LocalityPolicy, type ZoneAwarePolicy } from './locality-policy.ts';
import { type MeshAccessLogging, noAccessLogging } from './log-providers.ts';
import { defaultMetricProviders, type MetricProviders } from './metric-providers.ts';
import type { MeshTracing } from './tracing-settings.ts';

/** What holds for the whole mesh: Istio's `MeshConfig`, as far as it has an effect here. */
export interface MeshSettings {
  /** Namespace whose resources hold for the whole mesh. Default `istio-system`. */
  readonly rootNamespace: string;
  /** Absent: the trust domain of the settings counts. */
  readonly trustDomain?: string;
  /** Identities of these trust domains count as identities of the own one. */
  readonly trustDomainAliases: readonly string[];
  /** Roots besides those of the identity source; absent: none. */
  readonly trustAnchors?: readonly TrustAnchor[];
  readonly outboundPolicy: OutboundPolicy;
  /** Retries of routes that say nothing about them. Nothing: none at all. */
  readonly retry: RetryPolicy | undefined;
  /** For clusters whose DestinationRule says nothing, milliseconds. Default 10,000. */
  readonly connectTimeoutMs: number;
  /** How often names are asked for whose answers have no time to live. Absent: the resolver's own time. */
  readonly dnsRefreshMs?: number;
  /** For clusters whose DestinationRule says nothing. */
  readonly tcpKeepalive?: TcpKeepalive;
  /** For clusters whose DestinationRule has neither this nor the next, and whose service says nothing. */
  readonly locality: LocalityPolicy;
  /** Goes before it. */
  readonly zoneAware?: ZoneAwarePolicy;
  /** HTTP/2 to services whose DestinationRule says nothing (`h2UpgradePolicy`). Default false. */
  readonly http2Upgrade: boolean;
  /** Mutual TLS to endpoints that speak it, without a DestinationRule. Default true. */
  readonly autoMtls: boolean;
  /** What clients of the mesh may speak (`meshMTLS`). Absent: all that the mesh speaks. */
  readonly inboundTls?: TlsParameters;
  /** What is spoken to servers outside of it (`tlsDefaults`). Absent: all that Node.js speaks, from TLS 1.2 on. */
  readonly originatedTls?: TlsParameters;
  /** Absent: `defaultForwardClientCert`. */
  readonly forwardClientCert?: ForwardClientCert;
  /** Proxies before every workload that are trusted with `x-forwarded-for`. Absent: none. */
  readonly numTrustedProxies?: number;
  /** Who can be asked about requests of CUSTOM policies. Default nobody. */
  readonly authorizers: readonly NamedAuthorizer[];
  /** What it says of tracing; absent: nothing. */
  readonly tracing?: MeshTracing;
  readonly accessLogging: MeshAccessLogging;
  readonly metricProviders: MetricProviders;
  /** Default `BASE`. */
  readonly pathNormalization: PathNormalization;
  /** Who sees a resource that has no `exportTo`. Default `*`: everybody. */
  readonly exportTo: {
    readonly services: readonly string[];
    readonly virtualServices: readonly string[];
    readonly destinationRules: readonly string[];
  };
}

/** Istio's defaults. */
export const defaultMeshSettings: MeshSettings = {
  rootNamespace: 'istio-system',
  trustDomainAliases: [],
  outboundPolicy: 'ALLOW_ANY',
  retry: defaultRetryPolicy,
  connectTimeoutMs: 10_000,
  locality: defaultLocality,
  http2Upgrade: false,
  autoMtls: true,
  authorizers: [],
  accessLogging: noAccessLogging,
  metricProviders: defaultMetricProviders,
  pathNormalization: 'BASE',
  exportTo: { services: ['*'], virtualServices: ['*'], destinationRules: ['*'] },
};

/** The own trust domain first, then its aliases. */
export function trustDomainsOf(own: string, { trustDomainAliases }: MeshSettings): readonly string[] {
  return trustDomainAliases.length === 0 ? [own] : [...new Set([own, ...trustDomainAliases])];
}

/**
 * What the mesh says of trust; nothing where the identity source has said all.
 *
 * @param own the own trust domain, if somebody chose it
 */
export function meshTrustOf(own: string | undefined, mesh: MeshSettings): MeshTrust | undefined {
  const { trustAnchors: anchors = [], trustDomainAliases: aliases } = mesh;
  if (aliases.length === 0 && anchors.length === 0) return undefined;
  return { ...(own === undefined ? {} : { trustDomain: own }), aliases, anchors };
}
