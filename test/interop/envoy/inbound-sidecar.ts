import { cluster, httpVersion, loopback, type Message, type Parts, type Secrets, typed } from './bootstrap.ts';
import { httpFilter, tcpFilter } from './http.ts';

/** An Envoy in front of an application, as istiod makes it out of a PeerAuthentication. */
export interface InboundSidecar {
  /** Ports of the Service, one listener each. */
  readonly ports: readonly InboundPort[];
  readonly secrets: Secrets;
  /** Whose clients may come. Default `cluster.local`. */
  readonly trustDomains?: readonly string[];
}

export interface InboundPort {
  /** Of the listener. */
  readonly name: string;
  readonly mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE';
  /** What the Service says that is spoken; `undeclared`: nothing. */
  readonly protocol: 'HTTP' | 'TCP' | 'undeclared';
  /** Where the application listens. */
  readonly app: number;
  /** Which version of HTTP it speaks, if it is HTTP. Default 1. */
  readonly appHttp?: 1 | 2;
  readonly forwardClientCert?: ForwardClientCert;
}

/** What becomes of `x-forwarded-client-cert`, and what of a client certificate is told. */
export interface ForwardClientCert {
  readonly mode: string;
  readonly details: Readonly<Record<string, boolean>>;
}

/** Istio's defaults. */
const defaultForwardClientCert: ForwardClientCert = {
  mode: 'APPEND_FORWARD',
  details: { subject: true, uri: true, dns: true },
};

