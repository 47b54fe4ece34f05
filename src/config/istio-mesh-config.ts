import type { PathNormalization } from '../model/inbound.ts';
import type { RetryPolicy } from '../model/route.ts';
import type { OutboundPolicy } from '../model/snapshot.ts';
import { type CertificateDataSpec, compileTrustAnchors } from './ca-certificates.ts';
import { unknownField } from './check.ts';
import type { Collector } from './collector.ts';
import type { ConfigDocument, Path } from './document.ts';
import { documentOf } from './document.ts';
import { checkService, compileExtensionProviders, type ExtensionProviderSpec } from './extension-providers.ts';
import { meshFieldNames } from './fields-mesh-config.ts';
import { forwardClientCertOf, type ProxyHeadersSpec } from './forward-client-cert.ts';
import { checkRetry, compileRetry, type RetrySpec } from './istio-retry.ts';
import { checkLocality, checkZones } from './locality-check.ts';
import { compileLocality, compileZones } from './locality-policy.ts';
import { type AccessLogSpec, compileLogProviders, type LogProviderSpec } from './log-providers.ts';
import { defaultMeshSettings, type MeshSettings } from './mesh-settings.ts';
import { compileMetricProviders, type MetricProviderSpec } from './metric-providers.ts';
import { describePlace, describeResource } from './problem.ts';
import { byAge, type Resource } from './resource.ts';
import { compileTlsSettings, type MeshTlsSpec } from './tls-settings.ts';
import {
  compileCustomTags,
  compileTracers,
  type MeshTracing,
  type ProxyTracingSpec,
  type TracingProviderSpec,
  zipkinAt,
} from './tracing-settings.ts';
import { compileKeepalive, type KeepaliveSpec } from './traffic-policy.ts';
import type { LocalitySpec, ZoneAwareSpec } from './traffic-policy-spec.ts';
import type { GatewayTopologySpec } from './trusted-proxies.ts';
import { durationMs } from './values.ts';

/** Istio `MeshConfig`, as far as it has an effect. */
export interface MeshSpec extends AccessLogSpec, MeshTlsSpec {
  readonly outboundTrafficPolicy?: { readonly mode?: OutboundPolicy };
  readonly trustDomain?: string;
  readonly trustDomainAliases?: readonly string[];
  readonly caCertificates?: readonly CertificateDataSpec[];
  readonly rootNamespace?: string;
  readonly connectTimeout?: string;
  readonly dnsRefreshRate?: string;
  readonly defaultHttpRetryPolicy?: RetrySpec;
  readonly enableAutoMtls?: boolean;
  readonly defaultServiceExportTo?: readonly string[];
  readonly defaultVirtualServiceExportTo?: readonly string[];
  readonly defaultDestinationRuleExportTo?: readonly string[];
  readonly pathNormalization?: { readonly normalization?: PathNormalization | 'DEFAULT' };
  readonly localityLbSetting?: LocalitySpec;
  readonly zoneAwareLbSetting?: ZoneAwareSpec;
  readonly tcpKeepalive?: KeepaliveSpec;
  readonly h2UpgradePolicy?: 'DO_NOT_UPGRADE' | 'UPGRADE';
  readonly defaultConfig?: {
    readonly proxyHeaders?: ProxyHeadersSpec;
    readonly gatewayTopology?: GatewayTopologySpec;
    readonly tracing?: ProxyTracingSpec;
  };
  readonly enableTracing?: boolean;
  readonly defaultProviders?: {
    readonly tracing?: readonly string[];
    readonly metrics?: readonly string[];
    readonly accessLogging?: readonly string[];
  };
  readonly extensionProviders?: readonly (ExtensionProviderSpec &
    TracingProviderSpec &
    LogProviderSpec &
    MetricProviderSpec)[];
}

/** A MeshConfig, the ConfigMap of one, or an IstioOperator. */
export interface MeshConfigBody {
  readonly spec?: MeshSpec & { readonly meshConfig?: MeshSpec };
  readonly data?: { readonly mesh: MeshSpec };
}

/** What the options say already; they go before every document. */
export interface MeshOverrides {
  readonly outboundPolicy?: OutboundPolicy;
  readonly trustDomain?: string;
}

type MeshConfig = Resource<MeshConfigBody>;

/** Longest `connectTimeout` that Istio accepts. */
const maxConnectTimeoutMs = 3_600_000;

/**
 * A document for the MeshConfig that a program holds as a plain object: field names as in JSON or
 * as in the protobuf, unknown fields are reported and not refused, as Istio reads its own ConfigMap.
 */
