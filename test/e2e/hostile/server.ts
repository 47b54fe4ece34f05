// The process that hostile bytes are thrown at: whatever ends it is seen by who started it. Everything that a front
// door can have is on; the applications do with requests what applications do.
import { createServer as createHttp, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createHttp2 } from 'node:http2';
import { createRequire } from 'node:module';
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import express from 'express';
import Fastify from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import { inmesh as expressMesh } from '../../../packages/express/src/index.ts';
import { inmesh as fastifyMesh, meshServerFactory } from '../../../packages/fastify/src/index.ts';
import { MeshServer } from '../../../packages/grpc/src/index.ts';
import { echoDefinition, echoHandlers } from '../../../packages/grpc/test/support/echo-service.ts';
import { staticSource } from '../../../src/config/static-source.ts';
import { createMesh, meshServerOptions, requestContext } from '../../../src/index.ts';
import { holdProcess } from '../../../src/lib/clock.ts';
import { makeAuthority } from '../../support/certificates.ts';
import { shopWeb } from '../../support/inbound.ts';
import { permissive } from '../../support/mesh-pair.ts';
import { recordingTracer } from '../../support/recording-tracer.ts';
import { jwksOf, makeToken, makeTokenKey } from '../../support/tokens.ts';

/** What who throws bytes is told. */
export type Said =
  | {
      readonly kind: 'ready';
      readonly ports: Readonly<Record<string, number>>;
      readonly token: string;
      readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
    }
  | { readonly kind: 'escaped'; readonly what: string; readonly error: string }
  | { readonly kind: 'health'; readonly heap: number; readonly handled: number };

const say = (said: Said): void => void process.send?.(said);
// In place of the end of the process, so that one run finds more than one hole.
for (const what of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(what, (error: unknown) => {
    say({ kind: 'escaped', what, error: error instanceof Error ? `${error.stack}` : String(error) });
  });
}

const key = makeTokenKey('ES256', { kid: 'k1', alg: 'ES256' });
const claims = { iss: 'https://issuer.example', sub: 'ann', exp: 32_503_680_000, groups: ['a', 'b'], n: { m: 'x' } };
const token = makeToken({ key, alg: 'ES256', header: { alg: 'ES256', kid: 'k1' }, claims });
const policy = (name: string, spec: string, more = ''): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ${name}, namespace: shop${more}}
spec: ${spec}
---`;
/** What an authorizer answers that is not well, or not always. */
const moods = [
  '200 OK\r\nx-answer: a\r\ncontent-length: 0',
  '200 OK\r\ncontent-length: 0',
  '200 OK\r\nte: gzip\r\nx-user: \u00ff\r\ncontent-length: 0',
  '403 No\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 0',
  '204 No Content',
  '302 Found\r\nlocation: http://x/\r\ncontent-length: 0',
  '500 Oh\r\ncontent-length: 0',
  '999 Oh\r\ncontent-length: 0',
  '200 OK\r\ncontent-length: 5\r\ncontent-length: 6',
  '',
];
let mood = 0;
const moody = createTcp((socket) => {
  socket.on('error', () => {});
  socket.on('data', () => {
    const answer = moods[mood++ % moods.length];
    if (answer !== '') socket.write(Buffer.from(`HTTP/1.1 ${answer}\r\n\r\n`, 'latin1'));
    else if (mood % 20 === 0) socket.resetAndDestroy();
  });
});
await new Promise<void>((resolve) => moody.listen(0, '127.0.0.1', resolve));
const moodyPort = (moody.address() as AddressInfo).port;
const yaml = `
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    defaultConfig:
      gatewayTopology: {numTrustedProxies: 1}
      proxyHeaders: {forwardedClientCert: APPEND_FORWARD}
    extensionProviders:
    - name: moody
      envoyExtAuthzHttp:
        service: moody.example
        port: 80
        timeout: 0.1s
        includeRequestBodyInCheck: {maxRequestBytes: 1000, allowPartialMessage: true}
        headersToUpstreamOnAllow: [x-user]
        headersToDownstreamOnAllow: [x-answer, te]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: moody, namespace: shop}
