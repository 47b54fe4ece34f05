import type { IncomingMessage } from 'node:http';
import t from 'tap';
import { defaultRetryPolicy, type RetryPolicy } from '../../src/model/route.ts';
import { runInScope } from '../../src/pipeline/scope.ts';
import { testClient } from '../support/client.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { assertIdle, counted, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { advanceUntil, rawUpstream, turns, until, upstream } from '../support/upstream.ts';

interface Setup {
  readonly timeoutMs?: number;
  readonly retry?: Partial<RetryPolicy>;
  readonly onFailure?: 'response' | 'throw';
  readonly ports?: readonly number[];
}
function meshOf(port: number, setup: Setup = {}) {
  const clock = fakeClock();
  const a = cluster(
    'a',
    (setup.ports ?? [port]).map((each) => endpoint(each)),
    { balance: 'ROUND_ROBIN' },
  );
  const retry = { ...defaultRetryPolicy, backoffBaseMs: 0, ...setup.retry };
  const timeout = setup.timeoutMs === undefined ? {} : { timeoutMs: setup.timeoutMs };
  const client = testClient(snapshot({ a: [route(a.name, { ...timeout, retry })] }, [a]), {
    clock,
    onFailure: setup.onFailure ?? 'throw',
  });
  return { client, clock };
}
const told = (request: IncomingMessage | undefined): string | string[] | undefined =>
  request?.headers['x-envoy-expected-rq-timeout-ms'];
/** Time passes, and what is due happens. */
const pass = async (clock: FakeClock, ms: number): Promise<void> => {
  clock.advance(ms);
  await turns(3);
};

t.test('an answer that does not begin in time (EP-04)', async (t) => {
  const server = await upstream(t, () => {});
  const { client, clock } = meshOf(server.port, { timeoutMs: 1_000 });
  const call = record(client.dispatcher, {});
  await server.arrived(1);
  await pass(clock, 999);
  t.same(call.events, ['start']);
  await pass(clock, 1);
  t.equal(await call.done, 'error ERR_MESH_TIMEOUT');
  t.match(call.error, {
    status: 504,
    flag: 'UT',
    route: 'default',
    cluster: 'outbound|80||a',
    endpoint: `127.0.0.1:${server.port}`,
  });
  await until(() => server.open() === 0, 'the request is cancelled upstream');
  t.same(counted(client), ['504 x1', 'UT x1']);
  await assertIdle(t, client);
  t.equal(clock.pending(), 0);
});

t.test('an answer that does not end in time (EP-09)', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.write('drip'));
  const { client, clock } = meshOf(server.port, { timeoutMs: 1_000, onFailure: 'response' });
  const call = record(client.dispatcher, {});
  await until(() => call.events.includes('data drip'));
  await pass(clock, 1_000);
  t.equal(await call.done, 'error ERR_MESH_TIMEOUT', 'an error even where failures are responses: one has begun');
  t.same(counted(client), ['200 x1', 'UT x1']);
  await until(() => server.open() === 0);
  await assertIdle(t, client);
});

t.test('an answer in time is left alone, whatever the clock says later', async (t) => {
  const server = await upstream(t);
  const { client, clock } = meshOf(server.port, { timeoutMs: 1_000, retry: { perTryTimeoutMs: 300 } });
  const call = record(client.dispatcher, {});
  t.equal(await call.done, 'end');
  await pass(clock, 10_000);
  t.same(call.events, ['start', '200', 'data ok', 'end']);
  t.equal(clock.pending(), 0);
  await assertIdle(t, client);
});

t.test('an answer that is there, but could not be read yet, is in time (RT-01)', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.end('ok'));
  for (let i = 0; i < 20; i++) {
    const { client, clock } = meshOf(server.port, { timeoutMs: 1_000, retry: { perTryTimeoutMs: 500 } });
    const before = server.seen.length;
    const call = record(client.dispatcher, {});
    // The process stalls: when it goes on, the timers are late and the answer lies in the socket.
    await until(() => server.seen.length > before);
    await new Promise<void>((resolve) => {
      setTimeout(() => {
        clock.advance(5_000);
        resolve();
      }, 0);
    });
    t.equal(await call.done, 'end');
    t.same(client.health, []);
    await assertIdle(t, client);
  }
});

t.test('the time covers retries and waits, and no try begins after it', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).end());
  const { client, clock } = meshOf(server.port, {
    timeoutMs: 1_000,
    retry: { retryOn: ['5xx'], attempts: 100, backoffBaseMs: 400 },
  });
  const call = record(client.dispatcher, {});
  await advanceUntil(clock, 10, () => call.events.length > 1);
  t.equal(await call.done, 'error ERR_MESH_TIMEOUT');
  const { length } = server.seen;
  t.ok(length > 1 && length < 30, `${length} tries`);
  await pass(clock, 10_000);
  t.equal(server.seen.length, length);
  t.equal(clock.pending(), 0);
  await assertIdle(t, client);
});

