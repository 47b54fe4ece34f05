import { type Any, any } from '../any.ts';
import { message, string } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type JsonObject, struct } from '../struct.ts';
import { type TcpKeepalive, tcpKeepaliveSchema } from './address.ts';
import { type TransportSocket, transportSocketSchema } from './base.ts';
import { type ConfigSource, configSourceSchema } from './config-source.ts';

/** `envoy.config.cluster.v3.Cluster.TransportSocketMatch`. */
export interface TransportSocketMatch {
  readonly name: string;
  readonly match: JsonObject | undefined;
  readonly transport_socket: TransportSocket | undefined;
}

export const transportSocketMatchSchema: Schema<TransportSocketMatch> = schema<TransportSocketMatch>(
  'envoy.config.cluster.v3.Cluster.TransportSocketMatch',
  {
    fields: {
      name: single(1, string),
      match: single(2, struct),
      transport_socket: single(
        3,
        message(() => transportSocketSchema),
      ),
    },
  },
);

/** `envoy.config.cluster.v3.Cluster.CustomClusterType`. */
export interface CustomClusterType {
  readonly name: string;
  readonly typed_config: Any | undefined;
}

export const customClusterTypeSchema: Schema<CustomClusterType> = schema<CustomClusterType>(
  'envoy.config.cluster.v3.Cluster.CustomClusterType',
  {
    fields: {
      name: single(1, string),
      typed_config: single(2, any),
    },
  },
);

/** `envoy.config.cluster.v3.Cluster.EdsClusterConfig`. */
export interface EdsClusterConfig {
  readonly eds_config: ConfigSource | undefined;
  readonly service_name: string;
}

export const edsClusterConfigSchema: Schema<EdsClusterConfig> = schema<EdsClusterConfig>(
  'envoy.config.cluster.v3.Cluster.EdsClusterConfig',
  {
    fields: {
      eds_config: single(
        1,
        message(() => configSourceSchema),
      ),
      service_name: single(2, string),
    },
  },
);

/** `envoy.config.cluster.v3.UpstreamConnectionOptions`. */
export interface UpstreamConnectionOptions {
  readonly tcp_keepalive: TcpKeepalive | undefined;
}

export const upstreamConnectionOptionsSchema: Schema<UpstreamConnectionOptions> = schema<UpstreamConnectionOptions>(
  'envoy.config.cluster.v3.UpstreamConnectionOptions',
  {
    fields: {
      tcp_keepalive: single(
        1,
        message(() => tcpKeepaliveSchema),
      ),
    },
    ignored: { 2: 'set_local_interface_name_on_upstream_connections', 3: 'happy_eyeballs_config' },
  },
);

/** `envoy.extensions.clusters.aggregate.v3.ClusterConfig`. */
export interface AggregateClusterConfig {
  readonly clusters: readonly string[];
}

export const aggregateClusterConfigSchema: Schema<AggregateClusterConfig> = schema<AggregateClusterConfig>(
  'envoy.extensions.clusters.aggregate.v3.ClusterConfig',
  {
    fields: {
      clusters: repeated(1, string),
    },
  },
);
