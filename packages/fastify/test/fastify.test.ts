import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify';
import type { Mesh } from 'inmesh';
import t, { type Test } from 'tap';
import { type RawAnswer, type RawOptions, rawConnection, rawExchange } from '../../../test/support/inbound.ts';
import { denyAdmin, makeAuthority, shopMesh } from '../../../test/support/shop-mesh.ts';
import { authenticationYaml, jwksOf, makeToken, makeTokenKey } from '../../../test/support/tokens.ts';
import { inmesh, meshServerFactory } from '../src/index.ts';

async function shopApp(mesh: Mesh, options: FastifyServerOptions = {}): Promise<FastifyInstance> {
  const app = Fastify(options);
  await app.register(inmesh, { mesh });
  app.get('/admin', async () => 'secret');
  app.get('/public', async (request) => ({
    peer: request.mesh.peer?.spiffeId,
    requestId: request.mesh.requestId,
    url: request.url,
  }));
  await app.register(
    async (nested) => {
      nested.get('/public', async (request) => ({ requestId: request.mesh.requestId }));
      nested.get('/secret', async () => 'secret');
    },
    { prefix: '/nested' },
  );
  return app;
}

/** Fastify knows the option, its types do not. */
const semicolons = { routerOptions: { useSemicolonDelimiter: true } } as FastifyServerOptions;
const portOf = (app: FastifyInstance): number => (app.server.address() as AddressInfo).port;

async function get(port: number, path: string, headers = '', options: RawOptions = {}): Promise<RawAnswer> {
  const [answer] = await rawExchange(port, `GET ${path} HTTP/1.1\r\nHost: web\r\n${headers}\r\n`, options);
  return answer ?? { status: 0, headers: {}, body: '' };
}

async function meshOf(t: Test, options: Parameters<typeof shopMesh>[0] = {}): Promise<Mesh> {
  const mesh = await shopMesh(options);
  t.teardown(() => mesh.close());
  return mesh;
}

t.test('with the server factory fastify.listen serves through the mesh', async (t) => {
  const authority = makeAuthority();
  const mesh = await meshOf(t, { authority });
  const app = await shopApp(mesh, { serverFactory: meshServerFactory(mesh) });
  t.equal(app.server.address(), null);
  t.equal(app.server.listening, false);
  const address = await app.listen({ port: 0, host: '127.0.0.1' });
  t.equal(address, `http://127.0.0.1:${portOf(app)}`);
  t.equal(app.server.listening, true);

  const caller = 'spiffe://cluster.local/ns/shop/sa/cart';
  const tls = { ca: authority.rootPem, credentials: authority.issue(caller) };
  const answer = await get(portOf(app), '/x/../public', 'x-request-id: r-1\r\n', { tls });
  t.same(JSON.parse(answer.body), { peer: caller, requestId: 'r-1', url: '/public' });
  for (const path of ['/admin', '/%61dmin', '/admin/', '//admin']) {
    const refused = await get(portOf(app), path, '', { tls });
    t.equal(refused.status, 403, path);
    t.equal(refused.headers['x-inmesh-error'], 'ERR_MESH_FORBIDDEN', path);
  }
  const port = portOf(app);
  await app.close();
  t.equal(app.server.listening, false);
  t.equal((await get(port, '/public')).status, 0, 'nobody listens any more');
  t.same(mesh.stats().requests[0]?.statuses, { 200: 1, 403: 4 }, 'each was judged once');
});

t.test('nested plugins are guarded and know the mesh', async (t) => {
  const mesh = await meshOf(t, {
    yaml: `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny-secret, namespace: shop}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/nested/secret"]}}]}]}
`,
  });
  const app = await shopApp(mesh);
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  t.equal((await get(portOf(app), '/nested/secret')).status, 403);
  const answer = await get(portOf(app), '/nested/public', 'x-request-id: r-2\r\n');
  t.same(JSON.parse(answer.body), { requestId: 'r-2' });
  t.equal((await get(portOf(app), '/nowhere')).status, 404);
});

