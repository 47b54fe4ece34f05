import t from 'tap';
import { request } from 'undici';
import { holdProcess } from '../../src/lib/clock.ts';
import { type BreakerPolicy, defaultBreakerPolicy } from '../../src/model/breaker.ts';
import type { Cluster } from '../../src/model/cluster.ts';
import { defaultConnectionLimits } from '../../src/model/cluster.ts';
import { defaultRetryPolicy, type Route } from '../../src/model/route.ts';
import { testClient } from '../support/client.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { assertIdle, counted, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { rawUpstream, refusingPort, turns, until, upstream } from '../support/upstream.ts';

// A mesh does not keep a process alive.
const release = holdProcess();
t.teardown(release);

const policy: BreakerPolicy = { ...defaultBreakerPolicy, volumeThreshold: 4, resetTimeoutMs: 30_000 };

function clientOf(
  port: number,
  own: {
    readonly policy?: Partial<BreakerPolicy>;
    readonly route?: Partial<Route>;
    readonly cluster?: Partial<Cluster>;
    readonly onFailure?: 'response' | 'throw';
    readonly random?: () => number;
    /** What time it is, as the mesh sees it. */
    readonly now?: (clock: FakeClock) => number;
  } = {},
) {
  const clock = fakeClock();
  const a = cluster('a', [endpoint(port)], { breaker: { ...policy, ...own.policy }, ...own.cluster });
  const routes = [route(a.name, { retry: { ...defaultRetryPolicy, attempts: 0 }, ...own.route })];
  const client = testClient(snapshot({ a: routes }, [a]), {
    clock: { ...clock, now: () => own.now?.(clock) ?? clock.now() },
    onFailure: own.onFailure ?? 'response',
    ...(own.random === undefined ? {} : { random: own.random }),
  });
  const breaker = () => client.clusters.get(a.name)?.breaker;
  const call = async (path = '/') => {
    const { body, headers, statusCode } = await request(`http://a${path}`, { dispatcher: client.dispatcher });
    return { status: statusCode, headers, text: await body.text() };
  };
  return { a, breaker, call, client, clock, routes };
}

t.test('an open breaker answers at once, marked as overload, and asks nobody', async (t) => {
  const server = await upstream(t, (_, outgoing) => outgoing.writeHead(500).end());
  const { breaker, call, client } = clientOf(server.port);
  for (let i = 0; i < 4; i++) t.equal((await call()).status, 500);
  t.equal(breaker()?.state, 'open');
  const refused = await call();
  t.equal(refused.status, 503);
  t.match(refused.headers, { 'x-inmesh-error': 'ERR_MESH_CIRCUIT_OPEN', 'x-envoy-overloaded': 'true' });
  t.equal(server.seen.length, 4);
  t.same(counted(client), ['500 x4', '503 x1', 'UO x1']);
  await assertIdle(t, client);
});

t.test('with onFailure throw it is an error', async (t) => {
  const { call } = clientOf(await refusingPort(), { onFailure: 'throw' });
  for (let i = 0; i < 4; i++) await t.rejects(call(), { code: 'ERR_MESH_CONNECT_FAILED' });
  await t.rejects(call(), { code: 'ERR_MESH_CIRCUIT_OPEN', flag: 'UO', cluster: 'outbound|80||a' });
});

t.test('it judges whole calls: what retries repair is no failure, and a refusal is not retried', async (t) => {
  let count = 0;
  const server = await upstream(t, (_, outgoing) => outgoing.writeHead(count++ % 2 === 0 ? 503 : 200).end());
  const retry = { ...defaultRetryPolicy, attempts: 1, backoffBaseMs: 0, retryOn: ['5xx'] as const };
  const { breaker, call, clock } = clientOf(server.port, { route: { retry } });
  for (let i = 0; i < 6; i++) {
    const answer = call();
    let done = false;
    void answer.finally(() => (done = true));
    await until(() => {
      clock.advance(1);
      return done;
    });
    t.equal((await answer).status, 200);
  }
  t.equal(server.seen.length, 12);
  t.same(breaker()?.counts(), { calls: 6, failures: 0 });
});

