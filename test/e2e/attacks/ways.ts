import { createServer as createHttp, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createHttp2, createSecureServer as createSecureHttp2 } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import { createRequire } from 'node:module';
import type { AddressInfo, Server } from 'node:net';
import express, { type RequestHandler } from 'express';
import Fastify, { type FastifyInstance } from 'fastify';
import { inmesh as expressMesh } from '../../../packages/express/src/index.ts';
import { inmesh as fastifyMesh, meshServerFactory } from '../../../packages/fastify/src/index.ts';
import type { Credentials } from '../../../src/identity/source.ts';
import { meshTlsOptions } from '../../../src/identity/tls-options.ts';
import {
  type GrpcApplication,
  type InboundLimits,
  type Mesh,
  meshServerOptions,
  requestContext,
} from '../../../src/index.ts';

/** What the application saw of a request, as JSON. */
export interface Seen {
  /** The route that a router chose: `admin`, or any other. */
  readonly handler: 'admin' | 'other';
  readonly peer: string | null;
  readonly claims: Readonly<Record<string, unknown>> | null;
  readonly url: string | undefined;
  /** Bytes of the body. */
  readonly received: number;
  readonly headers: IncomingMessage['headers'];
  readonly raw: readonly string[];
  readonly distinct: IncomingMessage['headersDistinct'];
}

/** A server behind a mesh. */
export interface Serving {
  /** Where mutual TLS is spoken, and where plaintext is: one port with `mesh.listen`. */
  readonly securePort: number;
  readonly plainPort: number;
  close(): Promise<void>;
}

/** A server to attack, of which there is one for all cases. */
export interface ServerKind {
  readonly name: string;
  /** Connections are the mesh's: its limits, both versions of HTTP, modes of mTLS for the connection. */
  readonly listens: boolean;
  /** The route is chosen before the mesh sees the request. */
  readonly routesFirst?: true;
  serve(mesh: Mesh, own: Credentials, limits: Partial<InboundLimits>): Promise<Serving>;
}

/** A column of the matrix: a server, and what is spoken to it. */
export interface Way {
  readonly name: string;
  readonly server: ServerKind;
  readonly speaks: 'HTTP/1.1' | 'h2c' | 'h2';
  /** Requests are sent as calls of gRPC, to a port that serves HTTP as well. */
  readonly grpc?: true;
}

// It has no types of its own; what is used of it is as in Express 5.
const express4 = createRequire(import.meta.url)('express-4') as typeof express;

const local = { host: '127.0.0.1' } as const;

let runs = 0;

/** How often a handler of any application has run so far: what got past the mesh. */
export function handlerRuns(): number {
  return runs;
}

/** Shows what has arrived when all of it has; for `/large` a mebibyte instead. */
export function show(handler: Seen['handler'], request: IncomingMessage, response: ServerResponse): void {
  runs++;
  request.on('error', () => {});
  if (request.url === '/large') {
    response.end(Buffer.alloc(1_048_576, 'x'));
    return;
  }
  let received = 0;
  request.on('data', (chunk: Buffer) => void (received += chunk.length));
  request.on('end', () => {
    const { claims, peer } = requestContext(request);
    const seen: Seen = {
      handler,
      peer: peer?.spiffeId ?? null,
      claims: claims ?? null,
      url: request.url,
      received,
      headers: request.headers,
      raw: request.rawHeaders,
      distinct: request.headersDistinct,
    };
    response.end(JSON.stringify(seen));
  });
}

const plainApp: RequestListener = (request, response) =>
  show(request.url?.split('?')[0] === '/admin' ? 'admin' : 'other', request, response);

/** Express 4 has the same shape as Express 5 here. */
function expressApp(make: typeof express, mesh: Mesh): RequestListener {
  const app = make();
  app.use(expressMesh(mesh) as RequestHandler);
  app.all('/admin', (request, response) => show('admin', request, response));
  app.use((request, response) => show('other', request, response));
  return app as unknown as RequestListener;
}

async function fastifyApp(app: FastifyInstance, mesh: Mesh): Promise<FastifyInstance> {
  await app.register(fastifyMesh, { mesh });
  app.removeAllContentTypeParsers();
  // The body is read by the handler.
  app.addContentTypeParser('*', (_request, _payload, done) => done(null));
  const route =
    (handler: Seen['handler']) =>
    (request: { raw: IncomingMessage }, reply: { hijack(): unknown; raw: ServerResponse }) => {
      reply.hijack();
      show(handler, request.raw, reply.raw);
    };
  app.all('/admin', route('admin') as never);
  app.all('*', route('other') as never);
  return app;
}

