import { createServer, type Server, TLSSocket } from 'node:tls';
import type { ActiveIdentity } from '../identity/store.ts';
import { meshTlsOptions } from '../identity/tls-options.ts';
import { seeChain } from '../identity/verify-peer.ts';
import type { TlsParameters } from '../model/tls-parameters.ts';
import { chooseAlpn } from './alpn.ts';

/** What the TLS server tells the acceptor. */
export interface TlsHooks {
  /** The handshake is complete and the chain verified; the SPIFFE checks are the caller's. */
  onSecure(socket: TLSSocket): void;
  onFailure(error: Error): void;
}

/**
 * A TLS server that does not listen: connections are given to it with `emit('connection', socket)`.
 * Clients must present a certificate that chains to one of the roots. For a new certificate, and for
 * other parameters, there is a new server: then it is known under which roots and rules a handshake
 * began. Open connections go on.
 */
export function createTlsServer(
  identity: ActiveIdentity,
  handshakeTimeoutMs: number,
  hooks: TlsHooks,
  parameters?: TlsParameters,
): Server {
  const server = createServer({
    ...meshTlsOptions(identity.credentials, parameters),
    requestCert: true,
    rejectUnauthorized: true,
    handshakeTimeout: handshakeTimeoutMs,
    ALPNCallback(this: unknown, { protocols }: { readonly protocols: readonly string[] }) {
      return guarded(() => {
        seeChainEarly(this);
        return chooseAlpn([...protocols]);
      }, hooks);
    },
    SNICallback(this: unknown, _name: string, done: (error: null, context: undefined) => void) {
      guarded(() => seeChainEarly(this), hooks);
      done(null, undefined);
    },
  });
  server.on('secureConnection', (socket) => guarded(() => hooks.onSecure(socket), hooks, socket));
  server.on('tlsClientError', (error, socket) => {
    socket.destroy();
    // Of a chain that does not verify, the error itself only says that the connection is gone.
    const reason: unknown = socket.authorizationError;
    if (!reason) return hooks.onFailure(error);
    const failure = new Error(`client certificate: ${String(reason)}`, { cause: error });
    hooks.onFailure(Object.assign(failure, { code: String(reason) }));
  });
  return server;
}

const watched = new WeakSet<TLSSocket>();

/**
 * Sees the chain of the client before the server of Node does, which takes it away in some releases.
 * The connection is not handed out before its handshake is done, except as the `this` of callbacks
 * that Node calls during it: for the name or the protocol that the client asks for. For a client
 * that asks for neither, or a Node that calls them otherwise, the chain is seen later.
 */
function seeChainEarly(socket: unknown): void {
  if (!(socket instanceof TLSSocket) || watched.has(socket)) return;
  watched.add(socket);
  socket.prependOnceListener('secure', () => {
    try {
      seeChain(socket);
    } catch {
      // A certificate that cannot be read is refused when the connection is judged.
    }
  });
}

/** An exception in a TLS callback can take the process down (CVE-2026-21637): it ends one handshake instead. */
function guarded<T>(action: () => T, { onFailure }: TlsHooks, socket?: TLSSocket): T | undefined {
  try {
    return action();
  } catch (error) {
    onFailure(error instanceof Error ? error : new Error(String(error)));
    socket?.destroy();
    return undefined;
  }
}
