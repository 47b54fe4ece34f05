import { bool, duration, message, string, uint32, wrapped } from '../kinds.ts';
import { type Schema, schema, single } from '../schema.ts';

/** `envoy.config.core.v3.HttpProtocolOptions`. */
export interface CommonHttpProtocolOptions {
  readonly idle_timeout: number | undefined;
  readonly max_connection_duration: number | undefined;
  readonly max_requests_per_connection: number | undefined;
}

export const commonHttpProtocolOptionsSchema: Schema<CommonHttpProtocolOptions> = schema<CommonHttpProtocolOptions>(
  'envoy.config.core.v3.HttpProtocolOptions',
  {
    fields: {
      idle_timeout: single(1, duration),
      max_connection_duration: single(3, duration),
      max_requests_per_connection: single(6, wrapped(uint32)),
    },
    ignored: { 4: 'max_stream_duration', 2: 'max_headers_count', 5: 'headers_with_underscores_action' },
  },
);

/** `envoy.config.core.v3.Http1ProtocolOptions`: it says all by being there. */
export type Http1ProtocolOptions = Readonly<Record<string, never>>;

export const http1ProtocolOptionsSchema: Schema<Http1ProtocolOptions> = schema<Http1ProtocolOptions>(
  'envoy.config.core.v3.Http1ProtocolOptions',
  {
    fields: {},
    ignored: {
      1: 'allow_absolute_url',
      2: 'accept_http_10',
      3: 'default_host_for_http_10',
      4: 'header_key_format',
      5: 'enable_trailers',
      6: 'allow_chunked_length',
      7: 'override_stream_error_on_invalid_http_message',
      8: 'send_fully_qualified_url',
      9: 'use_balsa_parser',
      10: 'allow_custom_methods',
    },
  },
);

/** `envoy.config.core.v3.Http2ProtocolOptions`. */
export interface Http2ProtocolOptions {
  readonly max_concurrent_streams: number | undefined;
  readonly connection_keepalive: KeepaliveSettings | undefined;
}

export const http2ProtocolOptionsSchema: Schema<Http2ProtocolOptions> = schema<Http2ProtocolOptions>(
  'envoy.config.core.v3.Http2ProtocolOptions',
  {
    fields: {
      max_concurrent_streams: single(2, wrapped(uint32)),
      connection_keepalive: single(
        15,
        message(() => keepaliveSettingsSchema),
      ),
    },
    ignored: {
      1: 'hpack_table_size',
      3: 'initial_stream_window_size',
      4: 'initial_connection_window_size',
      5: 'allow_connect',
      6: 'allow_metadata',
      7: 'max_outbound_frames',
      8: 'max_outbound_control_frames',
      9: 'max_consecutive_inbound_frames_with_empty_payload',
      10: 'max_inbound_priority_frames_per_stream',
      11: 'max_inbound_window_update_frames_per_data_frame_sent',
      12: 'stream_error_on_invalid_http_messaging',
      13: 'custom_settings_parameters',
      14: 'override_stream_error_on_invalid_http_message',
      16: 'use_oghttp2_codec',
    },
  },
);

/** `envoy.config.core.v3.KeepaliveSettings`. */
export interface KeepaliveSettings {
  readonly interval: number | undefined;
  readonly timeout: number | undefined;
}

export const keepaliveSettingsSchema: Schema<KeepaliveSettings> = schema<KeepaliveSettings>(
  'envoy.config.core.v3.KeepaliveSettings',
  {
    fields: {
      interval: single(1, duration),
      timeout: single(2, duration),
    },
    ignored: { 3: 'interval_jitter', 4: 'connection_idle_interval' },
  },
);

/** `envoy.config.core.v3.UpstreamHttpProtocolOptions`. */
export interface UpstreamHttpProtocolOptions {
  readonly auto_sni: boolean;
  readonly auto_san_validation: boolean;
  readonly override_auto_sni_header: string;
}

export const upstreamHttpProtocolOptionsSchema: Schema<UpstreamHttpProtocolOptions> =
  schema<UpstreamHttpProtocolOptions>('envoy.config.core.v3.UpstreamHttpProtocolOptions', {
    fields: {
      auto_sni: single(1, bool),
      auto_san_validation: single(2, bool),
      override_auto_sni_header: single(3, string),
    },
  });

