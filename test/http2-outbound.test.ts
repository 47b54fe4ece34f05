import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { request, upgrade } from 'undici';
import { currentScope } from '../src/pipeline/scope.ts';
import { type FrameConnection, frameServer } from './support/http2-frames.ts';
import { http2Upstream } from './support/http2-upstream.ts';
import { strict, testMesh } from './support/mesh-pair.ts';
import { modelMesh, ways } from './support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { until, upstream } from './support/upstream.ts';

const noRetries = { attempts: 0, retryOn: [], retriableStatusCodes: [], backoffBaseMs: 1 } as const;

/** A mesh whose service `reviews` speaks HTTP/2 at these ports; without retries. */
function meshTo(t: Test, ports: readonly number[], changes: Parameters<typeof cluster>[2] = { http2: 'always' }) {
  const reviews = cluster(
    'reviews',
    ports.map((port) => endpoint(port)),
    changes,
  );
  return modelMesh(t, snapshot({ reviews: [route(reviews.name, { retry: noRetries })] }, [reviews]));
}

for (const name of ['mesh.dispatcher', 'mesh.fetch'] as const) {
  t.test(`${name} speaks HTTP/2 with prior knowledge to a cluster of HTTP/2`, async (t) => {
    const server = await http2Upstream(t, async (stream, headers) => {
      stream.respond({ ':status': 201, 'x-path': headers[':path'], 'content-type': 'text/plain' });
      stream.end(`got ${await text(stream)}`);
    });
    const mesh = await meshTo(t, [server.port]);
    const answer = await ways[name]?.(mesh, 'http://reviews/1', { method: 'POST', body: 'pears', headers: { a: 'b' } });
    t.match(answer, { status: 201, text: 'got pears', headers: { 'x-path': '/1' } });
    t.match(server.seen[0], { ':authority': 'reviews', a: 'b', 'x-envoy-attempt-count': undefined });
    await Promise.all(Array.from({ length: 20 }, () => ways[name]?.(mesh, 'http://reviews/')));
    t.equal(server.sessions.length, 1);
  });
}

t.test(
  'requests that a GOAWAY left out are sent again, whatever their method, and count as no try (EP-12)',
  async (t) => {
    const server = await frameServer(t, (connection, stream) => {
      if (connection.number > 2) connection.answer(stream, `${connection.number}`);
      else if (connection.streams.length === 3) connection.goAway(0);
    });
    const mesh = await meshTo(t, [server.port]);
    const post = () => request('http://reviews/', { dispatcher: mesh.dispatcher, method: 'POST', body: 'x' });
    const answers = await Promise.all([post(), post(), post()]);
    t.same(
      answers.map(({ statusCode }) => statusCode),
      [200, 200, 200],
    );
    t.equal(server.accepted(), 3);

    const consumed = await frameServer(t, (connection) => connection.goAway(0));
    const other = await meshTo(t, [consumed.port]);
    const once = await request('http://reviews/', {
      dispatcher: other.dispatcher,
      method: 'POST',
      body: Readable.from(['half']),
    });
    t.equal(once.headers['x-inmesh-error'], 'ERR_MESH_STREAM_REFUSED', 'a body that is gone cannot be sent again');
    t.equal(consumed.accepted(), 1);
    const never = await request('http://reviews/', { dispatcher: other.dispatcher });
    t.equal(never.headers['x-inmesh-error'], 'ERR_MESH_STREAM_REFUSED');
    t.equal(consumed.accepted(), 7, 'and nobody is asked for ever');
  },
);

t.test('running requests finish after a GOAWAY that covers them; new ones have a new connection (EP-13)', async (t) => {
  const server = await http2Upstream(t, (stream, headers) => {
    stream.respond({ ':status': 200 });
    if (headers[':path'] === '/slow') {
      stream.session?.close();
      setImmediate(() => stream.end('slow'));
    } else stream.end('new');
  });
  const mesh = await meshTo(t, [server.port]);
  const slow = request('http://reviews/slow', { dispatcher: mesh.dispatcher });
  await until(() => server.seen.length === 1);
  const rest = await Promise.all(
    Array.from({ length: 5 }, () => request('http://reviews/', { dispatcher: mesh.dispatcher, method: 'POST' })),
  );
  t.equal(await (await slow).body.text(), 'slow');
  for (const { body, statusCode } of rest) {
    t.equal(statusCode, 200);
    t.equal(await body.text(), 'new');
  }
});

