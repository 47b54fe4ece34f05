import { type Any, any } from '../any.ts';
import { bool, duration, message, string, uint32, wrapped } from '../kinds.ts';
import { mapOf, optional, repeated, type Schema, schema, single } from '../schema.ts';
import {
  type HeaderValueOption,
  headerValueOptionSchema,
  type RuntimeFractionalPercent,
  runtimeFractionalPercentSchema,
  type TypedExtensionConfig,
  typedExtensionConfigSchema,
} from './base.ts';
import { type HashPolicy, hashPolicySchema } from './hash-policy.ts';
import { type RegexMatchAndSubstitute, regexMatchAndSubstituteSchema } from './matchers.ts';
import { type RetryPolicy, retryPolicySchema } from './retry-policy.ts';

/** `envoy.config.route.v3.RouteAction`. */
export interface RouteAction {
  readonly cluster: string | undefined;
  readonly cluster_header: string | undefined;
  readonly weighted_clusters: WeightedCluster | undefined;
  readonly cluster_specifier_plugin: string | undefined;
  readonly inline_cluster_specifier_plugin: ClusterSpecifierPlugin | undefined;
  readonly prefix_rewrite: string;
  readonly regex_rewrite: RegexMatchAndSubstitute | undefined;
  readonly path_rewrite_policy: TypedExtensionConfig | undefined;
  readonly host_rewrite_literal: string | undefined;
  readonly auto_host_rewrite: boolean | undefined;
  readonly host_rewrite_header: string | undefined;
  readonly host_rewrite_path_regex: RegexMatchAndSubstitute | undefined;
  readonly timeout: number | undefined;
  readonly idle_timeout: number | undefined;
  readonly retry_policy: RetryPolicy | undefined;
  readonly request_mirror_policies: readonly RequestMirrorPolicy[];
  readonly hash_policy: readonly HashPolicy[];
  readonly max_grpc_timeout: number | undefined;
  readonly hedge_policy: HedgePolicy | undefined;
  readonly max_stream_duration: MaxStreamDuration | undefined;
}

export const routeActionSchema: Schema<RouteAction> = schema<RouteAction>('envoy.config.route.v3.RouteAction', {
  fields: {
    cluster: optional(1, string),
    cluster_header: optional(2, string),
    weighted_clusters: single(
      3,
      message(() => weightedClusterSchema),
    ),
    cluster_specifier_plugin: optional(37, string),
    inline_cluster_specifier_plugin: single(
      39,
      message(() => clusterSpecifierPluginSchema),
    ),
    prefix_rewrite: single(5, string),
    regex_rewrite: single(
      32,
      message(() => regexMatchAndSubstituteSchema),
    ),
    path_rewrite_policy: single(
      41,
      message(() => typedExtensionConfigSchema),
    ),
    host_rewrite_literal: optional(6, string),
    auto_host_rewrite: single(7, wrapped(bool)),
    host_rewrite_header: optional(29, string),
    host_rewrite_path_regex: single(
      35,
      message(() => regexMatchAndSubstituteSchema),
    ),
    timeout: single(8, duration),
    idle_timeout: single(24, duration),
    retry_policy: single(
      9,
      message(() => retryPolicySchema),
    ),
    request_mirror_policies: repeated(
      30,
      message(() => requestMirrorPolicySchema),
    ),
    hash_policy: repeated(
      15,
      message(() => hashPolicySchema),
    ),
    max_grpc_timeout: single(23, duration),
    hedge_policy: single(
      27,
      message(() => hedgePolicySchema),
    ),
    max_stream_duration: single(
      36,
      message(() => maxStreamDurationSchema),
    ),
  },
  ignored: {
    4: 'metadata_match',
    11: 'priority',
    13: 'rate_limits',
    14: 'include_vh_rate_limits',
    17: 'cors',
    20: 'cluster_not_found_response_code',
    25: 'upgrade_configs',
    26: 'internal_redirect_action',
    28: 'grpc_timeout_offset',
    31: 'max_internal_redirects',
    33: 'retry_policy_typed_config',
    34: 'internal_redirect_policy',
    38: 'append_x_forwarded_host',
    40: 'early_data_policy',
  },
  oneofs: [
    ['cluster', 'cluster_header', 'weighted_clusters', 'cluster_specifier_plugin', 'inline_cluster_specifier_plugin'],
    ['host_rewrite_literal', 'auto_host_rewrite', 'host_rewrite_header', 'host_rewrite_path_regex'],
  ],
});

