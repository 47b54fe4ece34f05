import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import { type AddressInfo, isIP } from 'node:net';
import type { Mesh } from 'inmesh';
import { type OptionNames, refuseUnknownOptions } from 'inmesh/identity';
import { type AdminOptions, adminHandler, optionNames } from './handler.ts';

/** Options of {@link adminServer}. */
export interface AdminServerOptions extends AdminOptions {
  /** Default 15000, Envoy's; 0: one that the system chooses. */
  readonly port?: number;
  /** Default 127.0.0.1. Anywhere else others can ask as well: give a {@link AdminOptions.token}, or {@link tls}. */
  readonly host?: string;
  /** Serves TLS. With `requestCert: true` and a `ca`: only to clients with a certificate of it. */
  readonly tls?: Pick<ServerOptions, 'cert' | 'key' | 'ca' | 'requestCert' | 'minVersion'>;
}

/** The admin endpoints on a port of their own. */
export interface AdminServer {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  /** Cuts what is open. */
  close(): Promise<void>;
}

const serverOptionNames: OptionNames<AdminServerOptions> = { ...optionNames, port: true, host: true, tls: true };

/**
 * Serves the admin endpoints. It goes on when the mesh is closed, so that one can see it drain; close it last.
 *
 * @throws TypeError for options that are wrong, MeshError `ERR_MESH_OPTION_INVALID` for those that there are not; the
 * error of `listen` when the port is taken.
 */
export async function adminServer(mesh: Mesh, options: AdminServerOptions = {}): Promise<AdminServer> {
  refuseUnknownOptions('adminServer', options, serverOptionNames);
  const { host = '127.0.0.1', port = 15_000, tls, token, ...rest } = options;
  if (
    tls?.requestCert === true &&
    (tls.ca === undefined || tls.ca === '' || (Array.isArray(tls.ca) && tls.ca.length === 0))
  ) {
    // Node.js would take a certificate of any public authority.
    throw new TypeError('tls.requestCert: needs tls.ca, the authority whose clients may ask');
  }
  const handler = adminHandler(mesh, { ...rest, ...(token === undefined ? {} : { token }) });
  if (!isLoopback(host) && token === undefined && tls?.requestCert !== true) {
    process.emitWarning(
      `the admin endpoints on ${host} are for everybody who can reach them: set token, or tls with requestCert`,
      { code: 'INMESH_ADMIN_EXPOSED' },
    );
  }
  const limits = { requestTimeout: 10_000, headersTimeout: 5_000, keepAliveTimeout: 30_000, maxHeaderSize: 16_384 };
  const server: Server =
    tls === undefined
      ? createServer(limits, handler)
      : createTlsServer({ ...limits, minVersion: 'TLSv1.2', ...tls, rejectUnauthorized: true }, handler);
  server.maxConnections = 128;
  server.unref();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { address, port: taken } = server.address() as AddressInfo;
  const shown = isIP(address) === 6 ? `[${address}]` : address;
  return {
    host: address,
    port: taken,
    url: `${tls === undefined ? 'http' : 'https'}://${shown}:${taken}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}
