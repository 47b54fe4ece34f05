import { type Any, any } from '../any.ts';
import { duration, enumOf, message, string, uint32, wrapped } from '../kinds.ts';
import { mapOf, optional, repeated, type Schema, schema, single } from '../schema.ts';
import { type Metadata, metadataSchema, type TransportSocket, transportSocketSchema } from './base.ts';
import { type CircuitBreakers, circuitBreakersSchema } from './circuit-breakers.ts';
import {
  type CommonLbConfig,
  commonLbConfigSchema,
  type LeastRequestLbConfig,
  type LoadBalancingPolicy,
  leastRequestLbConfigSchema,
  loadBalancingPolicySchema,
  type MaglevLbConfig,
  maglevLbConfigSchema,
  type OriginalDstLbConfig,
  originalDstLbConfigSchema,
  type RingHashLbConfig,
  type RoundRobinLbConfig,
  ringHashLbConfigSchema,
  roundRobinLbConfigSchema,
} from './cluster-lb.ts';
import {
  type CustomClusterType,
  customClusterTypeSchema,
  type EdsClusterConfig,
  edsClusterConfigSchema,
  type TransportSocketMatch,
  transportSocketMatchSchema,
  type UpstreamConnectionOptions,
  upstreamConnectionOptionsSchema,
} from './cluster-parts.ts';
import { type ClusterLoadAssignment, clusterLoadAssignmentSchema } from './endpoint.ts';
import { type HealthCheck, healthCheckSchema } from './health-check.ts';
import {
  type CommonHttpProtocolOptions,
  commonHttpProtocolOptionsSchema,
  type Http2ProtocolOptions,
  http2ProtocolOptionsSchema,
  type UpstreamHttpProtocolOptions,
  upstreamHttpProtocolOptionsSchema,
} from './http-protocol-options.ts';
import { type OutlierDetection, outlierDetectionSchema } from './outlier-detection.ts';

/** `envoy.config.cluster.v3.Cluster.DiscoveryType`. */
export type ClusterDiscoveryType = 'STATIC' | 'STRICT_DNS' | 'LOGICAL_DNS' | 'EDS' | 'ORIGINAL_DST';

const clusterDiscoveryTypeKind = enumOf('STATIC', 'STRICT_DNS', 'LOGICAL_DNS', 'EDS', 'ORIGINAL_DST');

/** `envoy.config.cluster.v3.Cluster.LbPolicy`. */
export type ClusterLbPolicy =
  | 'ROUND_ROBIN'
  | 'LEAST_REQUEST'
  | 'RING_HASH'
  | 'RANDOM'
  | 'MAGLEV'
  | 'CLUSTER_PROVIDED'
  | 'LOAD_BALANCING_POLICY_CONFIG';

const clusterLbPolicyKind = enumOf(
  'ROUND_ROBIN',
  'LEAST_REQUEST',
  'RING_HASH',
  'RANDOM',
  undefined,
  'MAGLEV',
  'CLUSTER_PROVIDED',
  'LOAD_BALANCING_POLICY_CONFIG',
);

/** `envoy.config.cluster.v3.Cluster.ClusterProtocolSelection`. */
export type ClusterClusterProtocolSelection = 'USE_CONFIGURED_PROTOCOL' | 'USE_DOWNSTREAM_PROTOCOL';

const clusterClusterProtocolSelectionKind = enumOf('USE_CONFIGURED_PROTOCOL', 'USE_DOWNSTREAM_PROTOCOL');

/** `envoy.config.cluster.v3.Cluster`. */
export interface Cluster {
  readonly transport_socket_matches: readonly TransportSocketMatch[];
  readonly name: string;
  readonly type: ClusterDiscoveryType | number | undefined;
  readonly cluster_type: CustomClusterType | undefined;
  readonly eds_cluster_config: EdsClusterConfig | undefined;
  readonly connect_timeout: number | undefined;
  readonly lb_policy: ClusterLbPolicy | number;
  readonly load_assignment: ClusterLoadAssignment | undefined;
  readonly health_checks: readonly HealthCheck[];
  readonly max_requests_per_connection: number | undefined;
  readonly circuit_breakers: CircuitBreakers | undefined;
  readonly upstream_http_protocol_options: UpstreamHttpProtocolOptions | undefined;
  readonly common_http_protocol_options: CommonHttpProtocolOptions | undefined;
  readonly http2_protocol_options: Http2ProtocolOptions | undefined;
  readonly typed_extension_protocol_options: ReadonlyMap<string, Any | undefined>;
  readonly outlier_detection: OutlierDetection | undefined;
  readonly ring_hash_lb_config: RingHashLbConfig | undefined;
  readonly maglev_lb_config: MaglevLbConfig | undefined;
  readonly original_dst_lb_config: OriginalDstLbConfig | undefined;
  readonly least_request_lb_config: LeastRequestLbConfig | undefined;
  readonly round_robin_lb_config: RoundRobinLbConfig | undefined;
  readonly common_lb_config: CommonLbConfig | undefined;
  readonly transport_socket: TransportSocket | undefined;
  readonly metadata: Metadata | undefined;
  readonly protocol_selection: ClusterClusterProtocolSelection | number;
  readonly upstream_connection_options: UpstreamConnectionOptions | undefined;
  readonly load_balancing_policy: LoadBalancingPolicy | undefined;
}

