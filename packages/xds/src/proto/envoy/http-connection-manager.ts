import { type Any, any } from '../any.ts';
import { bool, enumOf, message, string, uint32, wrapped } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type TypedExtensionConfig, typedExtensionConfigSchema } from './base.ts';
import { type ConfigSource, configSourceSchema } from './config-source.ts';
import { type RouteConfiguration, routeConfigurationSchema } from './route-config.ts';

/** `HttpConnectionManagerCodecType`, by its names. */
export type HttpConnectionManagerCodecType = 'AUTO' | 'HTTP1' | 'HTTP2' | 'HTTP3';
const httpConnectionManagerCodecTypeEnum = enumOf<HttpConnectionManagerCodecType>('AUTO', 'HTTP1', 'HTTP2', 'HTTP3');

/** `HttpConnectionManagerForwardClientCertDetails`, by its names. */
export type HttpConnectionManagerForwardClientCertDetails =
  | 'SANITIZE'
  | 'FORWARD_ONLY'
  | 'APPEND_FORWARD'
  | 'SANITIZE_SET'
  | 'ALWAYS_FORWARD_ONLY';
const httpConnectionManagerForwardClientCertDetailsEnum = enumOf<HttpConnectionManagerForwardClientCertDetails>(
  'SANITIZE',
  'FORWARD_ONLY',
  'APPEND_FORWARD',
  'SANITIZE_SET',
  'ALWAYS_FORWARD_ONLY',
);

/** `HttpConnectionManagerPathWithEscapedSlashesAction`, by its names. */
export type HttpConnectionManagerPathWithEscapedSlashesAction =
  | 'IMPLEMENTATION_SPECIFIC_DEFAULT'
  | 'KEEP_UNCHANGED'
  | 'REJECT_REQUEST'
  | 'UNESCAPE_AND_REDIRECT'
  | 'UNESCAPE_AND_FORWARD';
const httpConnectionManagerPathWithEscapedSlashesActionEnum = enumOf<HttpConnectionManagerPathWithEscapedSlashesAction>(
  'IMPLEMENTATION_SPECIFIC_DEFAULT',
  'KEEP_UNCHANGED',
  'REJECT_REQUEST',
  'UNESCAPE_AND_REDIRECT',
  'UNESCAPE_AND_FORWARD',
);

/** `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`. */
export interface HttpConnectionManager {
  readonly codec_type: HttpConnectionManagerCodecType | number;
  readonly stat_prefix: string;
  readonly rds: Rds | undefined;
  readonly route_config: RouteConfiguration | undefined;
  readonly http_filters: readonly HttpFilter[];
  readonly use_remote_address: boolean | undefined;
  readonly forward_client_cert_details: HttpConnectionManagerForwardClientCertDetails | number;
  readonly set_current_client_cert_details: SetCurrentClientCertDetails | undefined;
  readonly xff_num_trusted_hops: number;
  readonly normalize_path: boolean | undefined;
  readonly merge_slashes: boolean;
  readonly path_with_escaped_slashes_action: HttpConnectionManagerPathWithEscapedSlashesAction | number;
  readonly original_ip_detection_extensions: readonly TypedExtensionConfig[];
}

export const httpConnectionManagerSchema: Schema<HttpConnectionManager> = schema<HttpConnectionManager>(
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
  {
    fields: {
      codec_type: single(1, httpConnectionManagerCodecTypeEnum),
      stat_prefix: single(2, string),
      rds: single(
        3,
        message(() => rdsSchema),
      ),
      route_config: single(
        4,
        message(() => routeConfigurationSchema),
      ),
      http_filters: repeated(
        5,
        message(() => httpFilterSchema),
      ),
      use_remote_address: single(14, wrapped(bool)),
      forward_client_cert_details: single(16, httpConnectionManagerForwardClientCertDetailsEnum),
      set_current_client_cert_details: single(
        17,
        message(() => setCurrentClientCertDetailsSchema),
      ),
      xff_num_trusted_hops: single(19, uint32),
      normalize_path: single(30, wrapped(bool)),
      merge_slashes: single(33, bool),
      path_with_escaped_slashes_action: single(45, httpConnectionManagerPathWithEscapedSlashesActionEnum),
      original_ip_detection_extensions: repeated(
        46,
        message(() => typedExtensionConfigSchema),
      ),
    },
    ignored: {
      6: 'add_user_agent',
      7: 'tracing',
      8: 'http_protocol_options',
      9: 'http2_protocol_options',
      10: 'server_name',
      12: 'drain_timeout',
      13: 'access_log',
      15: 'generate_request_id',
      18: 'proxy_100_continue',
      20: 'represent_ipv4_remote_address_as_ipv4_mapped_ipv6',
      21: 'skip_xff_append',
      22: 'via',
      23: 'upgrade_configs',
      24: 'stream_idle_timeout',
      25: 'internal_address_config',
      26: 'delayed_close_timeout',
      28: 'request_timeout',
      29: 'max_request_headers_kb',
      31: 'scoped_routes',
      32: 'preserve_external_request_id',
      34: 'server_header_transformation',
      35: 'common_http_protocol_options',
      36: 'request_id_extension',
      37: 'always_set_request_id_in_response',
      38: 'local_reply_config',
      39: 'strip_matching_host_port',
      40: 'stream_error_on_invalid_http_message',
      41: 'request_headers_timeout',
      42: 'strip_any_host_port',
      43: 'path_normalization_options',
      44: 'http3_protocol_options',
      47: 'strip_trailing_host_dot',
      48: 'scheme_header_transformation',
      49: 'proxy_status_config',
      50: 'typed_header_validation_config',
      51: 'append_x_forwarded_port',
      52: 'early_header_mutation_extensions',
      53: 'add_proxy_protocol_connection_state',
      54: 'access_log_flush_interval',
      55: 'flush_access_log_on_new_request',
      56: 'access_log_options',
      57: 'append_local_overload',
    },
    oneofs: [['rds', 'route_config']],
  },
);

/** `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails`. */
export interface SetCurrentClientCertDetails {
  readonly subject: boolean | undefined;
  readonly cert: boolean;
  readonly dns: boolean;
  readonly uri: boolean;
  readonly chain: boolean;
}

export const setCurrentClientCertDetailsSchema: Schema<SetCurrentClientCertDetails> =
  schema<SetCurrentClientCertDetails>(
    'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails',
    {
      fields: {
        subject: single(1, wrapped(bool)),
        cert: single(3, bool),
        dns: single(4, bool),
        uri: single(5, bool),
        chain: single(6, bool),
      },
    },
  );

/** `envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter`. */
export interface HttpFilter {
  readonly name: string;
  readonly typed_config: Any | undefined;
  readonly is_optional: boolean;
  readonly disabled: boolean;
}

export const httpFilterSchema: Schema<HttpFilter> = schema<HttpFilter>(
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter',
  {
    fields: {
      name: single(1, string),
      typed_config: single(4, any),
      is_optional: single(6, bool),
      disabled: single(7, bool),
    },
    ignored: { 5: 'config_discovery' },
  },
);

/** `envoy.extensions.filters.network.http_connection_manager.v3.Rds`. */
export interface Rds {
  readonly config_source: ConfigSource | undefined;
  readonly route_config_name: string;
}

export const rdsSchema: Schema<Rds> = schema<Rds>('envoy.extensions.filters.network.http_connection_manager.v3.Rds', {
  fields: {
    config_source: single(
      1,
      message(() => configSourceSchema),
    ),
    route_config_name: single(2, string),
  },
});
