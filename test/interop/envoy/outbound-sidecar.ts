import { cluster, httpVersion, loopback, type Message, type Parts, type Secrets, typed } from './bootstrap.ts';
import { httpFilter, tcpFilter } from './http.ts';

/** A service that an Envoy calls for an application, as istiod makes it out of a DestinationRule. */
export interface OutboundService {
  /** Of the listener. */
  readonly name: string;
  /** Full host of the service. */
  readonly host: string;
  readonly endpoints: readonly number[];
  readonly protocol: 'HTTP' | 'HTTP2' | 'TCP';
  /** Default `ISTIO_MUTUAL`. */
  readonly tls?: 'ISTIO_MUTUAL' | 'DISABLE';
  /** Identities that the service may have. Default: nothing is checked, as where istiod knows none. */
  readonly identities?: readonly string[];
  /** Protocols to offer instead of Istio's; none: `[]`. */
  readonly alpn?: readonly string[];
  /** Show no certificate, as a client outside of the mesh. */
  readonly anonymous?: boolean;
  readonly requestsPerConnection?: number;
  readonly route?: Message;
  /** Further fields of the cluster. */
  readonly cluster?: Message;
}

export interface OutboundSidecar {
  readonly services: readonly OutboundService[];
  readonly secrets: Secrets;
}

// What Istio's ALPN filter (and for TCP its cluster) makes a sidecar offer.
const offered: Readonly<Record<OutboundService['protocol'], readonly string[]>> = {
  HTTP: ['istio-http/1.1', 'istio', 'http/1.1'],
  HTTP2: ['istio-h2', 'istio', 'h2'],
  TCP: ['istio-peer-exchange', 'istio'],
};

const clusterName = ({ host, name }: OutboundService): string => `outbound|80|${name.replaceAll(' ', '-')}|${host}`;

/** The listeners and clusters of an outbound sidecar; applications call each listener in plaintext. */
export function outboundSidecar({ secrets, services }: OutboundSidecar, folder: string): Parts {
  return {
    listeners: services.map((service) => ({
      name: service.name,
      address: loopback(0),
      traffic_direction: 'OUTBOUND',
      filter_chains: [{ filters: [service.protocol === 'TCP' ? bytes(service, folder) : http(service)] }],
    })),
    clusters: services.map((service) =>
      cluster(clusterName(service), service.endpoints, {
        ...(service.protocol === 'TCP' ? {} : httpOptions(service)),
        ...(service.tls === 'DISABLE' ? {} : { transport_socket: mutualTls(service, secrets) }),
        ...service.cluster,
      }),
    ),
    secrets,
  };
}

function httpOptions({ protocol, requestsPerConnection }: OutboundService): Message {
  const common = requestsPerConnection === undefined ? {} : { max_requests_per_connection: requestsPerConnection };
  return httpVersion(protocol === 'HTTP2' ? 2 : 1, common);
}

const bytes = (service: OutboundService, folder: string): Message => tcpFilter(clusterName(service), folder);

// Without retries, so that what is refused is seen to be; the rest is Istio's.
const http = (service: OutboundService): Message =>
  httpFilter(clusterName(service), {
    virtualHost: { include_request_attempt_count: true },
    ...(service.route === undefined ? {} : { route: service.route }),
  });

// Istio's cluster_tls.go.
function mutualTls({ alpn, anonymous, host, identities = [], protocol }: OutboundService, secrets: Secrets): Message {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: typed('envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext', {
      sni: `outbound_.80_._.${host}`,
      common_tls_context: {
        alpn_protocols: alpn ?? offered[protocol],
        tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
        ...(anonymous === true ? {} : { tls_certificate_sds_secret_configs: [secrets.certificate] }),
        combined_validation_context: {
          default_validation_context: {
            match_typed_subject_alt_names: identities.map((exact) => ({ san_type: 'URI', matcher: { exact } })),
          },
          validation_context_sds_secret_config: secrets.roots,
        },
      },
    }),
  };
}
