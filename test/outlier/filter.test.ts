import t from 'tap';
import { request } from 'undici';
import { MeshError } from '../../src/errors.ts';
import { defaultConnectionLimits, type OutlierPolicy } from '../../src/model/cluster.ts';
import { defaultRetryPolicy, type RetryPolicy } from '../../src/model/route.ts';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { assertIdle, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { advanceUntil, rawUpstream, refusingPort, turns, until, upstream } from '../support/upstream.ts';

interface Setup {
  readonly outlier?: Partial<OutlierPolicy>;
  readonly retry?: Partial<RetryPolicy>;
  readonly timeoutMs?: number;
  readonly perTryIdleMs?: number;
  /** By so much the process is late. */
  readonly busy?: { ms: number };
}
function meshOf(ports: readonly number[], setup: Setup = {}) {
  const clock = fakeClock();
  const outlier: OutlierPolicy = {
    consecutive5xx: 5,
    consecutiveGatewayErrors: 0,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 100,
    minHealthPercent: 0,
    ...setup.outlier,
  };
  const a = cluster(
    'a',
    ports.map((port) => endpoint(port)),
    { balance: 'ROUND_ROBIN', outlier },
  );
  const retry = { ...defaultRetryPolicy, attempts: 0, backoffBaseMs: 0, ...setup.retry };
  const timeout = {
    ...(setup.timeoutMs === undefined ? {} : { timeoutMs: setup.timeoutMs }),
    ...(setup.perTryIdleMs === undefined ? {} : { perTryIdleMs: setup.perTryIdleMs }),
  };
  const client = testClient(snapshot({ a: [route(a.name, { retry, ...timeout })] }, [a]), {
    clock: { ...clock, now: () => clock.now() + (setup.busy?.ms ?? 0) },
  });
  const statuses = async (count: number): Promise<number[]> => {
    const result: number[] = [];
    for (let i = 0; i < count; i++) {
      let settled = false;
      const response = request('http://a/', { dispatcher: client.dispatcher });
      void response.finally(() => {
        settled = true;
      });
      // back-offs of no time at all pass
      await advanceUntil(clock, 0, () => settled);
      const { body, statusCode } = await response;
      await body.dump();
      result.push(statusCode);
    }
    return result;
  };
  return { client, clock, statuses };
}

t.test('one bad endpoint of three: out after five errors, back after its time (EP-16)', async (t) => {
  let broken = true;
  const bad = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(broken ? 500 : 200).end());
  const [good, fine] = [await upstream(t), await upstream(t)];
  const { client, clock, statuses } = meshOf([bad.port, good.port, fine.port]);
  const got = await statuses(60);
  t.equal(got.filter((status) => status === 500).length, 5);
  t.same(client.health, [`127.0.0.1:${bad.port} out`]);
  broken = false;
  clock.advance(30_000);
  t.same(client.health, [`127.0.0.1:${bad.port} out`, `127.0.0.1:${bad.port} in`]);
  await statuses(3);
  t.equal(bad.seen.length, 6);
  await assertIdle(t, client);
  t.equal(clock.pending(), 0);
});

t.test('with a retry nobody sees the bad endpoint', async (t) => {
  const bad = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).end());
  const good = await upstream(t);
  const { client, statuses } = meshOf([bad.port, good.port], { retry: { attempts: 2, retryOn: ['gateway-error'] } });
  t.same(
    await statuses(20),
    Array.from({ length: 20 }, () => 200),
  );
  t.equal(bad.seen.length, 5);
  await assertIdle(t, client);
});

t.test('an endpoint that cannot be reached is ejected (EP-01)', async (t) => {
  const [refusing, good] = [await refusingPort(), await upstream(t)];
  const { client, statuses } = meshOf([refusing, good.port], {
    outlier: { consecutive5xx: 0, consecutiveGatewayErrors: 2 },
    retry: { attempts: 1 },
  });
  t.same(
    await statuses(10),
    Array.from({ length: 10 }, () => 200),
  );
  t.same(client.health, [`127.0.0.1:${refusing} out`]);
  await assertIdle(t, client);
});

t.test('an endpoint that breaks connections is ejected (EP-05)', async (t) => {
  const bad = await rawUpstream(t, (socket) => void socket.once('data', () => socket.destroy()));
  const good = await upstream(t);
  const { client, statuses } = meshOf([bad.port, good.port], { outlier: { consecutive5xx: 3 } });
  const got = await statuses(20);
  t.equal(got.filter((status) => status === 503).length, 3);
  t.same(client.health, [`127.0.0.1:${bad.port} out`]);
  await assertIdle(t, client);
});

t.test('an endpoint that lets time pass is ejected, by its own fault only', async (t) => {
  const silent = await upstream(t, () => {});
  for (const [name, setup] of Object.entries({
    'per try': { retry: { perTryTimeoutMs: 100 } },
    'the whole call': { timeoutMs: 100 },
  })) {
    const { client, clock } = meshOf([silent.port], { outlier: { consecutive5xx: 2 }, ...setup });
    for (let i = 0; i < 2; i++) {
      const before = silent.seen.length;
      const call = record(client.dispatcher, {});
      await silent.arrived(before + 1);
      clock.advance(100);
      await call.done;
    }
    t.same(client.health, [`127.0.0.1:${silent.port} out`], name);
    await assertIdle(t, client);
  }
});

