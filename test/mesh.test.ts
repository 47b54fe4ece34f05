import { request as httpRequest, type IncomingMessage } from 'node:http';
import { json, text } from 'node:stream/consumers';
import t from 'tap';
import { request, fetch as undiciFetch } from 'undici';
import { causeOf, MeshError } from '../src/index.ts';
import { silentLogger } from '../src/lib/logger.ts';
import { strict, testMesh } from './support/mesh-pair.ts';

interface Seen {
  readonly peer?: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

t.test('every way of calling arrives with the identity of the caller', async (t) => {
  const net = testMesh(t);
  const [web, orders] = await Promise.all([net.join('web'), net.join('orders')]);
  await net.serve(orders, async (incoming, response) => {
    const seen: Seen = {
      peer: orders.scopeOf(incoming)?.peer?.spiffeId ?? 'nobody',
      headers: incoming.headers as Record<string, string>,
      body: await text(incoming),
    };
    response.end(JSON.stringify(seen));
  });
  const { dispatcher } = web;
  const ways: Record<string, (url: string) => Promise<unknown>> = {
    'mesh.fetch': async (url) => (await web.fetch(url, { method: 'POST', body: 'x' })).json(),
    'mesh.fetch with a Request': async (url) =>
      (await web.fetch(new Request(url, { method: 'PUT', body: 'x' }))).json(),
    'undici.request': async (url) => (await request(url, { dispatcher, method: 'POST', body: 'x' })).body.json(),
    'undici.fetch': async (url) => (await undiciFetch(url, { dispatcher, method: 'POST', body: 'x' })).json(),
    'global fetch with the dispatcher': async (url) =>
      (await fetch(url, { dispatcher, method: 'POST', body: 'x' } as unknown as RequestInit)).json(),
    'http.request with the agent': (url) =>
      new Promise((resolve, reject) => {
        httpRequest(url, { agent: web.agent, method: 'POST' }, (response: IncomingMessage) => resolve(json(response)))
          .on('error', reject)
          .end('x');
      }),
  };
  for (const [name, call] of Object.entries(ways)) {
    for (const host of ['orders', 'orders.shop', 'orders.shop.svc.cluster.local']) {
      const seen = (await call(`http://${host}/o/1?x=2`)) as Seen;
      t.equal(seen.peer, 'spiffe://cluster.local/ns/shop/sa/web', `${name} to ${host}`);
      t.equal(seen.body, 'x', name);
      t.equal(seen.headers['host'], host);
      t.match(seen.headers['x-request-id'], /^[0-9a-f-]{36}$/);
    }
  }
});

t.test('a caller without certificate, and one of another authority, get nothing', async (t) => {
  const net = testMesh(t);
  const orders = await net.join('orders');
  const port = await net.serve(orders, (_request, response) => void response.end('secret'));
  await t.rejects(fetch(`http://127.0.0.1:${port}/`));
  const stranger = await testMesh(t).join('stranger', { config: net.folder, onFailure: 'throw' });
  const failure = await stranger.fetch('http://orders/').then(
    () => undefined,
    (error: unknown) => causeOf(error),
  );
  // The stranger is the first to notice: it does not know the root of the server either.
  t.equal(failure?.code, 'ERR_MESH_TLS_FAILED');
});

t.test('the server must prove to be the service', async (t) => {
  const net = testMesh(t);
  const [web, orders] = await Promise.all([net.join('web'), net.join('orders')]);
  const port = await net.serve(orders, (_request, response) => void response.end('ok'));
  const changed = new Promise<void>((resolve) => void web.on('config', () => resolve()));
  net.write(
    'payments.yaml',
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: payments, namespace: shop}
spec:
  hosts: [payments.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}, serviceAccount: payments}]
`,
  );
  await changed;
  const answer = await web.fetch('http://payments/');
  t.equal(answer.status, 503);
  t.equal(answer.headers.get('x-inmesh-error'), 'ERR_MESH_PEER_IDENTITY');
  const said = await answer.text();
  t.match(said, 'must be spiffe://cluster.local/ns/shop/sa/payments');
  t.match(said, 'is spiffe://cluster.local/ns/shop/sa/orders');
});

t.test('an endpoint must prove its own account, another one of the same service will not do', async (t) => {
  const net = testMesh(t);
  const [web, orders] = await Promise.all([net.join('web'), net.join('orders')]);
  const port = await net.serve(orders, (_request, response) => void response.end('ok'));
  const changed = new Promise<void>((resolve) => void web.on('config', () => resolve()));
  net.write(
    'both.yaml',
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: both, namespace: shop}
spec:
  hosts: [both.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
  - {address: 127.0.0.1, ports: {http: ${port}}, serviceAccount: payments}
  - {address: 127.0.0.2, ports: {http: 1}, serviceAccount: orders}
`,
  );
  await changed;
  const seen = new Set<string | null>();
  for (let i = 0; i < 8; i++) seen.add((await web.fetch('http://both/')).headers.get('x-inmesh-error'));
  t.notOk(seen.has(null), 'never an answer of orders in the place of payments');
});