export function meshConfigDocument(mesh: object): ConfigDocument {
  return documentOf({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'istio', namespace: defaultMeshSettings.rootNamespace },
    data: { mesh: JSON.stringify(mesh) },
  });
}

/**
 * The settings of the mesh. One document counts: a MeshConfig before the ConfigMap `istio` before
 * one of a revision before an IstioOperator, the older first; the others are reported.
 */
export function compileMeshConfig(
  resources: readonly MeshConfig[],
  overrides: MeshOverrides,
  collector: Collector,
): MeshSettings {
  const given = resources.filter((each) => specOf(each) !== undefined);
  const [first, ...others] = given.sort((a, b) => rank(a) - rank(b) || byAge(a, b));
  if (first === undefined) return defaultMeshSettings;
  for (const other of others) {
    collector.retract(other);
    const winner = `${describeResource(first)} (${describePlace(collector.at(first, []))})`;
    collector.warn(other, pathOf(other), 'ignored', `${winner} holds the settings of the mesh`);
  }
  const spec = specOf(first) as MeshSpec;
  const path = pathOf(first);
  reportUnknown(first, spec, path, collector);
  const { localityLbSetting, tcpKeepalive, zoneAwareLbSetting } = spec;
  if (localityLbSetting !== undefined) {
    checkLocality(first, localityLbSetting, true, [...path, 'localityLbSetting'], collector);
  }
  if (zoneAwareLbSetting !== undefined) {
    checkZones(first, zoneAwareLbSetting, true, [...path, 'zoneAwareLbSetting'], collector);
  }
  reportOverrides(first, spec, path, overrides, collector);
  const trustAnchors = compileTrustAnchors(first, spec.caCertificates, [...path, 'caCertificates'], collector);
  const trusted = spec.defaultConfig?.gatewayTopology?.numTrustedProxies;
  const normalization = spec.pathNormalization?.normalization ?? 'DEFAULT';
  return {
    rootNamespace: spec.rootNamespace || defaultMeshSettings.rootNamespace,
    ...(spec.trustDomain === undefined || overrides.trustDomain !== undefined ? {} : { trustDomain: spec.trustDomain }),
    trustDomainAliases: spec.trustDomainAliases ?? [],
    ...(trustAnchors.length === 0 ? {} : { trustAnchors }),
    outboundPolicy: spec.outboundTrafficPolicy?.mode ?? defaultMeshSettings.outboundPolicy,
    retry: meshRetry(first, spec, [...path, 'defaultHttpRetryPolicy'], collector),
    connectTimeoutMs: connectTimeout(first, spec, [...path, 'connectTimeout'], collector),
    ...(spec.dnsRefreshRate === undefined ? {} : { dnsRefreshMs: durationMs(spec.dnsRefreshRate) }),
    ...(tcpKeepalive === undefined ? {} : { tcpKeepalive: compileKeepalive(tcpKeepalive) }),
    locality: compileLocality(localityLbSetting ?? {}),
    ...(zoneAwareLbSetting === undefined ? {} : { zoneAware: compileZones(zoneAwareLbSetting) }),
    http2Upgrade: spec.h2UpgradePolicy === 'UPGRADE',
    autoMtls: spec.enableAutoMtls ?? true,
    ...compileTlsSettings(first, spec, path, collector),
    ...forwardClientCertOf(
      first,
      spec.defaultConfig?.proxyHeaders,
      [...path, 'defaultConfig', 'proxyHeaders'],
      collector,
    ),
    accessLogging: compileLogProviders(first, spec, path, collector),
    metricProviders: compileMetricProviders(spec),
    ...(trusted === undefined ? {} : { numTrustedProxies: trusted }),
    authorizers: compileExtensionProviders(first, spec.extensionProviders, [...path, 'extensionProviders'], collector),
    ...tracingOf(first, spec, path, collector),
    pathNormalization: normalization === 'DEFAULT' ? 'BASE' : normalization,
    exportTo: {
      services: visibility(spec.defaultServiceExportTo),
      virtualServices: visibility(spec.defaultVirtualServiceExportTo),
      destinationRules: spec.defaultDestinationRuleExportTo?.includes('.') === true ? ['.'] : ['*'],
    },
  };
}

