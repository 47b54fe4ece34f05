import { once } from 'node:events';
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { MeshError } from '../src/errors.ts';
import { peerOfSocket } from '../src/identity/verify-peer.ts';
import { systemClock } from '../src/lib/clock.ts';
import type { AuthorizationPolicy } from '../src/model/authorization.ts';
import { requestContext } from '../src/pipeline/request-context.ts';
import { currentScope } from '../src/pipeline/scope.ts';
import { createServerPipeline } from '../src/server-pipeline.ts';
import { makeAuthority } from './support/certificates.ts';
import { fakeClock } from './support/fake-clock.ts';
import { http2Request, http2Session } from './support/http2-client.ts';
import {
  inboundSnapshot,
  rawConnection,
  rawExchange,
  shopWeb,
  type TestPipeline,
  testPipeline,
} from './support/inbound.ts';

const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' };
const denyAll: AuthorizationPolicy = { action: 'DENY', rules: [{ from: [], to: [] }], provenance };
type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A server of the application's own that hands each request to the pipeline first. */
async function ownServer(
  t: Test,
  { pipeline }: Pick<TestPipeline, 'pipeline'>,
  handler: Handler,
  server: Server = createServer(),
): Promise<number> {
  server.on('request', (request: IncomingMessage, response: ServerResponse) =>
    pipeline.handle(request, response, () => handler(request, response)),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

const get = (headers = ''): string => `GET / HTTP/1.1\r\nHost: web\r\n${headers}\r\n`;
const hello: Handler = (_request, response) => void response.end('hello');

t.test('before the first configuration nobody is served', async (t) => {
  const parts = testPipeline(undefined, { snapshot: () => undefined });
  const port = await ownServer(t, parts, hello);
  const [answer] = await rawExchange(port, get());
  t.match(answer, { status: 503, body: 'not ready', headers: { 'x-inmesh-error': 'ERR_MESH_NOT_READY' } });
  t.match(parts.metrics.snapshot(), [{ statuses: { 503: 1 } }]);
});

t.test('the handler runs in a scope that its outbound calls will find', async (t) => {
  const clock = fakeClock();
  const parts = testPipeline(inboundSnapshot(), { clock });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const port = await ownServer(t, parts, (request, response) => {
    queueMicrotask(() => {
      t.equal(currentScope(), parts.pipeline.scopeOf(request));
      t.equal(currentScope()?.callerAddress, '127.0.0.1');
      response.end(JSON.stringify(currentScope()));
    });
  });
  const [full] = await rawExchange(
    port,
    get(`x-request-id: r-1\r\ntraceparent: ${traceparent}\r\nbaggage: a=1\r\ngrpc-timeout: 2S\r\n`),
  );
  t.same(JSON.parse(full?.body ?? ''), {
    requestId: 'r-1',
    traceHeaders: ['traceparent', traceparent, 'baggage', 'a=1'],
    deadline: clock.now() + 2_000,
  });
  const [bare] = await rawExchange(port, get('traceparent: garbage\r\nx-request-id: not one\r\n'));
  const { requestId, ...rest } = JSON.parse(bare?.body ?? '') as Record<string, string>;
  t.match(requestId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  t.same(rest, { traceHeaders: [] });
  t.equal(currentScope(), undefined);
});

t.test('a new request id is in the request as well, in every view of its headers', async (t) => {
  const port = await ownServer(t, testPipeline(), (request, response) => {
    const { headers, headersDistinct, rawHeaders } = request;
    const raw = rawHeaders.filter((_, i) => rawHeaders[i - 1]?.toLowerCase() === 'x-request-id');
    response.end(JSON.stringify([headers['x-request-id'], headersDistinct['x-request-id']?.[0], ...raw]));
  });
  const [replaced] = await rawExchange(port, get('X-Request-Id: two words\r\n'));
  const [a, b, c, ...more] = JSON.parse(replaced?.body ?? '') as string[];
  t.ok(a === b && b === c && more.length === 0 && a !== 'two words');
});

t.test('what comes too late is answered without the handler', async (t) => {
  let calls = 0;
  const parts = testPipeline();
  const port = await ownServer(t, parts, (_request, response) => {
    calls++;
    response.end();
  });
  const [answer] = await rawExchange(port, get('x-envoy-expected-rq-timeout-ms: 0\r\n'));
  t.match(answer, { status: 504, body: 'request timeout', headers: { 'x-inmesh-error': 'ERR_MESH_DEADLINE_EXPIRED' } });
  t.equal(calls, 0);
  t.match(parts.metrics.snapshot(), [{ statuses: { 504: 1 }, flags: { DT: 1 } }]);
});

t.test('requests are counted once each, with labels from configuration and certificates only', async (t) => {
  const parts = testPipeline();
  const port = await ownServer(t, parts, (request, response) => {
    if (request.url === '/cut') response.destroy();
    else if (request.url === '/half') response.write('half', () => response.destroy());
    else response.writeHead(request.url === '/teapot' ? 418 : 200).end();
  });
  for (const path of ['/', '/teapot', '/cut', '/half', '/%00']) await rawExchange(port, get().replace('/', path));
  const [series, ...more] = parts.metrics.snapshot();
  t.same(more, []);
  t.match(series?.labels, {
    reporter: 'destination',
    sourceWorkload: 'unknown',
    sourcePrincipal: 'unknown',
    destinationService: 'web.shop.svc.cluster.local',
    destinationWorkload: 'web-v1',
    destinationVersion: 'v1',
    destinationNamespace: 'shop',
    destinationCanonicalRevision: 'v1',
    securityPolicy: 'none',
  });
  t.same(series?.statuses, { 0: 1, 200: 2, 400: 1, 418: 1 });
  t.same(series?.flags, { DC: 2, DPE: 1 });
});

t.test('a new policy counts from the next request on', async (t) => {
  const parts = testPipeline();
  const port = await ownServer(t, parts, hello);
  t.equal((await rawExchange(port, get()))[0]?.status, 200);
  parts.use(inboundSnapshot({ authorization: [denyAll] }));
  const [refused] = await rawExchange(port, get());
  t.match(refused, { status: 403, body: 'RBAC: access denied' });
  t.match(parts.logger.messages('debug'), [
    /^GET \/ by a caller without identity: AuthorizationPolicy shop\/p denies it$/,
  ]);
  t.match(parts.logger.lines.at(-1)?.fields, {
    code: 'ERR_MESH_FORBIDDEN',
    detail: 'rbac_access_denied_matched_policy[ns[shop]-policy[p]-rule[0]]',
  });
  parts.use(inboundSnapshot({ mtls: { mode: 'STRICT', ports: new Map() } }));
  t.match((await rawExchange(port, get()))[0], { status: 403, body: 'mTLS required' });
  parts.use(inboundSnapshot({ mtls: { mode: 'STRICT', ports: new Map([[port, 'DISABLE']]) } }));
  t.equal((await rawExchange(port, get()))[0]?.status, 200);
});

t.test('policies that cannot be compiled, and mistakes while deciding, refuse', async (t) => {
  const broken: AuthorizationPolicy = { ...denyAll, rules: [{ from: [], to: [{ paths: [] }] }] };
  const parts = testPipeline(inboundSnapshot({ authorization: [broken] }));
  const port = await ownServer(t, parts, hello);
  t.match((await rawExchange(port, get()))[0], { status: 403, headers: { 'x-inmesh-error': 'ERR_MESH_FORBIDDEN' } });
  t.match(parts.logger.messages('error'), ['authorization policies cannot be compiled; every request is refused']);

  const failing = testPipeline(undefined, {
    snapshot: () => {
      throw new TypeError('a bug of ours');
    },
  });
  const second = await ownServer(t, failing, hello);
  const [answer] = await rawExchange(second, get());
  t.match(answer, { status: 403, body: 'RBAC: access denied' });
  t.match(failing.logger.messages('error'), ['deciding about a request failed; it was refused']);
});

t.test('an exception of the handler is its own: the pipeline neither hides nor answers it', async (t) => {
  const parts = testPipeline();
  const server = createServer((request, response) => {
    try {
      parts.pipeline.handle(request, response, () => {
        throw new RangeError('of the application');
      });
    } catch (error) {
      response.statusCode = 500;
      response.end((error as Error).message);
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const [answer] = await rawExchange((server.address() as AddressInfo).port, get());
  t.match(answer, { status: 500, body: 'of the application' });
});

t.test('a request is decided once by one mesh, and again by another', async (t) => {
  const outer = testPipeline();
  const inner = testPipeline(inboundSnapshot({ authorization: [denyAll] }));
  const port = await ownServer(t, outer, (request, response) => {
    outer.pipeline.handle(request, response, () => {
      t.equal(inner.pipeline.scopeOf(request), undefined);
      inner.pipeline.handle(request, response, () => response.end('must not get here'));
    });
  });
  t.equal((await rawExchange(port, get()))[0]?.status, 403);
  t.match(outer.metrics.snapshot(), [{ requests: 1 }]);
});

t.test('the identity of a TLS client of a server of its own', async (t) => {
  const authority = makeAuthority();
  const other = makeAuthority({ trustDomain: 'other.example', intermediate: false });
  const own = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
  const ca = [authority.rootPem, other.rootPem];
  const options = {
    cert: own.certificateChainPem,
    key: own.privateKeyPem,
    ca,
    requestCert: true,
    rejectUnauthorized: false,
  };
  const parts = testPipeline(inboundSnapshot(), {
    peerOfSocket: (socket) => peerOfSocket(socket, authority.trustBundles, systemClock),
  });
  const whoAreYou: Handler = (request, response) =>
    void response.end(requestContext(request).peer?.spiffeId ?? 'nobody');
  const port = await ownServer(t, parts, whoAreYou, createTlsServer(options));
  const ask = async (credentials?: ReturnType<typeof authority.issue>, at = port): Promise<string | undefined> =>
    (await rawExchange(at, get(), { tls: { ca: authority.rootPem, ...(credentials && { credentials }) } }))[0]?.body;
  t.equal(
    await ask(authority.issue('spiffe://cluster.local/ns/shop/sa/cart')),
    'spiffe://cluster.local/ns/shop/sa/cart',
  );
  t.equal(await ask(), 'nobody');
  t.equal(await ask(other.issue('spiffe://other.example/ns/a/sa/b')), 'nobody', 'of another mesh');
  const unaware = await ownServer(t, testPipeline(), whoAreYou, createTlsServer(options));
  t.equal(await ask(authority.issue('spiffe://cluster.local/ns/shop/sa/cart'), unaware), 'nobody');
});

t.test('an HTTP/2 server of its own works through the compatibility API of Node', async (t) => {
  const parts = testPipeline();
  const server = createHttp2Server();
  const port = await ownServer(
    t,
    parts,
    (request, response) => void response.end(JSON.stringify([request.url, request.headers])),
    server as unknown as Server,
  );
  const session = http2Session(port);
  t.teardown(() => session.destroy());
  const answer = await http2Request(session, {
    ':path': '/a/../b',
    'x-envoy-internal': 'true',
    'x-request-id': 'not one',
  });
  const [url, headers] = JSON.parse(answer.body) as [string, Record<string, string>];
  t.equal(url, '/b');
  t.equal(headers[':path'], '/b', 'one path for all who look');
  t.equal(headers['x-envoy-internal'], undefined);
  t.not(headers['x-request-id'], 'not one');
  t.equal((await http2Request(session, { ':authority': 'a', host: 'b' })).status, 400);
  // What llhttp would refuse nghttp2 takes; Express reads `/b` in it.
  for (const path of ['/b\xa0', '/caf\xc3\xa9', '/b?\xa0'])
    t.equal((await http2Request(session, { ':path': path })).status, 400);
  // Fetch's Request, which Hono makes of it, reads `delete` as DELETE; a policy does not.
  for (const method of ['delete', 'Delete', 'FOO'])
    t.equal((await http2Request(session, { ':method': method })).status, 400, method);
  t.equal((await http2Request(session, { ':method': 'DELETE' })).status, 200);
});

t.test('what the labels of the workload say about the service', async (t) => {
  const serviceOf = async (labels: Record<string, string>): Promise<unknown> => {
    const parts = testPipeline(inboundSnapshot(), { workload: { ...shopWeb, labels } });
    const port = await ownServer(t, parts, hello);
    await rawExchange(port, get());
    const { destinationService, destinationVersion } = parts.metrics.snapshot()[0]?.labels ?? {};
    return [destinationService, destinationVersion];
  };
  t.same(await serviceOf({}), ['web-v1.shop.svc.cluster.local', '']);
  t.same(await serviceOf({ 'app.kubernetes.io/name': 'n', 'app.kubernetes.io/version': '2', app: 'a' }), [
    'n.shop.svc.cluster.local',
    '2',
  ]);
  t.same(
    await serviceOf({
      'service.istio.io/canonical-name': 'c',
      'service.istio.io/canonical-revision': 'r',
      version: '1',
    }),
    ['c.shop.svc.cluster.local', 'r'],
  );
});

t.test('a request that passed no mesh has no context', async (t) => {
  t.throws(() => requestContext({} as IncomingMessage), { code: 'ERR_MESH_OPTION_INVALID' });
});

t.test('the signal of a request that is already over', async (t) => {
  const signals: AbortSignal[] = [];
  const port = await ownServer(t, testPipeline(), (request, response) => {
    response.on('close', () => signals.push(requestContext(request).signal));
    if (request.url === '/hold') t.equal(requestContext(request).remainingMs(), Number.POSITIVE_INFINITY);
    else response.end('done');
  });
  await rawExchange(port, get());
  const gone = rawConnection(port);
  gone.write(get().replace('/', '/hold'));
  const asking = httpRequest({ port, host: '127.0.0.1', path: '/' }).end();
  asking.on('response', (response) => response.resume().on('end', () => gone.destroy()));
  while (signals.length < 3) await new Promise<void>((resolve) => setImmediate(resolve));
  t.same(
    signals.map(({ aborted }) => aborted),
    [false, false, true],
  );
  t.ok(signals[2]?.reason instanceof MeshError);
});

t.test('the parts of a pipeline that are optional', async (t) => {
  const { metrics, logger } = testPipeline();
  const pipeline = createServerPipeline({
    snapshot: () =>
      inboundSnapshot({
        authorization: [{ ...denyAll, rules: [{ from: [], to: [{ paths: [{ kind: 'exact', value: '/admin' }] }] }] }],
      }),
    workload: shopWeb,
    metrics,
    logger,
    clock: systemClock,
    pathNormalization: 'NONE',
    authorization: { paths: 'literal' },
  });
  const port = await ownServer(t, { pipeline }, (request, response) => void response.end(request.url));
  t.equal((await rawExchange(port, get().replace('/', '/x/../ADMIN')))[0]?.body, '/x/../ADMIN');
  t.equal((await rawExchange(port, get().replace('/', '/admin')))[0]?.status, 403);
});

t.test('a server that reads leniently lets nothing in, and the log says so once', async (t) => {
  const parts = testPipeline();
  const port = await ownServer(t, parts, hello, createServer({ insecureHTTPParser: true }));
  for (let i = 0; i < 2; i++) {
    const [answer] = await rawExchange(port, get());
    t.match(answer, { status: 500, headers: { 'x-inmesh-error': 'ERR_MESH_OPTION_INVALID' } });
  }
  t.same(parts.logger.messages('error'), ['the server uses insecureHTTPParser: nothing is let in']);
});

t.test('refusals are problem details where that is said, and HEAD gets no body of them', async (t) => {
  const snapshot = inboundSnapshot({ authorization: [denyAll] });
  const parts = testPipeline(snapshot, { errorFormat: 'problem' });
  const port = await ownServer(t, parts, hello);
  const [answer] = await rawExchange(port, get());
  t.match(answer, { status: 403, headers: { 'content-type': 'application/problem+json' } });
  t.match(JSON.parse(answer?.body ?? ''), { status: 403, detail: 'RBAC: access denied', code: 'ERR_MESH_FORBIDDEN' });
  const [head] = await rawExchange(port, get().replace('GET', 'HEAD'));
  t.match(head, { status: 403, body: '', headers: { 'content-length': answer?.headers['content-length'] ?? '' } });
});

t.test('the application is told which rule let a request in', async (t) => {
  const allowAll: AuthorizationPolicy = { ...denyAll, action: 'ALLOW' };
  const decisions: unknown[] = [];
  const handler: Handler = (request, response) => {
    decisions.push(requestContext(request).decision);
    response.end();
  };
  const parts = testPipeline(inboundSnapshot({ authorization: [allowAll] }));
  const port = await ownServer(t, parts, handler);
  await rawExchange(port, get());
  parts.use(inboundSnapshot());
  await rawExchange(port, get());
  t.match(decisions[0], { allowed: true, reason: 'allowed', policy: { namespace: 'shop', name: 'p' }, rule: 0 });
  t.equal(decisions[1], undefined, 'without policies nothing was decided');
});
