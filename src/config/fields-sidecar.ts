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

const unlimited = '0 is no limit';
const noSidecar = 'there is no connection between a proxy and the application';
const inboundPool = object({
  tcp: object({
    maxConnections: enforced(
      integer(),
      `connections of \`mesh.listenTcp\`, and HTTP/1.1 requests that are served at once; ${unlimited}`,
    ),
    connectTimeout: ignored(duration(), noSidecar),
    idleTimeout: ignored(duration(0, 'below 1ms'), noSidecar),
    maxConnectionDuration: ignored(duration(), noSidecar),
    tcpKeepalive: ignored(object({ probes: uint32, time: duration(), interval: duration() }), noSidecar),
  }),
  http: object({
    http1MaxPendingRequests: enforced(
      integer(),
      `HTTP/1.1 requests that wait for one of \`maxConnections\`; others answer 503; ${unlimited}`,
    ),
    http2MaxRequests: enforced(
      integer(),
      `requests of any version that are served at once; others answer 503; ${unlimited}`,
    ),
    maxRequestsPerConnection: ignored(integer(), noSidecar),
    maxRetries: ignored(integer(), 'requests that came in are not tried again'),
    idleTimeout: ignored(duration(), noSidecar),
    h2UpgradePolicy: ignored(oneOfValues('DEFAULT', 'DO_NOT_UPGRADE', 'UPGRADE'), noSidecar),
    useClientProtocol: ignored(boolean, noSidecar),
    maxConcurrentStreams: ignored(integer(), noSidecar),
    http2KeepAlive: ignored(object({ interval: duration(), timeout: duration() }), noSidecar),
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
          egressProxy: enforced(
            object({
              host: required(string()),
              subset: string(),
              port: required(object({ number: required(integer(1, 65_535)) })),
            }),
            'calls and connections to unknown hosts go there as they are; 503 where the service is not to be called from here',
          ),
        }),
        ingress: list(
          object({
            port: required(
              object({
                ...ports(integer(1, 65_535)),
                number: required(approximated(integer(1, 65_535), `what \`connectionPool\` is for; ${ownPorts}`)),
              }),
            ),
            bind: ignored(string(), ownPorts),
            captureMode,
            defaultEndpoint: ignored(string(), 'requests go to the application in the same process'),
            tls: {
              ...ignored(serverTls, 'refused where it would count: at a port whose PeerAuthentication says DISABLE'),
            },
            connectionPool: enforced(inboundPool, 'replaces `inboundConnectionPool` for this port'),
          }),
        ),
        inboundConnectionPool: enforced(
          inboundPool,
          'for each port by itself; of a DestinationRule `connectionPool` is for callers alone, where Istio takes it for its own server, too',
        ),
      }),
    ),
  },
};