t.test('requests of `inject` are judged and limited like those of the network', async (t) => {
  const pool = `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: default, namespace: shop }
spec: { inboundConnectionPool: { http: { http2MaxRequests: 1, http1MaxPendingRequests: 1 }, tcp: { maxConnections: 1 } } }
`;
  const app = await shopApp(await meshOf(t, { yaml: `${denyAdmin}---${pool}` }));
  t.teardown(() => app.close());
  t.equal((await app.inject('/admin')).statusCode, 403);
  for (let i = 0; i < 3; i++) t.equal((await app.inject('/public')).statusCode, 200, 'the place is given back');
});

t.test('on a server of its own a target that is not canonical is refused: it was routed before', async (t) => {
  const mesh = await meshOf(t);
  const app = await shopApp(mesh);
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  t.equal((await get(portOf(app), '/public?x=%2e%2e')).status, 200, 'a query is left alone');
  t.equal((await get(portOf(app), '/admin')).status, 403);
  t.equal((await get(portOf(app), '/%61dmin')).status, 403);
  const refused = await get(portOf(app), '/%70ublic');
  t.equal(refused.status, 400);
  t.equal(refused.headers['x-inmesh-error'], 'ERR_MESH_BAD_REQUEST');
});

t.test(
  'what rewriteUrl makes of a target is judged on a server of its own; where the mesh serves, what arrives is',
  async (t) => {
    const mesh = await meshOf(t);
    const rewriteUrl: FastifyServerOptions['rewriteUrl'] = ({ url = '/' }) => (url === '/hidden' ? '/admin' : url);
    const own = await shopApp(mesh, { rewriteUrl });
    const served = await shopApp(mesh, { rewriteUrl, serverFactory: meshServerFactory(mesh) });
    for (const app of [own, served]) {
      await app.listen({ port: 0, host: '127.0.0.1' });
      t.teardown(() => app.close());
      t.equal((await get(portOf(app), '/admin')).status, 403);
    }
    t.equal((await get(portOf(own), '/hidden')).status, 403);
    t.equal((await get(portOf(served), '/hidden')).body, 'secret', 'the application does so after the decision');
  },
);

t.test('fragments and absolute forms are no canonical targets for a router that has chosen before', async (t) => {
  const mesh = await meshOf(t);
  const app = await shopApp(mesh);
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  for (const target of ['/public#/admin', '/public#?x', 'http://web/public', '/%70ublic', '/public/.'])
    t.equal((await get(portOf(app), target)).status, 400, target);
  for (const target of ['/public', '/public?x#y', '/public?/../admin'])
    t.equal((await get(portOf(app), target)).status, 200, target);
});

t.test('a token in the query is not for the application, although it was parsed already', async (t) => {
  const key = makeTokenKey('ES256');
  const claims = { iss: 'https://issuer.example', sub: 'ann' };
  const token = makeToken({ key, alg: 'ES256', claims, header: { alg: 'ES256' } });
  const mesh = await meshOf(t, { yaml: authenticationYaml(jwksOf(key)) });
  const app = Fastify();
  await app.register(inmesh, { mesh });
  app.get('/public', async (request) => ({
    query: request.query,
    url: request.url,
    sub: request.mesh.claims?.['sub'],
  }));
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  const answer = await get(portOf(app), `/public?a=1&access_token=${token}&b=2`);
  t.same(JSON.parse(answer.body), { query: { a: '1', b: '2' }, url: '/public?a=1&b=2', sub: 'ann' });
  t.equal((await get(portOf(app), '/public?access_token=x')).status, 401);
});

