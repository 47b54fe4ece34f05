import type { ServerCredentials, ServerOptions } from '@grpc/grpc-js';
import { MeshError } from 'inmesh';

/** What grpc-js would do with a connection that is its own, and what does it for those of the mesh. */
const ofConnections: Readonly<Record<string, string>> = {
  'grpc.max_concurrent_streams': 'limits.maxStreams of createMesh',
  'grpc.max_connection_idle_ms': 'limits.keepAliveMs of createMesh',
  'grpc-node.max_session_memory': 'limits.maxSessionMegabytes of createMesh',
  'grpc.max_connection_age_ms': 'nothing: connections end with certificates, and when the mesh closes',
  'grpc.max_connection_age_grace_ms': 'nothing: connections end with certificates, and when the mesh closes',
  'grpc.keepalive_time_ms': 'nothing: limits.keepAliveMs of createMesh closes idle connections',
  'grpc.keepalive_timeout_ms': 'nothing: limits.keepAliveMs of createMesh closes idle connections',
};

/** @throws MeshError `ERR_MESH_OPTION_INVALID` for one that would have no effect */
export function checkServerOptions(options: ServerOptions): void {
  for (const name of Object.keys(options)) {
    const instead = Object.hasOwn(ofConnections, name) ? ofConnections[name] : undefined;
    if (instead === undefined) continue;
    const why = 'is about connections, which are those of the mesh; in its place there is';
    throw new MeshError('ERR_MESH_OPTION_INVALID', `the server option ${name} ${why} ${instead}`);
  }
}

/** @throws MeshError `ERR_MESH_OPTION_INVALID` for those of a TLS that is not the mesh's */
export function checkCredentials(credentials: ServerCredentials | undefined): void {
  const { _isSecure: isSecure } = (credentials ?? {}) as { _isSecure?(): boolean };
  if (credentials === undefined || isSecure?.call(credentials) === false) return;
  const what = 'the mesh speaks TLS with its own certificate, as PeerAuthentication has it';
  throw new MeshError('ERR_MESH_OPTION_INVALID', `${what}: give bindAsync ServerCredentials.createInsecure(), or none`);
}
