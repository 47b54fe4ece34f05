import { type Any, any } from '../any.ts';
import { bool, enumOf, message, string, uint32, wrapped } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type Address, addressSchema, type CidrRange, cidrRangeSchema } from './address.ts';
import { type TransportSocket, transportSocketSchema } from './base.ts';

/** `TrafficDirection`, by its names. */
export type TrafficDirection = 'UNSPECIFIED' | 'INBOUND' | 'OUTBOUND';
const trafficDirectionEnum = enumOf<TrafficDirection>('UNSPECIFIED', 'INBOUND', 'OUTBOUND');

/** `FilterChainMatchConnectionSourceType`, by its names. */
export type FilterChainMatchConnectionSourceType = 'ANY' | 'SAME_IP_OR_LOOPBACK' | 'EXTERNAL';
const filterChainMatchConnectionSourceTypeEnum = enumOf<FilterChainMatchConnectionSourceType>(
  'ANY',
  'SAME_IP_OR_LOOPBACK',
  'EXTERNAL',
);

/** `envoy.config.listener.v3.Listener`. */
export interface Listener {
  readonly name: string;
  readonly address: Address | undefined;
  readonly filter_chains: readonly FilterChain[];
  readonly use_original_dst: boolean | undefined;
  readonly listener_filters: readonly ListenerFilter[];
  readonly traffic_direction: TrafficDirection | number;
  readonly api_listener: ApiListener | undefined;
  readonly default_filter_chain: FilterChain | undefined;
  readonly bind_to_port: boolean | undefined;
  readonly filter_chain_matcher: ChainMatcher | undefined;
}

export const listenerSchema: Schema<Listener> = schema<Listener>('envoy.config.listener.v3.Listener', {
  fields: {
    name: single(1, string),
    address: single(
      2,
      message(() => addressSchema),
    ),
    filter_chains: repeated(
      3,
      message(() => filterChainSchema),
    ),
    use_original_dst: single(4, wrapped(bool)),
    listener_filters: repeated(
      9,
      message(() => listenerFilterSchema),
    ),
    traffic_direction: single(16, trafficDirectionEnum),
    api_listener: single(
      19,
      message(() => apiListenerSchema),
    ),
    default_filter_chain: single(
      25,
      message(() => filterChainSchema),
    ),
    bind_to_port: single(26, wrapped(bool)),
    filter_chain_matcher: single(
      32,
      message(() => chainMatcherSchema),
    ),
  },
  ignored: {
    5: 'per_connection_buffer_limit_bytes',
    6: 'metadata',
    7: 'deprecated_v1',
    8: 'drain_type',
    10: 'transparent',
    11: 'freebind',
    12: 'tcp_fast_open_queue_length',
    13: 'socket_options',
    15: 'listener_filters_timeout',
    17: 'continue_on_listener_filters_timeout',
    18: 'udp_listener_config',
    20: 'connection_balance_config',
    21: 'reuse_port',
    22: 'access_log',
    24: 'tcp_backlog_size',
    27: 'internal_listener',
    28: 'stat_prefix',
    29: 'enable_reuse_port',
    30: 'enable_mptcp',
    31: 'ignore_global_conn_limit',
    33: 'additional_addresses',
    34: 'max_connections_to_accept_per_socket_event',
    35: 'bypass_overload_manager',
  },
});

/** `envoy.config.listener.v3.ApiListener`. */
export interface ApiListener {
  readonly api_listener: Any | undefined;
}

export const apiListenerSchema: Schema<ApiListener> = schema<ApiListener>('envoy.config.listener.v3.ApiListener', {
  fields: {
    api_listener: single(1, any),
  },
});

/** `envoy.config.listener.v3.FilterChain`. */
export interface FilterChain {
  readonly filter_chain_match: FilterChainMatch | undefined;
  readonly filters: readonly NetworkFilter[];
  readonly transport_socket: TransportSocket | undefined;
  readonly name: string;
  readonly use_proxy_proto: boolean | undefined;
}

export const filterChainSchema: Schema<FilterChain> = schema<FilterChain>('envoy.config.listener.v3.FilterChain', {
  fields: {
    use_proxy_proto: single(4, wrapped(bool)),
    filter_chain_match: single(
      1,
      message(() => filterChainMatchSchema),
    ),
    filters: repeated(
      3,
      message(() => networkFilterSchema),
    ),
    transport_socket: single(
      6,
      message(() => transportSocketSchema),
    ),
    name: single(7, string),
  },
  ignored: { 5: 'metadata', 8: 'on_demand_configuration', 9: 'transport_socket_connect_timeout' },
});

/** `xds.type.matcher.v3.Matcher`: that it is there is all that matters. */
export type ChainMatcher = Readonly<Record<string, never>>;

export const chainMatcherSchema: Schema<ChainMatcher> = schema<ChainMatcher>('xds.type.matcher.v3.Matcher', {
  fields: {},
  ignored: { 1: 'matcher_list', 2: 'matcher_tree', 3: 'on_no_match' },
});

/** `envoy.config.listener.v3.FilterChainMatch`. */
export interface FilterChainMatch {
  readonly prefix_ranges: readonly CidrRange[];
  readonly address_suffix: string;
  readonly suffix_len: number | undefined;
  readonly source_prefix_ranges: readonly CidrRange[];
  readonly source_ports: readonly number[];
  readonly destination_port: number | undefined;
  readonly transport_protocol: string;
  readonly application_protocols: readonly string[];
  readonly server_names: readonly string[];
  readonly source_type: FilterChainMatchConnectionSourceType | number;
  readonly direct_source_prefix_ranges: readonly CidrRange[];
}

export const filterChainMatchSchema: Schema<FilterChainMatch> = schema<FilterChainMatch>(
  'envoy.config.listener.v3.FilterChainMatch',
  {
    fields: {
      prefix_ranges: repeated(
        3,
        message(() => cidrRangeSchema),
      ),
      address_suffix: single(4, string),
      suffix_len: single(5, wrapped(uint32)),
      source_prefix_ranges: repeated(
        6,
        message(() => cidrRangeSchema),
      ),
      source_ports: repeated(7, uint32),
      destination_port: single(8, wrapped(uint32)),
      transport_protocol: single(9, string),
      application_protocols: repeated(10, string),
      server_names: repeated(11, string),
      source_type: single(12, filterChainMatchConnectionSourceTypeEnum),
      direct_source_prefix_ranges: repeated(
        13,
        message(() => cidrRangeSchema),
      ),
    },
  },
);

/** `envoy.config.listener.v3.Filter`. */
export interface NetworkFilter {
  readonly name: string;
  readonly typed_config: Any | undefined;
}

export const networkFilterSchema: Schema<NetworkFilter> = schema<NetworkFilter>('envoy.config.listener.v3.Filter', {
  fields: {
    name: single(1, string),
    typed_config: single(4, any),
  },
  ignored: { 5: 'config_discovery' },
});

/** `envoy.config.listener.v3.ListenerFilter`. */
export interface ListenerFilter {
  readonly name: string;
  readonly typed_config: Any | undefined;
}

export const listenerFilterSchema: Schema<ListenerFilter> = schema<ListenerFilter>(
  'envoy.config.listener.v3.ListenerFilter',
  {
    fields: {
      name: single(1, string),
      typed_config: single(3, any),
    },
    ignored: { 4: 'filter_disabled', 5: 'config_discovery' },
  },
);
