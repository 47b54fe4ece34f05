import { createServer as createHttp, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import express from 'express';
import Fastify from 'fastify';
import { inmesh as expressMesh } from '../../packages/express/src/index.ts';
import { inmesh as fastifyMesh, meshServerFactory } from '../../packages/fastify/src/index.ts';
import { compile } from '../../src/config/compile.ts';
import type { ConfigSink } from '../../src/config/source.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { createMesh, type GrpcApplication, type Mesh, type MeshOptions, requestContext } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import type { TestAuthority } from './certificates.ts';
import { shopWeb } from './inbound.ts';
import { recordingLogger } from './recording-logger.ts';

/** What an application behind the mesh saw of a request, as JSON. */
export interface Seen {
  readonly peer: string | null;
  readonly headers: IncomingMessage['headers'];
  readonly raw: readonly string[];
}

/** An application behind the mesh. */
export interface GuardedServer {
  /** Where TLS is spoken, and where plaintext is: the same port, except with servers of the application's own. */
  readonly port: number;
  readonly plainPort: number;
  /** Takes other policies into force. */
  use(yaml: string): void;
  /** The mesh that guards it. */
  readonly mesh: Mesh;
  close(): Promise<void>;
}

/** A way to put an application behind the mesh. */
export interface Adapter {
  readonly name: string;
  /** HTTP/2 is spoken to it. */
  readonly http2?: true;
  /** What is sent to it are calls of gRPC. */
  readonly grpc?: true;
  /** TLS is a matter of the application's server: its handshake is not ours to judge. */
  readonly ownTls?: true;
  serve(setup: GuardSetup): Promise<Omit<GuardedServer, 'use' | 'mesh'>>;
}

interface GuardSetup {
  readonly mesh: Mesh;
  readonly authority: TestAuthority;
}

const identity = 'spiffe://cluster.local/ns/shop/sa/web';

function show(request: IncomingMessage, response: ServerResponse): void {
  const peer = requestContext(request).peer?.spiffeId ?? null;
  request.resume().on('end', () => {
    response.end(JSON.stringify({ peer, headers: request.headers, raw: request.rawHeaders } satisfies Seen));
  });
}

/** The same for calls of gRPC; what is shown stands for a message. */
const showCall: GrpcApplication = {
  serveCall(stream, headers) {
    const peer = requestContext().peer?.spiffeId ?? null;
    const raw = Object.entries(headers).flatMap(([name, value]) => [name, String(value)]);
    stream.resume().respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.end(JSON.stringify({ peer, headers, raw } satisfies Seen));
  },
};

/** Head of a call of gRPC. */
export const grpcHead = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' } as const;

/** Statuses of HTTP that refusals have which gRPC tells by its own. */
const refusals: Readonly<Record<string, number>> = { 2: 431, 7: 403, 13: 400, 14: 503, 16: 401 };

/** Status of HTTP of an answer; for calls of gRPC that of which its own tells. */
export function statusOf(head: Readonly<Record<string, unknown>>): number {
  const told = head['grpc-status'];
  return told === undefined ? Number(head[':status'] ?? 0) : (refusals[String(told)] ?? 0);
}

const local = { host: '127.0.0.1' } as const;

async function listening(mesh: Mesh, app: RequestListener | Parameters<Mesh['listen']>[0]) {
  const { port, close } = await mesh.listen(app, local);
  return { port, plainPort: port, close: () => close(0) };
}

function open(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** Every way that there is. */
export const adapters: readonly Adapter[] = [
  { name: 'node:http', serve: ({ mesh }) => listening(mesh, show) },
  { name: 'node:http over HTTP/2', http2: true, serve: ({ mesh }) => listening(mesh, show) },
  {
    name: 'gRPC',
    http2: true,
    grpc: true,
    async serve({ mesh }) {
      const { port, close } = await mesh.listen(show, { ...local, grpc: showCall });
      return { port, plainPort: port, close: () => close(0) };
    },
  },
  {
    name: 'Express',
    serve: ({ mesh }) =>
      listening(
        mesh,
        express()
          .use(expressMesh(mesh) as never)
          .use(show as never),
      ),
  },
  {
    name: 'Fastify',
    async serve({ mesh }) {
      const app = Fastify({ serverFactory: meshServerFactory(mesh) });
      await app.register(fastifyMesh, { mesh });
      app.all('*', (request, reply) => {
        reply.hijack();
        show(request.raw, reply.raw);
      });
      await app.listen({ port: 0, ...local });
      const { port } = app.server.address() as AddressInfo;
      return { port, plainPort: port, close: async () => void (await app.close()) };
    },
  },
  {
    name: "Express on the application's own servers",
    ownTls: true,
    async serve({ mesh, authority }) {
      const app = express()
        .use(expressMesh(mesh) as never)
        .use(show as never) as unknown as RequestListener;
      const tls = { ...meshTlsOptions(authority.issue(identity)), requestCert: true, rejectUnauthorized: true };
      const servers = [createHttps(tls, app), createHttp(app)] as const;
      servers[0].on('tlsClientError', () => {});
      const [port, plainPort] = await Promise.all(servers.map(open));
      return {
        port: port as number,
        plainPort: plainPort as number,
        close: async () => {
          for (const server of servers) {
            server.closeAllConnections();
            await new Promise((resolve) => server.close(resolve));
          }
        },
      };
    },
  },
];

/** Puts the application behind a mesh whose policies the test says. */
export async function guard(
  adapter: Adapter,
  authority: TestAuthority,
  options: Partial<MeshOptions> = {},
): Promise<GuardedServer> {
  const workload = shopWeb;
  let sink: ConfigSink | undefined;
  const use = (yaml: string): void => {
    const { documents, problems } = parseYaml(yaml);
    const made = compile(documents, { workload });
    if (problems.length > 0 || !made.ok) throw new Error(`${yaml}: ${JSON.stringify(made)}`);
    sink?.update(made.snapshot, made.report);
  };
  const mesh = createMesh({
    workload,
    config: {
      name: 'test',
      run: async (given) => {
        sink = given;
        use('');
      },
    },
    identity: { name: 'test', run: async (to) => to.update(authority.issue(identity)) },
    logger: recordingLogger(),
    ...options,
  });
  const release = holdProcess();
  await mesh.ready();
  const server = await adapter.serve({ mesh, authority });
  return {
    ...server,
    use,
    mesh,
    close: async () => {
      await server.close();
      await mesh.close();
      release();
    },
  };
}
