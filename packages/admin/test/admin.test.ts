import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { createMesh, type Mesh } from 'inmesh';
import { type ConfigSource, compile, parseYaml } from 'inmesh/config';
import t, { type Test } from 'tap';
import { type AdminOptions, adminHandler, adminServer } from '../src/index.ts';

const secret = 'hunter2-is-the-password';
const yaml = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: reviews, namespace: shop }
spec:
  hosts: [reviews.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{ number: 9080, name: http, protocol: HTTP }]
  endpoints: [{ address: 127.0.0.1, ports: { http: 1 } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: shop }
spec:
  hosts: [reviews.shop.svc.cluster.local]
  http:
    - match: [{ headers: { x-api-key: { exact: ${secret} } } }]
      headers: { request: { set: { x-any-name: ${secret} } } }
      route: [{ destination: { host: reviews.shop.svc.cluster.local } }]
    - directResponse: { status: 418, body: { string: ${secret} } }
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: keyed, namespace: shop }
spec:
  rules: [{ when: [{ key: 'request.headers[x-api-key]', values: [${secret}] }] }]
`;

const workload = { name: 'web', namespace: 'shop', labels: { app: 'web' } };

const source: ConfigSource = {
  name: 'test',
  async run(sink) {
    const me = { serviceAccount: 'default', trustDomain: 'cluster.local', clusterDomain: 'cluster.local', ...workload };
    const documents = parseYaml(yaml, 'test.yaml').documents;
    const result = compile(documents, { workload: me });
    if (result.ok) sink.update(result.snapshot, result.report);
    else sink.reject(result.problems);
  },
};

async function testMesh(t: Test): Promise<Mesh> {
  const mesh = createMesh({ workload, identity: false, config: source, drainDelayMs: 0, drainGraceMs: 0 });
  t.teardown(() => mesh.close());
  await mesh.ready(5_000);
  return mesh;
}

interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

async function ask(
  port: number,
  path: string,
  { body, headers = {}, method = 'GET' }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Got> {
  const request = httpRequest({ host: '127.0.0.1', port, path, method, headers, agent: false }).end(body);
  const [response] = await once(request, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

async function served(t: Test, options: AdminOptions = {}): Promise<{ mesh: Mesh; port: number }> {
  const mesh = await testMesh(t);
  const server = await adminServer(mesh, { port: 0, ...options });
  t.teardown(() => server.close());
  t.equal(server.host, '127.0.0.1', 'nobody else by default');
  return { mesh, port: server.port };
}

t.test('OBS-015 pages of other sites reach nothing: not by a name of theirs, not from their origin', async (t) => {
  const { mesh, port } = await served(t, { allowedHosts: ['admin.shop.svc:15000', 'Metrics.example.'] });
  const level = mesh.logLevel();
  const own = `127.0.0.1:${port}`;
  const refused: readonly Record<string, string>[] = [
    { host: 'evil.example', origin: 'https://evil.example' },
    { host: 'evil.example' },
    { host: `evil.example:${port}` },
    { host: 'localhost.evil.example' },
    { host: '127.0.0.1.evil.example' },
    { host: 'evil.example@127.0.0.1' },
    { host: '127.0.0.1, evil.example' },
    { host: own, origin: 'https://evil.example' },
    { host: own, origin: 'null' },
    { host: own, origin: `http://127.0.0.1:${port + 1}` },
    { host: own, 'sec-fetch-site': 'cross-site' },
    { host: own, 'sec-fetch-site': 'same-site' },
  ];
  for (const headers of refused) {
    for (const [method, path] of [
      ['GET', '/config_dump'],
      ['GET', '/metrics'],
      ['POST', '/logging?level=debug'],
      ['POST', '/drain_listeners'],
      ['GET', '/'],
      ['GET', '/nothing'],
    ] as const) {
      const got = await ask(port, path, { method, headers });
      t.ok(got.status === 403 || got.status === 400, `${method} ${path} ${JSON.stringify(headers)}: ${got.status}`);
      t.equal(got.headers['access-control-allow-origin'], undefined);
      t.notMatch(got.body, 'istio');
    }
  }
  t.equal(mesh.logLevel(), level);
  t.equal(mesh.health().ready, true, 'nothing was drained');
  for (const headers of [
    { host: own },
    { host: `localhost:${port}` },
    { host: `[::1]:${port}` },
    { host: '10.1.2.3:15000' },
    { host: 'admin.shop.svc' },
    { host: 'metrics.example:8080' },
    { host: own, origin: `http://${own}`, 'sec-fetch-site': 'same-origin' },
    { host: own, 'sec-fetch-site': 'none' },
  ]) {
    t.equal((await ask(port, '/stats', { headers })).status, 200, JSON.stringify(headers));
  }
  const old = connect(port, '127.0.0.1');
  old.write('GET /stats HTTP/1.0\r\n\r\n');
  t.match(String((await once(old, 'data'))[0]), /^HTTP\/1\.1 400 /, 'without a host');
  old.destroy();
  const preflight = await ask(port, '/logging', { method: 'OPTIONS', headers: { host: own } });
  t.equal(preflight.status, 405);
});