/** `envoy.config.core.v3.Http3ProtocolOptions`: it says all by being there. */
export type Http3ProtocolOptions = Readonly<Record<string, never>>;

export const http3ProtocolOptionsSchema: Schema<Http3ProtocolOptions> = schema<Http3ProtocolOptions>(
  'envoy.config.core.v3.Http3ProtocolOptions',
  {
    fields: {},
    ignored: {
      1: 'quic_protocol_options',
      2: 'override_stream_error_on_invalid_http_message',
      5: 'allow_extended_connect',
      6: 'allow_metadata',
    },
  },
);

/** `envoy.extensions.upstreams.http.v3.HttpProtocolOptions`. */
export interface HttpProtocolOptions {
  readonly common_http_protocol_options: CommonHttpProtocolOptions | undefined;
  readonly upstream_http_protocol_options: UpstreamHttpProtocolOptions | undefined;
  readonly explicit_http_config: ExplicitHttpConfig | undefined;
  readonly use_downstream_protocol_config: UseDownstreamHttpConfig | undefined;
  readonly auto_config: AutoHttpConfig | undefined;
}

export const httpProtocolOptionsSchema: Schema<HttpProtocolOptions> = schema<HttpProtocolOptions>(
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
  {
    fields: {
      common_http_protocol_options: single(
        1,
        message(() => commonHttpProtocolOptionsSchema),
      ),
      upstream_http_protocol_options: single(
        2,
        message(() => upstreamHttpProtocolOptionsSchema),
      ),
      explicit_http_config: single(
        3,
        message(() => explicitHttpConfigSchema),
      ),
      use_downstream_protocol_config: single(
        4,
        message(() => useDownstreamHttpConfigSchema),
      ),
      auto_config: single(
        5,
        message(() => autoHttpConfigSchema),
      ),
    },
    ignored: { 6: 'http_filters', 7: 'header_validation_config' },
    oneofs: [['explicit_http_config', 'use_downstream_protocol_config', 'auto_config']],
  },
);

/** `envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig`. */
export interface ExplicitHttpConfig {
  readonly http_protocol_options: Http1ProtocolOptions | undefined;
  readonly http2_protocol_options: Http2ProtocolOptions | undefined;
  readonly http3_protocol_options: Http3ProtocolOptions | undefined;
}

export const explicitHttpConfigSchema: Schema<ExplicitHttpConfig> = schema<ExplicitHttpConfig>(
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig',
  {
    fields: {
      http_protocol_options: single(
        1,
        message(() => http1ProtocolOptionsSchema),
      ),
      http2_protocol_options: single(
        2,
        message(() => http2ProtocolOptionsSchema),
      ),
      http3_protocol_options: single(
        3,
        message(() => http3ProtocolOptionsSchema),
      ),
    },
    oneofs: [['http_protocol_options', 'http2_protocol_options', 'http3_protocol_options']],
  },
);

/** `envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig`. */
export interface UseDownstreamHttpConfig {
  readonly http_protocol_options: Http1ProtocolOptions | undefined;
  readonly http2_protocol_options: Http2ProtocolOptions | undefined;
}

export const useDownstreamHttpConfigSchema: Schema<UseDownstreamHttpConfig> = schema<UseDownstreamHttpConfig>(
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig',
  {
    fields: {
      http_protocol_options: single(
        1,
        message(() => http1ProtocolOptionsSchema),
      ),
      http2_protocol_options: single(
        2,
        message(() => http2ProtocolOptionsSchema),
      ),
    },
    ignored: { 3: 'http3_protocol_options' },
  },
);

/** `envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig`. */
export interface AutoHttpConfig {
  readonly http_protocol_options: Http1ProtocolOptions | undefined;
  readonly http2_protocol_options: Http2ProtocolOptions | undefined;
}

export const autoHttpConfigSchema: Schema<AutoHttpConfig> = schema<AutoHttpConfig>(
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig',
  {
    fields: {
      http_protocol_options: single(
        1,
        message(() => http1ProtocolOptionsSchema),
      ),
      http2_protocol_options: single(
        2,
        message(() => http2ProtocolOptionsSchema),
      ),
    },
    ignored: { 3: 'http3_protocol_options', 4: 'alternate_protocols_cache_options' },
  },
);
