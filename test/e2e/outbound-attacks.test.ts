// Attacks that come by way of what this process calls, and loads that it must not make: by identifier.
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import { request } from 'undici';
import type { MeshOptions } from '../../src/mesh-api.ts';
import { callOf } from '../../src/pipeline/server-call.ts';
import { Lab, type LabMesh } from '../chaos/lab.ts';
import { load, within } from '../chaos/load.ts';
import { type MutualLab, mutualLab } from '../chaos/mutual.ts';
import { noRetries, serviceResources } from '../chaos/resources.ts';
import { answer, httpServer, type LabServer, rawServer, refusingPort } from '../chaos/servers.ts';
import { keyPem, makeCertificate, makeKey, toPem } from '../support/certificates.ts';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { filesOf, root } from '../support/source-files.ts';

/** An attack of the catalogue. */
function attack(id: string, title: string, run: (lab: Lab, t: Test) => Promise<void>): void {
  t.test(`${id} ${title}`, async (t) => {
    const lab = new Lab('quick');
    t.teardown(() => lab.close());
    await run(lab, t);
  });
}

const eagerly = { attempts: 3, retryOn: '5xx,reset,connect-failure,retriable-4xx' };

/** One call; its status, headers and text. */
async function call(mesh: Pick<LabMesh, 'dispatcher'>, url: string, options: object = {}) {
  const reply = await request(url, { dispatcher: mesh.dispatcher, ...options });
  return { status: reply.statusCode, headers: reply.headers, text: await reply.body.text() };
}

/** A service `shop` that is mutual TLS whatever happens, and who called it. */
async function mutualShop(lab: Lab, setup: object = {}) {
  const mutual: MutualLab = mutualLab(lab);
  const callers: (string | undefined)[] = [];
  const port = await mutual.serve('shop', (incoming, outgoing) => {
    callers.push(callOf(incoming)?.peer?.spiffeId);
    outgoing.end(JSON.stringify({ headers: incoming.headers, url: incoming.url }));
  });
  const policy = { tls: { mode: 'ISTIO_MUTUAL' } };
  const mesh = await mutual.mesh({ endpoints: [mutual.place(port)], policy, ...setup });
  return { mutual, mesh, callers, port };
}

const web = 'spiffe://cluster.local/ns/shop/sa/web';

attack('ABUSE-002', 'only what provably never arrived is sent again, if it is not idempotent', async (lab, t) => {
  const good = await httpServer(lab);
  let arrived = 0;
  const resets = await rawServer(lab, (socket) => {
    socket.once('data', () => {
      arrived++;
      socket.resetAndDestroy();
    });
  });
  const after = await lab.mesh({ endpoints: [resets.port] });
  t.equal((await call(after, 'http://shop/', { method: 'POST', body: 'once' })).status, 503);
  t.equal(arrived, 1, 'a reset after it was sent');
  const before = await lab.mesh({ endpoints: [await refusingPort(), good.port] });
  for (let i = 0; i < 4; i++)
    t.equal((await call(before, 'http://shop/', { method: 'POST', body: 'once' })).status, 200);
  t.equal(good.seen.heads, 4, 'a connection that was refused');
});

attack('ABUSE-003', 'a body that was consumed is not sent again', async (lab, t) => {
  const bodies: number[] = [];
  const server = await httpServer(lab, (incoming, outgoing) => {
    let received = 0;
    incoming.on('data', (chunk: Buffer) => void (received += chunk.length));
    incoming.on('end', () => {
      bodies.push(received);
      outgoing.writeHead(503).end();
    });
  });
  const mesh = await lab.mesh({ endpoints: [server.port], retries: eagerly });
  const stream = Readable.from([Buffer.alloc(500_000), Buffer.alloc(500_000)]);
  t.equal((await call(mesh, 'http://shop/', { method: 'PUT', body: stream })).status, 503);
  t.same(bodies, [1_000_000]);
  const web = new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(1_000_000));
      controller.close();
    },
  });
  const init = { method: 'PUT', body: web, duplex: 'half' } as unknown as RequestInit;
  t.equal((await mesh.fetch('http://shop/', init)).status, 503);
  t.same(bodies, [1_000_000, 1_000_000], 'never a second, shorter one');
});