t.test('a refused stream is sent again once, then the policy decides (EP-14)', async (t) => {
  const refusing = await frameServer(t, (connection, stream) => {
    if (connection.streams.length % 2 === 1) connection.reset(stream, 7);
    else connection.answer(stream, 'ok');
  });
  const mesh = await meshTo(t, [refusing.port]);
  t.equal(
    (await request('http://reviews/', { dispatcher: mesh.dispatcher, method: 'POST', body: 'x' })).statusCode,
    200,
  );

  const all = await frameServer(t, (connection, stream) => connection.reset(stream, 7));
  const good = await http2Upstream(t);
  const [without, refused] = [
    await meshTo(t, [all.port]),
    cluster('reviews', [endpoint(all.port), endpoint(good.port)], { http2: 'always', balance: 'ROUND_ROBIN' }),
  ];
  const failed = await request('http://reviews/', { dispatcher: without.dispatcher });
  t.equal(failed.headers['x-inmesh-error'], 'ERR_MESH_STREAM_REFUSED');
  t.equal(all.connections[0]?.streams.length, 2);
  const retry = { ...noRetries, attempts: 1, retryOn: ['refused-stream'] } as const;
  const retrying = await modelMesh(t, snapshot({ reviews: [route(refused.name, { retry })] }, [refused]));
  for (let i = 0; i < 4; i++) {
    t.equal((await request('http://reviews/', { dispatcher: retrying.dispatcher, method: 'POST' })).statusCode, 200);
  }
});

t.test('a connection that dies under requests: those that are idempotent go out once more', async (t) => {
  const server = await frameServer(t, (connection, stream) => {
    if (connection.number === 1 && connection.streams.length === 2) connection.socket.resetAndDestroy();
    else connection.answer(stream, 'ok');
  });
  const mesh = await meshTo(t, [server.port]);
  t.equal((await request('http://reviews/', { dispatcher: mesh.dispatcher })).statusCode, 200);
  t.equal((await request('http://reviews/', { dispatcher: mesh.dispatcher })).statusCode, 200);
  t.equal(server.accepted(), 2);

  const post = await frameServer(t, (connection, stream) => {
    if (connection.streams.length === 2) connection.socket.resetAndDestroy();
    else connection.answer(stream, 'ok');
  });
  const other = await meshTo(t, [post.port]);
  await request('http://reviews/', { dispatcher: other.dispatcher, method: 'POST' });
  const failed = await request('http://reviews/', { dispatcher: other.dispatcher, method: 'POST' });
  t.equal(failed.headers['x-inmesh-error'], 'ERR_MESH_UPSTREAM_RESET');
  t.equal(post.accepted(), 1);
});

