import { MeshError } from './errors.ts';
import type { HostTable } from './route/host-table.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { Clusters } from './runtime/clusters.ts';

/** @throws MeshError `ERR_MESH_NOT_READY` before the first configuration. */
export function tableOf(hosts: HostTable | undefined): HostTable {
  if (hosts !== undefined) return hosts;
  throw new MeshError('ERR_MESH_NOT_READY', 'the mesh has no configuration yet; await mesh.ready()');
}

/** A host that the mesh does not know, and that may not be called for that. */
export function refusedHost(host: string): MeshError {
  const message = `${host} is not in the mesh, and hosts outside of it are refused (REGISTRY_ONLY)`;
  return new MeshError('ERR_MESH_HOST_UNKNOWN', message, { cluster: 'BlackHoleCluster' });
}

/**
 * The live cluster that a route leads to. `tlsHost`: the application itself speaks TLS to this name.
 *
 * @throws MeshError `ERR_MESH_NO_CLUSTER`
 */
export function clusterOf(
  clusters: Clusters,
  route: string,
  cluster: string,
  tlsHost: string | undefined,
): ClusterState {
  const state = tlsHost === undefined ? clusters.get(cluster) : clusters.getForTls(cluster, tlsHost);
  if (state !== undefined) return state;
  const message = `route ${route} leads to ${cluster}, which does not exist`;
  throw new MeshError('ERR_MESH_NO_CLUSTER', message, { route, cluster });
}