const httpNames = ['istio-http/1.0', 'istio-http/1.1', 'istio-h2'];
const tcpNames = ['istio-peer-exchange', 'istio'];
const allNames = ['istio', 'istio-peer-exchange', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2'];
const plaintextHttp = ['http/1.1', 'h2c'];

interface Chain {
  readonly speaks: 'HTTP' | 'TCP';
  readonly transport: 'tls' | 'raw_buffer';
  readonly protocols?: readonly string[];
  readonly mutual?: boolean;
}

// Istio's filter_chain_options.go: which connections of a port are for which chain.
const chains: Readonly<Record<InboundPort['mode'], Readonly<Record<InboundPort['protocol'], readonly Chain[]>>>> = {
  STRICT: {
    HTTP: [{ speaks: 'HTTP', transport: 'tls', mutual: true }],
    TCP: [{ speaks: 'TCP', transport: 'tls', mutual: true }],
    undeclared: [
      { speaks: 'HTTP', transport: 'tls', protocols: httpNames, mutual: true },
      { speaks: 'TCP', transport: 'tls', mutual: true },
    ],
  },
  PERMISSIVE: {
    HTTP: [
      { speaks: 'HTTP', transport: 'tls', protocols: allNames, mutual: true },
      { speaks: 'HTTP', transport: 'raw_buffer' },
    ],
    TCP: [
      { speaks: 'TCP', transport: 'tls', protocols: allNames, mutual: true },
      { speaks: 'TCP', transport: 'tls' },
      { speaks: 'TCP', transport: 'raw_buffer' },
    ],
    undeclared: [
      { speaks: 'HTTP', transport: 'tls', protocols: httpNames, mutual: true },
      { speaks: 'HTTP', transport: 'raw_buffer', protocols: plaintextHttp },
      { speaks: 'TCP', transport: 'tls', protocols: tcpNames, mutual: true },
      { speaks: 'TCP', transport: 'raw_buffer' },
      { speaks: 'TCP', transport: 'tls' },
    ],
  },
  DISABLE: {
    HTTP: [{ speaks: 'HTTP', transport: 'raw_buffer' }],
    TCP: [{ speaks: 'TCP', transport: 'raw_buffer' }],
    undeclared: [
      { speaks: 'HTTP', transport: 'raw_buffer', protocols: plaintextHttp },
      { speaks: 'TCP', transport: 'raw_buffer' },
    ],
  },
};

/** The listeners and clusters of an inbound sidecar. */
export function inboundSidecar(sidecar: InboundSidecar, folder: string): Parts {
  return {
    listeners: sidecar.ports.map((port) => listener(port, sidecar, folder)),
    clusters: sidecar.ports.map((port) => appCluster(port)),
    secrets: sidecar.secrets,
  };
}

const clusterName = ({ name }: InboundPort): string => `inbound|${name}||`;

function appCluster(port: InboundPort): Message {
  return cluster(clusterName(port), [port.app], httpVersion(port.appHttp ?? 1));
}

function listener(port: InboundPort, sidecar: InboundSidecar, folder: string): Message {
  const all = chains[port.mode][port.protocol];
  const inspector = (name: string, type: string): Message => ({
    name: `envoy.filters.listener.${name}`,
    typed_config: typed(`envoy.extensions.filters.listener.${name}.v3.${type}`),
  });
  const sniffs = all.some((chain) => chain.protocols === plaintextHttp);
  return {
    name: port.name,
    stat_prefix: port.name,
    address: loopback(0),
    traffic_direction: 'INBOUND',
    continue_on_listener_filters_timeout: true,
    listener_filters_timeout: '0s',
    listener_filters: [
      ...(all.some((chain) => chain.transport === 'tls') ? [inspector('tls_inspector', 'TlsInspector')] : []),
      ...(sniffs ? [inspector('http_inspector', 'HttpInspector')] : []),
    ],
    filter_chains: all.map((chain) => filterChain(chain, port, sidecar, folder)),
  };
}

/** Says of a chain what a test wants to know: `HTTP mTLS`, `TCP tls`, `HTTP raw_buffer`. */
const chainName = ({ mutual, speaks, transport }: Chain): string => `${speaks} ${mutual === true ? 'mTLS' : transport}`;

function filterChain(chain: Chain, port: InboundPort, sidecar: InboundSidecar, folder: string): Message {
  return {
    name: chainName(chain),
    filter_chain_match: {
      transport_protocol: chain.transport,
      ...(chain.protocols === undefined ? {} : { application_protocols: chain.protocols }),
    },
    filters: [chain.speaks === 'HTTP' ? inboundHttp(port) : tcpFilter(clusterName(port), folder)],
    ...(chain.mutual === true ? { transport_socket: mutualTls(chain, sidecar) } : {}),
  };
}

// Istio's buildSidecarInboundHTTPOpts.
function inboundHttp(port: InboundPort): Message {
  const { details, mode } = port.forwardClientCert ?? defaultForwardClientCert;
  return httpFilter(clusterName(port), {
    withSeen: true,
    manager: {
      forward_client_cert_details: mode,
      set_current_client_cert_details: details,
      server_name: 'istio-envoy',
      use_remote_address: false,
    },
  });
}

// Istio's authn/utils BuildInboundTLS.
function mutualTls({ speaks }: Chain, { secrets, trustDomains = ['cluster.local'] }: InboundSidecar): Message {
  const allowed = trustDomains.map((domain) => ({ san_type: 'URI', matcher: { prefix: `spiffe://${domain}/` } }));
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: typed('envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext', {
      require_client_certificate: true,
      common_tls_context: {
        alpn_protocols: speaks === 'HTTP' ? ['h2', 'http/1.1'] : ['istio-peer-exchange', 'h2', 'http/1.1'],
        tls_params: {
          tls_minimum_protocol_version: 'TLSv1_2',
          tls_maximum_protocol_version: 'TLSv1_3',
          cipher_suites: [
            'ECDHE-ECDSA-AES256-GCM-SHA384',
            'ECDHE-RSA-AES256-GCM-SHA384',
            'ECDHE-ECDSA-AES128-GCM-SHA256',
            'ECDHE-RSA-AES128-GCM-SHA256',
            'AES256-GCM-SHA384',
            'AES128-GCM-SHA256',
          ],
        },
        tls_certificate_sds_secret_configs: [secrets.certificate],
        combined_validation_context: {
          default_validation_context: { match_typed_subject_alt_names: allowed },
          validation_context_sds_secret_config: secrets.roots,
        },
      },
    }),
  };
}