/** `envoy.config.route.v3.ClusterSpecifierPlugin`: it says all by being there. */
export type ClusterSpecifierPlugin = Readonly<Record<string, never>>;

export const clusterSpecifierPluginSchema: Schema<ClusterSpecifierPlugin> = schema<ClusterSpecifierPlugin>(
  'envoy.config.route.v3.ClusterSpecifierPlugin',
  {
    fields: {},
    ignored: { 1: 'extension', 2: 'is_optional' },
  },
);

/** `envoy.config.route.v3.WeightedCluster`. */
export interface WeightedCluster {
  readonly clusters: readonly ClusterWeight[];
  readonly total_weight: number | undefined;
}

export const weightedClusterSchema: Schema<WeightedCluster> = schema<WeightedCluster>(
  'envoy.config.route.v3.WeightedCluster',
  {
    fields: {
      clusters: repeated(
        1,
        message(() => clusterWeightSchema),
      ),
      total_weight: single(3, wrapped(uint32)),
    },
    ignored: { 2: 'runtime_key_prefix', 4: 'header_name' },
  },
);

/** `envoy.config.route.v3.WeightedCluster.ClusterWeight`. */
export interface ClusterWeight {
  readonly name: string;
  readonly cluster_header: string;
  readonly weight: number | undefined;
  readonly request_headers_to_add: readonly HeaderValueOption[];
  readonly request_headers_to_remove: readonly string[];
  readonly response_headers_to_add: readonly HeaderValueOption[];
  readonly response_headers_to_remove: readonly string[];
  readonly typed_per_filter_config: ReadonlyMap<string, Any | undefined>;
  readonly host_rewrite_literal: string | undefined;
}

export const clusterWeightSchema: Schema<ClusterWeight> = schema<ClusterWeight>(
  'envoy.config.route.v3.WeightedCluster.ClusterWeight',
  {
    fields: {
      name: single(1, string),
      cluster_header: single(12, string),
      weight: single(2, wrapped(uint32)),
      request_headers_to_add: repeated(
        4,
        message(() => headerValueOptionSchema),
      ),
      request_headers_to_remove: repeated(9, string),
      response_headers_to_add: repeated(
        5,
        message(() => headerValueOptionSchema),
      ),
      response_headers_to_remove: repeated(6, string),
      typed_per_filter_config: mapOf(10, any),
      host_rewrite_literal: optional(11, string),
    },
    ignored: { 3: 'metadata_match' },
  },
);

/** `envoy.config.route.v3.RouteAction.RequestMirrorPolicy`. */
export interface RequestMirrorPolicy {
  readonly cluster: string;
  readonly cluster_header: string;
  readonly runtime_fraction: RuntimeFractionalPercent | undefined;
}

export const requestMirrorPolicySchema: Schema<RequestMirrorPolicy> = schema<RequestMirrorPolicy>(
  'envoy.config.route.v3.RouteAction.RequestMirrorPolicy',
  {
    fields: {
      cluster: single(1, string),
      cluster_header: single(5, string),
      runtime_fraction: single(
        3,
        message(() => runtimeFractionalPercentSchema),
      ),
    },
    ignored: { 4: 'trace_sampled', 6: 'disable_shadow_host_suffix_append' },
  },
);

/** `envoy.config.route.v3.RouteAction.MaxStreamDuration`. */
export interface MaxStreamDuration {
  readonly max_stream_duration: number | undefined;
  readonly grpc_timeout_header_max: number | undefined;
}

export const maxStreamDurationSchema: Schema<MaxStreamDuration> = schema<MaxStreamDuration>(
  'envoy.config.route.v3.RouteAction.MaxStreamDuration',
  {
    fields: {
      max_stream_duration: single(1, duration),
      grpc_timeout_header_max: single(2, duration),
    },
    ignored: { 3: 'grpc_timeout_header_offset' },
  },
);

/** `envoy.config.route.v3.HedgePolicy`. */
export interface HedgePolicy {
  readonly hedge_on_per_try_timeout: boolean;
}

export const hedgePolicySchema: Schema<HedgePolicy> = schema<HedgePolicy>('envoy.config.route.v3.HedgePolicy', {
  fields: {
    hedge_on_per_try_timeout: single(3, bool),
  },
  ignored: { 1: 'initial_requests', 2: 'additional_request_chance' },
});
