import { duration, message, string, uint32 } from '../kinds.ts';
import { optional, repeated, type Schema, schema, single } from '../schema.ts';

/** `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`. */
export interface TcpProxy {
  readonly stat_prefix: string;
  readonly cluster: string | undefined;
  readonly weighted_clusters: TcpWeightedCluster | undefined;
  readonly idle_timeout: number | undefined;
}

export const tcpProxySchema: Schema<TcpProxy> = schema<TcpProxy>(
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
  {
    fields: {
      stat_prefix: single(1, string),
      cluster: optional(2, string),
      weighted_clusters: single(
        10,
        message(() => tcpWeightedClusterSchema),
      ),
      idle_timeout: single(8, duration),
    },
    ignored: {
      3: 'downstream_idle_timeout',
      4: 'upstream_idle_timeout',
      5: 'access_log',
      7: 'max_connect_attempts',
      9: 'metadata_match',
      11: 'hash_policy',
      12: 'tunneling_config',
      13: 'max_downstream_connection_duration',
      14: 'on_demand',
      15: 'access_log_flush_interval',
      16: 'flush_access_log_on_connected',
      17: 'access_log_options',
    },
    oneofs: [['cluster', 'weighted_clusters']],
  },
);

/** `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster`. */
export interface TcpWeightedCluster {
  readonly clusters: readonly TcpClusterWeight[];
}

export const tcpWeightedClusterSchema: Schema<TcpWeightedCluster> = schema<TcpWeightedCluster>(
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster',
  {
    fields: {
      clusters: repeated(
        1,
        message(() => tcpClusterWeightSchema),
      ),
    },
  },
);

/** `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight`. */
export interface TcpClusterWeight {
  readonly name: string;
  readonly weight: number;
}

export const tcpClusterWeightSchema: Schema<TcpClusterWeight> = schema<TcpClusterWeight>(
  'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight',
  {
    fields: { name: single(1, string), weight: single(2, uint32) },
    ignored: { 3: 'metadata_match' },
  },
);