attack('ABUSE-004', 'Retry-After cannot make a call wait for ever', async (lab, t) => {
  for (const value of ['9999999', '-1', 'Thu, 01 Jan 1970 00:00:00 GMT', 'soon', '1e999', '']) {
    const server = await httpServer(lab, answer(503, { 'retry-after': value }));
    const mesh = await lab.mesh({ endpoints: [server.port], retries: eagerly, timeout: '2s' });
    const from = performance.now();
    const { status } = await call(mesh, 'http://shop/');
    t.ok(status === 503 || status === 504, `${value}: ${status}`);
    t.ok(performance.now() - from < 10_000, `${value}: no longer than the deadline`);
    t.ok(server.seen.heads <= 4, `${value}: ${server.seen.heads} tries`);
  }
});

attack('ABUSE-006', '401 and 403 are not retried', async (lab, t) => {
  for (const status of [401, 403]) {
    const server = await httpServer(lab, answer(status));
    const mesh = await lab.mesh({ endpoints: [server.port], retries: eagerly });
    t.equal((await call(mesh, 'http://shop/')).status, status);
    t.equal(server.seen.heads, 1);
  }
});

attack('ABUSE-011', 'strangers cannot ask for faults', async (lab, t) => {
  const server = await httpServer(lab);
  const fault = { abort: { percentage: { value: 100 }, httpStatus: 500 } };
  const match = { match: [{ headers: { 'x-test-user': { exact: 'the tester' } } }] };
  const mesh = await lab.mesh({ endpoints: [server.port], route: { ...match, fault } });
  const plain = await lab.mesh({ endpoints: [server.port] });
  const headers = {
    'x-test-user': '1',
    'x-envoy-fault-abort-request': '503',
    'x-envoy-fault-abort-request-percentage': '100',
    'x-envoy-fault-delay-request': '100000',
  };
  t.not((await call(mesh, 'http://shop/', { headers })).status, 500, 'the rule is for the tester');
  t.equal((await call(plain, 'http://shop/', { headers })).status, 200, 'headers alone do nothing');
});

/** `shop` with a mirror, and both servers. */
async function mirrored(
  lab: Lab,
  shadow: LabServer,
  shop: LabServer,
  more: object = {},
  options: MeshOptions = {},
): Promise<LabMesh> {
  const mirrors = [{ destination: { host: 'shadow.shop.svc.cluster.local' } }];
  return lab.mesh(
    {
      endpoints: [shop.port],
      retries: noRetries,
      route: { mirrors },
      more: serviceResources({ name: 'shadow', endpoints: [shadow.port], ...more }),
    },
    options,
  );
}

attack('ABUSE-013', 'a copy says that it is one', async (lab, t) => {
  const hosts: (string | undefined)[] = [];
  const shadow = await httpServer(lab, (incoming, outgoing) => {
    hosts.push(incoming.headers.host);
    outgoing.end();
  });
  const mesh = await mirrored(lab, shadow, await httpServer(lab));
  await call(mesh, 'http://shop/');
  t.ok(await within(10_000, () => hosts.length === 1));
  t.same(hosts, ['shop-shadow']);
});

const credentials = { authorization: 'Bearer x', cookie: 'a=1', 'proxy-authorization': 'Basic eA==', 'x-other': 'y' };

attack('ABUSE-013', 'copies carry no credentials to other trust domains, unless that is wanted', async (lab, t) => {
  const cases = [
    { name: 'a partner', identities: ['spiffe://partner.example/ns/a/sa/b'], carried: false },
    { name: 'the own trust domain', identities: ['spiffe://cluster.local/ns/a/sa/b'], carried: true },
    { name: 'nothing is known', identities: [], carried: true },
    { name: 'a partner, wanted', identities: ['spiffe://partner.example/ns/a/sa/b'], carried: true, all: true },
  ] as const;
  for (const { carried, identities, name, ...rest } of cases) {
    const seen: IncomingHttpHeaders[] = [];
    const shadow = await httpServer(lab, (incoming, outgoing) => {
      seen.push(incoming.headers);
      outgoing.end();
    });
    const shop = await httpServer(lab);
    const options: MeshOptions = 'all' in rest ? { mirrorCredentials: 'all' } : {};
    const mesh = await mirrored(lab, shadow, shop, { identities }, options);
    await call(mesh, 'http://shop/', { headers: credentials });
    t.ok(await within(10_000, () => seen.length === 1), name);
    const names = Object.keys(credentials).filter((each) => each !== 'x-other' && seen[0]?.[each] !== undefined);
    t.equal(names.length, carried ? 3 : 0, name);
    t.equal(seen[0]?.['x-other'], 'y', name);
  }
});