function open(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

export async function listening(mesh: Mesh, app: RequestListener): Promise<Serving> {
  const { port, close } = await mesh.listen(app, local);
  return { securePort: port, plainPort: port, close: () => close(0) };
}

/** The application's own two servers: one for TLS, one without. */
export async function ownServers(
  own: Credentials,
  limits: Partial<InboundLimits>,
  app: RequestListener,
): Promise<Serving> {
  const options = meshServerOptions(limits);
  const tls = { ...options, ...meshTlsOptions(own), requestCert: true, rejectUnauthorized: true };
  const secure = createHttps(tls, app);
  const plain = createHttp(options, app);
  secure.on('tlsClientError', () => {});
  const [securePort, plainPort] = await Promise.all([open(secure), open(plain)]);
  const close = async (): Promise<void> => {
    for (const server of [secure, plain]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  };
  return { securePort, plainPort, close };
}

const nodeHttp: ServerKind = { name: 'node:http', listens: true, serve: (mesh) => listening(mesh, plainApp) };

const ownNodeHttp: ServerKind = {
  name: 'own node:http',
  listens: false,
  serve: (mesh, own, limits) =>
    ownServers(own, limits, (request, response) => mesh.handle(request, response, () => plainApp(request, response))),
};

/** By the compatibility API of Node. */
const ownHttp2: ServerKind = {
  name: 'own node:http2',
  listens: false,
  async serve(mesh, own, limits) {
    const app = ((request: IncomingMessage, response: ServerResponse) =>
      mesh.handle(request, response, () => plainApp(request, response))) as never;
    const options = meshServerOptions(limits);
    const tls = { ...options, ...meshTlsOptions(own), requestCert: true, rejectUnauthorized: true };
    const servers = [createSecureHttp2(tls, app), createHttp2(options, app)] as const;
    const sessions = new Set<{ destroy(): void }>();
    for (const server of servers) {
      server.on('session', (session) => void sessions.add(session.on('close', () => sessions.delete(session))));
      server.on('sessionError', () => {});
    }
    servers[0].on('tlsClientError', () => {});
    const [securePort, plainPort] = await Promise.all([open(servers[0] as never), open(servers[1] as never)]);
    const close = async (): Promise<void> => {
      for (const session of sessions) session.destroy();
      for (const server of servers) await new Promise((resolve) => server.close(resolve));
    };
    return { securePort, plainPort, close };
  },
};

const express5: ServerKind = {
  name: 'Express 5',
  listens: true,
  serve: (mesh) => listening(mesh, expressApp(express, mesh)),
};

const ownExpress5: ServerKind = {
  name: 'own Express 5',
  listens: false,
  serve: (mesh, own, limits) => ownServers(own, limits, expressApp(express, mesh)),
};

const expressFour: ServerKind = {
  name: 'Express 4',
  listens: true,
  serve: (mesh) => listening(mesh, expressApp(express4, mesh)),
};

const ownExpressFour: ServerKind = {
  name: 'own Express 4',
  listens: false,
  serve: (mesh, own, limits) => ownServers(own, limits, expressApp(express4, mesh)),
};

const fastify: ServerKind = {
  name: 'Fastify',
  listens: true,
  async serve(mesh) {
    const app = await fastifyApp(Fastify({ serverFactory: meshServerFactory(mesh) }) as never, mesh);
    await app.listen({ port: 0, ...local });
    const { port } = app.server.address() as AddressInfo;
    return { securePort: port, plainPort: port, close: async () => void (await app.close()) };
  },
};

const ownFastify: ServerKind = {
  name: 'own Fastify',
  listens: false,
  routesFirst: true,
  async serve(mesh, own, limits) {
    const http = meshServerOptions(limits);
    const https = { ...http, ...meshTlsOptions(own), requestCert: true, rejectUnauthorized: true };
    const apps = [
      await fastifyApp(Fastify({ https, forceCloseConnections: true }) as never, mesh),
      await fastifyApp(Fastify({ http, forceCloseConnections: true }) as never, mesh),
    ] as const;
    apps[0].server.on('tlsClientError', () => {});
    for (const app of apps) await app.listen({ port: 0, ...local });
    const [securePort, plainPort] = apps.map((app) => (app.server.address() as AddressInfo).port) as [number, number];
    const close = async (): Promise<void> => {
      for (const app of apps) await app.close();
    };
    return { securePort, plainPort, close };
  },
};

export const over = (server: ServerKind, speaks: Way['speaks']): Way => ({
  name: server.listens ? `${server.name}, ${speaks}` : server.name,
  server,
  speaks,
});

/** `mesh.listen`, without a framework. */
export const meshWays: readonly Way[] = [over(nodeHttp, 'HTTP/1.1'), over(nodeHttp, 'h2c'), over(nodeHttp, 'h2')];

/** Shows what has arrived as an answer of gRPC; the message is without its prefix, for the judge to read. */
const showGrpc: GrpcApplication['serveCall'] = (stream, headers) => {
  runs++;
  const { claims, peer } = requestContext();
  let received = 0;
  stream.on('data', (chunk: Buffer) => void (received += chunk.length));
  stream.on('end', () => {
    if (stream.destroyed) return;
    const url = headers[':path'];
    const seen: Seen = {
      handler: url?.split('?')[0] === '/admin' ? 'admin' : 'other',
      peer: peer?.spiffeId ?? null,
      claims: claims ?? null,
      url,
      received,
      headers,
      raw: Object.entries(headers).flat().map(String),
      distinct: {},
    };
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(JSON.stringify(seen));
  });
};

const grpc: ServerKind = {
  name: 'gRPC',
  listens: true,
  async serve(mesh) {
    const { port, close } = await mesh.listen(plainApp, { ...local, grpc: { serveCall: showGrpc } });
    return { securePort: port, plainPort: port, close: () => close(0) };
  },
};

/** Calls of gRPC to `mesh.listen`. */
export const grpcWays: readonly Way[] = [
  { ...over(grpc, 'h2c'), grpc: true },
  { ...over(grpc, 'h2'), grpc: true },
];

/** Servers of HTTP/2 of the application's own. */
export const ownHttp2Ways: readonly Way[] = (['h2c', 'h2'] as const).map((speaks) => ({
  name: `own node:http2, ${speaks}`,
  server: ownHttp2,
  speaks,
}));

/** Frameworks, and servers of the application's own. */
export const frameworkWays: readonly Way[] = [
  over(express5, 'HTTP/1.1'),
  over(express5, 'h2'),
  over(expressFour, 'HTTP/1.1'),
  over(fastify, 'HTTP/1.1'),
  over(fastify, 'h2'),
  over(ownNodeHttp, 'HTTP/1.1'),
  over(ownExpress5, 'HTTP/1.1'),
  over(ownExpressFour, 'HTTP/1.1'),
  over(ownFastify, 'HTTP/1.1'),
];
