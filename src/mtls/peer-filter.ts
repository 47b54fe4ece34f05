import type { TLSSocket } from 'node:tls';
import {
  type ClientCertDetails,
  forwardedClientCertHeader,
  isForwardedClientCert,
} from '../lib/forwarded-client-cert.ts';
import type { ForwardClientCert, ForwardClientCertMode } from '../model/inbound.ts';
import type { Filter } from '../pipeline/filter.ts';
import { removeRequestHeader, setRequestHeader } from '../pipeline/request-headers.ts';
import type { Peer } from '../pipeline/scope.ts';
import { headerHints, type ServerCall } from '../pipeline/server-call.ts';

export interface PeerDependencies {
  /** Who is at the other end of the connection of a call, as its certificate proves; nothing in plaintext. */
  peerOf(call: ServerCall): Peer | undefined;
  /** What is told of the client certificate of a server of the application's own. Default: nothing. */
  readonly clientCertOf?: ((socket: TLSSocket, details: ClientCertDetails) => string) | undefined;
}

/** Does this mode hand on what callers say of those who called them? */
export function handsClientCertOn(mode: ForwardClientCertMode): boolean {
  return mode === 'FORWARD_ONLY' || mode === 'APPEND_FORWARD' || mode === 'ALWAYS_FORWARD_ONLY';
}

/**
 * TLS session → identity or none. No header ever says who the caller is; it is the other way round:
 * applications behind sidecars read the caller from `x-forwarded-client-cert`, which is written here.
 * Where the mode hands nothing on, the caller's own word was removed before.
 */
export function peerFilter(
  { clientCertOf, peerOf }: PeerDependencies,
  { details, mode }: ForwardClientCert,
): Filter<ServerCall, void> {
  const sets = mode === 'SANITIZE_SET' || mode === 'APPEND_FORWARD';
  return (call, next) => {
    const { connection, request } = call;
    const peer = peerOf(call);
    call.peer = peer;
    const given = (call.hints & headerHints.clientCert) !== 0;
    if (peer === undefined) {
      // A stranger's: a client without a certificate, and in Istio's words one without mTLS.
      if (given && mode !== 'ALWAYS_FORWARD_ONLY') removeRequestHeader(request, forwardedClientCertHeader);
    } else if (sets) {
      const own = connection?.clientCert(details) ?? clientCertOf?.(request.socket as TLSSocket, details) ?? '';
      if (mode === 'APPEND_FORWARD' && given) append(call, own);
      else if (own !== '') setRequestHeader(request, forwardedClientCertHeader, own);
    }
    return next(call);
  };
}

/** A quote that nobody closes would swallow what is appended: such a value is no one's word. */
function append({ request }: ServerCall, own: string): void {
  const before = request.headers[forwardedClientCertHeader];
  const text = typeof before === 'string' && isForwardedClientCert(before) ? before : '';
  const parts = [text, own].filter((part) => part !== '');
  removeRequestHeader(request, forwardedClientCertHeader);
  if (parts.length > 0) setRequestHeader(request, forwardedClientCertHeader, parts.join(','));
}