t.test('1,000 concurrent calls when it is half-open: one reaches the server', async (t) => {
  let status = 500;
  const waiting: (() => void)[] = [];
  const server = await upstream(t, (_, outgoing) => {
    if (status === 500) outgoing.writeHead(500).end();
    else waiting.push(() => outgoing.end('ok'));
  });
  const { breaker, call, clock } = clientOf(server.port);
  for (let i = 0; i < 4; i++) await call();
  clock.advance(30_000);
  status = 200;
  t.equal(breaker()?.state, 'halfOpen');
  const answers = Array.from({ length: 1_000 }, () => call());
  await until(() => waiting.length === 1);
  await turns();
  t.equal(server.seen.length, 5);
  waiting[0]?.();
  const statuses = (await Promise.all(answers)).map((answer) => answer.status);
  t.same([statuses.filter((each) => each === 200).length, statuses.filter((each) => each === 503).length], [1, 999]);
  t.equal(breaker()?.state, 'closed');
});

t.test('a trial is judged by its headers: a stream without end closes the breaker', async (t) => {
  let status = 500;
  const server = await upstream(t, (_, outgoing) => {
    if (status === 500) outgoing.writeHead(500).end();
    else outgoing.write('event');
  });
  const { breaker, call, client, clock } = clientOf(server.port);
  for (let i = 0; i < 4; i++) await call();
  clock.advance(30_000);
  status = 200;
  const stream = record(client.dispatcher, {});
  await until(() => stream.events.includes('data event'));
  t.equal(breaker()?.state, 'closed');
  stream.controller.abort(new Error('enough'));
  await stream.done;
  t.same(breaker()?.counts(), { calls: 1, failures: 0 }, 'an abort of the application adds nothing');
});

t.test('a trial that hangs ends the half-open period, and cuts nothing off', async (t) => {
  let hang = false;
  const server = await upstream(t, (_, outgoing) => {
    if (!hang) outgoing.writeHead(500).end();
  });
  const { breaker, call, client, clock } = clientOf(server.port);
  for (let i = 0; i < 4; i++) await call();
  clock.advance(30_000);
  hang = true;
  const trial = record(client.dispatcher, {});
  await server.arrived(5);
  clock.advance(policy.trialTimeoutMs);
  await turns(3);
  t.equal(breaker()?.state, 'open');
  t.notOk(trial.events.some((event) => event.startsWith('error')));
  hang = false;
  trial.controller.abort(new Error('enough'));
  await trial.done;
  t.equal(breaker()?.state, 'open');
});

t.test('a call that times out does nothing to the others', async (t) => {
  const slow: (() => void)[] = [];
  const server = await upstream(t, (incoming, outgoing) => {
    if (incoming.url !== '/never') slow.push(() => outgoing.end('ok'));
  });
  const { breaker, call, clock } = clientOf(server.port, { route: { timeoutMs: 1_000 } });
  const never = call('/never');
  await server.arrived(1);
  clock.advance(500);
  const others = Array.from({ length: 50 }, () => call('/slow'));
  await until(() => slow.length === 50);
  clock.advance(500);
  t.equal((await never).status, 504);
  const later = call('/slow');
  await until(() => slow.length === 51);
  for (const answer of slow) answer();
  const statuses = new Set((await Promise.all([...others, later])).map(({ status }) => status));
  t.same([...statuses], [200]);
  t.same(breaker()?.counts(), { calls: 52, failures: 1 });
});

t.test('not counted', async (t) => {
  t.test('a caller that gives up', async (t) => {
    const server = await upstream(t, () => {});
    const { breaker, client } = clientOf(server.port);
    for (let i = 1; i <= 10; i++) {
      const given = record(client.dispatcher, {});
      await server.arrived(i);
      given.controller.abort(new Error('enough'));
      await given.done;
    }
    t.same(breaker()?.counts(), { calls: 0, failures: 0 });
  });
  t.test('a time that was over while this process was busy', async (t) => {
    const server = await upstream(t, () => {});
    for (const perTryTimeoutMs of [undefined, 500]) {
      let busyMs = 0;
      const retry = {
        ...defaultRetryPolicy,
        attempts: 0,
        ...(perTryTimeoutMs === undefined ? {} : { perTryTimeoutMs }),
      };
      const { breaker, client, clock } = clientOf(server.port, {
        route: { retry, ...(perTryTimeoutMs === undefined ? { timeoutMs: 1_000 } : {}) },
        now: (clock) => clock.now() + busyMs,
      });
      for (const lateMs of [500, 500, 500, 500, 500, 0]) {
        const seen = server.seen.length;
        const call = record(client.dispatcher, {});
        await until(() => server.seen.length > seen);
        busyMs += lateMs;
        clock.advance(perTryTimeoutMs ?? 1_000);
        await call.done;
        t.equal(call.events[1], '504');
      }
      t.same(breaker()?.counts(), { calls: 1, failures: 1 }, 'the last one was in time');
    }
  });
  for (const level of ['call', 'try'] as const) {
    t.test(`faults of the ${level} that were injected`, async (t) => {
      const server = await upstream(t);
      const fault = { level, abort: { status: 503, percent: 100 } };
      const { breaker, call } = clientOf(server.port, { route: { fault } });
      for (let i = 0; i < 10; i++) t.equal((await call()).status, 503);
      t.same(breaker()?.counts(), { calls: 0, failures: 0 });
    });
  }
  t.test('limits of our own', async (t) => {
    const server = await upstream(t);
    const limits = { ...defaultConnectionLimits, maxRequests: 0 };
    const { breaker, call } = clientOf(server.port, { cluster: { limits } });
    for (let i = 0; i < 10; i++) t.equal((await call()).headers['x-inmesh-error'], 'ERR_MESH_OVERFLOW');
    t.same(breaker()?.counts(), { calls: 0, failures: 0 });
  });
});

