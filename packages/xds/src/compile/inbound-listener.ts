import type { Provenance, RbacFilter, StringMatch, TlsParameters } from 'inmesh/model';
import { httpConnectionManagerSchema } from '../proto/envoy/http-connection-manager.ts';
import type { FilterChain, FilterChainMatch, Listener } from '../proto/envoy/listener.ts';
import { tcpProxySchema } from '../proto/envoy/tcp-proxy.ts';
import type { Steps } from '../turns.ts';
import { contentOf } from './content.ts';
import { type HttpChain, httpChain } from './inbound-http.ts';
import { createRbacReader, type RbacReader } from './inbound-rbac.ts';
import { httpConnectionManager, networkChain } from './inbound-tcp.ts';
import { type ChainTls, chainTls } from './inbound-tls.ts';
import { below, cannot, type Place, typeIn, unpackFilter, wrong } from './inbound-unpack.ts';

/** A listener for what this process serves. */
export interface InboundListener {
  readonly name: string;
  readonly ports: readonly InboundPort[];
}

/** What is demanded on one port. */
export interface InboundPort {
  /** Nothing: all ports that no other one is for. */
  readonly port: number | undefined;
  readonly mode: 'STRICT' | 'PERMISSIVE' | 'DISABLE';
  /** URI names that client certificates may have; none: any. */
  readonly names: readonly StringMatch[];
  /** What of TLS may be spoken; absent: all that the mesh speaks. */
  readonly tls?: TlsParameters;
  /** For requests. */
  readonly http: HttpChain | undefined;
  /** For connections without requests. */
  readonly tcp: readonly RbacFilter[] | undefined;
}

/**
 * Whether a listener is for what this process serves; nothing where it does not say, which control planes for gRPC
 * need not: then its name does, if it was asked for.
 */
export function isInbound({ api_listener, name, traffic_direction: direction }: Listener): boolean | undefined {
  if (api_listener !== undefined || direction === 'OUTBOUND') return false;
  return direction === 'INBOUND' || name === 'virtualInbound' || name.includes('/lds/inbound/') || undefined;
}

/** The filter chains of a listener by the port that they are for. @throws ResourceError for one that cannot be used */
export function* inboundListener(listener: Listener, place: Place): Steps<InboundListener> {
  const { name } = listener;
  const provenance: Provenance = { kind: 'Listener', namespace: 'xds', name };
  if (listener.filter_chain_matcher !== undefined) {
    throw cannot(place, 'filter_chain_matcher', 'expected filter chains with a filter_chain_match');
  }
  const virtual = checkListenerFilters(listener, place);
  const bound = listener.address?.socket_address?.port_value;
  if (!virtual && (bound === undefined || bound === 0)) throw wrong(place, 'address', 'expected a port to listen on');
  const given = listener.filter_chains.map((chain, i) => ({ chain, at: below(place, `filter_chains[${i}]`) }));
  if (listener.default_filter_chain !== undefined) {
    const chain = { ...listener.default_filter_chain, filter_chain_match: undefined };
    given.push({ chain, at: below(place, 'default_filter_chain') });
  }
  const closed = new Set<number>();
  const chains: Chain[] = [];
  const how = { provenance, listener, policies: createRbacReader() };
  for (const { at, chain } of given) {
    const one = yield* readChain(chain, at, how);
    const port = chain.filter_chain_match?.destination_port;
    if (one !== undefined) chains.push(one);
    // Its own port is that of a proxy, which is not there.
    else if (port !== undefined && port !== bound) closed.add(port);
    yield;
  }
  const byPort = new Map<number | undefined, Chain[]>();
  for (const chain of chains) {
    const port = chain.port ?? (virtual ? undefined : bound);
    byPort.set(port, [...(byPort.get(port) ?? []), chain]);
  }
  // The chains for all other ports are not for these: no connection takes them that Envoy would close, or hand on.
  const none = [...closed].filter((port) => !byPort.has(port)).map((port) => closedPort(port, provenance));
  return { name, ports: [...[...byPort].map(([port, all]) => portOf(port, all)), ...none] };
}

function closedPort(port: number, provenance: Provenance): InboundPort {
  const nobody: RbacFilter = { rules: { action: 'ALLOW', policies: [] }, provenance };
  return { port, mode: 'DISABLE', names: [], http: undefined, tcp: [nobody] };
}

const originalDestination = 'envoy.extensions.filters.listener.original_dst.v3.OriginalDst';
const inspectors: ReadonlySet<string> = new Set([
  originalDestination,
  'envoy.extensions.filters.listener.original_src.v3.OriginalSrc',
  'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector',
  'envoy.extensions.filters.listener.http_inspector.v3.HttpInspector',
]);