export const clusterSchema: Schema<Cluster> = schema<Cluster>('envoy.config.cluster.v3.Cluster', {
  fields: {
    transport_socket_matches: repeated(
      43,
      message(() => transportSocketMatchSchema),
    ),
    name: single(1, string),
    type: optional(2, clusterDiscoveryTypeKind),
    cluster_type: single(
      38,
      message(() => customClusterTypeSchema),
    ),
    eds_cluster_config: single(
      3,
      message(() => edsClusterConfigSchema),
    ),
    connect_timeout: single(4, duration),
    lb_policy: single(6, clusterLbPolicyKind),
    load_assignment: single(
      33,
      message(() => clusterLoadAssignmentSchema),
    ),
    health_checks: repeated(
      8,
      message(() => healthCheckSchema),
    ),
    max_requests_per_connection: single(9, wrapped(uint32)),
    circuit_breakers: single(
      10,
      message(() => circuitBreakersSchema),
    ),
    upstream_http_protocol_options: single(
      46,
      message(() => upstreamHttpProtocolOptionsSchema),
    ),
    common_http_protocol_options: single(
      29,
      message(() => commonHttpProtocolOptionsSchema),
    ),
    http2_protocol_options: single(
      14,
      message(() => http2ProtocolOptionsSchema),
    ),
    typed_extension_protocol_options: mapOf(36, any),
    outlier_detection: single(
      19,
      message(() => outlierDetectionSchema),
    ),
    ring_hash_lb_config: single(
      23,
      message(() => ringHashLbConfigSchema),
    ),
    maglev_lb_config: single(
      52,
      message(() => maglevLbConfigSchema),
    ),
    original_dst_lb_config: single(
      34,
      message(() => originalDstLbConfigSchema),
    ),
    least_request_lb_config: single(
      37,
      message(() => leastRequestLbConfigSchema),
    ),
    round_robin_lb_config: single(
      56,
      message(() => roundRobinLbConfigSchema),
    ),
    common_lb_config: single(
      27,
      message(() => commonLbConfigSchema),
    ),
    transport_socket: single(
      24,
      message(() => transportSocketSchema),
    ),
    metadata: single(
      25,
      message(() => metadataSchema),
    ),
    protocol_selection: single(26, clusterClusterProtocolSelectionKind),
    upstream_connection_options: single(
      30,
      message(() => upstreamConnectionOptionsSchema),
    ),
    load_balancing_policy: single(
      41,
      message(() => loadBalancingPolicySchema),
    ),
  },
  ignored: {
    54: 'wait_for_warm_on_init',
    13: 'http_protocol_options',
    5: 'per_connection_buffer_limit_bytes',
    16: 'dns_refresh_rate',
    17: 'dns_lookup_family',
    18: 'dns_resolvers',
    20: 'cleanup_interval',
    21: 'upstream_bind_config',
    22: 'lb_subset_config',
    28: 'alt_stat_name',
    31: 'close_connections_on_host_health_failure',
    32: 'ignore_health_on_host_removal',
    39: 'respect_dns_ttl',
    40: 'filters',
    42: 'lrs_server',
    44: 'dns_failure_refresh_rate',
    45: 'use_tcp_for_dns_lookups',
    47: 'track_timeout_budgets',
    48: 'upstream_config',
    49: 'track_cluster_stats',
    50: 'preconnect_policy',
    51: 'connection_pool_per_downstream_connection',
    53: 'dns_resolution_config',
    55: 'typed_dns_resolver_config',
    57: 'lrs_report_endpoint_metrics',
  },
  oneofs: [
    ['type', 'cluster_type'],
    [
      'ring_hash_lb_config',
      'maglev_lb_config',
      'original_dst_lb_config',
      'least_request_lb_config',
      'round_robin_lb_config',
    ],
  ],
});