attack('ABUSE-014', 'a copy is not copied again', async (lab, t) => {
  const [shop, shadow] = [await httpServer(lab), await httpServer(lab)];
  // The mirror of the mirror is the service itself.
  const back = { route: { mirrors: [{ destination: { host: 'shop.shop.svc.cluster.local' } }] } };
  const mesh = await mirrored(lab, shadow, shop, back);
  await load(mesh, { count: 20 });
  t.ok(await within(10_000, () => shadow.seen.whole === 20));
  await within(100, () => shop.seen.heads > 20);
  t.same([shop.seen.heads, shadow.seen.heads], [20, 20]);
});

attack('ABUSE-015', 'nothing of the answer to a copy reaches the caller', async (lab, t) => {
  let cut = 0;
  const shadow = await httpServer(lab, (_, outgoing) => {
    outgoing.writeHead(500, { 'set-cookie': 'session=stolen' });
    const chunk = Buffer.alloc(16_384, 'x');
    const more = (): void => {
      while (!outgoing.destroyed && outgoing.write(chunk));
    };
    outgoing.on('drain', more).on('close', () => cut++);
    more();
  });
  const mesh = await mirrored(lab, shadow, await httpServer(lab, (_, outgoing) => void outgoing.end('good')));
  const { headers, status, text } = await call(mesh, 'http://shop/');
  t.same([status, text, headers['set-cookie']], [200, 'good', undefined]);
  t.ok(await within(10_000, () => cut === 1), 'an answer without end is cut off');
});

attack('ABUSE-016', 'a forged cookie only chooses among healthy endpoints', async (lab, t) => {
  const servers = [await httpServer(lab), await httpServer(lab), await httpServer(lab, answer(500))];
  const mesh = await lab.mesh({
    endpoints: servers.map(({ port }) => port),
    retries: noRetries,
    policy: {
      loadBalancer: { consistentHash: { httpCookie: { name: 'mesh', ttl: '0s' } } },
      outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 50, baseEjectionTime: '300s' },
    },
  });
  await load(mesh, { count: 60, concurrency: 1 });
  const ejected = servers[2]?.seen.heads;
  const forged = ['AAAA', '', '"', '%00', '../../etc/passwd', '127.0.0.1:1', 'x'.repeat(4_000)];
  for (const value of forged) {
    const { status } = await call(mesh, 'http://shop/', { headers: { cookie: `mesh=${value}` } });
    t.equal(status, 200, value.slice(0, 20));
  }
  t.equal(servers[2]?.seen.heads, ejected, 'nobody chooses an endpoint that is out');
});

attack('ABUSE-017', 'a flood with one key does not end at one endpoint', async (lab, t) => {
  let release = (): void => {};
  const released = new Promise<void>((resolve) => (release = resolve));
  const servers: LabServer[] = [];
  for (let i = 0; i < 3; i++)
    servers.push(await httpServer(lab, (_, outgoing) => void released.then(() => outgoing.end())));
  const mesh = await lab.mesh({
    endpoints: servers.map(({ port }) => port),
    policy: { loadBalancer: { consistentHash: { httpHeaderName: 'x-key' } } },
    annotations: { 'inmesh.dev/hash-balance-factor': '150' },
  });
  const flood = load(mesh, { count: 60, concurrency: 60, headers: { 'x-key': 'the same' } });
  t.ok(await within(20_000, () => servers.reduce((sum, { seen }) => sum + seen.heads, 0) === 60));
  const most = Math.max(...servers.map(({ seen }) => seen.heads));
  t.ok(most <= 31, `${most} of 60 at one endpoint; half more than its share is 30`);
  release();
  t.equal((await flood).failures, 0);
});

