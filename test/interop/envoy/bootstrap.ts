import type { Credentials } from '../../../src/identity/source.ts';

/** A message of Envoy's API in its JSON form. */
export interface Message {
  readonly [field: string]: unknown;
}

/** A message in an `Any`. */
export function typed(type: string, message: Message = {}): Message {
  return { '@type': `type.googleapis.com/${type}`, ...message };
}

/** Where Envoy finds one secret; without `sds_config` among those of the bootstrap. */
export interface SecretReference extends Message {
  readonly name: string;
}

/** A certificate with its key, and roots, under the names that Istio has for them. */
export interface Secrets {
  /** Istio `default`. */
  readonly certificate: SecretReference;
  /** Istio `ROOTCA`. */
  readonly roots: SecretReference;
  /** What the bootstrap must hold for the references. */
  readonly inBootstrap: readonly Message[];
  /** Clusters that the references need. */
  readonly clusters: readonly Message[];
}

/** What an Envoy is made of. */
export interface Parts {
  readonly listeners: readonly Message[];
  readonly clusters: readonly Message[];
  readonly secrets?: Secrets;
}

/** Secrets that do not change, in the bootstrap itself. */
export function fixedSecrets(credentials: Credentials): Secrets {
  const text = (lists: ReadonlyMap<string, readonly string[]> | undefined): string =>
    [...(lists?.values() ?? [])].flat().join('');
  const crl = text(credentials.crlsByTrustDomain);
  return {
    certificate: { name: 'default' },
    roots: { name: 'ROOTCA' },
    inBootstrap: [
      { name: 'default', tls_certificate: certificateMessage(credentials) },
      {
        name: 'ROOTCA',
        validation_context: {
          trusted_ca: { inline_string: text(credentials.trustBundles) },
          ...(crl === '' ? {} : { crl: { inline_string: crl } }),
        },
      },
    ],
    clusters: [],
  };
}

/** `envoy.extensions.transport_sockets.tls.v3.TlsCertificate`. */
export function certificateMessage({ certificateChainPem, privateKeyPem }: Credentials): Message {
  return {
    certificate_chain: { inline_string: certificateChainPem },
    private_key: { inline_string: privateKeyPem },
  };
}

/** The whole configuration of one Envoy; all ports are chosen by the system. */
export function bootstrap({ listeners, clusters, secrets }: Parts): Message {
  return {
    node: { id: 'sidecar~127.0.0.1~peer.shop~shop.svc.cluster.local', cluster: 'peer.shop' },
    admin: { address: loopback(0) },
    static_resources: {
      listeners,
      clusters: [...clusters, ...(secrets?.clusters ?? [])],
      secrets: secrets?.inBootstrap ?? [],
    },
  };
}

/** An address of this machine. */
export function loopback(port: number): Message {
  return { socket_address: { address: '127.0.0.1', port_value: port } };
}

/** A cluster of endpoints on loopback, in plaintext unless more is said. */
export function cluster(name: string, ports: readonly number[], more: Message = {}): Message {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: ports.map((port) => ({ endpoint: { address: loopback(port) } })) }],
    },
    ...more,
  };
}

/** Which version of HTTP a cluster speaks, and what else it says of connections. */
export function httpVersion(version: 1 | 2, common: Message = {}): Message {
  const explicit = version === 2 ? { http2_protocol_options: {} } : { http_protocol_options: {} };
  return {
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': typed(
        'envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        { explicit_http_config: explicit, common_http_protocol_options: common },
      ),
    },
  };
}
