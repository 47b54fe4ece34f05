import { type Any, any } from '../any.ts';
import { bool, enumOf, message, string, uint32, wrapped } from '../kinds.ts';
import { mapOf, repeated, type Schema, schema, single } from '../schema.ts';
import { type HeaderValueOption, headerValueOptionSchema, type Metadata, metadataSchema } from './base.ts';
import { type RetryPolicy, retryPolicySchema } from './retry-policy.ts';
import {
  type HedgePolicy,
  hedgePolicySchema,
  type RequestMirrorPolicy,
  type RouteAction,
  requestMirrorPolicySchema,
  routeActionSchema,
} from './route-action.ts';
import {
  type DirectResponseAction,
  directResponseActionSchema,
  type FilterAction,
  filterActionSchema,
  type NonForwardingAction,
  nonForwardingActionSchema,
  type RedirectAction,
  redirectActionSchema,
} from './route-answers.ts';
import { type RouteMatch, routeMatchSchema } from './route-match.ts';

/** `envoy.config.route.v3.VirtualHost.TlsRequirementType`. */
export type VirtualHostTlsRequirementType = 'NONE' | 'EXTERNAL_ONLY' | 'ALL';

const virtualHostTlsRequirementTypeKind = enumOf('NONE', 'EXTERNAL_ONLY', 'ALL');

/** `envoy.config.route.v3.RouteConfiguration`. */
export interface RouteConfiguration {
  readonly name: string;
  readonly virtual_hosts: readonly VirtualHost[];
  readonly response_headers_to_add: readonly HeaderValueOption[];
  readonly response_headers_to_remove: readonly string[];
  readonly request_headers_to_add: readonly HeaderValueOption[];
  readonly request_headers_to_remove: readonly string[];
  readonly most_specific_header_mutations_wins: boolean;
  readonly max_direct_response_body_size_bytes: number | undefined;
  readonly request_mirror_policies: readonly RequestMirrorPolicy[];
  readonly ignore_port_in_host_matching: boolean;
  readonly typed_per_filter_config: ReadonlyMap<string, Any | undefined>;
}

export const routeConfigurationSchema: Schema<RouteConfiguration> = schema<RouteConfiguration>(
  'envoy.config.route.v3.RouteConfiguration',
  {
    fields: {
      name: single(1, string),
      virtual_hosts: repeated(
        2,
        message(() => virtualHostSchema),
      ),
      response_headers_to_add: repeated(
        4,
        message(() => headerValueOptionSchema),
      ),
      response_headers_to_remove: repeated(5, string),
      request_headers_to_add: repeated(
        6,
        message(() => headerValueOptionSchema),
      ),
      request_headers_to_remove: repeated(8, string),
      most_specific_header_mutations_wins: single(10, bool),
      max_direct_response_body_size_bytes: single(11, wrapped(uint32)),
      request_mirror_policies: repeated(
        13,
        message(() => requestMirrorPolicySchema),
      ),
      ignore_port_in_host_matching: single(14, bool),
      typed_per_filter_config: mapOf(16, any),
    },
    ignored: {
      7: 'validate_clusters',
      3: 'internal_only_headers',
      9: 'vhds',
      12: 'cluster_specifier_plugins',
      15: 'ignore_path_parameters_in_path_matching',
      17: 'metadata',
    },
  },
);

/** `envoy.config.route.v3.VirtualHost`. */
export interface VirtualHost {
  readonly name: string;
  readonly domains: readonly string[];
  readonly routes: readonly Route[];
  readonly require_tls: VirtualHostTlsRequirementType | number;
  readonly request_headers_to_add: readonly HeaderValueOption[];
  readonly request_headers_to_remove: readonly string[];
  readonly response_headers_to_add: readonly HeaderValueOption[];
  readonly response_headers_to_remove: readonly string[];
  readonly typed_per_filter_config: ReadonlyMap<string, Any | undefined>;
  readonly retry_policy: RetryPolicy | undefined;
  readonly hedge_policy: HedgePolicy | undefined;
  readonly request_mirror_policies: readonly RequestMirrorPolicy[];
}

export const virtualHostSchema: Schema<VirtualHost> = schema<VirtualHost>('envoy.config.route.v3.VirtualHost', {
  fields: {
    name: single(1, string),
    domains: repeated(2, string),
    routes: repeated(
      3,
      message(() => routeSchema),
    ),
    require_tls: single(4, virtualHostTlsRequirementTypeKind),
    request_headers_to_add: repeated(
      7,
      message(() => headerValueOptionSchema),
    ),
    request_headers_to_remove: repeated(13, string),
    response_headers_to_add: repeated(
      10,
      message(() => headerValueOptionSchema),
    ),
    response_headers_to_remove: repeated(11, string),
    typed_per_filter_config: mapOf(15, any),
    retry_policy: single(
      16,
      message(() => retryPolicySchema),
    ),
    hedge_policy: single(
      17,
      message(() => hedgePolicySchema),
    ),
    request_mirror_policies: repeated(
      22,
      message(() => requestMirrorPolicySchema),
    ),
  },
  ignored: {
    14: 'include_request_attempt_count',
    5: 'virtual_clusters',
    6: 'rate_limits',
    8: 'cors',
    18: 'per_request_buffer_limit_bytes',
    19: 'include_attempt_count_in_response',
    20: 'retry_policy_typed_config',
    21: 'matcher',
    23: 'include_is_timeout_retry_header',
    24: 'metadata',
  },
});

/** `envoy.config.route.v3.Route`. */
export interface Route {
  readonly name: string;
  readonly match: RouteMatch | undefined;
  readonly route: RouteAction | undefined;
  readonly redirect: RedirectAction | undefined;
  readonly direct_response: DirectResponseAction | undefined;
  readonly filter_action: FilterAction | undefined;
  readonly non_forwarding_action: NonForwardingAction | undefined;
  readonly metadata: Metadata | undefined;
  readonly typed_per_filter_config: ReadonlyMap<string, Any | undefined>;
  readonly request_headers_to_add: readonly HeaderValueOption[];
  readonly request_headers_to_remove: readonly string[];
  readonly response_headers_to_add: readonly HeaderValueOption[];
  readonly response_headers_to_remove: readonly string[];
}

export const routeSchema: Schema<Route> = schema<Route>('envoy.config.route.v3.Route', {
  fields: {
    name: single(14, string),
    match: single(
      1,
      message(() => routeMatchSchema),
    ),
    route: single(
      2,
      message(() => routeActionSchema),
    ),
    redirect: single(
      3,
      message(() => redirectActionSchema),
    ),
    direct_response: single(
      7,
      message(() => directResponseActionSchema),
    ),
    filter_action: single(
      17,
      message(() => filterActionSchema),
    ),
    non_forwarding_action: single(
      18,
      message(() => nonForwardingActionSchema),
    ),
    metadata: single(
      4,
      message(() => metadataSchema),
    ),
    typed_per_filter_config: mapOf(13, any),
    request_headers_to_add: repeated(
      9,
      message(() => headerValueOptionSchema),
    ),
    request_headers_to_remove: repeated(12, string),
    response_headers_to_add: repeated(
      10,
      message(() => headerValueOptionSchema),
    ),
    response_headers_to_remove: repeated(11, string),
  },
  ignored: { 19: 'stat_prefix', 5: 'decorator', 15: 'tracing', 16: 'per_request_buffer_limit_bytes' },
  oneofs: [['route', 'redirect', 'direct_response', 'filter_action', 'non_forwarding_action']],
});