t.test('request id, trace and deadline travel through a service that does nothing for it', async (t) => {
  const net = testMesh(t, strict.replace('STRICT', 'PERMISSIVE'));
  const [web, orders] = await Promise.all([net.join('web'), net.join('orders')]);
  await net.serve(orders, (incoming, response) => void response.end(JSON.stringify(incoming.headers)));
  const { port } = await web.listen(async (_request, response) => {
    response.end(await (await web.fetch('http://orders/')).text());
  }, 0);
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const headers = {
    'x-request-id': 'from-the-edge',
    traceparent,
    b3: '80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1',
    'x-envoy-expected-rq-timeout-ms': '5000',
  };
  const seen = (await (await fetch(`http://127.0.0.1:${port}/`, { headers })).json()) as Record<string, string>;
  t.equal(seen['x-request-id'], 'from-the-edge');
  t.equal(seen['traceparent'], traceparent);
  t.equal(seen['b3'], headers.b3);
  const remaining = Number(seen['x-envoy-expected-rq-timeout-ms']);
  t.ok(remaining > 0 && remaining < 5_000, `${remaining} ms are left`);
});

t.test('bad configuration is told by file, line and field, and the last good one stays', async (t) => {
  const net = testMesh(t);
  const [web, orders] = await Promise.all([net.join('web'), net.join('orders')]);
  await net.serve(orders, (_request, response) => void response.end('ok'));
  const rejected = new Promise<readonly object[]>((resolve) => {
    web.on('config-rejected', ({ problems }) => resolve(problems));
  });
  net.write(
    'routes.yaml',
    `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders, namespace: shop}
spec:
  hosts: [orders]
  http:
  - timeout: soon
    route: [{destination: {host: orders}}]
`,
  );
  const [problem] = await rejected;
  t.match(problem, { field: 'spec.http[0].timeout', value: '"soon"', at: { name: 'orders', line: 7 } });
  t.match(
    web.log.messages('error').join('\n'),
    /routes\.yaml:7:14: VirtualService shop\/orders: spec\.http\[0\]\.timeout/,
  );
  t.equal((await web.fetch('http://orders/')).status, 200);
});

t.test('a host outside of the mesh passes, or is refused when the registry is all there is', async (t) => {
  const net = testMesh(t, strict.replace('STRICT', 'PERMISSIVE'));
  const [open, closed] = await Promise.all([net.join('open'), net.join('closed', { outboundPolicy: 'REGISTRY_ONLY' })]);
  const { port } = await open.listen((incoming, response) => {
    response.end(JSON.stringify(incoming.rawHeaders.map((name) => name.toLowerCase())));
  }, 0);
  const passed = await open.fetch(`http://127.0.0.1:${port}/`);
  t.equal(passed.status, 200);
  const refused = await closed.fetch(`http://127.0.0.1:${port}/`);
  t.equal(refused.status, 502);
  t.equal(refused.headers.get('x-inmesh-error'), 'ERR_MESH_HOST_UNKNOWN');
});