t.test('per-try timeout, then another endpoint (EP-04)', async (t) => {
  const [silent, good] = [await upstream(t, () => {}), await upstream(t)];
  const { client, clock } = meshOf(0, {
    ports: [silent.port, good.port],
    timeoutMs: 1_000,
    retry: { retryOn: ['reset'], perTryTimeoutMs: 200 },
  });
  for (let i = 0; i < 4; i++) {
    const call = record(client.dispatcher, {});
    await advanceUntil(clock, 10, () => call.events.includes('end') || call.events.length > 3);
    t.equal(await call.done, 'end');
    t.equal(call.text, 'ok');
  }
  t.ok(silent.seen.length >= 1);
  t.equal(good.seen.length, 4);
  await until(() => silent.open() === 0, 'given-up tries are cancelled');
  await assertIdle(t, client);
});

t.test('every try times out: a gateway timeout of the last one', async (t) => {
  const server = await upstream(t, () => {});
  const { client, clock } = meshOf(server.port, { retry: { retryOn: ['5xx'], attempts: 2, perTryTimeoutMs: 100 } });
  const call = record(client.dispatcher, {});
  await advanceUntil(clock, 10, () => call.events.length > 1);
  t.equal(await call.done, 'error ERR_MESH_TRY_TIMEOUT');
  t.match(call.error, { status: 504, message: new RegExp(`no answer from 127.0.0.1:${server.port} within 100 ms`) });
  t.equal(server.seen.length, 3);
  t.same(counted(client), ['504 x1', 'UT,URX x1']);
  await assertIdle(t, client);
});

t.test('a per-try timeout that the policy does not retry is final', async (t) => {
  const server = await upstream(t, () => {});
  const { client, clock } = meshOf(server.port, { retry: { retryOn: ['connect-failure'], perTryTimeoutMs: 100 } });
  const call = record(client.dispatcher, {});
  await server.arrived(1);
  await pass(clock, 100);
  t.equal(await call.done, 'error ERR_MESH_TRY_TIMEOUT');
  t.equal(server.seen.length, 1);
  await assertIdle(t, client);
});

t.test('the time of a try ends with its headers: a slow body has the whole time', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    outgoing.write('first ');
    incoming.socket.once('go on', () => outgoing.end('second'));
  });
  const { client, clock } = meshOf(server.port, {
    timeoutMs: 1_000,
    retry: { retryOn: ['5xx'], perTryTimeoutMs: 100 },
  });
  const call = record(client.dispatcher, {});
  await until(() => call.events.includes('data first '));
  await pass(clock, 900);
  (await server.arrived(1)).socket.emit('go on');
  t.equal(await call.done, 'end');
  t.equal(call.text, 'first second');
  await assertIdle(t, client);
});

t.test('the time of a try covers the connection (EP-03)', async (t) => {
  // one connection, busy: the second call waits for it
  const server = await upstream(t, () => {});
  const clock = fakeClock();
  const a = cluster('a', [endpoint(server.port)]);
  const limited = { ...a, limits: { ...a.limits, maxConnections: 1 } };
  const retry = { ...defaultRetryPolicy, perTryTimeoutMs: 100 };
  const client = testClient(snapshot({ a: [route(a.name, { retry })] }, [limited]), { clock, onFailure: 'throw' });
  const first = record(client.dispatcher, { path: '/first' });
  await server.arrived(1);
  clock.advance(60);
  const second = record(client.dispatcher, { path: '/second' });
  await pass(clock, 40);
  t.equal(await first.done, 'error ERR_MESH_TRY_TIMEOUT');
  t.same(second.events, ['start']);
  await pass(clock, 60);
  t.equal(await second.done, 'error ERR_MESH_TRY_TIMEOUT');
  await assertIdle(t, client);
});

t.test('what the next hop is told: the less of try and call, and what is left of it', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).end());
  const rows: readonly (readonly [Setup, string | undefined])[] = [
    [{}, undefined],
    [{ timeoutMs: 1_000 }, '1000'],
    [{ timeoutMs: 0.4 }, '1'],
    [{ timeoutMs: 1_000, retry: { perTryTimeoutMs: 300 } }, '300'],
    [{ timeoutMs: 1_000, retry: { perTryTimeoutMs: 3_000 } }, '1000'],
    [{ retry: { perTryTimeoutMs: 300 } }, '300'],
  ];
  for (const [setup, wanted] of rows) {
    const { client } = meshOf(server.port, setup);
    await record(client.dispatcher, {}).done;
    t.equal(told(server.requests.at(-1)), wanted, JSON.stringify(setup));
    await assertIdle(t, client);
  }

  const { client, clock } = meshOf(server.port, {
    timeoutMs: 1_000,
    retry: { retryOn: ['5xx'], attempts: 1, backoffBaseMs: 500 },
  });
  const call = record(client.dispatcher, {});
  await until(() => clock.pending() === 2, 'the deadline and the back-off');
  clock.advance(500);
  await call.done;
  const [first, second] = server.requests.slice(-2).map(told);
  t.equal(first, '1000');
  t.equal(second, '500');
  await assertIdle(t, client);
});

