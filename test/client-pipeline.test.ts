import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createSecure } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import t, { type Test } from 'tap';
import { request } from 'undici';
import type { Cluster } from '../src/model/cluster.ts';
import { defaultRetryPolicy, type Route } from '../src/model/route.ts';
import type { Snapshot } from '../src/model/snapshot.ts';
import { runInScope } from '../src/pipeline/scope.ts';
import { keyPem, makeCertificate, makeKey, toPem } from './support/certificates.ts';
import { type TestClient, testClient } from './support/client.ts';
import { fakeClock } from './support/fake-clock.ts';
import { assertIdle, counted, record } from './support/recorder.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { advanceUntil, refusingPort, until, upstream } from './support/upstream.ts';

/** A server that answers with its name, and what it got. */
const named = (t: Test, name: string) =>
  upstream(t, (incoming: IncomingMessage, outgoing: ServerResponse) => {
    incoming.resume();
    outgoing.setHeader('x-host', incoming.headers.host ?? '').setHeader('x-path', incoming.url ?? '');
    outgoing.setHeader('x-original', String(incoming.headers['x-envoy-original-path'])).end(name);
  });
const get = async (client: TestClient, url: string, headers: Record<string, string> = {}) => {
  const response = await request(url, { dispatcher: client.dispatcher, headers });
  return { status: response.statusCode, headers: response.headers, text: await response.body.text() };
};

t.test('requests go to the subset that their route names', async (t) => {
  const servers = await Promise.all(['v1', 'v2', 'v3'].map((name) => named(t, name)));
  const subsets = servers.map(({ port }, i) => cluster('reviews', [endpoint(port)], { subset: `v${i + 1}` }));
  const [v1, v2, v3] = subsets.map(({ name }) => name) as [string, string, string];
  const routes = [
    route(v2, {
      name: 'jason',
      matches: [{ headers: [{ name: 'end-user', match: { kind: 'exact', value: 'jason' } }] }],
    }),
    route(v3, { name: 'api', matches: [{ path: { kind: 'prefix', value: '/api' } }] }),
    route(v1, { name: 'rest' }),
  ];
  const client = testClient(snapshot({ reviews: routes }, subsets));
  t.equal((await get(client, 'http://reviews/')).text, 'v1');
  t.equal((await get(client, 'http://reviews/', { 'End-User': 'jason' })).text, 'v2');
  t.equal((await get(client, 'http://reviews/api/1', { 'End-User': 'jason' })).text, 'v2', 'the first that matches');
  t.equal((await get(client, 'http://reviews/api/1')).text, 'v3');
  await assertIdle(t, client);
});

t.test('weights split the traffic, and a changed weight works for the next call', async (t) => {
  const [old, canary] = [await named(t, 'old'), await named(t, 'canary')];
  const clusters = [
    cluster('a', [endpoint(old.port)], { subset: 'old' }),
    cluster('a', [endpoint(canary.port)], { subset: 'canary' }),
  ];
  const split = (weight: number): Snapshot =>
    snapshot(
      {
        a: [
          route('', {
            destinations: [
              { cluster: 'outbound|80|old|a', weight: 100 - weight },
              { cluster: 'outbound|80|canary|a', weight },
            ],
          }),
        ],
      },
      clusters,
    );
  const client = testClient(split(10));
  const share = async (): Promise<number> => {
    const before = canary.seen.length;
    for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 20 }, () => get(client, 'http://a/')));
    return (canary.seen.length - before) / 400;
  };
  const tenth = await share();
  t.ok(tenth > 0.05 && tenth < 0.15, String(tenth));
  client.use(split(0));
  t.equal(await share(), 0);
  client.use(split(100));
  t.equal(await share(), 1);
  await assertIdle(t, client);
});

t.test('rewrites change path and authority; the original path is told', async (t) => {
  const server = await named(t, 'server');
  const a = cluster('a', [endpoint(server.port)]);
  const match = { path: { kind: 'prefix', value: '/old' } } as const;
  const routes: Route[] = [
    route(a.name, { matches: [match], rewrite: { pathPrefix: '/new', authority: 'other.example' } }),
    route(a.name),
  ];
  const client = testClient(snapshot({ a: routes }, [a]));
  const rewritten = await get(client, 'http://a/old/1?x=1');
  t.match(rewritten.headers, { 'x-path': '/new/1?x=1', 'x-host': 'other.example', 'x-original': '/old/1?x=1' });
  const own = await get(client, 'http://a/old/1', { host: 'mine' });
  t.equal(own.headers['x-host'], 'other.example', 'also over a Host header of the application');
  const plain = await get(client, 'http://a/other');
  t.match(plain.headers, { 'x-path': '/other', 'x-host': 'a', 'x-original': 'undefined' });
  await assertIdle(t, client);
});

