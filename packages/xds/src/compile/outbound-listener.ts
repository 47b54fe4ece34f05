import type { WeightedDestination } from 'inmesh/model';
import { type Any, typeOf } from '../proto/any.ts';
import type { CidrRange } from '../proto/envoy/address.ts';
import {
  type HttpConnectionManager,
  type HttpFilter,
  httpConnectionManagerSchema,
} from '../proto/envoy/http-connection-manager.ts';
import { httpFaultSchema } from '../proto/envoy/http-filters.ts';
import type { FilterChain, Listener } from '../proto/envoy/listener.ts';
import type { RouteConfiguration } from '../proto/envoy/route-config.ts';
import { type TcpProxy, tcpProxySchema } from '../proto/envoy/tcp-proxy.ts';
import { ResourceError } from '../resources.ts';
import type { XdsProfile } from './compile.ts';
import { typeIn } from './inbound-unpack.ts';
import { faultOf } from './outbound-filters.ts';
import { createRemarks, type Remark, type Remarks } from './outbound-remarks.ts';
import { type ReadRoutes, type RoutesOwner, routesOf } from './route.ts';
import { unpackAt } from './unpack.ts';

/** Where a listener has its routes. */
export type HttpReference =
  | { readonly kind: 'rds'; readonly name: string }
  | { readonly kind: 'inline'; readonly routes: (profile: XdsProfile) => ReadRoutes };

/** Connections that go on as they are. */
export interface TcpChain {
  readonly name: string;
  readonly destinations: readonly WeightedDestination[];
  /** Names that the caller's TLS announces; empty: any. */
  readonly serverNames: readonly string[];
  /** Addresses that are called, in CIDR notation; empty: any. */
  readonly subnets: readonly string[];
  /** The chain is for another port than that of the listener. */
  readonly port?: number;
  /** Path of the chain. */
  readonly field: string;
}

/** A listener for what this process calls. */
export interface OutboundListener {
  readonly name: string;
  /** IP address; '' for any, and for listeners of gRPC. */
  readonly address: string;
  /** 0 for listeners of gRPC. */
  readonly port: number;
  readonly http: readonly HttpReference[];
  readonly connections: readonly TcpChain[];
  /** Istio's listener for all that no other one takes: where that goes. */
  readonly others?: string;
  readonly remarks: readonly Remark[];
}

/** @throws ResourceError for one that cannot be used */
export function outboundListenerOf(message: Listener): OutboundListener {
  const remarks = createRemarks();
  const http: HttpReference[] = [];
  const connections: TcpChain[] = [];
  const address = message.address?.socket_address;
  const { api_listener: api, default_filter_chain: rest } = message;
  if (api !== undefined) {
    const path = 'api_listener.api_listener';
    const manager = managerOf(api.api_listener, path, remarks);
    if (manager === undefined) {
      throw new ResourceError(path, 'expected an HttpConnectionManager', {
        value: api.api_listener && typeOf(api.api_listener),
      });
    }
    http.push(referenceOf(manager, path, message.name, remarks));
  } else {
    const chains = message.filter_chains.map((chain, index) => ({ chain, path: `filter_chains[${index}]` }));
    if (rest !== undefined) chains.push({ chain: rest, path: 'default_filter_chain' });
    for (const { chain, path } of chains)
      readChain(chain, path, { listener: message.name, http, connections, remarks });
  }
  const others =
    message.use_original_dst === true ? connections.findLast(isForAll)?.destinations[0]?.cluster : undefined;
  const place = address?.address ?? '';
  return {
    name: message.name,
    address: place === '0.0.0.0' || place === '::' ? '' : place,
    port: address?.port_value ?? 0,
    http,
    connections: message.use_original_dst === true ? [] : connections,
    ...(others === undefined ? {} : { others }),
    remarks: remarks.all,
  };
}

function isForAll({ port, serverNames, subnets }: TcpChain): boolean {
  return port === undefined && serverNames.length === 0 && subnets.length === 0;
}

interface Found {
  readonly listener: string;
  readonly http: HttpReference[];
  readonly connections: TcpChain[];
  readonly remarks: Remarks;
}

function readChain(chain: FilterChain, path: string, { connections, http, listener, remarks }: Found): void {
  for (const [index, filter] of chain.filters.entries()) {
    const at = `${path}.filters[${index}].typed_config`;
    const config = filter.typed_config;
    const type = config === undefined ? '' : typeAt(config, at);
    if (type === httpConnectionManagerSchema.name) {
      const manager = managerOf(config, at, remarks);
      if (manager !== undefined) http.push(referenceOf(manager, at, listener, remarks));
    } else if (type === tcpProxySchema.name) {
      const proxy = unpackAt(tcpProxySchema, config, at, (field) => remarks.ignored(field, 'not read'));
      const read = proxy === undefined ? undefined : connectionOf(proxy, chain, path, at);
      if (read !== undefined) connections.push(read);
    } else if (isHarmless(filter.name, type)) {
      // What it watches is watched otherwise.
    } else if (isSecurity(type)) {
      throw new ResourceError(at, 'it cannot be enforced for connections of this process', {
        value: type,
        unenforceable: true,
      });
    } else remarks.ignored(at, `${type === '' ? filter.name : type} has no meaning here`);
  }
}

