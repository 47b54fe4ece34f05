import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import express, { type ErrorRequestHandler, type Express } from 'express';
import type { Mesh } from 'inmesh';
import t, { type Test } from 'tap';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { type RawAnswer, type RawOptions, rawConnection, rawExchange } from '../../../test/support/inbound.ts';
import { makeAuthority, shopMesh } from '../../../test/support/shop-mesh.ts';
import { authenticationYaml, jwksOf, makeToken, makeTokenKey } from '../../../test/support/tokens.ts';
import { inmesh } from '../src/index.ts';

/** What both majors have in common is all that is used. */
type MakeExpress = typeof express;

const majors: Readonly<Record<string, MakeExpress>> = {
  'Express 5': express,
  'Express 4': createRequire(import.meta.url)('express-4') as MakeExpress,
};

/** The same with each major. */
function test(name: string, run: (t: Test, make: MakeExpress) => Promise<void>): void {
  for (const [major, make] of Object.entries(majors)) t.test(`${major}: ${name}`, (t) => run(t, make));
}

function shopApp(make: MakeExpress, mesh: Mesh): Express {
  const app = make();
  app.use(inmesh(mesh));
  app.get('/admin', (_request, response) => void response.send('secret'));
  app.get('/public', (request, response) => {
    const { peer, requestId, claims } = request.mesh;
    const { url, originalUrl } = request;
    response.json({ peer: peer?.spiffeId, requestId, claims, url, originalUrl, remaining: request.mesh.remainingMs() });
  });
  app.get('/boom', () => {
    throw new Error('the handler failed');
  });
  return app;
}