spec:
  hosts: [moody.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: ${moodyPort}}]
  endpoints: [{address: 127.0.0.1}]
---${policy('asked', '{action: CUSTOM, provider: {name: moody}, rules: [{to: [{operation: {paths: ["/asked*", "/test.Echo/Collect"]}}]}]}')}${permissive}---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec:
  jwtRules:
  - issuer: https://issuer.example
    jwks: '${jwksOf(key)}'
    fromHeaders: [{name: authorization, prefix: "Bearer "}, {name: x-token}]
    fromParams: [access_token]
    fromCookies: [session]
    outputPayloadToHeader: x-payload
    outputClaimToHeaders: [{header: x-sub, claim: sub}, {header: x-m, claim: n.m}]
---${policy('no-admin', '{action: DENY, rules: [{to: [{operation: {paths: ["/admin", "/admin/*", "/users/{*}/keys"]}}]}]}')}${policy(
  'no-guests',
  `{action: DENY, rules: [
  {when: [{key: "request.headers[x-role]", values: [guest]}]},
  {when: [{key: "request.auth.claims[groups]", values: [banned]}]},
  {from: [{source: {remoteIpBlocks: [10.9.0.0/16], notRequestPrincipals: ["x/*"]}}]},
  {to: [{operation: {hosts: [secret.example, "*.secret.example"], notMethods: [OPTIONS]}}]}]}`,
)}${policy('tried', '{action: DENY, rules: [{to: [{operation: {methods: [POST]}}]}]}', ', annotations: {istio.io/dry-run: "true"}')}${policy('seen', '{action: AUDIT, rules: [{}]}')}${policy('anybody', '{action: ALLOW, rules: [{}]}')}
apiVersion: inmesh.dev/v1
kind: RateLimit
metadata: {name: some, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  local:
  - {name: each, by: [{header: x-user}, {remoteAddress: true}], tokenBucket: {maxTokens: 1000000, fillInterval: 1s}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - corsPolicy: {allowOrigins: [{exact: "https://a.example"}, {regex: "https://.*\\\\.b\\\\.example"}], allowMethods: [GET], allowHeaders: [x-a], maxAge: 60s}
    route: [{destination: {host: web}}]
`;

const authority = makeAuthority();
const { certificateChainPem: cert, privateKeyPem } = authority.issue('spiffe://cluster.local/ns/shop/sa/ann');
const own = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
let lines = 0;
const limits = {
  bodyIdleMs: 150,
  headersTimeoutMs: 300,
  handshakeTimeoutMs: 300,
  responseIdleMs: 300,
  keepAliveMs: 500,
};
// Nothing of a mesh keeps a process alive.
holdProcess();
const mesh = createMesh({
  workload: shopWeb,
  config: staticSource(yaml, { workload: shopWeb }),
  identity: { name: 'test', run: async (sink) => sink.update(own) },
  logger: {
    debug() {},
    info() {},
    warn() {},
    error: (...given: unknown[]) => process.env['HOSTILE_LOG'] && console.error(given),
  },
  accessLog: { to: () => void lines++, encoding: 'json' },
  tracing: recordingTracer(),
  loadReports: 'always',
  propagateHeaders: ['x-user'],
  limits,
});
await mesh.ready();

let handled = 0;

/** What many applications of node:http look like. */
async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  handled++;
  try {
    const { pathname } = new URL(request.url ?? '/', 'http://web');
    if (pathname === '/hints') response.writeEarlyHints({ link: '</a>; rel=preload' });
    if (pathname === '/early') response.writeHead(200, { 'content-type': 'text/plain' }).end('early');
    let size = 0;
    for await (const chunk of request) size += (chunk as Buffer).length;
    if (pathname === '/early') return;
    if (pathname === '/trailers') {
      // As a proxy hands them on.
      if (request.httpVersion !== '1.0') response.setHeader('trailer', 'x-t');
      response.write('body');
      response.addTrailers(request.trailers as Record<string, string>);
      response.end();
      return;
    }
    const who = requestContext(request).peer?.spiffeId ?? '';
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ size, who, headers: request.headersDistinct, trailers: request.trailers }));
  } catch (error) {
    if (!response.headersSent) response.removeHeader('trailer');
    if (!response.headersSent) response.writeHead(400, { 'content-type': 'text/plain' });
    response.end(String(error));
  }
}
const app: RequestListener = (request, response) => void serve(request, response);

const local = { host: '127.0.0.1' } as const;
const ports: Record<string, number> = {};
const open = async (name: string, server: Server): Promise<void> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ports[name] = (server.address() as AddressInfo).port;
};

const grpc = new MeshServer(mesh);
grpc.addService(echoDefinition, { ...echoHandlers } as never);
ports['mesh'] = (await mesh.listen(app, { ...local, grpc })).port;

const express4 = createRequire(import.meta.url)('express-4') as typeof express;
for (const [name, make] of [
  ['express 4', express4],
  ['express 5', express],
] as const) {
  const routes = make();
  routes.use(expressMesh(mesh) as never);
  routes.use(make.json(), make.urlencoded({ extended: true }), make.text());
  routes.all('/admin', (_request, response) => void response.send('admin'));
  routes.use((request, response) => {
    handled++;
    response.json({ body: request.body as unknown, query: request.query, ip: request.ip });
  });
  // As all do that do not want their users to see stacks.
  routes.use((error: { status?: number }, _request: unknown, response: express.Response, _next: unknown) => {
    response.status(error.status ?? 500).json({ error: 'no' });
  });
  ports[name] = (await mesh.listen(routes as unknown as RequestListener, local)).port;
}

const fastify = Fastify({ serverFactory: meshServerFactory(mesh), forceCloseConnections: true });
await fastify.register(fastifyMesh, { mesh });
fastify.all('/admin', async () => 'admin');
fastify.all('/*', async (request) => {
  handled++;
  return { body: request.body, query: request.query };
});
await fastify.listen({ port: 0, ...local });
ports['fastify'] = (fastify.server.address() as AddressInfo).port;

const koa = new Koa();
koa.silent = true;
koa.use(async (context) => {
  handled++;
  let size = 0;
  for await (const chunk of context.req) size += (chunk as Buffer).length;
  context.body = { size, query: context.query };
});
ports['koa'] = (await mesh.listen(koa.callback(), local)).port;

const hono = new Hono();
hono.onError((_error, context) => context.text('no', 400));
hono.all('*', async (context) => {
  handled++;
  const text = await context.req.text();
  return context.json({ size: text.length, query: context.req.query() });
});
ports['hono'] = (await mesh.listen(getRequestListener(hono.fetch), local)).port;

const ownOptions = { ...meshServerOptions(limits), connectionsCheckingInterval: 100 };
await open(
  'own',
  createHttp(ownOptions, (request, response) => mesh.handle(request, response, () => app(request, response))),
);
const ownHttp2 = createHttp2(meshServerOptions(limits), (request, response) => {
  const [incoming, outgoing] = [request, response] as unknown as [IncomingMessage, ServerResponse];
  mesh.handle(incoming, outgoing, () => {
    handled++;
    request.on('error', () => {});
    request.resume().on('end', () => {
      if (!response.writableEnded && !response.stream.destroyed) response.end('own');
    });
  });
});
ownHttp2.on('sessionError', () => {});
await open('own HTTP/2', ownHttp2);

process.on('message', () => say({ kind: 'health', heap: process.memoryUsage().heapUsed, handled }));
process.on('disconnect', () => process.exit());
say({ kind: 'ready', ports, token, tls: { ca: authority.rootPem, cert, key: privateKeyPem } });