t.test('a time that was over while this process was busy is not held against it', async (t) => {
  const silent = await upstream(t, () => {});
  for (const [name, setup] of Object.entries({
    'per try': { retry: { perTryTimeoutMs: 100 } },
    'per try, without a byte': { perTryIdleMs: 100 },
    'the whole call': { timeoutMs: 100 },
  })) {
    for (const [lateMs, health] of [
      [101, []],
      [100, [`127.0.0.1:${silent.port} out`]],
    ] as const) {
      const busy = { ms: 0 };
      const { client, clock } = meshOf([silent.port], { outlier: { consecutive5xx: 1 }, busy, ...setup });
      const before = silent.seen.length;
      const call = record(client.dispatcher, {});
      await silent.arrived(before + 1);
      busy.ms = lateMs;
      clock.advance(100);
      await call.done;
      t.equal(call.events[1], '504');
      t.same(client.health, health, `${name}, ${lateMs} ms late`);
      await assertIdle(t, client);
    }
  }
});

t.test('time that passes in the body, or an abort of the application, is not held against it', async (t) => {
  const dripping = await upstream(t, (_incoming, outgoing) => void outgoing.write('drip'));
  const slow = meshOf([dripping.port], { outlier: { consecutive5xx: 1 }, timeoutMs: 100 });
  const body = record(slow.client.dispatcher, {});
  await until(() => body.events.includes('data drip'));
  slow.clock.advance(100);
  t.equal(await body.done, 'error ERR_MESH_TIMEOUT');
  t.same(slow.client.health, []);
  await assertIdle(t, slow.client);

  const silent = await upstream(t, () => {});
  const aborted = meshOf([silent.port], { outlier: { consecutive5xx: 1 } });
  const call = record(aborted.client.dispatcher, {});
  await silent.arrived(1);
  call.controller.abort(new Error('mine'));
  await call.done;
  const other = record(aborted.client.dispatcher, {});
  await silent.arrived(2);
  // What the application says may be what another call of the mesh has told it.
  other.controller.abort(new MeshError('ERR_MESH_UPSTREAM_RESET', 'somebody else'));
  await other.done;
  const wrong = record(aborted.client.dispatcher, { headers: { 'bad name': 'x' } });
  await wrong.done;
  t.same(aborted.client.health, []);
  await assertIdle(t, aborted.client);
});

t.test('a body that breaks off counts as a failure of the endpoint', async (t) => {
  const bad = await rawUpstream(t, (socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf'));
  });
  const { client } = meshOf([bad.port], { outlier: { consecutive5xx: 1 } });
  await record(client.dispatcher, {}).done;
  t.same(client.health, [`127.0.0.1:${bad.port} out`]);
  await assertIdle(t, client);
});

t.test('a response given up for a retry counts once', async (t) => {
  const bad = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).write('endless'));
  const good = await upstream(t);
  const { client, statuses } = meshOf([bad.port, good.port], {
    outlier: { consecutive5xx: 3 },
    retry: { attempts: 1, retryOn: ['5xx'] },
  });
  while (bad.seen.length < 3) {
    t.same(client.health, []);
    await statuses(1);
    await turns();
  }
  t.same(client.health, [`127.0.0.1:${bad.port} out`]);
  await assertIdle(t, client);
});

t.test('all ejected: fast failure, or panic (EP-17)', async (t) => {
  const [one, two] = [
    await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).end()),
    await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).end()),
  ];
  const strict = meshOf([one.port, two.port], { outlier: { consecutive5xx: 1 } });
  await strict.statuses(2);
  const refused = await request('http://a/', { dispatcher: strict.client.dispatcher });
  t.equal(refused.headers['x-inmesh-error'], 'ERR_MESH_NO_HEALTHY_ENDPOINT');
  t.equal(one.seen.length + two.seen.length, 2, 'nothing more is sent');
  await assertIdle(t, strict.client);

  const panicking = meshOf([one.port, two.port], { outlier: { consecutive5xx: 1, minHealthPercent: 50 } });
  await panicking.statuses(10);
  t.equal(one.seen.length + two.seen.length, 12, 'trying is the smaller harm');
  await assertIdle(t, panicking.client);
});

t.test('a flapping endpoint stays out longer and longer (EP-19)', async (t) => {
  const bad = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(500).end());
  const good = await upstream(t);
  const { client, clock, statuses } = meshOf([bad.port, good.port], { outlier: { consecutive5xx: 1 } });
  const outages: number[] = [];
  for (let i = 0; i < 3; i++) {
    await statuses(3);
    const started = clock.now();
    const { length } = client.health;
    while (client.health.length === length) clock.advance(1_000);
    outages.push(clock.now() - started);
  }
  t.same(outages, [30_000, 60_000, 90_000]);
  await assertIdle(t, client);
});

t.test('latency alone ejects nobody (NET-02)', async (t) => {
  const waiting: (() => void)[] = [];
  const slow = await upstream(t, (_incoming, outgoing) => void waiting.push(() => outgoing.end('ok')));
  const { client, clock } = meshOf([slow.port], { outlier: { consecutive5xx: 1 }, timeoutMs: 1_000 });
  const calls = Array.from({ length: 20 }, () => record(client.dispatcher, {}));
  await slow.arrived(20);
  clock.advance(70);
  for (const answer of waiting) answer();
  for (const call of calls) t.equal(await call.done, 'end');
  t.same(client.health, []);
  await assertIdle(t, client);
});

t.test('without a policy nothing is counted and nobody is ejected', async (t) => {
  const bad = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(500).end());
  const a = cluster('a', [endpoint(bad.port)], { limits: defaultConnectionLimits });
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]));
  for (let i = 0; i < 20; i++) await record(client.dispatcher, {}).done;
  t.equal(bad.seen.length, 20);
  t.same(client.health, []);
  await assertIdle(t, client);
});
