import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { ActiveIdentity } from '../identity/store.ts';
import { meshTlsOptions } from '../identity/tls-options.ts';
import { chooseAlpn } from './alpn.ts';

/** What the TLS server tells the acceptor. */
export interface TlsHooks {
  /** The handshake is complete and the chain verified; the SPIFFE checks are the caller's. */
  onSecure(socket: TLSSocket): void;
  onFailure(error: Error): void;
}

/**
 * A TLS server that does not listen: connections are given to it with `emit('connection', socket)`.
 * Clients must present a certificate that chains to one of the roots. New certificates are taken
 * over with {@link useIdentity}; open connections go on.
 */
export function createTlsServer(identity: ActiveIdentity, handshakeTimeoutMs: number, hooks: TlsHooks): Server {
  const server = createServer({
    ...meshTlsOptions(identity.credentials),
    requestCert: true,
    rejectUnauthorized: true,
    handshakeTimeout: handshakeTimeoutMs,
    ALPNCallback: ({ protocols }) => guarded(() => chooseAlpn(protocols), hooks),
  });
  server.on('secureConnection', (socket) => guarded(() => hooks.onSecure(socket), hooks, socket));
  server.on('tlsClientError', (error, socket) => {
    socket.destroy();
    // Of a chain that does not verify, the error itself only says that the connection is gone.
    const reason: unknown = socket.authorizationError;
    hooks.onFailure(reason ? new Error(`client certificate: ${String(reason)}`, { cause: error }) : error);
  });
  return server;
}

/** From the next handshake on. */
export function useIdentity(server: Server, identity: ActiveIdentity): void {
  server.setSecureContext(meshTlsOptions(identity.credentials));
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