t.test('failures are answers of a sidecar, or errors where asked for', async (t) => {
  const net = testMesh(t);
  const [answers, throws] = await Promise.all([net.join('a'), net.join('b', { onFailure: 'throw' })]);
  const changed = Promise.all(
    [answers, throws].map((mesh) => new Promise<void>((resolve) => void mesh.on('config', () => resolve()))),
  );
  net.write(
    'nobody.yaml',
    `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: nobody, namespace: shop}
spec:
  hosts: [nobody.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: nobody}}
`,
  );
  await changed;
  const answer = await answers.fetch('http://nobody/');
  t.equal(answer.status, 503);
  t.equal(answer.headers.get('x-inmesh-error'), 'ERR_MESH_NO_HEALTHY_ENDPOINT');
  await t.rejects(request('http://nobody/', { dispatcher: throws.dispatcher }), {
    code: 'ERR_MESH_NO_HEALTHY_ENDPOINT',
    flag: 'UH',
  });
  const { requests } = answers.stats();
  const failed = requests.find(({ labels }) => labels.destinationService === 'nobody.shop.svc.cluster.local');
  t.match(failed, { requests: 1, statuses: { 503: 1 }, flags: { UH: 1 } });
});

t.test('options that are wrong are refused at once, by name', async (t) => {
  const { createMesh } = await import('../src/index.ts');
  t.throws(() => createMesh({ onFailure: 'maybe' as 'throw' }), { code: 'ERR_MESH_OPTION_INVALID' });
  t.throws(() => createMesh({ confg: './mesh' } as object), /confg/);
  t.ok(new MeshError('ERR_MESH_CLOSED', 'x') instanceof Error);
});

t.test('arguments that are wrong are refused at once, by name', async (t) => {
  const { createMesh } = await import('../src/index.ts');
  // Of a folder that is not there: what is wrong is said without waiting for it.
  const mesh = createMesh({ config: 'not-there', identity: false, logger: silentLogger });
  t.teardown(() => mesh.close());
  const rows: readonly (readonly [unknown, RegExp])[] = [
    ['4001', /^listen: port: must be a whole number from 0 .* to 65535, got "4001"$/],
    [Number.NaN, /^listen: port: .*, got NaN$/],
    [null, /^listen: port: .*, got null$/],
    [{ port: 65_536 }, /^listen: port: .*, got 65536$/],
    [{ port: '80' }, /^listen: port: .*, got "80"$/],
    [{ port: 0, hostname: '127.0.0.1' }, /^listen: hostname: is not a known option; known: port, host, grpc$/],
    [{ host: '' }, /^listen: host: must be an address .*, got ""$/],
    [{ host: 127 }, /^listen: host: .*, got 127$/],
  ];
  for (const [given, message] of rows) {
    const problem = { code: 'ERR_MESH_OPTION_INVALID', message };
    await t.rejects(
      mesh.listen(() => {}, given as number),
      problem,
    );
    await t.rejects(
      mesh.listenTcp(() => {}, given as number),
      problem,
    );
  }
  const invalid = (message: RegExp) => ({ code: 'ERR_MESH_OPTION_INVALID', message });
  const places: readonly (readonly [unknown, RegExp])[] = [
    [undefined, /^connect: must be given \{ host, port \}, got undefined$/],
    [{}, /^connect: host: must be a name, got undefined$/],
    [{ host: 'db', port: '5432' }, /^connect: port: must be .* 1 to 65535, got "5432"$/],
    [{ host: 'db' }, /^connect: port: .*, got undefined$/],
    [{ host: 'db', port: 1, tls: 1 }, /^connect: tls: must be true, false or the name to verify, got 1$/],
    [{ host: 'db', port: 1, tsl: true }, /^connect: tsl: is not a known option; known: host, port, tls, signal$/],
  ];
  for (const [given, message] of places) await t.rejects(mesh.connect(given as never), invalid(message));
  t.throws(
    () => mesh.explain({ direction: 'in' } as never),
    invalid(/^explain: direction: must be outbound or inbound, got "in"$/),
  );
  await t.rejects(mesh.listenTcp(undefined as never), invalid(/^listenTcp: handler: must be a function/));
  await t.rejects(mesh.ready('5s' as never), invalid(/^ready: timeoutMs: .*, got "5s"$/));
  await t.rejects(mesh.ready(Number.NaN), invalid(/, got NaN$/));
  t.throws(() => mesh.on('config-reject' as 'config', () => {}), invalid(/^on: config-reject: .*config-rejected\?$/));
  t.throws(() => mesh.on('config', undefined as never), invalid(/^on: listener of config: must be a function/));
});
