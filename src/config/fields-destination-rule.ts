import type { Field, FieldType, KindTable } from './schema.ts';
import {
  approximated,
  boolean,
  duration,
  enforced,
  ignored,
  integer,
  list,
  map,
  number,
  object,
  oneOfValues,
  refused,
  required,
  string,
} from './schema.ts';

const uint32 = integer(0, 4_294_967_295);

const failover = list(object({ from: string(), to: string() }));
const consistentHash = object({
  httpHeaderName: string(),
  httpQueryParameterName: string(),
  useSourceIp: boolean,
  httpCookie: object({
    name: required(string()),
    path: string(),
    ttl: duration(0),
    attributes: list(object({ name: required(string()), value: string() })),
  }),
  ringHash: object({ minimumRingSize: uint32 }),
  maglev: object({ tableSize: uint32 }),
  minimumRingSize: uint32,
});

const loadBalancer = object(
  {
    simple: enforced(
      oneOfValues('UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN', 'LEAST_REQUEST'),
      'LEAST_CONN is LEAST_REQUEST; PASSTHROUGH uses the address that the caller named',
    ),
    consistentHash: ignored(consistentHash, 'LEAST_REQUEST is used'),
    localityLbSetting: ignored(
      object({
        enabled: boolean,
        distribute: list(object({ from: string(), to: map(uint32) })),
        failover,
        failoverPriority: list(string()),
      }),
    ),
    zoneAwareLbSetting: ignored(
      object({ enabled: boolean, failover, failoverPriority: list(string()), minClusterSize: uint32 }),
    ),
    warmupDurationSecs: ignored(duration()),
    warmup: ignored(
      object({ duration: required(duration()), minimumPercent: number(0, 100), aggression: number(0, 1_000_000) }),
    ),
  },
  ['simple', 'consistentHash'],
);

const connectionPool = object({
  tcp: object({
    maxConnections: approximated(integer(), 'counted for each endpoint, not for all of them together'),
    connectTimeout: duration(),
    idleTimeout: ignored(duration(0), '`http.idleTimeout` is used'),
    maxConnectionDuration: ignored(duration()),
    tcpKeepalive: ignored(object({ probes: uint32, time: duration(), interval: duration() })),
  }),
  http: object({
    http2MaxRequests: enforced(integer(), 'counts HTTP/1.1 requests too, and those that wait'),
    maxRetries: integer(),
    idleTimeout: duration(),
    http1MaxPendingRequests: ignored(integer(), '`http2MaxRequests` counts waiting requests'),
    maxRequestsPerConnection: ignored(integer()),
    maxConcurrentStreams: ignored(integer()),
    h2UpgradePolicy: ignored(oneOfValues('DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE')),
    useClientProtocol: ignored(boolean),
    http2KeepAlive: ignored(object({ interval: duration(), timeout: duration() })),
  }),
});

const outlierDetection = object({
  consecutive5xxErrors: uint32,
  consecutiveGatewayErrors: uint32,
  interval: duration(),
  baseEjectionTime: duration(),
  maxEjectionPercent: integer(0, 100),
  minHealthPercent: integer(0, 100),
  consecutiveErrors: ignored(integer(), 'deprecated; Istio ignores it too'),
  splitExternalLocalOriginErrors: ignored(boolean, 'connection failures count as gateway errors'),
  consecutiveLocalOriginFailures: ignored(uint32),
  outlierDetectionHttpErrorCodes: ignored(list(integer(100, 599))),
});

const ownCertificates = 'ISTIO_MUTUAL takes certificates from the identity of this process';
const tls = object({
  mode: required(
    enforced(
      oneOfValues('DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL'),
      'SIMPLE and MUTUAL are refused: inmesh does not originate other TLS yet. Required here: in Istio an absent mode means DISABLE',
    ),
  ),
  subjectAltNames: enforced(list(string()), 'SPIFFE IDs; used with ISTIO_MUTUAL'),
  sni: ignored(string(), 'the SNI of Istio mutual TLS is always sent'),
  insecureSkipVerify: ignored(boolean, 'servers are always verified'),
  clientCertificate: refused(string(), ownCertificates),
  privateKey: refused(string(), ownCertificates),
  caCertificates: refused(string(), ownCertificates),
  credentialName: refused(string(), ownCertificates),
  caCrl: refused(string(), 'revocation lists are not read yet'),
});

const perPort = { loadBalancer, connectionPool, outlierDetection, tls } as const;

const trafficPolicy = object({
  ...perPort,
  portLevelSettings: enforced(
    list(object({ port: required(object({ number: required(integer(1, 65_535)) })), ...perPort })),
    'replaces the whole policy for that port, as in Istio',
  ),
  tunnel: ignored(
    object({ protocol: string(), targetHost: required(string()), targetPort: required(integer(1, 65_535)) }),
  ),
  proxyProtocol: ignored(object({ version: oneOfValues('V1', 'V2') })),
  retryBudget: ignored(object({ percent: number(0, 100), budgetInterval: duration(0), minRetryConcurrency: uint32 })),
});

/** Labels of a selector: no wildcards, at most 63 characters a value. */
export const selectorLabels: FieldType = map(
  string({ pattern: /^[^*]{0,63}$/, mustBe: 'a label value of at most 63 characters without *' }),
  { pattern: /^[^*]+$/, mustBe: 'a label name without *' },
);

/** Who may see a resource: `.` its own namespace, `*` all, or names of namespaces. */
export const exportTo: Field = enforced(list(string()), '`.`, `*`, `~` or names of namespaces');

/** `networking.istio.io` DestinationRule. */
export const destinationRuleTable: KindTable = {
  kind: 'DestinationRule',
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  status: 'enforced',
  reference: 'https://istio.io/latest/docs/reference/config/networking/destination-rule/',
  fields: {
    spec: required(
      object({
        host: required(string()),
        trafficPolicy,
        subsets: list(object({ name: required(string()), labels: map(string()), trafficPolicy })),
        exportTo,
        workloadSelector: object({ matchLabels: selectorLabels }),
      }),
    ),
  },
};
