import { selectorLabels } from './fields-destination-rule.ts';
import type { FieldType, KindTable } from './schema.ts';
import {
  any,
  approximated,
  boolean,
  duration,
  enforced,
  ignored,
  integer,
  list,
  nonEmptyList,
  nullable,
  object,
  oneOfValues,
  required,
  string,
} from './schema.ts';

const uint32 = integer(0, 4_294_967_295);

const connectionPool = object({
  tcp: object({
    maxConnections: integer(),
    connectTimeout: duration(),
    idleTimeout: duration(0, 'below 1ms'),
    maxConnectionDuration: duration(),
    tcpKeepalive: object({ probes: uint32, time: duration(), interval: duration() }),
  }),
  http: object({
    http1MaxPendingRequests: integer(),
    http2MaxRequests: integer(),
    maxRequestsPerConnection: integer(),
    maxRetries: integer(),
    idleTimeout: duration(),
    h2UpgradePolicy: oneOfValues('DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'),
    useClientProtocol: boolean,
    maxConcurrentStreams: integer(),
    http2KeepAlive: object({ interval: duration(), timeout: duration() }),
  }),
});

const serverTls = object({
  mode: oneOfValues('PASSTHROUGH', 'SIMPLE', 'MUTUAL', 'AUTO_PASSTHROUGH', 'ISTIO_MUTUAL', 'OPTIONAL_MUTUAL'),
  httpsRedirect: boolean,
  insecureSkipVerify: nullable(boolean),
  serverCertificate: string(),
  privateKey: string(),
  caCertificates: string(),
  caCrl: string(),
  credentialName: string(),
  credentialNames: list(string()),
  caCertCredentialName: string(),
  tlsCertificates: list(any),
  subjectAltNames: list(string()),
  verifyCertificateSpki: list(string()),
  verifyCertificateHash: list(string()),
  minProtocolVersion: oneOfValues('TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3'),
  maxProtocolVersion: oneOfValues('TLS_AUTO', 'TLSV1_0', 'TLSV1_1', 'TLSV1_2', 'TLSV1_3'),
  cipherSuites: list(string()),
});

const captureMode = ignored(oneOfValues('DEFAULT', 'IPTABLES', 'NONE'), 'nothing is captured');
const ports = (number: FieldType) => ({
  number: required(number),
  protocol: approximated(string(), 'the protocol of the port of the service counts'),
  name: ignored(string(), 'for people'),
  targetPort: ignored(integer(0, 65_535), 'Istio does not allow it here'),
});

const ownPorts = 'the application listens itself, with `mesh.listen`';
const noInboundLimits = 'inbound connections and requests are not limited yet';

/** `networking.istio.io` Sidecar. */
export const sidecarTable: KindTable = {
  kind: 'Sidecar',
  group: 'networking.istio.io',
  versions: ['v1', 'v1beta1', 'v1alpha3'],
  status: 'enforced',
  note: 'that of the workload before that of the namespace before that of the root namespace; the oldest of several',
  reference: 'https://istio.io/latest/docs/reference/config/networking/sidecar/',
  fields: {
    spec: required(
      object({
        workloadSelector: object({
          labels: selectorLabels,
        }),
        egress: list(
          object({
            port: object({ ...ports(integer(0, 65_535)), number: integer(0, 65_535) }),
            bind: ignored(string(), 'calls name the service, not the address of a listener'),
            captureMode,
            hosts: required(enforced(nonEmptyList(string()), '`namespace/host`, with `*`, `.` and `~` as in Istio')),
          }),
        ),
        outboundTrafficPolicy: object({
          mode: enforced(
            oneOfValues('REGISTRY_ONLY', 'ALLOW_ANY'),
            'absent is REGISTRY_ONLY, as in Istio; the option `outboundPolicy` overrides it',
          ),
          egressProxy: approximated(
            object({
              host: required(string()),
              subset: string(),
              port: required(object({ number: required(integer(1, 65_535)) })),
            }),
            'calls to unknown hosts are refused, so that none goes around the proxy',
          ),
        }),
        ingress: list(
          object({
            port: required(
              object({ ...ports(integer(1, 65_535)), number: required(ignored(integer(1, 65_535), ownPorts)) }),
            ),
            bind: ignored(string(), ownPorts),
            captureMode,
            defaultEndpoint: ignored(string(), 'requests go to the application in the same process'),
            tls: {
              ...ignored(serverTls, 'refused where it would count: at a port whose PeerAuthentication says DISABLE'),
            },
            connectionPool: ignored(connectionPool, noInboundLimits),
          }),
        ),
        inboundConnectionPool: ignored(connectionPool, noInboundLimits),
      }),
    ),
  },
};