t.test('OBS-015 only POST changes anything', async (t) => {
  const quits: number[] = [];
  const { mesh, port } = await served(t, { quit: () => quits.push(1) });
  t.match(await ask(port, '/logging?level=debug'), { status: 405 });
  for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
    for (const path of ['/drain_listeners', '/quitquitquit']) {
      t.match(await ask(port, path, { method }), { status: 405, headers: { allow: 'POST' } }, `${method} ${path}`);
    }
  }
  t.equal(mesh.logLevel(), 'warn');
  t.match(await ask(port, '/logging?level=debug', { method: 'POST' }), { status: 200, body: /debug/ });
  t.equal(mesh.logLevel(), 'debug');
  t.match(await ask(port, '/logging?level=all', { method: 'POST' }), { status: 400, body: /one of debug, info/ });
  t.match(JSON.parse((await ask(port, '/logging')).body), { level: 'debug' });
  t.same(quits, []);
  t.equal((await ask(port, '/quitquitquit', { method: 'POST' })).status, 200);
  t.same(quits, [1]);
  t.match(await ask(port, '/healthz/ready'), { status: 200, body: 'ready\n' });
  t.equal((await ask(port, '/drain_listeners', { method: 'POST' })).status, 200);
  t.match(await ask(port, '/healthz/ready'), { status: 503, body: /closing/ });
  t.match(await ask(port, '/healthz/live'), { status: 200 }, 'and it can be seen draining');
  t.match(JSON.parse((await ask(port, '/server_info')).body), { state: 'DRAINING', node: { name: 'web' } });
});

t.test('a mesh that fails to close does not end the process that was told to drain', async (t) => {
  const mesh = await testMesh(t);
  const warned = once(process, 'warning');
  const handler = adminHandler({ ...mesh, close: () => Promise.reject(new Error('stuck')) });
  const server = createServer(handler).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const [answer] = await once(
    httpRequest({ port, host: '127.0.0.1', path: '/drain_listeners', method: 'POST', agent: false }).end(),
    'response',
  );
  t.equal(answer.resume().statusCode, 200);
  t.match(await warned, [{ message: 'stuck' }]);
});