t.test('names of one service share connections; each call has the Host header that it asked for', async (t) => {
  const server = await named(t, 'server');
  const a = cluster('a', [endpoint(server.port)]);
  const base = snapshot({ a: [route(a.name)] }, [a]);
  const hosts = new Map(base.hosts);
  hosts.set('a.default.svc:80', base.hosts.get('a:80') as never);
  hosts.set('a:8080', base.hosts.get('a:80') as never);
  const client = testClient({ ...base, hosts });
  for (const [url, headers, host] of [
    ['http://a/', {}, 'a'],
    ['http://a.default.svc/', {}, 'a.default.svc'],
    ['http://a:8080/', {}, 'a:8080'],
    ['http://A/', {}, 'a'],
    ['http://a/', { host: 'mine' }, 'mine'],
    ['http://a/', {}, 'a'],
  ] as const) {
    t.equal((await get(client, url, headers)).headers['x-host'], host, `${url} ${JSON.stringify(headers)}`);
  }
  t.ok(server.accepted() <= 2);
  await assertIdle(t, client);
});

t.test('the Host header survives a retry on an endpoint with another usual one', async (t) => {
  const server = await named(t, 'server');
  const a = cluster('a', [endpoint(await refusingPort()), endpoint(server.port)], { balance: 'ROUND_ROBIN' });
  const base = snapshot({ a: [route(a.name, { retry: { ...defaultRetryPolicy, backoffBaseMs: 0 } })] }, [a]);
  const client = testClient({ ...base, hosts: new Map([...base.hosts, ['b:80', base.hosts.get('a:80') as never]]) });
  for (const host of ['a', 'b', 'a', 'b', 'b', 'a'])
    t.equal((await get(client, `http://${host}/`)).headers['x-host'], host);
  await assertIdle(t, client);
});

t.test('what leads nowhere says why', async (t) => {
  const server = await named(t, 'server');
  const a = cluster('a', [endpoint(server.port)]);
  const none = cluster('empty', []);
  const exact = route(a.name, { matches: [{ path: { kind: 'exact', value: '/only' } }] });
  const client = testClient(
    snapshot({ a: [exact], dangling: [route('outbound|80||gone')], empty: [route(none.name)] }, [a, none], {
      outboundPolicy: 'REGISTRY_ONLY',
    }),
    { onFailure: 'throw' },
  );
  const table = {
    'http://a/other': { code: 'ERR_MESH_NO_ROUTE', message: /no route of a:80 matches \/other/ },
    'http://dangling/': { code: 'ERR_MESH_NO_CLUSTER', message: /outbound\|80\|\|gone/, route: 'default' },
    'http://empty/': { code: 'ERR_MESH_NO_HEALTHY_ENDPOINT', cluster: none.name },
    'http://unknown/': { code: 'ERR_MESH_HOST_UNKNOWN', message: /http:\/\/unknown .*REGISTRY_ONLY/ },
    'https://a:80/only': { code: 'ERR_MESH_UNSUPPORTED', message: /knows this port as http/ },
  };
  for (const [url, error] of Object.entries(table)) await t.rejects(get(client, url), error, url);
  t.same(counted(client), ['404 x1', '501 x1', '502 x1', '503 x1', '503 x1', 'NC x1', 'NR x1', 'NR x1', 'UH x1']);
  t.equal(server.seen.length, 0);
  const services = client.metrics.snapshot().map(({ labels }) => labels.destinationService);
  t.same([...new Set(services)].sort(), ['', 'BlackHoleCluster', 'a', 'empty', 'gone']);
  await assertIdle(t, client);
});

t.test('before the first configuration nothing is open', async (t) => {
  const client = testClient(undefined, { onFailure: 'throw' });
  await t.rejects(get(client, 'http://127.0.0.1:1/'), { code: 'ERR_MESH_NOT_READY', status: 503 });
  await assertIdle(t, client);
});

