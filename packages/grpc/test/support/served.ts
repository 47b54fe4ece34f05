import { type Client, credentials, type ServerOptions, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { createMesh, type Mesh, type MeshOptions } from 'inmesh';
import { type Clock, systemClock } from 'inmesh/identity';
import type { Test } from 'tap';
import { staticSource } from '../../../../src/config/static-source.ts';
import type { TestAuthority } from '../../../../test/support/certificates.ts';
import { shopWeb } from '../../../../test/support/inbound.ts';
import { recordingLogger } from '../../../../test/support/recording-logger.ts';
import { MeshServer } from '../../src/index.ts';
import { EchoClient, type EchoHandlers, echoDefinition, echoHandlers } from './echo-service.ts';

/** What a client of the echo service can do. */
export type Echo = Client & {
  unary(text: string, ...more: unknown[]): { cancel(): void };
  collect(...more: unknown[]): import('@grpc/grpc-js').ClientWritableStream<string>;
  repeat(text: string, ...more: unknown[]): import('@grpc/grpc-js').ClientReadableStream<string>;
  chat(...more: unknown[]): import('@grpc/grpc-js').ClientDuplexStream<string, string>;
};

/** A server of gRPC behind a mesh. */
export interface Served {
  readonly mesh: Mesh;
  readonly server: MeshServer;
  readonly port: number;
  readonly log: ReturnType<typeof recordingLogger>;
  /** A client; with an identity it speaks mutual TLS. */
  client(spiffeId?: string): Echo;
}

export interface ServedOptions {
  readonly yaml?: string;
  readonly authority?: TestAuthority;
  readonly handlers?: Partial<EchoHandlers>;
  readonly server?: ServerOptions;
  readonly mesh?: Partial<MeshOptions>;
  readonly clock?: Clock;
}

/** The service behind a mesh, on a port of its own; everything ends with the test. */
export async function serveEcho(t: Test, options: ServedOptions = {}): Promise<Served> {
  const { authority, clock = systemClock } = options;
  const log = recordingLogger();
  const own = 'spiffe://cluster.local/ns/shop/sa/web';
  const mesh = createMesh({
    workload: shopWeb,
    config: staticSource(options.yaml ?? '', { workload: shopWeb }) as never,
    identity:
      authority === undefined ? false : { name: 'test', run: async (sink) => sink.update(authority.issue(own)) },
    logger: log,
    clock,
    ...options.mesh,
  });
  const server = new MeshServer(mesh, options.server);
  const handlers: EchoHandlers = { ...echoHandlers, ...options.handlers };
  server.addService(echoDefinition, { ...handlers } as UntypedServiceImplementation);
  const clients: Client[] = [];
  t.teardown(async () => {
    for (const client of clients) client.close();
    server.forceShutdown();
    await mesh.close();
  });
  const port = await bound(server);
  // Node 26 takes no address as the name that a client of TLS asks for.
  const named = { 'grpc.ssl_target_name_override': 'shop', 'grpc.default_authority': `127.0.0.1:${port}` };
  return {
    mesh,
    server,
    port,
    log,
    client(spiffeId) {
      const client = new EchoClient(`127.0.0.1:${port}`, channel(authority, spiffeId), named) as unknown as Echo;
      clients.push(client);
      return client;
    },
  };
}

function channel(
  authority: TestAuthority | undefined,
  spiffeId: string | undefined,
): ReturnType<typeof credentials.createSsl> {
  if (authority === undefined || spiffeId === undefined) return credentials.createInsecure();
  const { certificateChainPem, privateKeyPem } = authority.issue(spiffeId);
  const [ca, key, chain] = [authority.rootPem, privateKeyPem, certificateChainPem].map((pem) => Buffer.from(pem));
  // Whether the name is right is for tests of clients.
  return credentials.createSsl(ca, key, chain, { checkServerIdentity: () => undefined });
}

/** Resolves with the port that the server was given. */
export function bound(server: MeshServer, address = '127.0.0.1:0'): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, undefined, (error, port) => (error === null ? resolve(port) : reject(error)));
  });
}

/** How a call ended. */
export interface Ended {
  readonly code: number;
  readonly details: string;
  readonly messages: readonly string[];
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** One unary call, to its end. */
export function unary(client: Echo, text: string, ...more: unknown[]): Promise<Ended> {
  return new Promise((resolve) => {
    client.unary(text, ...more, (error: Failure | null, message: string) => {
      const { code = 0, details = '', metadata } = error ?? {};
      resolve({ code, details, messages: error === null ? [message] : [], metadata: metadata?.getMap() ?? {} });
    });
  });
}
interface Failure {
  readonly code: number;
  readonly details: string;
  readonly metadata: { getMap(): Record<string, unknown> };
}

/** What a stream says, and how it ends. */
export function drained(stream: NodeJS.ReadableStream): Promise<Ended> {
  return new Promise((resolve) => {
    const messages: string[] = [];
    stream.on('data', (message: string) => void messages.push(message));
    stream.on('error', () => {});
    (stream as import('@grpc/grpc-js').ClientReadableStream<string>).on('status', ({ code, details, metadata }) =>
      resolve({ code, details, messages, metadata: metadata.getMap() }),
    );
  });
}
