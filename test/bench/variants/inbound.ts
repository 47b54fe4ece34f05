import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Credentials, IdentitySource } from '../../../src/identity/source.ts';
import type { Application, MeshOptions } from '../../../src/mesh-api.ts';
import { manyRules } from '../authorization-rules.ts';
import { readCredentials, writeCredentials } from '../secure.ts';
import { tokenPolicies } from '../tokens.ts';
import type { InboundVariant, PreparedServer } from '../variant.ts';
import { grpcInboundVariants } from './grpc-inbound.ts';
import { benchTracing } from './tracing.ts';

const answer = { hello: 'world' };
const workload = {
  name: 'bench',
  namespace: 'bench',
  serviceAccount: 'bench',
  labels: { app: 'bench' },
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
};

/** By default with one rule that names method and path, so that authorization has something to decide. */
async function meshed(
  app: Application,
  identity: IdentitySource | false = false,
  policies: readonly object[] = manyRules(1),
  options: MeshOptions = {},
): Promise<PreparedServer> {
  const { createMesh } = await import('../../../src/mesh.ts');
  const { staticSource } = await import('../../../src/config/static-source.ts');
  const mesh = createMesh({
    workload,
    identity,
    config: staticSource(policies, { workload, outboundPolicy: 'ALLOW_ANY' }),
    ...options,
  });
  const { port } = await mesh.listen(app, { port: 0, host: '127.0.0.1' });
  return { port, close: () => mesh.close() };
}

async function bare(listener: RequestListener): Promise<PreparedServer> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

const plain: RequestListener = (_request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(answer));
};

async function expressApp(): Promise<RequestListener> {
  const { default: express } = await import('express');
  const app = express();
  app.get('/hello', (_request, response) => {
    response.json(answer);
  });
  return app;
}

async function fastifyApp() {
  const { default: fastify } = await import('fastify');
  const app = fastify();
  app.get('/hello', async () => answer);
  await app.ready();
  return app;
}

/** Both sides of the rows with TLS; the load reads what it needs from the folder. */
async function overTls(serve: (own: Credentials) => Promise<PreparedServer>): Promise<PreparedServer> {
  const { folder, remove } = writeCredentials();
  const server = await serve(readCredentials(folder, 'server', 'p256'));
  return {
    ...server,
    folder,
    async close() {
      await server.close();
      remove();
    },
  };
}

async function bareTls(own: Credentials): Promise<PreparedServer> {
  const { createServer: createSecureServer } = await import('node:https');
  const { meshTlsOptions } = await import('../../../src/identity/tls-options.ts');
  const options = { ...meshTlsOptions(own), requestCert: true, rejectUnauthorized: true };
  const server = createSecureServer(options, plain).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** A RequestAuthentication, and a policy that demands a token of it. */
async function withTokens(fresh: boolean): Promise<PreparedServer> {
  const { key, policies } = tokenPolicies();
  return { ...(await meshed(plain, false, policies)), tokens: { key, fresh } };
}

/** With a tracer that records so many percent of the requests. */
async function traced(samplingPercent: number): Promise<PreparedServer> {
  const { tracing, close } = await benchTracing(samplingPercent);
  const server = await meshed(plain, false, manyRules(1), { tracing });
  return {
    ...server,
    async close() {
      await server.close();
      close();
    },
  };
}

function authorization(rules: number): string {
  return `inmesh: authorization, rules: ${rules.toLocaleString('en')}`;
}

/** In the order of the table: a base comes before what is compared with it. */
export const inboundVariants: readonly InboundVariant[] = [
  { name: 'node:http server', base: 'node:http server', serve: () => bare(plain) },
  { name: 'inmesh: node:http server', base: 'node:http server', serve: () => meshed(plain) },
  { name: authorization(1), base: authorization(1), serve: () => meshed(plain, false, manyRules(1)) },
  { name: authorization(100), base: authorization(1), serve: () => meshed(plain, false, manyRules(100)) },
  { name: authorization(10_000), base: authorization(1), serve: () => meshed(plain, false, manyRules(10_000)) },
  { name: 'inmesh: server, tracing, not sampled', base: authorization(1), serve: () => traced(0) },
  { name: 'inmesh: server, tracing, every request sampled', base: authorization(1), serve: () => traced(100) },
  { name: 'inmesh: token that is remembered', base: authorization(1), serve: () => withTokens(false) },
  { name: 'inmesh: token that is verified', base: authorization(1), serve: () => withTokens(true) },
  { name: 'Fastify', base: 'Fastify', serve: async () => bare((await fastifyApp()).routing as RequestListener) },
  { name: 'inmesh: Fastify', base: 'Fastify', serve: async () => meshed(await fastifyApp()) },
  { name: 'Express', base: 'Express', serve: async () => bare(await expressApp()) },
  { name: 'inmesh: Express', base: 'Express', serve: async () => meshed(await expressApp()) },
  ...grpcInboundVariants,
  {
    name: "Node's server over TLS, client certificates",
    base: "Node's server over TLS, client certificates",
    serve: () => overTls(bareTls),
  },
  {
    name: "inmesh: Node's server, mutual TLS",
    base: "Node's server over TLS, client certificates",
    serve: () => overTls((own) => meshed(plain, { name: 'bench', run: async (sink) => sink.update(own) })),
  },
];