t.test('OBS-004 no secret of the configuration is in any page', async (t) => {
  const { port } = await served(t);
  const pages = [...(await ask(port, '/help')).body.matchAll(/^(\/\S*):/gm)].map(([, path]) => path as string);
  t.ok(pages.length > 12);
  for (const path of pages.filter((each) => !each.startsWith('/drain'))) {
    const got = await ask(port, path);
    t.ok(got.status === 200 || path === '/explain', `${path}: ${got.status}`);
    t.notMatch(got.body, secret, path);
    t.notMatch(got.body, /PRIVATE KEY/, path);
    t.equal(got.headers['cache-control'], 'no-store');
    t.equal(got.headers['x-content-type-options'], 'nosniff');
    t.match(got.headers['content-security-policy'], "default-src 'none'");
  }
  const dump = JSON.parse((await ask(port, '/config_dump')).body);
  const { routes } = dump.snapshot.hosts['reviews:9080'];
  t.same(routes[0].headers.request.set, [{ name: 'x-any-name', value: '[redacted]' }]);
  t.equal(routes[0].matches[0].headers[0].match, '[redacted]');
  t.equal(routes[1].direct.body, `[${secret.length} bytes]`);
  t.match(dump.snapshot.clusters['outbound|9080||reviews.shop.svc.cluster.local'], { balance: 'LEAST_REQUEST' });
  t.equal(dump.report.entries.length > 0, true);
});

t.test('OBS-004 nor one of a configuration that was refused, which is told of in words', async (t) => {
  const refused = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: shop }
spec:
  hosts: [reviews.shop.svc.cluster.local]
  http:
    - headers: { request: { set: { x-any-name: "hunter2-set\\n", authorization: "Basic hunter2" } } }
      match: [{ headers: { x-api-key: { regex: "hunter2-regex(" } } }]
      route: [{ destination: { host: reviews.shop.svc.cluster.local } }]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ratings, namespace: shop }
spec:
  hosts: [ratings.shop.svc.cluster.local]
  http: [{ timeout: ten, route: [{ destination: { host: ratings.shop.svc.cluster.local } }] }]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: { name: a, namespace: shop }