t.test('tokens behind a semicolon are seen where Fastify reads parameters there', async (t) => {
  const key = makeTokenKey('ES256');
  const token = makeToken({
    key,
    alg: 'ES256',
    claims: { iss: 'https://issuer.example', sub: 'ann' },
    header: { alg: 'ES256' },
  });
  const mesh = await meshOf(t, { yaml: authenticationYaml(jwksOf(key)) });
  const app = Fastify(semicolons);
  await app.register(inmesh, { mesh });
  app.get('/public', async (request) => ({ query: request.query, sub: request.mesh.claims?.['sub'] }));
  const { port } = await mesh.listen(app, { host: '127.0.0.1' });
  t.same(JSON.parse((await get(port, '/public;a=1&b=2')).body), { query: { a: '1', b: '2' } });
  const seen = JSON.parse((await get(port, `/public;a=1&access_token=${token}&b=2`)).body);
  t.same(seen, { query: { a: '1', b: '2' }, sub: 'ann' });
  for (const bad of ['x', `${token}x`, `${token}?x=1`, `${token};x`]) {
    t.equal((await get(port, `/public;a=1&access_token=${bad}`)).status, 401, bad.replace(token, 'token'));
  }
  const own = Fastify(semicolons);
  await own.register(inmesh, { mesh });
  own.get('/public', async (request) => request.query);
  await own.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => own.close());
  t.equal((await get(portOf(own), '/public;access_token=x')).status, 401);
  t.equal((await get(portOf(own), `/public;access_token=${token}`)).status, 400, 'it was routed with the token in it');
});

t.test('mesh.listen takes a Fastify instance, and makes it ready', async (t) => {
  const mesh = await meshOf(t);
  const app = await shopApp(mesh);
  t.teardown(() => app.close());
  const server = await mesh.listen(app, { host: '127.0.0.1' });
  const answer = await get(server.port, '/%70ublic');
  t.match(JSON.parse(answer.body), { url: '/public' });
  t.equal((await get(server.port, '/admin')).status, 403);
});

t.test('what prevents listening is told to whoever called listen', async (t) => {
  const mesh = await meshOf(t);
  const factory = meshServerFactory(mesh);
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  t.teardown(() => taken.close());
  const { port } = taken.address() as AddressInfo;
  const app = Fastify({ serverFactory: factory });
  await t.rejects(app.listen({ port, host: '127.0.0.1' }), { code: 'EADDRINUSE' });
  await app.close();
  const onSocket = Fastify({ serverFactory: factory });
  await t.rejects(onSocket.listen({ path: '/tmp/inmesh.sock' }), { code: 'ERR_MESH_UNSUPPORTED' });
  await onSocket.close();
});

t.test('closing waits for running requests, unless Fastify is told to force it', async (t) => {
  for (const forceCloseConnections of [false, true]) {
    const mesh = await meshOf(t);
    const app = Fastify({ serverFactory: meshServerFactory(mesh), forceCloseConnections });
    const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
    const { promise: finished, resolve: finish } = Promise.withResolvers<string>();
    app.get('/slow', () => {
      arrive();
      return finished;
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    const answer = get(portOf(app), '/slow');
    await arrived;
    const closed = app.close();
    if (!forceCloseConnections) finish('done');
    t.equal((await answer).body, forceCloseConnections ? '' : 'done');
    finish('too late');
    await closed;
  }
});

t.test('the server takes what servers of Node take', async (t) => {
  const mesh = await meshOf(t);
  const server = meshServerFactory(mesh)((_request, response) => response.end('hello'));
  const { promise: listening, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await listening;
  const { port, family } = server.address() as AddressInfo;
  t.equal(family, 'IPv4');
  t.equal((await get(port, '/')).body, 'hello');
  const idle = rawConnection(port);
  await once(idle, 'connect');
  server.closeIdleConnections();
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
  server.close(() => onClosed());
  server.closeAllConnections();
  await closed;
  const unused = meshServerFactory(mesh)(() => {});
  unused.closeAllConnections();
  const { promise: done, resolve: onDone } = Promise.withResolvers<void>();
  unused.close(() => onDone());
  await done;
  const path = meshServerFactory(mesh)(() => {});
  const failed = once(path, 'error');
  path.listen('/tmp/inmesh.sock');
  t.match((await failed)[0], { code: 'ERR_MESH_UNSUPPORTED' });
  idle.destroy();
});

t.test('without a mesh the plugin does not load', async (t) => {
  const app = Fastify();
  app.register(inmesh, { mesh: undefined as unknown as Mesh });
  await t.rejects(async () => await app.ready(), { code: 'ERR_MESH_OPTION_INVALID' });
});
