import { bytes, duration, enumOf, message, string, uint32, wrapped } from '../kinds.ts';
import { optional, repeated, type Schema, schema, single } from '../schema.ts';
import { type HeaderValueOption, headerValueOptionSchema } from './base.ts';
import { type Int64Range, int64RangeSchema } from './ranges.ts';

/** `envoy.config.core.v3.RequestMethod`. */
export type RequestMethod =
  | 'METHOD_UNSPECIFIED'
  | 'GET'
  | 'HEAD'
  | 'POST'
  | 'PUT'
  | 'DELETE'
  | 'CONNECT'
  | 'OPTIONS'
  | 'TRACE'
  | 'PATCH';

const requestMethodKind = enumOf(
  'METHOD_UNSPECIFIED',
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'CONNECT',
  'OPTIONS',
  'TRACE',
  'PATCH',
);

/** `envoy.config.core.v3.HealthCheck`. */
export interface HealthCheck {
  readonly timeout: number | undefined;
  readonly interval: number | undefined;
  readonly initial_jitter: number | undefined;
  readonly interval_jitter: number | undefined;
  readonly interval_jitter_percent: number;
  readonly unhealthy_threshold: number | undefined;
  readonly healthy_threshold: number | undefined;
  readonly alt_port: number | undefined;
  readonly http_health_check: HttpHealthCheck | undefined;
  readonly tcp_health_check: TcpHealthCheck | undefined;
  readonly grpc_health_check: GrpcHealthCheck | undefined;
  readonly custom_health_check: CustomHealthCheck | undefined;
  readonly unhealthy_interval: number | undefined;
  readonly unhealthy_edge_interval: number | undefined;
  readonly healthy_edge_interval: number | undefined;
}

export const healthCheckSchema: Schema<HealthCheck> = schema<HealthCheck>('envoy.config.core.v3.HealthCheck', {
  fields: {
    timeout: single(1, duration),
    interval: single(2, duration),
    initial_jitter: single(20, duration),
    interval_jitter: single(3, duration),
    interval_jitter_percent: single(18, uint32),
    unhealthy_threshold: single(4, wrapped(uint32)),
    healthy_threshold: single(5, wrapped(uint32)),
    alt_port: single(6, wrapped(uint32)),
    http_health_check: single(
      8,
      message(() => httpHealthCheckSchema),
    ),
    tcp_health_check: single(
      9,
      message(() => tcpHealthCheckSchema),
    ),
    grpc_health_check: single(
      11,
      message(() => grpcHealthCheckSchema),
    ),
    custom_health_check: single(
      13,
      message(() => customHealthCheckSchema),
    ),
    unhealthy_interval: single(14, duration),
    unhealthy_edge_interval: single(15, duration),
    healthy_edge_interval: single(16, duration),
  },
  ignored: {
    7: 'reuse_connection',
    12: 'no_traffic_interval',
    17: 'event_log_path',
    19: 'always_log_health_check_failures',
    21: 'tls_options',
    22: 'event_service',
    23: 'transport_socket_match_criteria',
    24: 'no_traffic_healthy_interval',
    25: 'event_logger',
    26: 'always_log_health_check_success',
  },
  oneofs: [['http_health_check', 'tcp_health_check', 'grpc_health_check', 'custom_health_check']],
});

/** `envoy.config.core.v3.HealthCheck.Payload`. */
export interface HealthCheckPayload {
  readonly text: string | undefined;
  readonly binary: Uint8Array | undefined;
}

export const healthCheckPayloadSchema: Schema<HealthCheckPayload> = schema<HealthCheckPayload>(
  'envoy.config.core.v3.HealthCheck.Payload',
  {
    fields: {
      text: optional(1, string),
      binary: optional(2, bytes),
    },
    oneofs: [['text', 'binary']],
  },
);

/** `envoy.config.core.v3.HealthCheck.HttpHealthCheck`. */
export interface HttpHealthCheck {
  readonly host: string;
  readonly path: string;
  readonly request_headers_to_add: readonly HeaderValueOption[];
  readonly expected_statuses: readonly Int64Range[];
  readonly retriable_statuses: readonly Int64Range[];
  readonly method: RequestMethod | number;
}

export const httpHealthCheckSchema: Schema<HttpHealthCheck> = schema<HttpHealthCheck>(
  'envoy.config.core.v3.HealthCheck.HttpHealthCheck',
  {
    fields: {
      host: single(1, string),
      path: single(2, string),
      request_headers_to_add: repeated(
        6,
        message(() => headerValueOptionSchema),
      ),
      expected_statuses: repeated(
        9,
        message(() => int64RangeSchema),
      ),
      retriable_statuses: repeated(
        12,
        message(() => int64RangeSchema),
      ),
      method: single(13, requestMethodKind),
    },
    ignored: {
      3: 'send',
      4: 'receive',
      8: 'request_headers_to_remove',
      10: 'codec_client_type',
      11: 'service_name_matcher',
      14: 'response_buffer_size',
    },
  },
);

/** `envoy.config.core.v3.HealthCheck.TcpHealthCheck`. */
export interface TcpHealthCheck {
  readonly send: HealthCheckPayload | undefined;
  readonly receive: readonly HealthCheckPayload[];
}

export const tcpHealthCheckSchema: Schema<TcpHealthCheck> = schema<TcpHealthCheck>(
  'envoy.config.core.v3.HealthCheck.TcpHealthCheck',
  {
    fields: {
      send: single(
        1,
        message(() => healthCheckPayloadSchema),
      ),
      receive: repeated(
        2,
        message(() => healthCheckPayloadSchema),
      ),
    },
    ignored: { 3: 'proxy_protocol_config' },
  },
);

/** `envoy.config.core.v3.HealthCheck.GrpcHealthCheck`. */
export interface GrpcHealthCheck {
  readonly service_name: string;
  readonly authority: string;
  readonly initial_metadata: readonly HeaderValueOption[];
}

export const grpcHealthCheckSchema: Schema<GrpcHealthCheck> = schema<GrpcHealthCheck>(
  'envoy.config.core.v3.HealthCheck.GrpcHealthCheck',
  {
    fields: {
      service_name: single(1, string),
      authority: single(2, string),
      initial_metadata: repeated(
        3,
        message(() => headerValueOptionSchema),
      ),
    },
  },
);

/** `envoy.config.core.v3.HealthCheck.CustomHealthCheck`. */
export interface CustomHealthCheck {
  readonly name: string;
}

export const customHealthCheckSchema: Schema<CustomHealthCheck> = schema<CustomHealthCheck>(
  'envoy.config.core.v3.HealthCheck.CustomHealthCheck',
  {
    fields: {
      name: single(1, string),
    },
    ignored: { 3: 'typed_config' },
  },
);