/** @returns whether connections to any port come in here, sent by rules of the kernel */
function checkListenerFilters({ listener_filters, name, use_original_dst }: Listener, place: Place): boolean {
  let virtual = use_original_dst === true || name === 'virtualInbound';
  for (const [i, filter] of listener_filters.entries()) {
    const type = filter.typed_config === undefined ? '' : typeIn(filter.typed_config);
    if (!inspectors.has(type)) {
      const at = below(place, `listener_filters[${i}]`);
      throw cannot(at, 'typed_config', 'expected a filter that only looks at the connection', type || filter.name);
    }
    virtual ||= type === originalDestination;
  }
  return virtual;
}

interface Chain {
  readonly port: number | undefined;
  /** Nothing: plaintext. */
  readonly tls: ChainTls | undefined;
  readonly http: HttpChain | undefined;
  readonly tcp: readonly RbacFilter[];
  readonly at: Place;
}

interface HowChains {
  readonly provenance: Provenance;
  readonly listener: Listener;
  readonly policies: RbacReader;
}

/** Nothing for chains that are for nobody here. */
function* readChain(
  chain: FilterChain,
  place: Place,
  { listener, policies, provenance }: HowChains,
): Steps<Chain | undefined> {
  const match = chain.filter_chain_match;
  if (chain.use_proxy_proto === true) throw cannot(place, 'use_proxy_proto', 'cannot be used here', true);
  checkMatch(match, below(place, 'filter_chain_match'));
  const tls = chainTls(chain.transport_socket, below(place, 'transport_socket'));
  // TLS that is handed on as it is, to be ended by the application: what ends here is what the mesh ends.
  if (tls === undefined && match?.transport_protocol === 'tls') return undefined;
  const { last, rbac } = yield* networkChain(chain.filters, provenance, policies, place);
  const port = match?.destination_port;
  if (last.type !== httpConnectionManager) {
    const proxy = unpackFilter(tcpProxySchema, last.filter.typed_config, last.at);
    // Istio closes what is sent to the port of its own proxy.
    return proxy.cluster === 'BlackHoleCluster' ? undefined : { port, tls, http: undefined, tcp: rbac, at: place };
  }
  const manager = unpackFilter(httpConnectionManagerSchema, last.filter.typed_config, last.at, {
    refused: changesRequests,
  });
  const sharedNames = listener.traffic_direction === 'INBOUND' || listener.name === 'virtualInbound';
  const http = yield* httpChain(manager, { provenance, sharedNames, policies }, last.at);
  return { port, tls, http, tcp: rbac, at: place };
}

/** What changes requests before policies see them, and is done by nobody here. */
const changesRequests = ['early_header_mutation_extensions', 'path_normalization_options', 'scoped_routes'];

/** Chains are told apart by port, by TLS and by ALPN; by nothing else. */
function checkMatch(match: FilterChainMatch | undefined, place: Place): void {
  if (match === undefined) return;
  for (const field of [
    'prefix_ranges',
    'direct_source_prefix_ranges',
    'source_prefix_ranges',
    'source_ports',
    'server_names',
  ] as const) {
    if (match[field].length > 0) throw cannot(place, field, 'chains are told apart by port and TLS only');
  }
  if (match.source_type !== 'ANY') throw cannot(place, 'source_type', 'expected ANY', match.source_type);
  if (match.address_suffix !== '' || match.suffix_len !== undefined)
    throw cannot(place, 'address_suffix', 'is not supported');
  if (!['', 'tls', 'raw_buffer'].includes(match.transport_protocol)) {
    throw cannot(place, 'transport_protocol', 'expected tls or raw_buffer', match.transport_protocol);
  }
}

function portOf(port: number | undefined, chains: readonly Chain[]): InboundPort {
  const mutual = chains.filter(({ tls }) => tls !== undefined);
  const plain = chains.length > mutual.length;
  const https = chains.filter(({ http }) => http !== undefined);
  const tcps = chains.filter(({ http }) => http === undefined);
  agree(mutual, ({ tls }) => tls?.names, 'names of client certificates');
  agree(mutual, ({ tls }) => tls?.parameters ?? {}, 'parameters of TLS');
  agree(https, ({ http, tcp }) => [http, tcp], 'HTTP filters');
  agree(tcps, ({ tcp }) => tcp, 'network filters');
  const [first] = https;
  return {
    port,
    mode: mutual.length === 0 ? 'DISABLE' : plain ? 'PERMISSIVE' : 'STRICT',
    names: mutual[0]?.tls?.names ?? [],
    ...(mutual[0]?.tls?.parameters && { tls: mutual[0].tls.parameters }),
    http: first?.http && { ...first.http, rbac: [...first.tcp, ...first.http.rbac] },
    tcp: tcps[0]?.tcp,
  };
}

/** Which of several chains of a port a connection takes is decided by ALPN, which nobody here looks at. */
function agree(chains: readonly Chain[], of: (chain: Chain) => unknown, what: string): void {
  const [first, ...others] = chains;
  if (first === undefined) return;
  const expected = contentOf(of(first));
  for (const chain of others) {
    if (contentOf(of(chain)) !== expected) {
      throw cannot(chain.at, '', `expected the same ${what} in all filter chains of a port (see ${first.at.path})`);
    }
  }
}
