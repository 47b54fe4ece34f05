import { MeshError } from '../errors.ts';
import type { MtlsPolicy } from '../model/inbound.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import { mtlsModeOf } from './mode.ts';

/**
 * PeerAuthentication for one request. The acceptor decides for connections; this filter holds for
 * servers of the application's own, and for plaintext connections that were open when the mode
 * became STRICT.
 */
export function mtlsFilter(policy: MtlsPolicy): Filter<ServerCall, void> {
  return (call, next) => {
    if (call.peer === undefined && mtlsModeOf(policy, call.localPort) === 'STRICT') {
      throw new MeshError(
        'ERR_MESH_MTLS_REQUIRED',
        `port ${call.localPort} accepts mTLS only (PeerAuthentication STRICT)`,
      );
    }
    return next(call);
  };
}
