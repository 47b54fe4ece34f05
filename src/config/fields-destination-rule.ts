import { localityFields, zoneAwareFields } from './fields-locality.ts';
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
  nullable,
  number,
  object,
  oneOfValues,
  required,
  string,
} from './schema.ts';

const uint32 = integer(0, 4_294_967_295);
/** The largest that is exact in JavaScript below the 64 bits of Kubernetes. */
const uint64 = integer(0, 2 ** 63 - 1_024);
const int32 = integer(-2_147_483_648, 2_147_483_647);

/** Istio does not look at it. */
const anyDuration = duration(Number.NEGATIVE_INFINITY, 'all');

const consistentHash = object({
  httpHeaderName: enforced(
    string(),
    'as the application sends it, before header edits of the route; several lines count together',
  ),
  httpQueryParameterName: enforced(string(), 'the first of that name, as it is written'),
  useSourceIp: enforced(
    boolean,
    'the last address of `x-forwarded-for`, as for a sidecar; else that of the caller whose request causes the call, else the own',
  ),
  httpCookie: object({
    name: required(string()),
    path: string(),
    ttl: enforced(
      anyDuration,
      'with one a cookie is made where there is none, and `set-cookie` goes to the application',
    ),
    attributes: list(object({ name: required(string()), value: string() })),
  }),
  ringHash: object({ minimumRingSize: enforced(uint64, 'default 1024, at most 8388608') }),
  maglev: object({ tableSize: uint64 }),
  minimumRingSize: uint64,
});

const newcomers = 'with ROUND_ROBIN and LEAST_REQUEST, as in Istio; endpoints that come back into service begin anew';

const loadBalancer = object(
  {
    simple: enforced(
      oneOfValues('UNSPECIFIED', 'LEAST_CONN', 'RANDOM', 'PASSTHROUGH', 'ROUND_ROBIN', 'LEAST_REQUEST'),
      'LEAST_CONN is LEAST_REQUEST; PASSTHROUGH uses the address that the caller named',
    ),
    consistentHash: enforced(
      consistentHash,
      'chooses the endpoints that Envoy chooses; requests without a key go anywhere (LEAST_REQUEST)',
    ),
    localityLbSetting: localityFields,
    zoneAwareLbSetting: zoneAwareFields,
    warmupDurationSecs: enforced(duration(1, 'all'), `deprecated; ${newcomers}`),
    warmup: enforced(
      object({
        duration: required(duration()),
        minimumPercent: number(0, 100),
        aggression: number(Number.MIN_VALUE, Number.MAX_VALUE),
      }),
      newcomers,
    ),
  },
  ['simple', 'consistentHash'],
);

const keepaliveOfSystem = 'in whole seconds; Node.js 22 leaves it to the operating system';
const connectionPool = object({
  tcp: object({
    maxConnections: enforced(integer(), 'counts the connections of this process; 0 is no limit'),
    connectTimeout: duration(),
    idleTimeout: enforced(duration(0, 'below 1ms'), 'where there is no `http.idleTimeout`; 0 keeps idle connections'),
    maxConnectionDuration: duration(),
    tcpKeepalive: object({
      time: enforced(duration(), 'default 60 s; in whole seconds'),
      probes: approximated(uint32, 'Node.js 22 leaves it to the operating system'),
      interval: approximated(duration(), keepaliveOfSystem),
    }),
  }),
  http: object({
    http2MaxRequests: enforced(integer(), 'counts HTTP/1.1 requests too, and those that wait; 0 is no limit'),
    maxRetries: enforced(integer(), 'absent or 0: the default `retryBudget` holds'),
    idleTimeout: duration(),
    http1MaxPendingRequests: enforced(
      integer(),
      'counts requests whose connection is being made, too, as Envoy does; 0 is no limit',
    ),
    maxRequestsPerConnection: enforced(integer(), '0 is no limit'),
    maxConcurrentStreams: enforced(integer(), '0 is the default, 1,024; a server that allows less is obeyed'),
    h2UpgradePolicy: enforced(
      oneOfValues('DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'),
      'ports of HTTP/2 and gRPC are called over HTTP/2 in any case; upgrades, CONNECT and `mesh.agent` stay with HTTP/1.1',
    ),
    useClientProtocol: enforced(boolean, 'HTTP/2 for calls that an inbound request over HTTP/2 causes'),
    http2KeepAlive: enforced(
      object({ interval: duration(), timeout: duration() }),
      'PING frames; `timeout` is 5 s where there is none',
    ),
  }),
});