t.test('frames that break the rules, and resets that say so of the request, are errors of protocol', async (t) => {
  const rows: readonly (readonly [string, (connection: FrameConnection, stream: number) => void])[] = [
    ['a reset with PROTOCOL_ERROR', (connection, stream) => connection.reset(stream, 1)],
    ['a body before the head', (connection, stream) => connection.data(stream, 'ok', 'open')],
    ['an answer of HTTP/1.1', ({ socket }) => void socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['an upgrade that HTTP/2 does not have', ({ socket }, stream) => void socket.write(head(stream, '101'))],
    ['a status below 100', ({ socket }, stream) => void socket.write(head(stream, '099'))],
  ];
  for (const [name, answer] of rows) {
    const server = await frameServer(t, answer);
    const mesh = await meshTo(t, [server.port]);
    const { body, headers, statusCode } = await request('http://reviews/', { dispatcher: mesh.dispatcher });
    await body.dump();
    t.match([statusCode, headers['x-inmesh-error']], [502, 'ERR_MESH_UPSTREAM_PROTOCOL'], name);
  }
});

/** A head with this status alone, which ends its stream (RFC 7541 section 6.2.2, RFC 9113 section 6.2). */
function head(stream: number, status: string): Buffer {
  const block = Buffer.concat([Buffer.of(0x08, status.length), Buffer.from(status)]);
  return Buffer.concat([Buffer.of(0, 0, block.length, 1, 5, 0, 0, 0, stream), block]);
}

t.test('a stream that the server resets fails with a code of its own', async (t) => {
  const server = await frameServer(t, (connection, stream) => connection.reset(stream, 2));
  const mesh = await meshTo(t, [server.port]);
  const failed = await request('http://reviews/', { dispatcher: mesh.dispatcher });
  t.equal(failed.statusCode, 503);
  t.equal(failed.headers['x-inmesh-error'], 'ERR_MESH_STREAM_RESET');
});

t.test('upgrades go out over HTTP/1.1 where the server speaks both', async (t) => {
  const server = await upstream(t);
  const mesh = await meshTo(t, [server.port]);
  const refused = upgrade('http://reviews/', { dispatcher: mesh.dispatcher, protocol: 'echo' });
  await t.rejects(refused);
  t.match(server.seen, ['GET /']);
});

t.test('an address that the caller names is called over HTTP/2 as well, and forgotten when it is closed', async (t) => {
  const server = await http2Upstream(t, (stream, headers) => {
    stream.respond({ ':status': 200 });
    stream.end(headers[':authority'] as string);
  });
  const direct = cluster('direct', [], { http2: 'always', discovery: { kind: 'original' } });
  const name = `127.0.0.1:${server.port}`;
  const hosts = new Map([[name, { name, routes: [route(direct.name)] }]]);
  const mesh = await modelMesh(t, snapshot({}, [direct], { hosts }));
  const send = async () => (await request(`http://${name}/`, { dispatcher: mesh.dispatcher })).body.text();
  t.same(await Promise.all([send(), send(), send()]), [name, name, name]);
  t.equal(server.sessions.length, 1);
  server.sessions[0]?.close();
  await until(() => server.open() === 0);
  t.equal(await send(), name);
  t.equal(server.sessions.length, 2);
});

t.test('a process that serves on one port without TLS is called over HTTP/2 with prior knowledge', async (t) => {
  const both = testMesh(t, strict.replace('STRICT', 'PERMISSIVE'));
  const reviews = await both.join('reviews', { identity: false });
  const { port } = await reviews.listen(
    (incoming, outgoing) => void incoming.pipe(outgoing.setHeader('x-http2', String(currentScope()?.overHttp2))),
    { host: '127.0.0.1' },
  );
  const mesh = await meshTo(t, [port]);
  const answer = await request('http://reviews/', { dispatcher: mesh.dispatcher, method: 'POST', body: 'echo' });
  t.equal(await answer.body.text(), 'echo');
  t.equal(answer.headers['x-http2'], 'true');
});

const http2Ports = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: upgrade, namespace: shop}
spec: {host: "*.shop.svc.cluster.local", trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

t.test('two processes of the mesh speak HTTP/2 over mutual TLS on one connection', async (t) => {
  const both = testMesh(t, http2Ports);
  const [shop, reviews] = [await both.join('shop'), await both.join('reviews')];
  const callers: (string | undefined)[] = [];
  const connections = new Set<unknown>();
  await both.serve(reviews, (incoming, outgoing) => {
    const scope = currentScope();
    callers.push(scope?.peer?.spiffeId);
    connections.add((incoming.socket as { remotePort?: number }).remotePort);
    outgoing.setHeader('trailer', 'x-sum');
    outgoing.write(`${scope?.overHttp2}`);
    outgoing.addTrailers({ 'x-sum': '6' });
    outgoing.end();
  });
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => request('http://reviews/', { dispatcher: shop.dispatcher })),
  );
  for (const { body, trailers } of answers) {
    t.equal(await body.text(), 'true');
    t.same(trailers, { 'x-sum': '6' });
  }
  t.same([...new Set(callers)], ['spiffe://cluster.local/ns/shop/sa/shop']);
  t.equal(connections.size, 1);
});

t.test('useClientProtocol: a call speaks what the request spoke that causes it', async (t) => {
  const both = testMesh(t, http2Ports.replace('h2UpgradePolicy: UPGRADE', 'useClientProtocol: true'));
  const [shop, middle, reviews] = [await both.join('shop'), await both.join('middle'), await both.join('reviews')];
  await both.serve(reviews, (_incoming, outgoing) => void outgoing.end(`${currentScope()?.overHttp2 ?? false}`));
  await both.serve(middle, async (_incoming, outgoing) => {
    const { body } = await request('http://reviews/', { dispatcher: middle.dispatcher });
    outgoing.end(`${currentScope()?.overHttp2 ?? false} ${await body.text()}`);
  });
  const answer = await request('http://middle/', { dispatcher: shop.dispatcher });
  t.equal(await answer.body.text(), 'false false');
  const told = new Promise<void>((resolve) => void shop.on('config', () => resolve()));
  both.write(
    'middle-rule.yaml',
    `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: middle, namespace: shop}
spec: {host: middle.shop.svc.cluster.local, trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}}
`,
  );
  await told;
  const upgraded = await request('http://middle/', { dispatcher: shop.dispatcher });
  t.equal(await upgraded.body.text(), 'true true');
});
