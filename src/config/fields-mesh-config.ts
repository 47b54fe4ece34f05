import { extensionProviders } from './fields-extension-providers.ts';
import { localityFields, zoneAwareFields } from './fields-locality.ts';
import { meshProxyConfig } from './fields-proxy-config.ts';
import type { Field, FieldInput, KindTable, ObjectType } from './schema.ts';
import {
  any,
  approximated,
  boolean,
  duration,
  enforced,
  field,
  ignored,
  integer,
  list,
  object,
  oneOfValues,
  openObject,
  required,
  string,
  text,
} from './schema.ts';

const noProxy = 'there is no proxy process';
const gateways = 'configures ingress gateways';
const accessLog = 'the access log goes to standard output, a file or a function';
const fromIdentitySource = 'certificates and roots come from the identity source';
const statNames = 'metrics carry labels instead of composed names';

const allIgnored = (note: string, fields: Readonly<Record<string, FieldInput>>): Readonly<Record<string, Field>> =>
  Object.fromEntries(Object.entries(fields).map(([name, input]) => [name, ignored(field(input), note)]));

/** Istio `ValidateTrustDomain`: DNS labels. */
const trustDomain = string({
  pattern: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/,
  mustBe: 'a trust domain of DNS labels, such as cluster.local',
});

const exportTo = enforced(list(string()), '`.`, `*`, `~` or names of namespaces, as `exportTo` of a resource');

const uint32 = integer(0, 4_294_967_295);
const tlsVersions = oneOfValues('TLS_AUTO', 'TLSV1_2', 'TLSV1_3');
const tls12Suites = 'of TLS 1.2, those of TLS 1.3 are always spoken, as in Envoy; unknown ones are refused';

const meshFields: Readonly<Record<string, Field>> = object({
  outboundTrafficPolicy: object({
    mode: enforced(
      oneOfValues('REGISTRY_ONLY', 'ALLOW_ANY'),
      'a Sidecar overrides it; the option `outboundPolicy` overrides both',
    ),
  }),
  trustDomain: approximated(
    trustDomain,
    'a trust domain among the settings overrides it; the labels of metrics follow the settings alone',
  ),
  trustDomainAliases: enforced(
    list(trustDomain),
    'for servers that are called, for callers, and in authorization policies; the own roots speak for an alias unless it has roots of its own',
  ),
  rootNamespace: enforced(
    string({ pattern: /^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$/, mustBe: 'a namespace of a-z, 0-9 and -' }),
  ),
  connectTimeout: enforced(duration(), 'at most one hour; `connectTimeout` of a DestinationRule overrides it'),
  defaultHttpRetryPolicy: object({
    attempts: enforced(integer(), '0 or absent: no retries'),
    retryOn: string(),
    backoff: duration(),
    perTryTimeout: enforced(duration(), 'as istiod does, against the words of its documentation'),
    retryIgnorePreviousHosts: boolean,
    retryRemoteLocalities: boolean,
  }),
  enableAutoMtls: enforced(boolean, 'false: no mutual TLS to services without a DestinationRule that asks for it'),
  defaultServiceExportTo: exportTo,
  defaultVirtualServiceExportTo: exportTo,
  defaultDestinationRuleExportTo: enforced(list(string()), 'only `.` makes a difference, as in Istio'),
  pathNormalization: object({
    normalization: enforced(
      oneOfValues('DEFAULT', 'NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'),
      'inbound before policies, outbound before routes; calls to unknown hosts are sent as the caller wrote them',
    ),
  }),
  localityLbSetting: localityFields,
  zoneAwareLbSetting: enforced(zoneAwareFields, 'goes before localityLbSetting'),
  tcpKeepalive: object({
    probes: approximated(uint32, 'Node.js 22 leaves it to the operating system'),
    time: enforced(duration(), 'default 60 s; `tcpKeepalive` of a DestinationRule overrides it'),
    interval: approximated(duration(), 'in whole seconds; Node.js 22 leaves it to the operating system'),
  }),
  dnsRefreshRate: enforced(
    duration(),
    'for answers that have no time to live of their own (hosts file, search domains); 1 s to 1 h, 0 is 5 s; default 30 s',
  ),
  h2UpgradePolicy: enforced(
    oneOfValues('DO_NOT_UPGRADE', 'UPGRADE'),
    'for ports of HTTP; `h2UpgradePolicy` of a DestinationRule overrides it',
  ),
  enableTracing: enforced(
    boolean,
    'default true; false: no spans where no Telemetry asks for them; headers are passed on',
  ),
  meshMTLS: object({
    minProtocolVersion: enforced(
      tlsVersions,
      'of connections that this workload takes, TLS 1.2 where there is none; callers speak both versions, as in Istio',
    ),
    ecdhCurves: enforced(list(string()), 'as of `minProtocolVersion`; Istio refuses them here'),
    cipherSuites: enforced(
      list(string()),
      `as of \`minProtocolVersion\`; ${tls12Suites}, and those without forward secrecy or AEAD left out`,
    ),
  }),
  tlsDefaults: object({
    minProtocolVersion: ignored(
      tlsVersions,
      'for servers that show a certificate of their own, as gateways do: none is served here. Callers speak TLS 1.2 and 1.3, as in Istio',
    ),
    ecdhCurves: enforced(list(string()), 'of calls with `tls.mode` SIMPLE and MUTUAL; unknown ones are refused'),
    cipherSuites: enforced(list(string()), `of calls with \`tls.mode\` SIMPLE and MUTUAL; ${tls12Suites}`),
  }),
  compliancePolicy: ignored(string(), 'a matter of how Node was built'),
  inboundTrafficPolicy: ignored(
    object({ mode: oneOfValues('PASSTHROUGH', 'LOCALHOST') }),
    'requests go to the application in the same process',
  ),
  discoverySelectors: ignored(list(any), 'a matter of the control plane; the files are what there is'),
  serviceScopeConfigs: ignored(list(any), 'there is one cluster'),
  serviceSettings: ignored(list(any), 'there is one cluster'),
  configSources: ignored(list(any), 'configuration comes from the source that `createMesh` is given'),
  extensionProviders: enforced(extensionProviders, 'those for external authorization, traces, metrics and access logs'),
  defaultProviders: openObject({
    tracing: approximated(list(string()), 'the first counts, as in Istio; without a Telemetry, too'),
    metrics: approximated(
      list(string()),
      'whose overrides count; default `prometheus`; metrics are there for whoever asks, named or not',
    ),
    accessLogging: enforced(list(string()), 'without a Telemetry, and for those that name no provider'),
  }),
  defaultConfig: meshProxyConfig,
  accessLogFile: enforced(
    string(),
    'where no Telemetry and no default provider says more; beside `/dev/stdout` and `/dev/stderr` files in the folder that the option `accessLogFolder` names',
  ),
  accessLogFormat: approximated(
    string({ anyCharacter: true }),
    'operators that have no meaning in a process are `-` in every line',
  ),
  accessLogEncoding: enforced(oneOfValues('TEXT', 'JSON')),
  ...allIgnored(accessLog, {
    enableEnvoyAccessLogService: boolean,
    disableEnvoyListenerLog: boolean,
  }),
  caCertificates: list(
    object(
      {
        pem: enforced(text, 'roots besides those of the identity source'),
        spiffeBundleUrl: ignored(string(), 'bundles of other trust domains come from the identity source'),
        certSigners: approximated(
          list(string()),
          'such roots are not used: it cannot be seen who signed for Kubernetes',
        ),
        trustDomains: enforced(
          list(trustDomain),
          'these alone are spoken for; absent: the own trust domain and its aliases, where Istio trusts them for all',
        ),
      },
      ['pem', 'spiffeBundleUrl'],
    ),
  ),
  ...allIgnored(fromIdentitySource, { certificates: list(any), ca: any }),
  verifyCertificateAtClient: ignored(boolean, 'servers are always verified'),
  ...allIgnored(statNames, { inboundClusterStatName: string(), outboundClusterStatName: string() }),
  enablePrometheusMerge: ignored(boolean, noProxy),
  protocolDetectionTimeout: ignored(duration(0), 'the protocol of a port is configured'),
  ...allIgnored(noProxy, {
    proxyListenPort: integer(0, 65_535),
    proxyInboundListenPort: integer(0, 65_535),
    proxyHttpPort: integer(0, 65_535),
    thriftConfig: any,
  }),
  ...allIgnored(gateways, {
    ingressClass: string(),
    ingressService: string(),
    ingressControllerMode: oneOfValues('UNSPECIFIED', 'OFF', 'DEFAULT', 'STRICT'),
    ingressSelector: string(),
  }),
}).fields;

