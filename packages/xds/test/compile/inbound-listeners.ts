import { type Any, pack } from '../../src/proto/any.ts';
import { type ExtAuthz, extAuthzSchema } from '../../src/proto/envoy/ext-authz.ts';
import {
  type HttpConnectionManager,
  type HttpFilter,
  httpConnectionManagerSchema,
} from '../../src/proto/envoy/http-connection-manager.ts';
import { routerFilterSchema } from '../../src/proto/envoy/http-filters.ts';
import { type JwtAuthentication, jwtAuthenticationSchema } from '../../src/proto/envoy/jwt-authn.ts';
import { type FilterChain, type Listener, listenerSchema, type NetworkFilter } from '../../src/proto/envoy/listener.ts';
import type { Rbac } from '../../src/proto/envoy/rbac.ts';
import {
  type HttpRbac,
  httpRbacSchema,
  type NetworkRbac,
  networkRbacSchema,
} from '../../src/proto/envoy/rbac-filters.ts';
import { tcpProxySchema } from '../../src/proto/envoy/tcp-proxy.ts';
import { type DownstreamTlsContext, downstreamTlsContextSchema } from '../../src/proto/envoy/tls-context.ts';
import { typedStructSchema } from '../../src/proto/envoy/typed-struct.ts';
import type { Input } from '../../src/proto/schema.ts';
import type { JsonObject } from '../../src/proto/struct.ts';

/** Parts of listeners as control planes write them. */
export const router: Input<HttpFilter> = {
  name: 'envoy.filters.http.router',
  typed_config: pack(routerFilterSchema, {}),
};

export function rbac(rules: Input<Rbac>, more: Input<HttpRbac> = {}): Input<HttpFilter> {
  return { name: 'envoy.filters.http.rbac', typed_config: pack(httpRbacSchema, { rules, ...more }) };
}

export function shadow(config: Input<HttpRbac>): Input<HttpFilter> {
  return { name: 'envoy.filters.http.rbac', typed_config: pack(httpRbacSchema, config) };
}

export function tokens(config: Input<JwtAuthentication>): Input<HttpFilter> {
  return { name: 'envoy.filters.http.jwt_authn', typed_config: pack(jwtAuthenticationSchema, config) };
}

export function extAuthz(config: Input<ExtAuthz>): Input<HttpFilter> {
  return { name: 'envoy.filters.http.ext_authz', typed_config: pack(extAuthzSchema, config) };
}

/** A filter that is written as JSON, as istiod writes those of its own. */
export function typedStruct(name: string, type: string, value: JsonObject = {}): Input<HttpFilter> {
  return { name, typed_config: pack(typedStructSchema, { type_url: `type.googleapis.com/${type}`, value }) };
}

/** A type that nobody here knows. */
export function unknown(name: string, more: Input<HttpFilter> = {}): Input<HttpFilter> {
  return {
    name,
    typed_config: { type_url: `type.googleapis.com/example.${name}`, value: undefined } as unknown as Any,
    ...more,
  };
}

export function http(
  filters: readonly Input<HttpFilter>[],
  more: Input<HttpConnectionManager> = {},
): Input<NetworkFilter> {
  const manager = {
    stat_prefix: 'inbound',
    route_config: { name: 'inbound|8080||' },
    http_filters: filters,
    normalize_path: true,
    ...more,
  };
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: pack(httpConnectionManagerSchema, manager),
  };
}

export const tcp: Input<NetworkFilter> = {
  name: 'envoy.filters.network.tcp_proxy',
  typed_config: pack(tcpProxySchema, { stat_prefix: 'tcp', cluster: 'inbound|8080||' }),
};

export function networkRbac(rules: Input<Rbac>, more: Input<NetworkRbac> = {}): Input<NetworkFilter> {
  return {
    name: 'envoy.filters.network.rbac',
    typed_config: pack(networkRbacSchema, { stat_prefix: 'tcp.', rules, ...more }),
  };
}

/** What istiod writes for sidecars: certificates and roots of its agent, names of the trust domain. */
export const istioTls: Input<DownstreamTlsContext> = {
  require_client_certificate: true,
  common_tls_context: {
    tls_certificate_sds_secret_configs: [{ name: 'default' }],
    combined_validation_context: {
      default_validation_context: { match_subject_alt_names: [{ prefix: 'spiffe://cluster.local/' }] },
      validation_context_sds_secret_config: { name: 'ROOTCA' },
    },
    alpn_protocols: ['h2', 'http/1.1'],
    tls_params: { tls_minimum_protocol_version: 'TLSv1_2', cipher_suites: ['ECDHE-ECDSA-AES256-GCM-SHA384'] },
  },
};

export function tlsSocket(context: Input<DownstreamTlsContext> = istioTls): Input<FilterChain> {
  return {
    transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: pack(downstreamTlsContextSchema, context) },
  };
}

/** Chains of one port of Istio's virtual listener. */
export function chains(
  port: number | undefined,
  mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE',
  ...filters: readonly Input<NetworkFilter>[]
): readonly Input<FilterChain>[] {
  const match = port === undefined ? {} : { destination_port: port };
  const mutual = { filter_chain_match: { ...match, transport_protocol: 'tls' }, filters, ...tlsSocket() };
  const plain = {
    filter_chain_match: { ...match, transport_protocol: mode === 'DISABLE' ? '' : 'raw_buffer' },
    filters,
  };
  return mode === 'STRICT' ? [mutual] : mode === 'DISABLE' ? [plain] : [mutual, plain];
}

export function virtualInbound(filter_chains: readonly Input<FilterChain>[], more: Input<Listener> = {}): Any {
  return pack(listenerSchema, {
    name: 'virtualInbound',
    address: { socket_address: { address: '0.0.0.0', port_value: 15_006 } },
    traffic_direction: 'INBOUND',
    filter_chains,
    ...more,
  });
}

/** A listener as gRPC servers get it. */
export function grpcInbound(port: number, chain: Input<FilterChain>, more: Input<Listener> = {}): Any {
  return pack(listenerSchema, {
    name: `xds.istio.io/grpc/lds/inbound/10.0.0.1:${port}`,
    address: { socket_address: { address: '10.0.0.1', port_value: port } },
    filter_chains: [chain],
    ...more,
  });
}