attack('ABUSE-019', 'calls beyond the limit are told so', async (lab, t) => {
  const server = await httpServer(lab, () => {});
  const policy = { connectionPool: { http: { http2MaxRequests: 2 } } };
  const mesh = await lab.mesh({ endpoints: [server.port], retries: noRetries, policy });
  const stop = new AbortController();
  const held = [1, 2].map(() => call(mesh, 'http://shop/', { signal: stop.signal }).catch(() => {}));
  await within(10_000, () => server.seen.heads === 2);
  const { headers, status } = await call(mesh, 'http://shop/');
  t.same([status, headers['x-inmesh-error'], headers['x-envoy-overloaded']], [503, 'ERR_MESH_OVERFLOW', 'true']);
  stop.abort();
  await Promise.all(held);
});

attack('ABUSE-020', 'a forged deadline may only shorten', async (lab, t) => {
  let handled = 0;
  const mutual = mutualLab(lab);
  const served = await mutual.serve('shop', (_, outgoing) => {
    handled++;
    outgoing.end('done');
  });
  const mesh = await mutual.mesh({ endpoints: [mutual.place(served)], timeout: '5s' });
  const ask = async (headers: Record<string, string>) => (await call(mesh, 'http://shop/', { headers })).status;
  t.equal(await ask({ 'x-mesh-deadline': '1e99' }), 200, 'a header of nobody');
  t.equal(await ask({ 'x-envoy-expected-rq-timeout-ms': '1e99' }), 200);
  t.equal(await ask({ 'x-envoy-expected-rq-timeout-ms': '99999999999999' }), 200);
  t.equal(handled, 3);
  t.equal(await ask({ 'grpc-timeout': '0n' }), 504, 'none is left');
  t.equal(handled, 3, 'the handler did not run');
});

attack('OUT-001', 'another origin learns nothing from a redirect of a service', async (lab, t) => {
  const seen: object[] = [];
  const stranger = await httpServer(lab, (incoming, outgoing) => {
    seen.push(incoming.headers);
    outgoing.end('stranger');
  });
  const mutual = mutualLab(lab);
  const shop = await mutual.serve(
    'shop',
    (_, outgoing) => void outgoing.writeHead(302, { location: 'http://stranger/' }).end(),
  );
  const mesh = await mutual.mesh({
    endpoints: [mutual.place(shop)],
    more: serviceResources({ name: 'stranger', endpoints: [stranger.port] }),
  });
  const secrets = { authorization: 'Bearer x', cookie: 'a=1', baggage: 'user=jason', 'x-api-key': 'k' };
  const forwarded = { 'x-forwarded-client-cert': `URI=${web}`, 'x-jwt-claim-sub': 'jason' };
  const reply = await mesh.fetch('http://shop/', { headers: { ...secrets, ...forwarded } });
  t.equal(await reply.text(), 'stranger');
  for (const name of Object.keys({ ...secrets, ...forwarded })) t.notOk(name in (seen[0] as object), name);
});

attack('OUT-002 OUT-003', 'redirects to plaintext, to the machine and to link-local addresses', async (lab, t) => {
  for (const location of ['http://169.254.169.254/latest/', 'http://127.0.0.1:8080/', 'http://localhost/']) {
    const shop = await httpServer(lab, (_, outgoing) => void outgoing.writeHead(302, { location }).end());
    const mesh = await lab.mesh({ endpoints: [shop.port] });
    const error = await mesh.fetch('http://shop/').catch((reason: Error) => reason);
    t.match(error, { cause: { code: 'ERR_MESH_UNSUPPORTED' } }, location);
  }
});