/** Istio's own readers accept what they do not know; the compiler reports it. */
const foreignMesh: ObjectType = { kind: 'object', fields: meshFields, open: true };

/** `inmesh.dev` MeshConfig: Istio's `MeshConfig` as a document of its own. */
export const meshConfigTable: KindTable = {
  kind: 'MeshConfig',
  group: 'inmesh.dev',
  versions: ['v1'],
  status: 'enforced',
  unnamed: true,
  note: "Istio's mesh-wide settings; also read from the key `mesh` of a ConfigMap named `istio`, and from `spec.meshConfig` of an IstioOperator",
  reference: 'https://istio.io/latest/docs/reference/config/istio.mesh.v1alpha1/',
  fields: { spec: required({ kind: 'object', fields: meshFields, open: false }) },
};

/** The ConfigMap in which Istio keeps its MeshConfig, after its text was read. */
export const meshConfigMapTable: KindTable = {
  kind: 'ConfigMap',
  group: '',
  versions: ['v1'],
  status: 'enforced',
  reference: meshConfigTable.reference,
  fields: {
    data: required(openObject({ mesh: required(foreignMesh) })),
    binaryData: field(any),
    immutable: field(any),
  },
};

/** `install.istio.io` IstioOperator, of which only `meshConfig` is of interest. */
export const istioOperatorTable: KindTable = {
  kind: 'IstioOperator',
  group: 'install.istio.io',
  versions: ['v1alpha1'],
  status: 'enforced',
  unnamed: true,
  note: 'only `spec.meshConfig` is read, as a MeshConfig; the rest installs a control plane',
  reference: 'https://istio.io/latest/docs/reference/config/istio.operator.v1alpha1/',
  fields: { spec: field(openObject({ meshConfig: foreignMesh })) },
};

/** Names of the fields of a MeshConfig. */
export const meshFieldNames: readonly string[] = Object.keys(meshFields);