/** The app on a server of its own, without the mesh's acceptor. */
async function ownServer(t: Test, app: Express): Promise<number> {
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function get(port: number, path: string, headers = '', options: RawOptions = {}): Promise<RawAnswer> {
  const [answer] = await rawExchange(port, `GET ${path} HTTP/1.1\r\nHost: web\r\n${headers}\r\n`, options);
  return answer ?? { status: 0, headers: {}, body: '' };
}

test('on a server of its own the middleware judges requests and tells what it knows', async (t, make) => {
  const mesh = await shopMesh();
  t.teardown(() => mesh.close());
  const port = await ownServer(t, shopApp(make, mesh));
  const answer = await get(port, '/public', 'x-request-id: r-1\r\n');
  t.equal(answer.status, 200);
  const seen = JSON.parse(answer.body) as Record<string, unknown>;
  t.equal(seen['requestId'], 'r-1');
  t.equal(seen['peer'], undefined, 'no identity in plaintext');
  t.equal(seen['claims'], undefined);
  t.equal(seen['remaining'], null, 'infinite without a deadline');
  for (const path of ['/admin', '/ADMIN', '/admin/', '/x/../admin', '/%61dmin', '//admin', '/admin;x=1']) {
    const refused = await get(port, path);
    t.equal(refused.status, 403, path);
    t.equal(refused.headers['x-inmesh-error'], 'ERR_MESH_FORBIDDEN', path);
    t.equal(refused.body, 'RBAC: access denied', path);
  }
});

test('routes see the path that was judged', async (t, make) => {
  const mesh = await shopMesh();
  t.teardown(() => mesh.close());
  const port = await ownServer(t, shopApp(make, mesh));
  const answer = await get(port, '/admin/../public?x=/../y#z');
  t.equal(answer.status, 200);
  t.match(JSON.parse(answer.body), { url: '/public?x=/../y', originalUrl: '/public?x=/../y' });
});

test('a token in the query is not for the application, although Express 4 has parsed it already', async (t, make) => {
  const key = makeTokenKey('ES256');
  const claims = { iss: 'https://issuer.example', sub: 'ann' };
  const token = makeToken({ key, alg: 'ES256', claims, header: { alg: 'ES256' } });
  const mesh = await shopMesh({ yaml: authenticationYaml(jwksOf(key)) });
  t.teardown(() => mesh.close());
  const app = make();
  app.use(inmesh(mesh));
  app.get('/public', ({ mesh: { claims: own }, originalUrl, query, url }, response) => {
    response.json({ query, url, originalUrl, sub: own?.['sub'] });
  });
  const port = await ownServer(t, app);
  const answer = await get(port, `/public?a=1&access_token=${token}&b=2`);
  const url = '/public?a=1&b=2';
  t.same(JSON.parse(answer.body), { query: { a: '1', b: '2' }, url, originalUrl: url, sub: 'ann' });
  t.equal((await get(port, '/public?access_token=x')).status, 401);
  t.equal((await get(port, '/public?[access_token]=x')).status, 401, 'Express 4 reads it without brackets');
  t.same(JSON.parse((await get(port, `/public?[access_token]=${token}&b=2`)).body), {
    query: { b: '2' },
    url: '/public?b=2',
    originalUrl: '/public?b=2',
    sub: 'ann',
  });
});

test('through mesh.listen a request is judged once, and the caller is the one of the certificate', async (t, make) => {
  const authority = makeAuthority();
  const mesh = await shopMesh({ authority });
  t.teardown(() => mesh.close());
  const server = await mesh.listen(shopApp(make, mesh), { host: '127.0.0.1' });
  const caller = 'spiffe://cluster.local/ns/shop/sa/cart';
  const tls = { ca: authority.rootPem, credentials: authority.issue(caller) };
  const answer = await get(server.port, '/public', '', { tls });
  t.match(JSON.parse(answer.body), { peer: caller });
  t.equal((await get(server.port, '/admin', '', { tls })).status, 403);
  await server.close();
  const [series] = mesh.stats().requests;
  t.equal(series?.labels.sourcePrincipal, caller);
  t.same(series?.statuses, { 200: 1, 403: 1 });
});

test('a mesh that is mounted under a path refuses what comes by it', async (t, make) => {
  const mesh = await shopMesh();
  t.teardown(() => mesh.close());
  const app = make();
  app.use('/api', inmesh(mesh));
  app.get('/api/x', (_request, response) => void response.send('not to be seen'));
  const inner = make();
  inner.use(inmesh(mesh));
  inner.get('/x', (_request, response) => void response.send('not to be seen'));
  app.use('/inner', inner);
  const failures: Error[] = [];
  const remember: ErrorRequestHandler = (error: Error, _request, _response, next) => {
    failures.push(error);
    next(error);
  };
  app.use(remember);
  const port = await ownServer(t, app);
  for (const path of ['/api/x', '/API/x', '/inner/x']) {
    const { status, body } = await get(port, path);
    t.equal(status, 403, path);
    t.notMatch(body, /not to be seen/);
  }
  t.match(failures[0], {
    code: 'ERR_MESH_FORBIDDEN',
    message: /mounted under "\/api": use app\.use\(inmesh\(mesh\)\)/,
  });
});

test('routers that are mounted are judged by the whole path, and see it in originalUrl', async (t, make) => {
  const mesh = await shopMesh();
  t.teardown(() => mesh.close());
  const app = make();
  app.use(inmesh(mesh));
  const ran: string[] = [];
  const router = make.Router();
  router.use((request, response) => {
    ran.push(`${request.baseUrl} ${request.url} ${request.originalUrl}`);
    response.end();
  });
  app.use('/admin', router);
  app.use('/public', router);
  const port = await ownServer(t, app);
  for (const path of ['/admin/x', '/ADMIN/x', '/admin', '/public/../admin/x', '/%61dmin/x', '/admin;/x', '//admin/x']) {
    t.equal((await get(port, path)).status, 403, path);
  }
  t.same(ran, []);
  t.equal((await get(port, '/x/../public/%7euser?q=/../admin')).status, 200);
  t.same(ran, ['/public /~user?q=/../admin /public/~user?q=/../admin']);
});

test('errors of handlers stay with Express', async (t, make) => {
  const mesh = await shopMesh();
  t.teardown(() => mesh.close());
  const app = shopApp(make, mesh);
  app.use(
    ((error: Error, _request, response, _next) => void response.status(500).send(error.message)) as ErrorRequestHandler,
  );
  const answer = await get(await ownServer(t, app), '/boom');
  t.equal(answer.status, 500);
  t.equal(answer.body, 'the handler failed');
});

test('the signal of a request aborts when the caller goes away, or its deadline passes', async (t, make) => {
  const clock = fakeClock();
  const mesh = await shopMesh({ clock });
  t.teardown(() => mesh.close());
  const app = make();
  const arrived = new EventTarget();
  let signal: AbortSignal | undefined;
  let remaining = 0;
  app.use(inmesh(mesh));
  app.get('/wait', (request) => {
    ({ signal } = request.mesh);
    remaining = request.mesh.remainingMs();
    t.equal(request.mesh.signal, signal, 'the same one each time');
    arrived.dispatchEvent(new Event('request'));
  });
  const port = await ownServer(t, app);

  const first = once(arrived, 'request');
  const impatient = rawConnection(port);
  impatient.write('GET /wait HTTP/1.1\r\nHost: web\r\n\r\n');
  await first;
  t.equal(remaining, Number.POSITIVE_INFINITY);
  const gone = once(signal as AbortSignal, 'abort');
  impatient.destroy();
  await gone;
  t.match(signal?.reason, { code: 'ERR_MESH_CLIENT_GONE' });

  const second = once(arrived, 'request');
  const patient = rawConnection(port);
  patient.write('GET /wait HTTP/1.1\r\nHost: web\r\nx-envoy-expected-rq-timeout-ms: 500\r\n\r\n');
  await second;
  t.equal(remaining, 500);
  t.equal(signal?.aborted, false);
  clock.advance(500);
  t.match(signal?.reason, { code: 'ERR_MESH_DEADLINE_EXPIRED' });
  patient.destroy();
});

t.test('without a mesh there is no middleware', async (t) => {
  t.throws(() => inmesh(undefined as unknown as Mesh), { code: 'ERR_MESH_OPTION_INVALID' });
});
