import type { Workload } from 'inmesh/model';
import type { CompileContext } from '../../src/compile/compile.ts';
import { type Any, pack } from '../../src/proto/any.ts';
import type { TransportSocket } from '../../src/proto/envoy/base.ts';
import { type Cluster, clusterSchema } from '../../src/proto/envoy/cluster.ts';
import { type ClusterLoadAssignment, clusterLoadAssignmentSchema } from '../../src/proto/envoy/endpoint.ts';
import {
  type HttpConnectionManager,
  httpConnectionManagerSchema,
} from '../../src/proto/envoy/http-connection-manager.ts';
import { type Listener, listenerSchema } from '../../src/proto/envoy/listener.ts';
import type { RetryPolicy } from '../../src/proto/envoy/retry-policy.ts';
import { type RouteConfiguration, routeConfigurationSchema } from '../../src/proto/envoy/route-config.ts';
import { upstreamTlsContextSchema } from '../../src/proto/envoy/tls-context.ts';
import type { Input } from '../../src/proto/schema.ts';
import { ResourceError, type ResourceSet } from '../../src/resources.ts';

export const workload: Workload = {
  name: 'productpage-v1',
  namespace: 'bookinfo',
  serviceAccount: 'productpage',
  labels: { app: 'productpage' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

export const istioContext: CompileContext = {
  workload,
  profile: 'istio',
  services: [],
  serverListeners: [],
  addresses: ['10.0.0.1'],
};

/** Resources by their names. */
export function resourceSet(parts: {
  readonly listeners?: readonly Input<Listener>[];
  readonly routes?: readonly Input<RouteConfiguration>[];
  readonly clusters?: readonly Input<Cluster>[];
  readonly endpoints?: readonly Input<ClusterLoadAssignment>[];
}): ResourceSet {
  const byName = <T>(all: readonly T[] = [], name: (each: T) => string | undefined, packed: (each: T) => Any) =>
    new Map(all.map((each) => [name(each) ?? '', packed(each)]));
  return {
    listeners: byName(
      parts.listeners,
      ({ name }) => name,
      (each) => pack(listenerSchema, each),
    ),
    routes: byName(
      parts.routes,
      ({ name }) => name,
      (each) => pack(routeConfigurationSchema, each),
    ),
    clusters: byName(
      parts.clusters,
      ({ name }) => name,
      (each) => pack(clusterSchema, each),
    ),
    endpoints: byName(
      parts.endpoints,
      ({ cluster_name: name }) => name,
      (each) => pack(clusterLoadAssignmentSchema, each),
    ),
  };
}

/** A listener of istiod for an HTTP port; its routes have the name of the port. */
export function httpListener(port: number, manager: Input<HttpConnectionManager> = {}): Input<Listener> {
  return {
    name: `0.0.0.0_${port}`,
    address: { socket_address: { address: '0.0.0.0', port_value: port } },
    traffic_direction: 'OUTBOUND',
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: pack(httpConnectionManagerSchema, {
              stat_prefix: `outbound_0.0.0.0_${port}`,
              rds: { route_config_name: String(port), config_source: { ads: {} } },
              ...manager,
            }),
          },
        ],
      },
    ],
  };
}

const unlimited = 4_294_967_295;

/** A cluster of istiod for a service of the mesh with automatic mTLS. */
export function istioCluster(name: string, more: Input<Cluster> = {}): Input<Cluster> {
  const [, port = '', subset = '', host = ''] = name.split('|');
  return {
    name,
    type: 'EDS',
    eds_cluster_config: {
      service_name: name,
      eds_config: { ads: {}, initial_fetch_timeout: 0, resource_api_version: 'V3' },
    },
    connect_timeout: 10_000,
    lb_policy: 'LEAST_REQUEST',
    circuit_breakers: {
      thresholds: [
        {
          max_connections: unlimited,
          max_pending_requests: unlimited,
          max_requests: unlimited,
          max_retries: unlimited,
        },
      ],
    },
    common_lb_config: {},
    transport_socket_matches: [
      {
        name: 'tlsMode-istio',
        match: { tlsMode: 'istio' },
        transport_socket: meshSocket(`outbound_.${port}_.${subset}_.${host}`),
      },
      { name: 'tlsMode-disabled', match: {}, transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } },
    ],
    metadata: {
      filter_metadata: new Map([['istio', { services: [{ host, name: host.split('.')[0] ?? '' }], subset }]]),
    },
    ...more,
  };
}

/** TLS of the mesh. */
export function meshSocket(sni: string, sans: readonly string[] = []): Input<TransportSocket> {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: pack(upstreamTlsContextSchema, {
      sni,
      common_tls_context: {
        tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
        alpn_protocols: ['istio-peer-exchange', 'istio'],
        tls_certificate_sds_secret_configs: [{ name: 'default' }],
        combined_validation_context: {
          default_validation_context: { match_subject_alt_names: sans.map((exact) => ({ exact })) },
          validation_context_sds_secret_config: { name: 'ROOTCA' },
        },
      },
    }),
  };
}

/** Endpoints of istiod: in one locality, accepting mTLS. */
export function istioEndpoints(
  cluster_name: string,
  addresses: readonly (readonly [address: string, port: number])[],
): Input<ClusterLoadAssignment> {
  return {
    cluster_name,
    endpoints: [
      {
        locality: { region: 'r1', zone: 'z1' },
        load_balancing_weight: addresses.length,
        lb_endpoints: addresses.map(([address, port_value]) => ({
          endpoint: { address: { socket_address: { address, port_value } } },
          health_status: 'HEALTHY' as const,
          load_balancing_weight: 1,
          metadata: {
            filter_metadata: new Map([
              ['envoy.transport_socket_match', { tlsMode: 'istio' }],
              ['istio', { workload: 'reviews-v1;bookinfo;reviews;v1;Kubernetes' }],
            ]),
          },
        })),
      },
    ],
  };
}

/** What istiod gives a route without a word on it. */
export const istioRetry: Input<RetryPolicy> = {
  retry_on: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes',
  num_retries: 2,
  retry_host_predicate: [{ name: 'envoy.retry_host_predicates.previous_hosts' }],
};

/** The field of the error that this ends in; what went wrong instead, where it does not. */
export function refusedField(act: () => unknown): string {
  try {
    act();
    return 'nothing is refused';
  } catch (error) {
    return error instanceof ResourceError ? error.field : `not a ResourceError: ${String(error)}`;
  }
}