t.test('hosts outside of the mesh pass through untouched', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => void outgoing.end(JSON.stringify(incoming.headers)));
  const client = testClient(snapshot({}, []));
  const url = `http://127.0.0.1:${server.port}/`;
  const scope = { requestId: 'r', traceHeaders: ['traceparent', 't'], deadline: 1 };
  const { status, text } = await runInScope(scope, () => get(client, url));
  t.equal(status, 200);
  t.same(Object.keys(JSON.parse(text)).sort(), ['connection', 'host'], 'nothing of ours goes to strangers');
  await t.rejects(
    get(client, `http://127.0.0.1:${await refusingPort()}/`),
    { code: 'ECONNREFUSED' },
    "undici's own error",
  );
  t.same(counted(client), ['0 x1', '200 x1', 'UF x1']);
  t.equal(client.metrics.snapshot()[0]?.labels.destinationService, 'PassthroughCluster');
  await assertIdle(t, client);
  await until(() => server.open() === 0, 'connections to the outside are closed too');
});

/** An https server whose certificate this process trusts for the time of the test. */
async function secure(t: Test, name: string) {
  const key = makeKey();
  const certificate = { name, sans: [{ dns: name }, { ip: [127, 0, 0, 1] }], ca: true, keyUsage: null } as const;
  const cert = toPem(makeCertificate(key, certificate));
  const serverNames: unknown[] = [];
  const server = createSecure({ cert, key: keyPem(key) }, (incoming, outgoing) => {
    serverNames.push((incoming.socket as { servername?: unknown }).servername);
    outgoing.end(incoming.headers.host);
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const roots = getCACertificates('default');
  setDefaultCACertificates([cert]);
  t.teardown(() => {
    setDefaultCACertificates(roots);
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, serverNames };
}

t.test('https to a host outside: its own name in the handshake, nothing of the mesh', async (t) => {
  const server = await secure(t, 'localhost');
  const client = testClient(snapshot({}, []));
  t.equal((await get(client, `https://localhost:${server.port}/`)).text, `localhost:${server.port}`);
  t.same(server.serverNames, ['localhost']);
  await assertIdle(t, client);
});

t.test("https to a known host: discovered and balanced, TLS is the application's", async (t) => {
  const server = await secure(t, 'api.example');
  const api = cluster('api.example', [endpoint(server.port)], { protocol: 'https', name: 'outbound|443||api.example' });
  const base = snapshot({}, [api]);
  const hosts = new Map([['api.example:443', { name: 'api.example:443', routes: [route(api.name)] }]]);
  const client = testClient({ ...base, hosts });
  t.equal((await get(client, 'https://api.example/')).text, 'api.example');
  t.same(server.serverNames, ['api.example']);
  await assertIdle(t, client);

  const strict = testClient(
    { ...base, hosts, clusters: new Map([[api.name, { ...api, tls: 'mutual' as const }]]) },
    { onFailure: 'throw' },
  );
  await t.rejects(get(strict, 'https://api.example/'), {
    code: 'ERR_MESH_UNSUPPORTED',
    message: /mutual TLS is demanded/,
  });
  await assertIdle(t, strict);
});

t.test('a host that is called at its own address has its policy all the same', async (t) => {
  const clock = fakeClock();
  let failures = 2;
  const server = await upstream(t, (incoming, outgoing) => {
    if (incoming.url === '/hang') return;
    outgoing.writeHead(failures-- > 0 ? 503 : 200).end(`${incoming.headers.host} ${incoming.url}`);
  });
  const origin = `http://127.0.0.1:${server.port}`;
  const external = cluster('ext', [], { discovery: { kind: 'original' } });
  const routes = [
    route(external.name, {
      matches: [{ path: { kind: 'prefix', value: '/old' } }],
      rewrite: { pathPrefix: '/new' },
      timeoutMs: 1_000,
      retry: { ...defaultRetryPolicy, retryOn: ['5xx', 'connect-failure'], backoffBaseMs: 0 },
    }),
    route(external.name, { timeoutMs: 1_000 }),
  ];
  const made = (changes: Partial<Cluster> = {}): Snapshot => ({
    ...snapshot({}, [{ ...external, ...changes }]),
    hosts: new Map([[`127.0.0.1:${server.port}`, { name: 'ext:80', routes }]]),
  });
  const client = testClient(made(), { clock });
  const retried = record(client.dispatcher, { origin, path: '/old' });
  await advanceUntil(clock, 0, () => retried.events.includes('end'));
  t.equal(retried.text, `127.0.0.1:${server.port} /new`, 'rewritten, and tried three times');
  t.equal(server.seen.length, 3);

  const hanging = record(client.dispatcher, { origin, path: '/hang' });
  await server.arrived(4);
  clock.advance(1_000);
  await hanging.done;
  t.equal(hanging.headers['x-inmesh-error'], 'ERR_MESH_TIMEOUT');
  t.ok(counted(client).includes('UT x1'));
  t.equal(client.metrics.snapshot()[0]?.labels.destinationService, 'ext');
  await assertIdle(t, client);

  const strict = testClient(made({ tls: 'mutual' }), { onFailure: 'throw' });
  await t.rejects(get(strict, `${origin}/`), { code: 'ERR_MESH_UNSUPPORTED', message: /there are no connections/ });
  await assertIdle(t, strict);
});

t.test('a call keeps the configuration with which it began, the next has the new one', async (t) => {
  const clock = fakeClock();
  const [one, two] = [await upstream(t, () => {}), await named(t, 'two')];
  const a = (port: number): Cluster => cluster('a', [endpoint(port)]);
  const config = (port: number, timeoutMs: number): Snapshot =>
    snapshot({ a: [route('outbound|80||a', { timeoutMs })] }, [a(port)]);
  const client = testClient(config(one.port, 1_000), { clock });
  const running = record(client.dispatcher, {});
  await one.arrived(1);
  client.use(config(two.port, 5_000));
  t.equal((await get(client, 'http://a/')).text, 'two');
  clock.advance(999);
  t.equal(one.open(), 1, 'an endpoint that has left finishes what it carries');
  clock.advance(1);
  await running.done;
  t.equal(running.headers['x-inmesh-error'], 'ERR_MESH_TIMEOUT', 'after the time of its own configuration');
  await until(() => one.open() === 0);
  await assertIdle(t, client);
});

t.test('an endpoint that leaves while it answers completes its answer', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    outgoing.write('first ');
    incoming.socket.once('go on', () => outgoing.end('second'));
  });
  const client = testClient(snapshot({ a: [route('outbound|80||a')] }, [cluster('a', [endpoint(server.port)])]));
  const running = record(client.dispatcher, {});
  const incoming = await server.arrived(1);
  client.use(snapshot({}, []));
  incoming.socket.emit('go on');
  t.equal(await running.done, 'end');
  t.equal(running.text, 'first second');
  await until(() => server.open() === 0, 'and then its connection closes');
  await assertIdle(t, client);
});

