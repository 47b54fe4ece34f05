import { type Any, pack } from '../../packages/xds/src/proto/any.ts';
import { clusterSchema } from '../../packages/xds/src/proto/envoy/cluster.ts';
import { clusterLoadAssignmentSchema } from '../../packages/xds/src/proto/envoy/endpoint.ts';
import { listenerSchema } from '../../packages/xds/src/proto/envoy/listener.ts';
import { routeConfigurationSchema } from '../../packages/xds/src/proto/envoy/route-config.ts';
import { httpListener } from '../../packages/xds/test/support/envoy.ts';

/** How large a mesh is that is made up. */
export interface PlaneMesh {
  /** An even number. */
  readonly clusters: number;
  /** Of all clusters together. */
  readonly endpoints: number;
  /** Of all endpoints; they are addresses of loopback. */
  readonly port: number;
}

export const firstPort = 8_000;
const ports = 10;

/** Routes of each port lead to every tenth cluster. */
export function hostOf(cluster: number): string {
  return `service-${cluster}.shop.svc.cluster.local`;
}

export function portOf(cluster: number): number {
  return firstPort + (cluster % ports);
}

export function clusterName(cluster: number): string {
  return `outbound|${portOf(cluster)}||${hostOf(cluster)}`;
}

/** Everything of such a mesh, as istiod would send it. */
export function meshOf(mesh: PlaneMesh): Readonly<Record<'listeners' | 'routes' | 'clusters' | 'endpoints', Any[]>> {
  const clusters = Array.from({ length: mesh.clusters }, (_, i) => i);
  const all = Array.from({ length: ports }, (_, i) => i);
  return {
    listeners: all.map((i) => pack(listenerSchema, httpListener(firstPort + i))),
    routes: all.map((i) => routesOf(mesh, i, 0)),
    clusters: clusters.map((i) => cluster(clusterName(i))),
    endpoints: clusters.map((i) => endpointsOf(mesh, i, 0, 0)),
  };
}

function cluster(name: string, lb_policy: 'LEAST_REQUEST' | number = 'LEAST_REQUEST'): Any {
  return pack(clusterSchema, {
    name,
    type: 'EDS',
    eds_cluster_config: { service_name: name, eds_config: { ads: {} } },
    connect_timeout: 1_000,
    lb_policy,
  });
}

/** One that no client can use. */
export function badCluster(index: number): Any {
  return cluster(`bad-${index}`, 77);
}

/** The endpoints of a cluster in a round; the first so many say of which one they are, by their weight. */
export function endpointsOf(mesh: PlaneMesh, index: number, round: number, changed: number): Any {
  const count = mesh.endpoints / mesh.clusters;
  return pack(clusterLoadAssignmentSchema, {
    cluster_name: clusterName(index),
    endpoints: [
      {
        locality: { region: 'r1', zone: 'z1' },
        load_balancing_weight: count,
        lb_endpoints: Array.from({ length: count }, (_, i) => {
          const number = index * count + i;
          const address = `127.${1 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`;
          return {
            endpoint: { address: { socket_address: { address, port_value: mesh.port } } },
            health_status: 'HEALTHY' as const,
            load_balancing_weight: 1 + (i < changed ? round : 0),
            metadata: {
              filter_metadata: new Map([
                ['istio', { workload: `service-${index}-v1;shop;service-${index};v1;Kubernetes` }],
              ]),
            },
          };
        }),
      },
    ],
  });
}

/** The routes of a port in a round, which is the time they give. */
export function routesOf({ clusters }: PlaneMesh, port: number, round: number): Any {
  const own = Array.from({ length: clusters }, (_, i) => i).filter((i) => i % ports === port);
  return pack(routeConfigurationSchema, {
    name: String(firstPort + port),
    virtual_hosts: own.map((i) => ({
      name: `${hostOf(i)}:${portOf(i)}`,
      domains: [hostOf(i), `${hostOf(i)}:${portOf(i)}`],
      routes: [
        {
          name: 'default',
          match: { prefix: '/' },
          route: { cluster: clusterName(i), timeout: 1_000_000 + round },
        },
      ],
    })),
  });
}
