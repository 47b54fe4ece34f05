import type { Filter } from '../pipeline/filter.ts';
import { setRequestHeader } from '../pipeline/request-headers.ts';
import type { Peer } from '../pipeline/scope.ts';
import type { ServerCall } from '../pipeline/server-call.ts';

/** Who is at the other end of the connection of a call, as its certificate proves; nothing in plaintext. */
export type PeerOf = (call: ServerCall) => Peer | undefined;

/** TLS session → identity or none. No header ever says who the caller is. */
export function peerFilter(peerOf: PeerOf): Filter<ServerCall, void> {
  return (call, next) => {
    call.peer = peerOf(call);
    const forwarded = call.connection?.forwardedClientCert;
    // Applications behind sidecars read the caller from here; the caller's own word was removed.
    if (forwarded !== undefined && forwarded !== '')
      setRequestHeader(call.request, 'x-forwarded-client-cert', forwarded);
    return next(call);
  };
}