attack('OUT-004', 'proxy variables of the environment are for others', async (lab, t) => {
  const proxy = await httpServer(lab);
  const names = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'NODE_USE_ENV_PROXY'];
  const before = names.map((name) => process.env[name]);
  t.teardown(() => {
    for (const [i, name] of names.entries()) {
      if (before[i] === undefined) delete process.env[name];
      else process.env[name] = before[i];
    }
  });
  for (const name of names) process.env[name] = name.endsWith('_ENV_PROXY') ? '1' : `http://127.0.0.1:${proxy.port}`;
  const { callers, mesh } = await mutualShop(lab);
  t.equal((await call(mesh, 'http://shop/')).status, 200);
  t.equal((await mesh.fetch('http://shop/')).status, 200);
  t.same(callers, [web, web]);
  t.equal(proxy.seen.heads, 0);
});

attack('OUT-005', 'a connection goes to an address that was resolved and checked', async (lab, t) => {
  const good = await httpServer(lab);
  const evil = await httpServer(lab, undefined, { host: '127.0.0.66', port: good.port });
  const shop = cluster('shop', [], {
    discovery: { kind: 'dns', endpoints: [endpoint(good.port, { address: 'shop.example.com' })] },
  });
  let asked = 0;
  const made = testClient(snapshot({ shop: [route(shop.name)] }, [shop]), {
    clock: fakeClock(),
    // Another answer for everybody who asks again before the time to live is over.
    resolve: async () => [asked++ === 0 ? '127.0.0.1' : '127.0.0.66'],
  });
  lab.teardown(() => made.close());
  await load(made, { count: 30, headers: { connection: 'close' } });
  t.same([asked, good.seen.heads, evil.seen.heads], [1, 30, 0]);
});

attack('OUT-006', 'a name before an @ is no service', async (lab, t) => {
  const stranger = await httpServer(
    lab,
    (incoming, outgoing) => void outgoing.end(`stranger ${incoming.headers.host}`),
  );
  const { callers, mesh } = await mutualShop(lab);
  const url = `http://shop@127.0.0.1:${stranger.port}/`;
  const { text } = await call(mesh, url);
  t.equal(text, `stranger 127.0.0.1:${stranger.port}`);
  t.same(callers, []);
});

attack('OUT-007', 'a service by every spelling of its name is the same, with mutual TLS', async (lab, t) => {
  const { callers, mesh } = await mutualShop(lab);
  const spellings = [
    'http://SHOP/',
    'http://shop./',
    'http://Shop.shop.svc.cluster.LOCAL/',
    'http://shop.shop.svc.cluster.local./',
    'http://shop.shop/',
    'http://shop:80/',
    'http://%73hop/',
    'http://ｓｈｏｐ/',
  ];
  for (const url of spellings) t.equal((await mesh.fetch(url)).status, 200, url);
  t.same(callers, Array(spellings.length).fill(web));
});

attack('OUT-008', 'a port that the service does not have is unknown', async (lab, t) => {
  const { mutual, callers, port } = await mutualShop(lab);
  const registryOnly = {
    apiVersion: 'networking.istio.io/v1',
    kind: 'Sidecar',
    metadata: { name: 'default', namespace: 'shop' },
    spec: { outboundTrafficPolicy: { mode: 'REGISTRY_ONLY' } },
  };
  const mesh = await mutual.mesh({ endpoints: [mutual.place(port)], more: [registryOnly] });
  for (const url of ['http://shop:9999/', `http://shop:${port}/`, 'http://unknown.example/']) {
    const { headers, status } = await call(mesh, url);
    t.same([status, headers['x-inmesh-error']], [502, 'ERR_MESH_HOST_UNKNOWN'], url);
  }
  t.same(callers, []);
});

attack('OUT-009', 'hosts outside of the mesh never see its certificate', async (lab, t) => {
  const key = makeKey();
  const certificate = makeCertificate(key, { name: 'outside', sans: [{ ip: [127, 0, 0, 1] }] });
  const shown: unknown[] = [];
  const server = createHttps(
    { cert: toPem(certificate), key: keyPem(key), requestCert: true, rejectUnauthorized: false },
    (_, outgoing) => void outgoing.end(),
  );
  server.on('secureConnection', (socket) => shown.push(socket.getPeerCertificate()));
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  lab.teardown(() => server.close());
  const roots = getCACertificates('default');
  lab.teardown(() => setDefaultCACertificates(roots));
  setDefaultCACertificates([...roots, toPem(certificate)]);
  const { mesh } = await mutualShop(lab);
  const { port } = server.address() as AddressInfo;
  t.equal((await call(mesh, `https://127.0.0.1:${port}/`)).status, 200);
  t.same(shown, [{}], 'without a certificate');
});