t.test('a trial that was given up lets the next call try', async (t) => {
  let status = 500;
  const server = await upstream(t, (_, outgoing) => {
    if (status !== 0) outgoing.writeHead(status).end();
  });
  const { breaker, call, client, clock } = clientOf(server.port);
  for (let i = 0; i < 4; i++) await call();
  clock.advance(30_000);
  status = 0;
  const given = record(client.dispatcher, {});
  await server.arrived(5);
  given.controller.abort(new Error('enough'));
  await given.done;
  status = 200;
  t.equal(breaker()?.state, 'halfOpen');
  t.equal((await call()).status, 200);
  t.equal(breaker()?.state, 'closed');
});

t.test('bodies that break off count as failures', async (t) => {
  const server = await rawUpstream(t, (socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf');
      setImmediate(() => socket.destroy());
    });
  });
  const { breaker, call } = clientOf(server.port, { policy: { errorThresholdPercentage: 40 } });
  for (let i = 0; i < 2; i++) await t.rejects(call());
  t.same(breaker()?.counts(), { calls: 4, failures: 2 });
  t.equal(breaker()?.state, 'open');
});

t.test('a fallback of the configuration answers instead', async (t) => {
  const server = await upstream(t, (_, outgoing) => outgoing.writeHead(500).end());
  const fallback = { status: 200, headers: { 'content-type': 'application/json', 'x-stale': 'yes' }, body: '[]' };
  const { call, client } = clientOf(server.port, { policy: { fallback } });
  for (let i = 0; i < 4; i++) await call();
  const { headers, status, text } = await call();
  t.match({ headers, status, text }, { status: 200, text: '[]', headers: fallback.headers });
  t.same(counted(client), ['200 x1', '500 x4', 'UO x1']);
});

t.test('a reload keeps the state, whatever it changes beside the breaker', async (t) => {
  const server = await upstream(t, (_, outgoing) => outgoing.writeHead(500).end());
  const { a, breaker, call, client, routes } = clientOf(server.port);
  for (let i = 0; i < 3; i++) await call();
  client.use(snapshot({ a: routes }, [{ ...a, balance: 'RANDOM' }]));
  t.same(breaker()?.counts(), { calls: 3, failures: 3 });
  await call();
  t.equal(breaker()?.state, 'open');
  client.use(snapshot({ a: routes }, [{ ...a, breaker: { ...policy, volumeThreshold: 100 } }]));
  t.equal((await call()).status, 503);
  const { breaker: _, ...without } = a;
  client.use(snapshot({ a: routes }, [without]));
  t.equal((await call()).status, 500, 'no policy, no breaker');
});

t.test('a cluster that goes leaves no timer of its breaker', async (t) => {
  const server = await upstream(t, (_, outgoing) => outgoing.writeHead(500).end());
  const { call, client, clock } = clientOf(server.port);
  const before = clock.pending();
  for (let i = 0; i < 4; i++) await call();
  t.equal(clock.pending(), before + 1);
  client.use(snapshot({}, []));
  t.equal(clock.pending(), before);
});

t.test('requests for a connection are refused with an error', async (t) => {
  const { call, client } = clientOf(await refusingPort(), {
    onFailure: 'throw',
    policy: { fallback: { status: 200, headers: {}, body: 'x' } },
  });
  for (let i = 0; i < 4; i++) await t.rejects(call());
  const tunnel = record(client.dispatcher, { method: 'CONNECT', path: 'a:80' });
  t.match(await tunnel.done, /ERR_MESH_CIRCUIT_OPEN/);
});
