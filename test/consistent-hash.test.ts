import t, { type Test } from 'tap';
import { createHashBalancer } from '../src/balance/hash-balancer.ts';
import { systemClock } from '../src/lib/clock.ts';
import { xxHash64Big } from '../src/lib/xxhash64.ts';
import type { Cluster, ConsistentHash, HashKey } from '../src/model/cluster.ts';
import { defaultRetryPolicy } from '../src/model/route.ts';
import { runInScope, type Scope } from '../src/pipeline/scope.ts';
import { type TestClient, testClient } from './support/client.ts';
import { modelMesh, type Way, ways } from './support/model-mesh.ts';
import { record } from './support/recorder.ts';
import { cluster, endpoint, route, snapshot } from './support/snapshot.ts';
import { refusingPort, type Upstream, upstream } from './support/upstream.ts';

const algorithm = { kind: 'ringHash', minimumRingSize: 1_024 } as const;
const by = (key: HashKey): ConsistentHash => ({ key, algorithm });
const header = (name: string): HashKey => ({ kind: 'header', name });

/** Five servers that answer with their port. */
async function five(t: Test, changes: Partial<Cluster>) {
  const servers = await Promise.all(
    Array.from({ length: 5 }, () =>
      upstream(t, (_, outgoing) => {
        outgoing.setHeader('set-cookie', 'own=1').end(String(outgoing.socket?.localPort));
      }),
    ),
  );
  const names = servers.map(({ port }) => `127.0.0.1:${port}`);
  const balancer = createHashBalancer<{ name: string; weight: number; inFlight: number }>(by(header('x')), systemClock);
  balancer.use(names.map((name) => ({ name, weight: 1, inFlight: 0 })));
  const all = cluster(
    'a',
    servers.map(({ port }) => endpoint(port)),
    changes,
  );
  return {
    clusters: [all],
    to: all.name,
    /** The port that a key leads to. */
    portOf: (key: string): string => balancer.pick(xxHash64Big(key))?.name.split(':')[1] as string,
  };
}

/** Port numbers of the servers that answered. */
async function ports(count: number, call: (i: number) => Promise<{ readonly text: string }>): Promise<Set<string>> {
  const seen = new Set<string>();
  for (let i = 0; i < count; i++) seen.add((await call(i)).text);
  return seen;
}

