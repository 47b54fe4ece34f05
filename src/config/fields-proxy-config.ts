import { selectorLabels } from './fields-destination-rule.ts';
import { proxyTracing } from './fields-tracing.ts';
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
  map,
  object,
  oneOfValues,
  openObject,
  string,
  text,
} from './schema.ts';
import { maxProxies } from './trusted-proxies.ts';

const noProxy = 'there is no proxy process';
const telemetry = 'where metrics and access logs go is a matter of the process itself';

const concurrency = ignored(integer(0), 'Node runs one thread for JavaScript; start more processes');
const ownEnvironment = 'set the environment of the process itself';
const noImage = 'there is no proxy image';

const allIgnored = (note: string, fields: Readonly<Record<string, FieldInput>>): Readonly<Record<string, Field>> =>
  Object.fromEntries(Object.entries(fields).map(([name, input]) => [name, ignored(field(input), note)]));

const forwardModes = oneOfValues(
  'UNDEFINED',
  'SANITIZE',
  'FORWARD_ONLY',
  'APPEND_FORWARD',
  'SANITIZE_SET',
  'ALWAYS_FORWARD_ONLY',
);
const notSent = 'headers that a proxy would add are not sent';

const proxyHeaders: ObjectType = {
  kind: 'object',
  open: true,
  fields: {
    forwardedClientCert: approximated(
      forwardModes,
      "absent or UNDEFINED means SANITIZE_SET: what a caller says of its own callers is handed on only where that is written (Istio's default is APPEND_FORWARD)",
    ),
    setCurrentClientCertDetails: field(
      object({
        subject: enforced(boolean, 'default true'),
        uri: enforced(boolean, 'default true'),
        dns: enforced(boolean, 'default true; names that are no host names are left out'),
        cert: enforced(boolean),
        chain: approximated(boolean, 'some releases of Node.js show a server the leaf alone (nodejs/node#65579)'),
      }),
    ),
    ...allIgnored(notSent, {
      server: any,
      requestId: any,
      attemptCount: any,
      envoyDebugHeaders: any,
      metadataExchangeHeaders: any,
      preserveHttp1HeaderCase: any,
      xForwardedHost: any,
      xForwardedPort: any,
    }),
  },
};

/** Istio `mesh.v1alpha1.ProxyConfig`: `MeshConfig.defaultConfig` and the annotation `proxy.istio.io/config`. */
export const meshProxyConfig: ObjectType = {
  kind: 'object',
  // Istio accepts fields of other releases here.
  open: true,
  fields: {
    concurrency,
    proxyMetadata: ignored(map(text), ownEnvironment),
    image: ignored(openObject({ imageType: string() }), noImage),
    holdApplicationUntilProxyStarts: ignored(
      boolean,
      '`await mesh.ready()` waits, and `mesh.listen` does so by itself',
    ),
    terminationDrainDuration: ignored(duration(0), 'the setting `drainGraceMs`'),
    drainDuration: ignored(duration(0), 'the setting `drainGraceMs`'),
    parentShutdownDuration: ignored(duration(0), noProxy),
    discoveryAddress: ignored(string(), 'configuration comes from the source that `createMesh` is given'),
    controlPlaneAuthPolicy: ignored(string(), 'configuration comes from the source that `createMesh` is given'),
    caCertificatesPem: ignored(list(string()), 'roots of trust come from the identity source'),
    tracing: field(proxyTracing),
    ...allIgnored(telemetry, {
      tracingServiceName: string(),
      zipkinAddress: string(),
      statsdUdpAddress: string(),
      envoyMetricsServiceAddress: string(),
      envoyMetricsService: any,
      envoyAccessLogService: any,
      extraStatTags: list(string()),
      statNameLength: integer(),
      proxyStatsMatcher: any,
      statsCompression: any,
      meshId: string(),
      fileFlushInterval: duration(0),
      fileFlushMinSizeKb: integer(),
    }),
    proxyHeaders: field(proxyHeaders),
    gatewayTopology: field({
      kind: 'object',
      open: true,
      fields: {
        numTrustedProxies: approximated(
          integer(0, maxProxies),
          'counts the proxies in front of the workload, ingress gateways among them; default 0, where sidecars believe one',
        ),
        forwardClientCertDetails: ignored(
          forwardModes,
          'for gateways, in Istio too; of sidecars `proxyHeaders.forwardedClientCert` is what counts',
        ),
        proxyProtocol: ignored(
          any,
          'PROXY protocol is not read: it is no part of a request, and the bytes are refused',
        ),
      },
    }),
    ...allIgnored(noProxy, {
      configPath: string(),
      binaryPath: string(),
      serviceCluster: string(),
      discoveryRefreshDelay: any,
      proxyAdminPort: integer(0, 65_535),
      statusPort: integer(0, 65_535),
      availabilityZone: string(),
      customConfigFile: string(),
      proxyBootstrapTemplatePath: string(),
      interceptionMode: string(),
      sds: any,
      runtimeValues: any,
      readinessProbe: any,
      privateKeyProvider: any,
    }),
  },
};

const targetRef = object({ group: string(), kind: string(), name: string(), namespace: string() });

/** `networking.istio.io` ProxyConfig. */
export const proxyConfigTable: KindTable = {
  kind: 'ProxyConfig',
  group: 'networking.istio.io',
  versions: ['v1beta1'],
  status: 'ignored',
  note: 'there is no proxy: `concurrency` (Node runs one thread for JavaScript), `environmentVariables` and `image` are matters of the process itself',
  reference: 'https://istio.io/latest/docs/reference/config/networking/proxy-config/',
  fields: {
    spec: field(
      object({
        selector: ignored(object({ matchLabels: selectorLabels }), noProxy),
        targetRef: ignored(targetRef, 'for waypoints'),
        concurrency,
        environmentVariables: ignored(map(string({ maxLength: 2_048, anyCharacter: true })), ownEnvironment),
        image: ignored(object({ imageType: string() }), noImage),
      }),
    ),
  },
};