/** Nothing where it says nothing of tracing: then Istio's defaults count. */
function tracingOf(
  resource: MeshConfig,
  spec: MeshSpec,
  path: Path,
  collector: Collector,
): { readonly tracing?: MeshTracing } {
  const { defaultConfig, defaultProviders, enableTracing, extensionProviders } = spec;
  const { tracing } = defaultConfig ?? {};
  const tracers = compileTracers(extensionProviders);
  for (const [index, provider] of (extensionProviders ?? []).entries()) {
    const kind = provider.zipkin === undefined ? 'opentelemetry' : 'zipkin';
    const service = provider[kind]?.service;
    if (service !== undefined) {
      checkService(service, resource, [...path, 'extensionProviders', index, kind, 'service'], collector);
    }
  }
  const [defaultTracer] = defaultProviders?.tracing ?? [];
  const silent = enableTracing === undefined && tracing === undefined && defaultTracer === undefined;
  if (silent && tracers.length === 0) return {};
  const { address } = tracing?.zipkin ?? {};
  const at = [...path, 'defaultConfig', 'tracing'];
  const zipkin = address === undefined ? undefined : zipkinAt(address);
  if (address !== undefined && zipkin === undefined) {
    collector.problem(resource, [...at, 'zipkin', 'address'], 'must be host:port', address);
  }
  const percent = tracing?.sampling ?? 0;
  return {
    tracing: {
      enabled: enableTracing ?? true,
      // Istio: 0 is not to be told from absent, and too much is as good as nothing.
      samplingPercent: percent === 0 || percent > 100 ? 1 : percent,
      maxPathLength: tracing?.maxPathTagLength || 256,
      istioTags: tracing?.enableIstioTags ?? true,
      customTags: compileCustomTags(tracing?.customTags, resource, [...at, 'customTags'], collector),
      tracers,
      ...(defaultTracer === undefined ? {} : { defaultTracer }),
      ...(zipkin === undefined ? {} : { zipkin }),
    },
  };
}

function rank({ kind, name }: MeshConfig): number {
  if (kind === 'MeshConfig') return 0;
  if (kind === 'ConfigMap') return name === 'istio' ? 1 : 2;
  return 3;
}

function specOf({ kind, body }: MeshConfig): MeshSpec | undefined {
  if (kind === 'MeshConfig') return body.spec;
  return kind === 'ConfigMap' ? body.data?.mesh : body.spec?.meshConfig;
}

function pathOf({ kind }: MeshConfig): Path {
  if (kind === 'MeshConfig') return ['spec'];
  return kind === 'ConfigMap' ? ['data', 'mesh'] : ['spec', 'meshConfig'];
}

/** As `exportTo` of a resource: `*` goes before everything, and `~` before names. */
function visibility(given: readonly string[] = []): readonly string[] {
  if (given.length === 0 || given.includes('*')) return ['*'];
  return given.includes('~') ? ['~'] : given;
}

/** Other releases of Istio have other fields; its own reader accepts them. */
function reportUnknown(resource: MeshConfig, spec: MeshSpec, path: Path, collector: Collector): void {
  for (const name of Object.keys(spec)) {
    if (meshFieldNames.includes(name)) continue;
    collector.warn(resource, [...path, name], 'ignored', unknownField(name, meshFieldNames));
  }
}

function reportOverrides(
  resource: MeshConfig,
  spec: MeshSpec,
  path: Path,
  overrides: MeshOverrides,
  collector: Collector,
): void {
  const report = (field: readonly string[], inForce: string | undefined, written: string | undefined): void => {
    if (inForce === undefined || written === undefined || inForce === written) return;
    collector.warn(resource, [...path, ...field], 'ignored', `the settings of this process say ${inForce}`);
  };
  report(['outboundTrafficPolicy', 'mode'], overrides.outboundPolicy, spec.outboundTrafficPolicy?.mode);
  report(['trustDomain'], overrides.trustDomain, spec.trustDomain);
}

function connectTimeout(resource: MeshConfig, spec: MeshSpec, path: Path, collector: Collector): number {
  const ms = durationMs(spec.connectTimeout) ?? defaultMeshSettings.connectTimeoutMs;
  if (ms > maxConnectTimeoutMs) collector.problem(resource, path, 'must be at most 1h', spec.connectTimeout);
  return ms;
}

/** Istio's default policy when there is none; one without `attempts` means no retries at all. */
function meshRetry(resource: MeshConfig, spec: MeshSpec, path: Path, collector: Collector): RetryPolicy | undefined {
  const policy = spec.defaultHttpRetryPolicy;
  if (policy === undefined) return defaultMeshSettings.retry;
  if ((policy.attempts ?? 0) === 0) {
    if (policy.attempts === undefined)
      collector.warn(resource, path, 'enforced', 'without attempts there are no retries');
    return undefined;
  }
  // Istio checks these words in a VirtualService only.
  const lenient: Collector = {
    ...collector,
    problem: (subject, at, message) => collector.warn(subject, at, 'ignored', message),
  };
  checkRetry(resource, policy, path, lenient);
  return compileRetry(policy);
}