for (const [way, call] of Object.entries<Way>(ways)) {
  t.test(way, async (t) => {
    t.test('the same header leads to the same endpoint, the one of the ring', async (t) => {
      const { clusters, portOf, to } = await five(t, { hash: by(header('x-user')) });
      const mesh = await modelMesh(t, snapshot({ a: [route(to)] }, clusters));
      const used = new Set<string>();
      for (const user of ['alice', 'bob', 'carol', 'dave', 'erin', 'frank', 'grace']) {
        const seen = await ports(3, () => call(mesh, 'http://a/', { headers: { 'x-user': user } }));
        t.same([...seen], [portOf(user)], user);
        used.add(portOf(user));
      }
      t.ok(used.size > 1);
    });

    t.test('requests without a key go everywhere', async (t) => {
      const { clusters, to } = await five(t, { hash: by(header('x-user')) });
      const mesh = await modelMesh(t, snapshot({ a: [route(to)] }, clusters));
      t.equal((await ports(100, () => call(mesh, 'http://a/'))).size, 5);
    });

    t.test('what counts is what the application sent, not what the route makes of it', async (t) => {
      const changes = {
        headers: { request: { set: [{ name: 'x-user', value: 'x' }], add: [], remove: [] } },
        rewrite: { pathPrefix: '/other' },
      };
      for (const [name, wanted] of [
        ['x-user', 'alice'],
        [':path', '/x?id=1'],
      ] as const) {
        const { clusters, portOf, to } = await five(t, { hash: by(header(name)) });
        const mesh = await modelMesh(t, snapshot({ a: [route(to, changes)] }, clusters));
        const { text } = await call(mesh, 'http://a/x?id=1', { headers: { 'x-user': 'alice' } });
        t.equal(text, portOf(wanted), name);
      }
    });

    t.test('a cookie is made once, given to the application, and leads back', async (t) => {
      const key: HashKey = {
        kind: 'cookie',
        name: 'mesh',
        path: '/',
        ttlMs: 60_000,
        attributes: [{ name: 'SameSite', value: 'Lax' }],
      };
      const { clusters, portOf, to } = await five(t, { hash: by(key) });
      const mesh = await modelMesh(t, snapshot({ a: [route(to)] }, clusters));
      const values = new Set<string>();
      for (let i = 0; i < 4; i++) {
        const first = await call(mesh, 'http://a/');
        const found = /mesh="([0-9a-f]{16})"; Max-Age=60; Path=\/; SameSite=Lax; HttpOnly/.exec(
          first.headers['set-cookie'] as string,
        );
        const value = found?.[1] as string;
        t.ok(value, String(first.headers['set-cookie']));
        t.match(first.headers['set-cookie'], 'own=1', 'beside the one of the server');
        t.equal(first.text, portOf(value));
        values.add(value);
        const again = await call(mesh, 'http://a/', { headers: { cookie: `a=b; mesh="${value}"` } });
        t.equal(again.text, first.text);
        t.equal(again.headers['set-cookie'], 'own=1');
      }
      t.equal(values.size, 4);
    });

    t.test('a cookie that was made up only chooses among the endpoints (ABUSE-016)', async (t) => {
      const key: HashKey = { kind: 'cookie', name: 'mesh', path: '', ttlMs: 0, attributes: [] };
      const { clusters, portOf, to } = await five(t, { hash: by(key) });
      const mesh = await modelMesh(t, snapshot({ a: [route(to)] }, clusters));
      for (const value of ['AAAA', '127.0.0.1:1', '%00', 'x'.repeat(4_000)]) {
        const { headers, status, text } = await call(mesh, 'http://a/', { headers: { cookie: `mesh=${value}` } });
        t.equal(status, 200);
        t.equal(text, portOf(value));
        t.equal(headers['set-cookie'], 'own=1');
      }
    });

    t.test('the key may be what the inbound request hands on, or where it came from', async (t) => {
      const scope: Scope = {
        requestId: 'r',
        traceHeaders: [],
        carried: ['x-user', 'alice'],
        callerAddress: '10.1.2.3',
      };
      for (const [key, wanted] of [
        [header('x-user'), 'alice'],
        [{ kind: 'sourceIp' }, '10.1.2.3'],
      ] as const) {
        const { clusters, portOf, to } = await five(t, { hash: by(key) });
        const mesh = await modelMesh(t, snapshot({ a: [route(to)] }, clusters));
        t.same([...(await ports(5, () => runInScope(scope, () => call(mesh, 'http://a/'))))], [portOf(wanted)]);
      }
    });

    t.test('calls that nobody caused have one source', async (t) => {
      const { clusters, to } = await five(t, { hash: by({ kind: 'sourceIp' }) });
      const mesh = await modelMesh(t, snapshot({ a: [route(to)] }, clusters));
      t.equal((await ports(20, () => call(mesh, 'http://a/'))).size, 1);
    });
  });
}

t.test('a route that splits mixes the keys of all its destinations, as Istio and Envoy do', async (t) => {
  const servers = await Promise.all([1, 2, 3, 4].map(() => upstream(t)));
  const endpoints = servers.map(({ port }) => endpoint(port));
  const named = endpoints.map(({ port }) => ({ name: `127.0.0.1:${port}`, weight: 1, inFlight: 0 }));
  const rotate = (hash: bigint): bigint => BigInt.asUintN(64, hash << 1n) | (hash >> 63n);
  const [alice, bob] = [xxHash64Big('alice'), xxHash64Big('bob')];
  const clustersBy = (...keys: readonly (HashKey | undefined)[]): readonly Cluster[] =>
    keys.map((key, i) =>
      cluster('a', endpoints, { subset: `v${i}`, hash: { algorithm, ...(key === undefined ? {} : { key }) } }),
    );
  const [a, b] = [header('x-a'), header('x-b')];
  let client: TestClient | undefined;
  for (const [name, clusters, weights, wanted] of [
    ['two keys', clustersBy(a, b), [1, 1], rotate(alice) ^ bob],
    ['one key twice', clustersBy(a, a), [1, 1], rotate(alice) ^ alice],
    ['a key of one destination counts for all', clustersBy(a, undefined), [1, 1], alice],
    ['not those of destinations without weight', clustersBy(a, b), [1, 0], alice],
    ['three', clustersBy(b, a, b), [1, 5, 1], rotate(rotate(bob) ^ alice) ^ bob],
  ] as const) {
    const balancer = createHashBalancer<{ name: string; weight: number; inFlight: number }>(by(a), systemClock);
    balancer.use(named);
    const destinations = clusters.map((each, i) => ({ cluster: each.name, weight: weights[i] as number }));
    // One client for all, so that keys change while it runs.
    const next = snapshot({ a: [route('', { destinations })] }, clusters);
    client ??= testClient(undefined);
    client.use(next);
    for (const server of servers) server.seen.length = 0;
    for (let i = 0; i < 8; i++) {
      const call = record(client.dispatcher, { headers: { 'x-a': 'alice', 'x-b': 'bob' } });
      t.equal(await call.done, 'end', name);
    }
    const used = servers.flatMap(({ port, seen }) => (seen.length > 0 ? [`127.0.0.1:${port}`] : []));
    t.same(used, [balancer.pick(wanted)?.name], name);
  }
  await client?.close();
});

