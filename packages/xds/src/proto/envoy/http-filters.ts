import { bool, duration, message, string, uint32, wrapped } from '../kinds.ts';
import { optional, repeated, type Schema, schema, single } from '../schema.ts';
import {
  type RuntimeFractionalPercent,
  runtimeFractionalPercentSchema,
  type TypedExtensionConfig,
  typedExtensionConfigSchema,
} from './base.ts';
import { type StringMatcher, stringMatcherSchema } from './matchers.ts';
import { type FractionalPercent, fractionalPercentSchema } from './ranges.ts';
import { type HeaderMatcher, headerMatcherSchema } from './route-match.ts';

/** `envoy.extensions.filters.http.fault.v3.HTTPFault`. */
export interface HttpFault {
  readonly delay: FaultDelay | undefined;
  readonly abort: FaultAbort | undefined;
  readonly upstream_cluster: string;
  readonly headers: readonly HeaderMatcher[];
  readonly max_active_faults: number | undefined;
  readonly response_rate_limit: FaultRateLimit | undefined;
}

export const httpFaultSchema: Schema<HttpFault> = schema<HttpFault>(
  'envoy.extensions.filters.http.fault.v3.HTTPFault',
  {
    fields: {
      delay: single(
        1,
        message(() => faultDelaySchema),
      ),
      abort: single(
        2,
        message(() => faultAbortSchema),
      ),
      upstream_cluster: single(3, string),
      headers: repeated(
        4,
        message(() => headerMatcherSchema),
      ),
      max_active_faults: single(6, wrapped(uint32)),
      response_rate_limit: single(
        7,
        message(() => faultRateLimitSchema),
      ),
    },
    ignored: {
      5: 'downstream_nodes',
      8: 'delay_percent_runtime',
      9: 'abort_percent_runtime',
      10: 'delay_duration_runtime',
      11: 'abort_http_status_runtime',
      12: 'max_active_faults_runtime',
      13: 'response_rate_limit_percent_runtime',
      14: 'abort_grpc_status_runtime',
      15: 'disable_downstream_cluster_stats',
      16: 'filter_metadata',
    },
  },
);

/** `envoy.extensions.filters.http.fault.v3.FaultAbort`. */
export interface FaultAbort {
  readonly http_status: number | undefined;
  readonly percentage: FractionalPercent | undefined;
  readonly header_abort: HeaderAbort | undefined;
  readonly grpc_status: number | undefined;
}

export const faultAbortSchema: Schema<FaultAbort> = schema<FaultAbort>(
  'envoy.extensions.filters.http.fault.v3.FaultAbort',
  {
    fields: {
      http_status: optional(2, uint32),
      percentage: single(
        3,
        message(() => fractionalPercentSchema),
      ),
      header_abort: single(
        4,
        message(() => headerAbortSchema),
      ),
      grpc_status: optional(5, uint32),
    },
    oneofs: [['http_status', 'grpc_status', 'header_abort']],
  },
);

/** `envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort`. */
export type HeaderAbort = Readonly<Record<string, never>>;

export const headerAbortSchema: Schema<HeaderAbort> = schema<HeaderAbort>(
  'envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort',
  {
    fields: {},
  },
);

/** `envoy.extensions.filters.common.fault.v3.FaultDelay`. */
export interface FaultDelay {
  readonly fixed_delay: number | undefined;
  readonly percentage: FractionalPercent | undefined;
  readonly header_delay: HeaderDelay | undefined;
}

export const faultDelaySchema: Schema<FaultDelay> = schema<FaultDelay>(
  'envoy.extensions.filters.common.fault.v3.FaultDelay',
  {
    fields: {
      fixed_delay: single(3, duration),
      percentage: single(
        4,
        message(() => fractionalPercentSchema),
      ),
      header_delay: single(
        5,
        message(() => headerDelaySchema),
      ),
    },
    oneofs: [['fixed_delay', 'header_delay']],
  },
);

/** `envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay`. */
export type HeaderDelay = Readonly<Record<string, never>>;

export const headerDelaySchema: Schema<HeaderDelay> = schema<HeaderDelay>(
  'envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay',
  {
    fields: {},
  },
);