function connectionOf(proxy: TcpProxy, chain: FilterChain, field: string, path: string): TcpChain {
  const match = chain.filter_chain_match;
  const weighted = proxy.weighted_clusters?.clusters ?? [];
  const destinations =
    proxy.cluster === undefined
      ? weighted.filter(({ weight }) => weight > 0).map(({ name, weight }) => ({ cluster: name, weight }))
      : [{ cluster: proxy.cluster, weight: 1 }];
  if (destinations.length === 0) throw new ResourceError(path, 'needs one of cluster and weighted_clusters');
  return {
    name: chain.name === '' ? destinations.map(({ cluster }) => cluster).join(', ') : chain.name,
    destinations,
    serverNames: (match?.server_names ?? []).map((name) => name.toLowerCase()),
    subnets: (match?.prefix_ranges ?? []).map(cidr),
    ...(match?.destination_port === undefined ? {} : { port: match.destination_port }),
    field,
  };
}

function cidr({ address_prefix: address, prefix_len: length }: CidrRange): string {
  return `${address}/${length ?? 0}`;
}

function managerOf(config: Any | undefined, path: string, remarks: Remarks): HttpConnectionManager | undefined {
  return unpackAt(httpConnectionManagerSchema, config, path, (field) => remarks.ignored(field, 'not read'));
}

function referenceOf(manager: HttpConnectionManager, path: string, listener: string, remarks: Remarks): HttpReference {
  for (const [index, filter] of manager.http_filters.entries()) {
    checkFilter(filter, `${path}.http_filters[${index}]`, remarks);
  }
  const { rds, route_config: inline } = manager;
  if (inline !== undefined) {
    const owner = { type: 'listeners', name: listener, path: `${path}.route_config` } as const;
    return { kind: 'inline', routes: inlineRoutes(inline, owner, remarks) };
  }
  if (rds === undefined || rds.route_config_name === '') {
    throw new ResourceError(path, 'needs one of rds and route_config');
  }
  return { kind: 'rds', name: rds.route_config_name };
}

function inlineRoutes(
  config: RouteConfiguration,
  owner: RoutesOwner,
  remarks: Remarks,
): (profile: XdsProfile) => ReadRoutes {
  const read = new Map<XdsProfile, ReadRoutes>();
  const routes = (profile: XdsProfile): ReadRoutes => {
    let known = read.get(profile);
    if (known === undefined) read.set(profile, (known = routesOf(config, profile, owner)));
    return known;
  };
  // A configuration that cannot be used is refused now.
  for (const { field, note, status } of routes('istio').remarks) remarks[status](field, note);
  return routes;
}

const harmless: readonly string[] = [
  'envoy.extensions.filters.http.router.v3.Router',
  'envoy.extensions.filters.http.cors.v3.Cors',
  'envoy.extensions.filters.http.grpc_stats.v3.FilterConfig',
  'envoy.extensions.filters.http.grpc_web.v3.GrpcWeb',
  'istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig',
  'io.istio.http.peer_metadata.Config',
  'stats.PluginConfig',
];

/** Filters whose work is done elsewhere here: telemetry, ALPN, routing itself. */
function isHarmless(name: string, type: string): boolean {
  return (
    harmless.includes(type) || name === 'istio.metadata_exchange' || name === 'istio.stats' || name === 'istio.alpn'
  );
}

/** Also of what is within a `TypedStruct`. */
function typeAt(config: Any, path: string): string {
  try {
    return typeIn(config);
  } catch (error) {
    throw new ResourceError(path, `expected a TypedStruct: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function isSecurity(type: string): boolean {
  return /\.filters\.(http|network)\.(rbac|ext_authz|jwt_authn|ext_proc|oauth2)\./.test(type);
}

function checkFilter(
  { disabled, is_optional: optional, name, typed_config: config }: HttpFilter,
  path: string,
  remarks: Remarks,
): void {
  const type = config === undefined ? '' : typeAt(config, `${path}.typed_config`);
  if (disabled || isHarmless(name, type)) return;
  if (type === httpFaultSchema.name) {
    const fault = unpackAt(httpFaultSchema, config, `${path}.typed_config`);
    if (fault !== undefined && faultOf(fault, path, remarks) !== undefined) {
      remarks.ignored(`${path}.typed_config`, 'faults are those that routes and virtual hosts set');
    }
    return;
  }
  if (isSecurity(type) && !optional) {
    throw new ResourceError(path, 'it cannot be enforced for what this process calls', {
      value: type,
      unenforceable: true,
    });
  }
  remarks.ignored(path, `${type === '' ? name : type} has no meaning for calls`);
}
