import type { Server } from 'node:https';
import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import type { Clock } from 'inmesh/identity';
import { invalid } from './options.ts';

/** Connections of a server that its HTTP/1 does not know of. */
export interface OtherConnections {
  /** Lets running calls finish. */
  end(): void;
  destroy(): void;
}

/** @throws MeshError `ERR_MESH_OPTION_INVALID` when it cannot listen there */
export function listenOn(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(invalid('host and port', `cannot listen: ${error.message}`, `${host}:${port}`)),
    );
    server.listen(port, host, resolve);
  });
}

/** Stops a server. Requests in progress get five seconds. */
export function closeServer(server: Server, clock: Clock, others?: OtherConnections): Promise<void> {
  return new Promise((resolve) => {
    const stopWaiting = clock.after(5_000, () => {
      server.closeAllConnections();
      others?.destroy();
    });
    server.close(() => {
      stopWaiting();
      resolve();
    });
    server.closeIdleConnections();
    others?.end();
  });
}

/** A URL of a server on this machine: `https://127.0.0.1:8443`. */
export function urlOf(host: string, port: number): string {
  const shown = isUnspecified(host) ? '127.0.0.1' : host;
  return `https://${isIP(shown) === 6 ? `[${shown}]` : shown}:${port}`;
}

function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || host === '::' || host === '';
}

/** What clients on this machine and beside it would put into a URL. */
export function defaultNames(host: string): readonly string[] {
  const loopback = ['localhost', '127.0.0.1', '::1'];
  if (loopback.includes(host)) return loopback;
  if (!isUnspecified(host)) return [host];
  const addresses = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
  // Link-local addresses carry a zone and mean nothing to others.
  return [
    ...loopback,
    hostname(),
    ...addresses.filter((address) => !address.includes('%') && !address.startsWith('fe80:')),
  ];
}