/** `envoy.extensions.filters.common.fault.v3.FaultRateLimit`. */
export interface FaultRateLimit {
  readonly percentage: FractionalPercent | undefined;
}

export const faultRateLimitSchema: Schema<FaultRateLimit> = schema<FaultRateLimit>(
  'envoy.extensions.filters.common.fault.v3.FaultRateLimit',
  {
    fields: {
      percentage: single(
        2,
        message(() => fractionalPercentSchema),
      ),
    },
    ignored: { 1: 'fixed_limit', 3: 'header_limit' },
  },
);

/** `envoy.extensions.filters.http.cors.v3.Cors`. */
export type CorsFilter = Readonly<Record<string, never>>;

export const corsFilterSchema: Schema<CorsFilter> = schema<CorsFilter>('envoy.extensions.filters.http.cors.v3.Cors', {
  fields: {},
});

/** `envoy.extensions.filters.http.cors.v3.CorsPolicy`. */
export interface CorsPolicy {
  readonly allow_origin_string_match: readonly StringMatcher[];
  readonly allow_methods: string;
  readonly allow_headers: string;
  readonly expose_headers: string;
  readonly max_age: string;
  readonly allow_credentials: boolean | undefined;
  readonly filter_enabled: RuntimeFractionalPercent | undefined;
  readonly shadow_enabled: RuntimeFractionalPercent | undefined;
  readonly allow_private_network_access: boolean | undefined;
  readonly forward_not_matching_preflights: boolean | undefined;
}

export const corsPolicySchema: Schema<CorsPolicy> = schema<CorsPolicy>(
  'envoy.extensions.filters.http.cors.v3.CorsPolicy',
  {
    fields: {
      allow_origin_string_match: repeated(
        1,
        message(() => stringMatcherSchema),
      ),
      allow_methods: single(2, string),
      allow_headers: single(3, string),
      expose_headers: single(4, string),
      max_age: single(5, string),
      allow_credentials: single(6, wrapped(bool)),
      filter_enabled: single(
        7,
        message(() => runtimeFractionalPercentSchema),
      ),
      shadow_enabled: single(
        8,
        message(() => runtimeFractionalPercentSchema),
      ),
      allow_private_network_access: single(9, wrapped(bool)),
      forward_not_matching_preflights: single(10, wrapped(bool)),
    },
  },
);

/** `envoy.extensions.filters.http.router.v3.Router`. */
export type RouterFilter = Readonly<Record<string, never>>;

export const routerFilterSchema: Schema<RouterFilter> = schema<RouterFilter>(
  'envoy.extensions.filters.http.router.v3.Router',
  {
    fields: {},
    ignored: {
      1: 'dynamic_stats',
      2: 'start_child_span',
      3: 'upstream_log',
      4: 'suppress_envoy_headers',
      5: 'strict_check_headers',
      6: 'respect_expected_rq_timeout',
      7: 'suppress_grpc_request_failure_code_stats',
      8: 'upstream_http_filters',
      9: 'upstream_log_options',
    },
  },
);

/** `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`. */
export interface StatefulSession {
  readonly session_state: TypedExtensionConfig | undefined;
  readonly strict: boolean;
}

export const statefulSessionSchema: Schema<StatefulSession> = schema<StatefulSession>(
  'envoy.extensions.filters.http.stateful_session.v3.StatefulSession',
  {
    fields: {
      session_state: single(
        1,
        message(() => typedExtensionConfigSchema),
      ),
      strict: single(2, bool),
    },
  },
);

/** `envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute`. */
export interface StatefulSessionPerRoute {
  readonly disabled: boolean | undefined;
  readonly stateful_session: StatefulSession | undefined;
}

export const statefulSessionPerRouteSchema: Schema<StatefulSessionPerRoute> = schema<StatefulSessionPerRoute>(
  'envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute',
  {
    fields: {
      disabled: optional(1, bool),
      stateful_session: single(
        2,
        message(() => statefulSessionSchema),
      ),
    },
    oneofs: [['disabled', 'stateful_session']],
  },
);