attack('OUT-010', 'who sends our headers back to us is still who its socket says', async (lab, t) => {
  const { mesh } = await mutualShop(lab);
  const headers = { 'x-forwarded-client-cert': 'By=a;URI=spiffe://cluster.local/ns/shop/sa/admin' };
  const { text } = await call(mesh, 'http://shop/', { headers });
  const seen = (JSON.parse(text) as { headers: Record<string, string> }).headers;
  t.match(seen['x-forwarded-client-cert'], `URI=${web}`);
  t.notMatch(seen['x-forwarded-client-cert'], 'admin');
});

attack('IDH-008', 'a request does not change how the calls that it causes are tried', async (lab, t) => {
  const upstream = await httpServer(lab, answer(503));
  const mesh = await lab.mesh({ endpoints: [upstream.port], retries: noRetries });
  const front = await mesh.listen(
    async (_, outgoing) => void outgoing.end(String((await mesh.fetch('http://shop/')).status)),
    { host: '127.0.0.1' },
  );
  const headers = {
    'x-envoy-max-retries': '100',
    'x-envoy-retry-on': '5xx',
    'x-envoy-retry-grpc-on': 'unavailable',
    'x-envoy-upstream-rq-timeout-ms': '3600000',
    'x-envoy-upstream-rq-per-try-timeout-ms': '1',
    'x-envoy-hedge-on-per-try-timeout': 'true',
  };
  const reply = await request(`http://127.0.0.1:${front.port}/`, { headers });
  t.equal(await reply.body.text(), '503');
  t.equal(upstream.seen.heads, 1);
});

attack('OUT-012', 'a flood of response headers ends the call, not the process', async (lab, t) => {
  for (const [name, head] of [
    ['2,000 headers', Array.from({ length: 2_000 }, (_, i) => `x-header-${i}: ${'v'.repeat(20)}\r\n`).join('')],
    ['one of 1 MiB', `x-large: ${'v'.repeat(2 ** 20)}\r\n`],
  ] as const) {
    const server = await rawServer(lab, (socket) => {
      socket.once('data', () => socket.write(`HTTP/1.1 200 OK\r\n${head}content-length: 0\r\n\r\n`));
    });
    const mesh = await lab.mesh({ endpoints: [server.port], retries: noRetries });
    const { headers, status } = await call(mesh, 'http://shop/');
    t.ok(status >= 500 && headers['x-inmesh-error'] !== undefined, `${name}: ${status} ${headers['x-inmesh-error']}`);
  }
});

attack('OUT-013', 'chance that protects something is not Math.random', async (_, t) => {
  const asking = filesOf('src/**/*.ts', 'packages/*/src/**/*.ts').filter((path) =>
    /Math\.random\(/.test(readFileSync(`${root}${path}`, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/ .*/g, '')),
  );
  t.same(asking, []);
  const { randomUuid } = await import('../../src/lib/uuid.ts');
  const many = new Set(Array.from({ length: 10_000 }, randomUuid));
  t.equal(many.size, 10_000);
  t.match(readFileSync(`${root}src/lib/uuid.ts`, 'utf8'), /node:crypto/);
});

attack('OUT-014', 'handshakes that fail leave nothing behind', async (lab, t) => {
  const mutual = mutualLab(lab);
  const stranger = await mutual.serve('stranger', (_, outgoing) => void outgoing.end());
  const mesh = await mutual.mesh({ endpoints: [mutual.place(stranger)], retries: noRetries });
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const heap = (): number => {
    for (let i = 0; i < 3; i++) collect();
    return process.memoryUsage().heapUsed / 2 ** 20;
  };
  await load(mesh, { count: 100 });
  const before = heap();
  const tally = await load(mesh, { count: 400 });
  t.same(tally.outcomes, { '503 ERR_MESH_PEER_IDENTITY': 400 });
  const grown = heap() - before;
  t.ok(grown < 8, `the heap grew by ${grown.toFixed(1)} MiB`);
});
