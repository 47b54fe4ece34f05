import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import { type Clock, peerOfSocket, type TrustBundles } from 'inmesh/identity';

/** What {@link knowCallers} needs. */
export interface Callers {
  /** The roots that count now. */
  bundles(): TrustBundles;
  readonly clock: Clock;
}

/**
 * Judges callers as soon as their handshake is done, under the roots that it began with: TLS has
 * verified them against those. Whoever would only be looked at with the first request could wait with it
 * until the root that vouched for it is gone.
 *
 * @returns to be called for each new TLS context, with the bundles that it was made of
 */
export function knowCallers(server: Server, { bundles, clock }: Callers): (shown: TrustBundles) => void {
  let current: TrustBundles = new Map();
  /** By the address of the other end: there is no other way from a connection to the TLS on it. */
  const begun = new Map<string, TrustBundles>();
  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket);
    begun.set(name, current);
    socket.once('close', () => begun.delete(name));
  });
  server.prependListener('secureConnection', (socket) => {
    const name = nameOf(socket);
    const verifiedBy = begun.get(name) ?? new Map();
    begun.delete(name);
    try {
      peerOfSocket(socket, bundles(), clock, verifiedBy);
    } catch {
      // Said when it asks for something: a token may prove more than the certificate.
    }
  });
  return (shown) => {
    current = shown;
  };
}

function nameOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}
