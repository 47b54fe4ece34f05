import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type ConnectionOptions, connect, createServer, type Server, type TLSSocket } from 'node:tls';
import type { Credentials } from '../../src/identity/source.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';

/** A TLS server of the mesh on loopback that greets whom `admit` does not throw for. */
export interface GreetingServer {
  readonly server: Server;
  readonly port: number;
  /** What `admit` threw, in order. */
  readonly refusals: readonly Error[];
  close(): Promise<void>;
}

/** Starts a server that asks for client certificates and says `hello` to those that `admit` lets in. */
export async function greetingServer(
  credentials: Credentials,
  admit: (socket: TLSSocket) => void,
  options: object = {},
): Promise<GreetingServer> {
  const refusals: Error[] = [];
  const server = createServer({
    ...meshTlsOptions(credentials),
    requestCert: true,
    rejectUnauthorized: true,
    ...options,
  });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {});
    try {
      admit(socket);
      socket.end('hello');
    } catch (error) {
      refusals.push(error as Error);
      socket.destroy();
    }
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    server,
    port: (server.address() as AddressInfo).port,
    refusals,
    close: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

/** What a client got: the greeting, or why not. */
export interface Greeting {
  readonly text: string;
  readonly error?: Error;
  readonly session?: Buffer;
  readonly reused: boolean;
}

/** Connects once and reads all that the server says. */
export async function greet(port: number, options: ConnectionOptions): Promise<Greeting> {
  const socket = connect({ host: '127.0.0.1', port, checkServerIdentity: () => undefined, ...options });
  let text = '';
  let error: Error | undefined;
  let session: Buffer | undefined;
  socket.on('data', (chunk) => {
    text += chunk.toString();
  });
  socket.on('session', (ticket) => {
    session = ticket;
  });
  socket.on('error', (problem) => {
    error = problem;
  });
  let reused = false;
  socket.on('secureConnect', () => {
    reused = socket.isSessionReused();
  });
  await once(socket, 'close').catch(() => {});
  return { text, reused, ...(error === undefined ? {} : { error }), ...(session === undefined ? {} : { session }) };
}