const outlierDetection = object({
  consecutive5xxErrors: uint32,
  consecutiveGatewayErrors: uint32,
  interval: duration(),
  baseEjectionTime: duration(),
  maxEjectionPercent: enforced(
    integer(0, 100),
    '0 is the default of 10, as in Istio; where one endpoint is more than the share, none goes, as in Envoy',
  ),
  minHealthPercent: integer(0, 100),
  consecutiveErrors: ignored(int32, 'deprecated; Istio ignores it too'),
  splitExternalLocalOriginErrors: boolean,
  consecutiveLocalOriginFailures: uint32,
  outlierDetectionHttpErrorCodes: list(integer(100, 599)),
});

const files = 'a file, read again when it has changed';
const tls = object({
  mode: enforced(oneOfValues('DISABLE', 'SIMPLE', 'MUTUAL', 'ISTIO_MUTUAL'), 'without one it is DISABLE, as in Istio'),
  sni: enforced(string(), 'without one the host of the request; with ISTIO_MUTUAL the name of the cluster'),
  subjectAltNames: enforced(
    list(string()),
    'DNS names, URIs, IP or mail addresses, exactly; SPIFFE IDs with ISTIO_MUTUAL. Without any: those of the ServiceEntry and the accounts of its endpoints, and the host without `sni`; else the SNI, which Istio does not check when `sni` is set',
  ),
  clientCertificate: enforced(string(), `${files}; with MUTUAL`),
  privateKey: enforced(string(), `${files}; with MUTUAL`),
  caCertificates: enforced(string(), `${files}; without it, or with \`system\`, the roots that Node trusts`),
  caCrl: enforced(string(), files),
  insecureSkipVerify: enforced(boolean, 'has no effect with ISTIO_MUTUAL'),
  credentialName: approximated(
    string(),
    'there are no Kubernetes secrets here: calls fail with 503. Sidecars send plaintext without a `workloadSelector`',
  ),
});

const perPort = { loadBalancer, connectionPool, outlierDetection, tls } as const;

const trafficPolicy = object({
  ...perPort,
  portLevelSettings: enforced(
    list(object({ port: required(object({ number: uint32 })), ...perPort })),
    'replaces these four parts of the policy for that port, as in Istio',
  ),
  tunnel: enforced(
    object({
      protocol: approximated(string(), 'CONNECT over HTTP/1.1, the default; with POST no connection is made'),
      targetHost: required(string()),
      targetPort: required(uint32),
    }),
    'for `mesh.connect` and TLS of the application; HTTP that the mesh reads is not tunnelled, as in Istio',
  ),
  proxyProtocol: enforced(
    object({ version: oneOfValues('V1', 'V2') }),
    'V1 where there is no version; before TLS, with the addresses of the connection itself: no proxy stands between',
  ),
  retryBudget: enforced(
    object({ percent: nullable(number(0, 100)), budgetInterval: anyDuration, minRetryConcurrency: uint32 }),
    'absent, and without `maxRetries`: 20 %, 3 in any case, and one for each good answer, while Istio has no limit then; retries themselves are not counted among the requests',
  ),
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
        exportTo: enforced(list(string()), '`.`, `*` or names of namespaces'),
        workloadSelector: object({ matchLabels: selectorLabels }),
      }),
    ),
  },
};