t.test('a cluster that leaves during a back-off leaves no connection behind', async (t) => {
  const clock = fakeClock();
  let requests = 0;
  const server = await upstream(
    t,
    (_incoming, outgoing) => void outgoing.writeHead(++requests === 1 ? 503 : 200).end(),
  );
  const retry = { ...defaultRetryPolicy, retryOn: ['5xx'] as const };
  const client = testClient(
    snapshot({ a: [route('outbound|80||a', { retry })] }, [cluster('a', [endpoint(server.port)])]),
    { clock },
  );
  const running = record(client.dispatcher, {});
  await until(() => clock.pending() === 1);
  client.use(snapshot({}, []));
  await until(() => server.open() === 0);
  await clock.advanceAsync(100);
  t.equal(await running.done, 'end');
  t.ok(running.events.includes('200'), 'the retry was made');
  await until(() => server.open() === 0, 'on a connection that is closed again');
  await assertIdle(t, client);
});

t.test('a changed cluster gets a chain of its own at once', async (t) => {
  const server = await upstream(t, () => {});
  const limits = cluster('a', []).limits;
  const a = (maxRequests: number): Cluster =>
    cluster('a', [endpoint(server.port)], { limits: { ...limits, maxRequests } });
  const config = (maxRequests: number): Snapshot => snapshot({ a: [route('outbound|80||a')] }, [a(maxRequests)]);
  const client = testClient(config(1));
  const running = record(client.dispatcher, {});
  await server.arrived(1);
  const refused = await get(client, 'http://a/');
  t.equal(refused.headers['x-inmesh-error'], 'ERR_MESH_OVERFLOW');
  t.equal(refused.headers['x-envoy-overloaded'], 'true');
  client.use(config(2));
  const second = record(client.dispatcher, {});
  await server.arrived(2);
  t.same(counted(client), ['503 x1', 'UO x1']);
  for (const call of [running, second]) call.controller.abort(new Error('enough'));
  await assertIdle(t, client);
});