for (const [name, ignorePreviousHosts, fault, wanted] of [
  ['cannot be reached: the next of its key takes over', 'unreached', 'gone', 'another'],
  ['cannot be reached, and there is no VirtualService', undefined, 'gone', 'another'],
  ['cannot be reached, and the route says to stay: it fails', false, 'gone', '503'],
  ['cannot be reached, and the route says to go on', true, 'gone', 'another'],
  ['answers with an error: the key stays there, as in Istio', 'unreached', '503', '503'],
  ['answers with an error, and there is no VirtualService', undefined, '503', 'another'],
  ['answers with an error, and the route says to go on', true, '503', 'another'],
] as const) {
  t.test(`a retry when the endpoint of a key ${name}`, async (t) => {
    const bad =
      fault === 'gone' ? { port: await refusingPort() } : await upstream(t, (_, out) => out.writeHead(503).end());
    const good = await Promise.all([1, 2, 3].map(() => upstream(t)));
    const all = cluster(
      'a',
      [bad, ...good].map(({ port }) => endpoint(port)),
      { hash: by(header('x-user')) },
    );
    const balancer = createHashBalancer<{ name: string; weight: number; inFlight: number }>(
      by(header('x')),
      systemClock,
    );
    balancer.use([bad, ...good].map(({ port }) => ({ name: `127.0.0.1:${port}`, weight: 1, inFlight: 0 })));
    const leads = (key: string): boolean => balancer.pick(xxHash64Big(key))?.name === `127.0.0.1:${bad.port}`;
    const key = Array.from({ length: 200 }, (_, i) => `user ${i}`).find(leads) as string;
    const policy = { ...defaultRetryPolicy, backoffBaseMs: 1, retriableStatusCodes: [503] };
    const retry = ignorePreviousHosts === undefined ? policy : { ...policy, ignorePreviousHosts };
    const client = testClient(snapshot({ a: [route(all.name, { retry })] }, [all]));
    t.teardown(() => client.close());
    for (let i = 0; i < 3; i++) {
      const call = record(client.dispatcher, { headers: { 'x-user': key } });
      await call.done;
      t.equal(call.events.includes('200') ? 'another' : '503', wanted);
    }
    if (wanted === 'another')
      t.equal(good.filter(({ seen }) => seen.length > 0).length, 1, 'always the same other one');
    if (fault === '503') t.equal((bad as Upstream).seen.length, wanted === '503' ? 9 : 3);
  });
}

t.test('raw headers have the cookie as well', async (t) => {
  const key: HashKey = { kind: 'cookie', name: 'mesh', path: '', ttlMs: 0, attributes: [] };
  const { clusters, to } = await five(t, { hash: by(key) });
  const client = testClient(snapshot({ a: [route(to)] }, clusters));
  t.teardown(() => client.close());
  const raw: string[] = [];
  const call = record(
    client.dispatcher,
    {},
    {
      onResponseStart(controller) {
        for (const each of controller.rawHeaders as Iterable<Buffer | string>) raw.push(String(each));
      },
    },
  );
  t.equal(await call.done, 'end');
  const cookies = raw.filter((_, i) => raw[i - 1]?.toLowerCase() === 'set-cookie');
  t.equal(cookies.length, 2);
  t.same(call.headers['set-cookie'], cookies);
});

t.test('a cluster that does not hash costs nothing: calls have no hash', async (t) => {
  const { clusters, to } = await five(t, {});
  const client = testClient(snapshot({ a: [route(to)] }, clusters));
  t.teardown(() => client.close());
  const call = record(client.dispatcher, { headers: { 'x-user': 'alice' } });
  await call.done;
  t.equal((call.controller as unknown as { hash: unknown }).hash, undefined);
});