t.test('the deadline of the caller goes on: less of both counts', async (t) => {
  const server = await upstream(t, () => {});
  const rows: readonly (readonly [number | undefined, number, number, string])[] = [
    // route, left of the caller, expires after, with
    [undefined, 505, 500, 'ERR_MESH_DEADLINE_EXPIRED'],
    [1_000, 505, 500, 'ERR_MESH_DEADLINE_EXPIRED'],
    [300, 505, 300, 'ERR_MESH_TIMEOUT'],
  ];
  for (const [timeoutMs, left, expires, code] of rows) {
    const { client, clock } = meshOf(server.port, timeoutMs === undefined ? {} : { timeoutMs });
    const before = server.seen.length;
    const scope = { requestId: 'r', traceHeaders: [], deadline: clock.now() + left };
    const call = runInScope(scope, () => record(client.dispatcher, {}));
    await server.arrived(before + 1);
    t.equal(told(server.requests.at(-1)), String(expires));
    await pass(clock, expires - 1);
    t.same(call.events, ['start']);
    await pass(clock, 1);
    t.equal(await call.done, `error ${code}`);
    t.equal(clock.pending(), 0);
    await assertIdle(t, client);
  }
});

t.test('nothing left of the caller: no work for nobody', async (t) => {
  const server = await upstream(t);
  for (const left of [5, 0, -1_000]) {
    const { client, clock } = meshOf(server.port, { timeoutMs: 1_000 });
    const scope = { requestId: 'r', traceHeaders: [], deadline: clock.now() + left };
    const call = runInScope(scope, () => record(client.dispatcher, {}));
    t.equal(await call.done, 'error ERR_MESH_DEADLINE_EXPIRED');
    t.match(call.error, { status: 504, flag: 'DT' });
    t.same(counted(client), ['504 x1', 'DT x1']);
    t.equal(clock.pending(), 0);
    await assertIdle(t, client);
  }
  t.equal(server.seen.length, 0);
});

t.test("a call that ends in time cancels the timer of its caller's deadline", async (t) => {
  const server = await upstream(t);
  const { client, clock } = meshOf(server.port);
  const scope = { requestId: 'r', traceHeaders: [], deadline: clock.now() + 1_000 };
  const call = runInScope(scope, () => record(client.dispatcher, {}));
  t.equal(await call.done, 'end');
  t.equal(clock.pending(), 0);
  await assertIdle(t, client);
});

t.test('names that take too long: the deadline does not wait for them', async (t) => {
  const clock = fakeClock();
  const discovery = { kind: 'dns', endpoints: [endpoint(1, { address: 'svc' })] } as const;
  const a = cluster('a', [], { discovery });
  let answer = (_addresses: readonly string[]): void => {};
  const client = testClient(snapshot({ a: [route(a.name, { timeoutMs: 1_000 })] }, [a]), {
    clock,
    onFailure: 'throw',
    resolve: () => new Promise((resolve) => (answer = resolve)),
  });
  const call = record(client.dispatcher, {});
  await pass(clock, 1_000);
  t.equal(await call.done, 'error ERR_MESH_TIMEOUT');
  answer([]);
  await assertIdle(t, client);
});

t.test('a deadline that passes while the application pauses: the body it does not read fails', async (t) => {
  const server = await rawUpstream(t, (socket) => {
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart'));
  });
  const { client, clock } = meshOf(server.port, { timeoutMs: 1_000 });
  const call = record(client.dispatcher, {}, { onResponseStart: (controller) => controller.pause() });
  await until(() => call.events.includes('200'));
  await pass(clock, 1_000);
  t.equal(await call.done, 'error ERR_MESH_TIMEOUT');
  await assertIdle(t, client);
});

t.test('a stall of the process expires each call once (RT-02)', async (t) => {
  const server = await upstream(t, () => {});
  const { client, clock } = meshOf(server.port, { timeoutMs: 1_000 });
  const calls = Array.from({ length: 50 }, () => record(client.dispatcher, {}));
  await server.arrived(50);
  await pass(clock, 60_000);
  for (const call of calls) {
    t.equal(await call.done, 'error ERR_MESH_TIMEOUT');
    t.equal(call.events.length, 2);
  }
  t.same(counted(client), ['504 x50', 'UT x50']);
  t.equal(clock.pending(), 0);
  await assertIdle(t, client);
});