spec: { jwtRules: [{ issuer: x, jwks: hunter2-jwks }, { issuer: y, jwksUri: 'ftp://user:hunter2-url@x/y?token=hunter2-query' }] }
`;
  const told: string[] = [];
  const tell = (_: object, message: string): void => void told.push(message);
  const mesh = createMesh({
    workload,
    identity: false,
    logger: { debug: tell, info: tell, warn: tell, error: tell },
    config: {
      name: 'test',
      async run(sink) {
        const me = {
          serviceAccount: 'default',
          trustDomain: 'cluster.local',
          clusterDomain: 'cluster.local',
          ...workload,
        };
        const result = compile(parseYaml(refused, 'test.yaml').documents, { workload: me });
        if (!result.ok) sink.reject(result.problems);
      },
    },
  });
  t.teardown(() => mesh.close());
  await t.rejects(mesh.ready(1_000));
  const admin = await adminServer(mesh, { port: 0 });
  t.teardown(() => admin.close());
  const dump = (await ask(admin.port, '/config_dump')).body;
  t.match(dump, 'spec.http[0].headers.request.set.x-any-name');
  t.match(dump, 'got \\"ten\\"', 'what is no secret is shown');
  for (const path of ['/config_dump', '/healthz/ready', '/stats', '/']) {
    t.notMatch((await ask(admin.port, path)).body, 'hunter2', path);
  }
  t.notMatch(told.join('\n'), 'hunter2', 'nor in the log');
});

t.test('what is not written exactly like an endpoint is none', async (t) => {
  const { port } = await served(t);
  for (const path of [
    '/metrics/../config_dump',
    '/metrics/',
    '//metrics',
    '/%6detrics',
    '/METRICS',
    '/../../etc/passwd',
    '/__proto__',
    '/constructor',
    '/stats;x',
    'http://127.0.0.1/stats',
  ]) {
    t.equal((await ask(port, path)).status, 404, path);
  }
  t.match(await ask(port, '/metrics?x'), { status: 200 });
});

t.test('with a token everything but life, readiness and an empty page needs it', async (t) => {
  const token = 'a-token-of-some-length';
  const { port } = await served(t, { token });
  for (const path of ['/metrics', '/stats', '/config_dump', '/nothing', '/healthz/ready/', '/healthz/ready%2f']) {
    for (const authorization of [undefined, 'Bearer', `Bearer ${token}x`, `bearer ${token}`, token, `Basic ${token}`]) {
      const got = await ask(port, path, authorization === undefined ? {} : { headers: { authorization } });
      t.match(got, { status: 401, headers: { 'www-authenticate': 'Bearer' } }, `${path} ${authorization}`);
    }
    const status = path.startsWith('/healthz') || path === '/nothing' ? 404 : 200;
    t.equal((await ask(port, path, { headers: { authorization: `Bearer ${token}` } })).status, status, path);
  }
  for (const path of ['/healthz/ready', '/healthz/live', '/ready', '/']) t.equal((await ask(port, path)).status, 200);
  const mesh = await testMesh(t);
  for (const wrong of ['', 'short', 'a token with spaces in it', 'ümlaut-is-not-ascii-at-all']) {
    t.throws(() => adminHandler(mesh, { token: wrong }), TypeError, wrong);
  }
  for (const wrong of ['a b', 'http://x', '[::g]']) {
    t.throws(() => adminHandler(mesh, { allowedHosts: [wrong] }), TypeError, wrong);
  }
  t.throws(() => adminHandler(mesh, { prefix: 'mesh/' }), TypeError);
  // Without an authority of its own every certificate of a public one would do.
  for (const ca of [{}, { ca: '' }, { ca: [] }]) {
    await t.rejects(adminServer(mesh, { port: 0, tls: { requestCert: true, ...ca } }), /tls\.ca/);
  }
});

t.test('who binds it to more than this machine is warned, unless there is a token', async (t) => {
  const warnings: string[] = [];
  const listener = (warning: Error & { code?: string }): void => void warnings.push(warning.code ?? '');
  process.on('warning', listener);
  t.teardown(() => process.off('warning', listener));
  const mesh = await testMesh(t);
  await (await adminServer(mesh, { port: 0, host: '0.0.0.0', token: 'a-token-of-some-length' })).close();
  await (await adminServer(mesh, { port: 0, host: 'localhost' })).close();
  await new Promise(setImmediate);
  t.same(warnings, []);
  await (await adminServer(mesh, { port: 0, host: '0.0.0.0' })).close();
  await new Promise(setImmediate);
  t.same(warnings, ['INMESH_ADMIN_EXPOSED']);
});

t.test('metrics come in the format that is asked for', async (t) => {
  const { port } = await served(t);
  const plain = await ask(port, '/stats/prometheus');
  t.match(plain.headers['content-type'], 'text/plain; version=0.0.4');
  t.match(plain.body, /^inmesh_ready 1$/m);
  const open = await ask(port, '/metrics', { headers: { accept: 'application/openmetrics-text; version=1.0.0' } });
  t.match(open.headers['content-type'], 'application/openmetrics-text');
  t.match(open.body, /# EOF\n$/);
  const head = await ask(port, '/metrics', { method: 'HEAD' });
  t.equal(head.body, '');
  t.ok(Number(head.headers['content-length']) > 1_000);
});

t.test('clusters, listeners, certificates and figures are those of the mesh', async (t) => {
  const { mesh, port } = await served(t);
  const upstream = createServer((_, response) => response.end('ok')).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  t.teardown(() => upstream.close());
  const answer = await mesh.fetch('http://reviews.shop:9080/', { headers: { 'x-api-key': secret } });
  t.equal(answer.status, 503, 'nobody listens on port 1');
  const server = await mesh.listen((_, response) => void response.end('hello'), { port: 0, host: '127.0.0.1' });
  t.match(JSON.parse((await ask(port, '/listeners')).body), {
    listeners: [{ port: server.port, kind: 'http', mtls: 'PERMISSIVE' }],
  });
  t.match(
    (await ask(port, '/clusters')).body,
    /^outbound\|9080\|\|reviews\.shop\.svc\.cluster\.local::membership_total::1$/m,
  );
  t.match(JSON.parse((await ask(port, '/clusters?format=json')).body), {
    cluster_statuses: [
      { name: 'outbound|9080||reviews.shop.svc.cluster.local', host_statuses: [{ address: '127.0.0.1:1' }] },
    ],
  });
  t.match(JSON.parse((await ask(port, '/certs')).body), { certificates: [] });
  t.match(JSON.parse((await ask(port, '/stats')).body), { health: { ready: true }, requests: [{ requests: 1 }] });
  t.match(JSON.parse((await ask(port, '/memory')).body), { heap_size: Number });
  t.match(
    (await ask(port, '/metrics')).body,
    /^istio_requests_total\{.*destination_service="reviews\.shop\.svc\.cluster\.local".*response_code="503".*\} 1$/m,
  );
});

t.test('explain answers questions, and says what is wrong with them', async (t) => {
  const { port } = await served(t);
  const url = 'http://reviews.shop:9080/';
  t.match(JSON.parse((await ask(port, `/explain?url=${encodeURIComponent(url)}`)).body), {
    decision: 'direct',
    rule: 'VirtualService shop/reviews http[1]',
  });
  const key = `&header=${encodeURIComponent(`x-api-key: ${secret}`)}`;
  t.match((await ask(port, `/explain?url=${encodeURIComponent(url)}${key}&format=text`)).body, 'http[0]');
  const twice = await ask(port, `/explain?url=${encodeURIComponent(url)}&header=x-a:1&header=x-a:2&header=__proto__:3`);
  t.match(JSON.parse(twice.body), { rule: 'VirtualService shop/reviews http[1]' });
  const post = (body: string): Promise<Got> => ask(port, '/explain', { method: 'POST', body });
  t.match(JSON.parse((await post(JSON.stringify({ url, headers: { 'x-api-key': secret } }))).body), {
    decision: 'route',
    requestHeaders: { set: { 'x-any-name': '[redacted]' } },
  });
  t.match(JSON.parse((await post(JSON.stringify({ url: '/', direction: 'inbound', method: 'GET' }))).body), {
    direction: 'inbound',
  });
  for (const each of [`&format=text`, '', `${key}&format=text`, key]) {
    t.notMatch((await ask(port, `/explain?url=${encodeURIComponent(url)}${each}`)).body, secret, each.slice(0, 8));
  }
  for (const [body, message] of [
    ['', /JSON/],
    ['[]', /object/],
    ['{"url":7}', /url/i],
    [`{"url":"${url}","direction":"sideways"}`, /direction/],
  ] as const) {
    t.match(await post(body), { status: 400, body: message }, body);
  }
  t.match(await ask(port, '/explain'), { status: 400, body: /\?url=/ });
  t.match(await post('x'.repeat(70_000)), { status: 413 });
});

t.test('a body that nobody asked for, or that never ends, holds nothing up', async (t) => {
  const { port } = await served(t);
  const socket = connect(port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  socket.write(`GET /stats HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n`);
  const [head] = await once(socket, 'data');
  t.match(String(head), /^HTTP\/1\.1 200 .*connection: close/is);
  const chunked = connect(port, '127.0.0.1');
  t.teardown(() => chunked.destroy());
  chunked.write('POST /explain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n');
  chunked.write(`${(70_000).toString(16)}\r\n${'x'.repeat(70_000)}\r\n`);
  const [refusal] = await once(chunked, 'data');
  t.match(String(refusal), /^HTTP\/1\.1 413 /);
});

t.test('mounted under a prefix, in a server of the application', async (t) => {
  const mesh = await testMesh(t);
  const server = createServer(adminHandler(mesh, { prefix: '/mesh' })).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  t.match(await ask(port, '/mesh'), { status: 200, body: /<!doctype html>/ });
  t.match(await ask(port, '/mesh/healthz/live'), { status: 200 });
  for (const path of ['/', '/stats', '/meshstats', '/other/stats']) t.equal((await ask(port, path)).status, 404, path);
});
