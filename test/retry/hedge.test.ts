import type { RequestListener } from 'node:http';
import { Readable } from 'node:stream';
import t, { type Test } from 'tap';
import { request } from 'undici';
import { defaultConnectionLimits, type RetryBudget } from '../../src/model/cluster.ts';
import { defaultRetryPolicy, type Fault, type HedgePolicy, type RetryPolicy } from '../../src/model/route.ts';
import { testClient } from '../support/client.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { refusingPort } from '../support/free-ports.ts';
import { assertIdle, counted, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { rawUpstream, turns, until, upstream } from '../support/upstream.ts';

const after = (ms: number, hedges?: number): HedgePolicy => ({
  when: { kind: 'after', ms },
  ...(hedges === undefined ? {} : { hedges }),
});

/** Takes the endpoints in turn, beginning with the first. */
function meshOf(
  ports: readonly number[],
  hedge: HedgePolicy,
  retry: Partial<RetryPolicy> = {},
  more: {
    readonly timeoutMs?: number;
    readonly maxRetries?: number;
    readonly retryBudget?: RetryBudget;
    readonly clock?: FakeClock;
  } = {},
) {
  const a = cluster(
    'a',
    ports.map((port) => endpoint(port)),
    {
      balance: 'ROUND_ROBIN',
      limits: { ...defaultConnectionLimits, ...(more.maxRetries === undefined ? {} : { maxRetries: more.maxRetries }) },
      ...(more.retryBudget === undefined ? {} : { retryBudget: more.retryBudget }),
    },
  );
  const policy = { ...defaultRetryPolicy, backoffBaseMs: 0, ...retry };
  const { timeoutMs } = more;
  const only = route(a.name, { retry: policy, hedge, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  const { clock } = more;
  return testClient(snapshot({ a: [only] }, [a]), { random: () => 0, ...(clock === undefined ? {} : { clock }) });
}

/** Says when a request was cut off. */
async function silent(t: Test) {
  let cut = 0;
  let seen = 0;
  const server = await upstream(t, (incoming, outgoing) => {
    seen++;
    outgoing.on('close', () => {
      if (!outgoing.writableFinished) cut++;
    });
    incoming.resume();
  });
  return { port: server.port, server, cut: () => cut, seen: () => seen };
}
const says =
  (text: string, status = 200): RequestListener =>
  (_incoming, outgoing) =>
    void outgoing.writeHead(status, { 'x-from': text }).end(text);

t.test(
  'another try starts beside one that takes long, elsewhere; the first good answer wins, the other is cut (POL-07)',
  async (t) => {
    const slow = await silent(t);
    const good = await upstream(t, says('good'));
    const client = meshOf([slow.port, good.port], after(10));
    for (let i = 0; i < 4; i++) {
      const call = record(client.dispatcher, {});
      t.equal(await call.done, 'end');
      t.equal(call.text, 'good');
      t.equal(call.headers['x-from'], 'good');
      t.same(
        call.events.filter((event) => event === '200'),
        ['200'],
      );
    }
    t.ok(slow.seen() > 0);
    await until(() => slow.cut() === slow.seen(), 'every try that lost was cut off');
    const all = [...good.requests, ...slow.server.requests];
    const counts = new Set(all.map(({ headers }) => headers['x-envoy-attempt-count']));
    t.ok(counts.has('2'), 'the tries are counted for servers');
    t.same(counted(client), ['200 x4'], 'one call, however many tries');
    await assertIdle(t, client);
  },
);

t.test('a slow first answer that is faster than the second one wins', async (t) => {
  const first = await upstream(t, (_incoming, outgoing) => void setTimeout(() => outgoing.end('first'), 60));
  const second = await silent(t);
  const client = meshOf([first.port, second.port], after(10));
  let winners = 0;
  for (let i = 0; i < 2; i++) {
    const call = record(client.dispatcher, {});
    t.equal(await call.done, 'end');
    if (call.text === 'first') winners++;
  }
  t.equal(winners, 2);
  await until(() => second.cut() === second.seen());
  await assertIdle(t, client);
});

t.test('never for what may not arrive twice, nor for streams', async (t) => {
  const waiting: (() => void)[] = [];
  const slow: RequestListener = (_incoming, outgoing) => void waiting.push(() => outgoing.end('slow'));
  const servers = [await upstream(t, slow), await upstream(t, slow)];
  const clock = fakeClock();
  const client = meshOf(
    servers.map(({ port }) => port),
    after(5),
    {},
    { clock },
  );
  const { dispatcher } = client;
  for (const [options, tries] of [
    [{ method: 'POST', body: 'x' }, 1],
    [{ method: 'PATCH', body: 'x' }, 1],
    [{ method: 'PUT', body: Readable.from(['x']) }, 1],
    [{ method: 'GET', idempotent: false }, 1],
    [{ method: 'PUT', body: 'x' }, 2],
    [{ method: 'DELETE' }, 2],
    [{ method: 'POST', body: 'x', idempotent: true }, 2],
  ] as const) {
    waiting.length = 0;
    const given: object = options;
    const call = request('http://a/', { ...given, dispatcher });
    await until(() => waiting.length === 1);
    clock.advance(5);
    if (tries === 2) await until(() => waiting.length === 2);
    else await turns(200);
    t.equal(waiting.length, tries, JSON.stringify(options));
    for (const answer of waiting) answer();
    t.equal(await (await call).body.text(), 'slow');
  }
  await assertIdle(t, client);
});

t.test('on the time of a try: it goes on, and its answer still counts (hedge_on_per_try_timeout)', async (t) => {
  const slow = await upstream(t, (_incoming, outgoing) => void setTimeout(() => outgoing.end('slow'), 80));
  const silentOne = await silent(t);
  const client = meshOf(
    [slow.port, silentOne.port],
    { when: { kind: 'perTryTimeout' } },
    { perTryTimeoutMs: 20, attempts: 1 },
  );
  for (let i = 0; i < 2; i++) {
    const call = record(client.dispatcher, {});
    t.equal(await call.done, 'end');
    t.equal(call.text, 'slow');
  }
  for (const { headers } of slow.requests) {
    t.equal(headers['x-envoy-expected-rq-timeout-ms'], undefined, 'the server has more time than one try');
  }
  await assertIdle(t, client);
});

t.test('a failure of one try is nothing while another is under way', async (t) => {
  const bad = await upstream(t, (_incoming, outgoing) => void setTimeout(() => outgoing.writeHead(503).end('bad'), 30));
  const good = await upstream(t, (_incoming, outgoing) => void setTimeout(() => outgoing.end('good'), 60));
  const client = meshOf([bad.port, good.port], after(10), { retryOn: ['5xx', 'reset'], attempts: 1 });
  for (let i = 0; i < 2; i++) {
    const call = record(client.dispatcher, {});
    await call.done;
    t.equal(call.text, 'good');
  }
  await assertIdle(t, client);
});

t.test('a try that fails before it takes long is tried again', async (t) => {
  const good = await upstream(t, says('good'));
  const reset = await rawUpstream(t, (socket) => void socket.once('data', () => socket.resetAndDestroy()));
  for (const port of [await refusingPort(), reset.port]) {
    const client = meshOf([port, good.port], after(5_000), { retryOn: ['reset', 'connect-failure'] });
    for (let i = 0; i < 2; i++) {
      const call = record(client.dispatcher, {});
      t.equal(await call.done, 'end');
      t.equal(call.text, 'good');
    }
    await assertIdle(t, client);
  }
});

t.test('all tries fail: the last answer is the call’s, or the last error', async (t) => {
  const bad = await upstream(t, says('bad', 503));
  const answered = meshOf([bad.port], after(5_000), { retryOn: ['5xx'], attempts: 2 });
  const call = record(answered.dispatcher, {});
  t.equal(await call.done, 'end');
  t.equal(call.text, 'bad');
  t.equal(bad.seen.length, 3);
  t.same(counted(answered), ['503 x1', 'URX x1']);
  await assertIdle(t, answered);
  const refused = meshOf([await refusingPort()], after(5_000), { attempts: 1 });
  const failed = record(refused.dispatcher, {});
  await failed.done;
  t.equal(failed.headers['x-inmesh-error'], 'ERR_MESH_CONNECT_FAILED');
  t.same(counted(refused), ['503 x1', 'UF,URX x1']);
  await assertIdle(t, refused);
});

t.test('an answer that is kept for want of a better one is not read on; it is whole when it is needed', async (t) => {
  const piece = Buffer.alloc(65_536, 'x');
  const most = 512;
  for (const pieces of [most, 64]) {
    let written = 0;
    let idle = 0;
    const bad = await upstream(t, (_incoming, outgoing) => {
      outgoing.writeHead(503);
      const write = (): void => {
        idle = 0;
        while (written < pieces) {
          written++;
          if (!outgoing.write(piece)) return;
        }
        outgoing.end();
      };
      outgoing.on('drain', write);
      write();
    });
    const silentOne = await silent(t);
    const client = meshOf([silentOne.port, bad.port], after(60_000), { retryOn: ['5xx'], attempts: 1 });
    const call = record(client.dispatcher, {});
    await until(() => silentOne.seen() === 1, 'the second try');
    await until(() => ++idle > 200, 'nothing more is read');
    if (pieces === most) t.ok(written < most / 2, `${written} of ${most} pieces were written`);
    await silentOne.server.close();
    t.equal(await call.done, 'end');
    t.equal(call.text.length, pieces * piece.length);
    await assertIdle(t, client);
  }
});

t.test('faults of tries that did not win are over with their call', async (t) => {
  const good = await upstream(t, says('good'));
  const a = cluster('a', [endpoint(good.port)]);
  const faults: readonly Fault[] = [
    { level: 'try', abort: { status: 503, percent: 100 }, maxActive: 1 },
    { level: 'try', delay: { delayMs: 60_000, percent: 100 }, maxActive: 1 },
  ];
  for (const fault of faults) {
    const retry: RetryPolicy = { ...defaultRetryPolicy, retryOn: ['5xx'], backoffBaseMs: 0 };
    const client = testClient(snapshot({ a: [route(a.name, { retry, fault, hedge: after(5) })] }, [a]));
    for (let i = 0; i < 3; i++) {
      const call = record(client.dispatcher, {});
      t.equal(await call.done, 'end');
      t.equal(call.text, 'good');
      t.equal(good.requests.at(-1)?.headers['x-envoy-attempt-count'], '2', 'the first try had a fault, as it may');
    }
    await assertIdle(t, client);
  }
});

t.test('no more tries beside others than the policy has', async (t) => {
  const slow = await silent(t);
  const clock = fakeClock();
  const client = meshOf([slow.port, slow.port], after(5, 2), {}, { timeoutMs: 200, clock });
  const call = record(client.dispatcher, {});
  for (const tries of [1, 2, 3]) {
    await until(() => slow.seen() === tries);
    clock.advance(5);
  }
  await turns(200);
  clock.advance(200);
  await call.done;
  t.equal(call.headers['x-inmesh-error'], 'ERR_MESH_TIMEOUT');
  t.equal(slow.seen(), 3);
  await until(() => slow.cut() === 3);
  await assertIdle(t, client);
});

t.test('the budget of retries holds for hedges', async (t) => {
  const waiting: (() => void)[] = [];
  const slow = await upstream(t, (_incoming, outgoing) => void waiting.push(() => outgoing.end('slow')));
  const clock = fakeClock();
  const client = meshOf([slow.port], after(5), {}, { maxRetries: 0, clock });
  const call = record(client.dispatcher, {});
  await until(() => waiting.length === 1);
  clock.advance(5);
  await turns(200);
  for (const answer of waiting) answer();
  await call.done;
  t.equal(slow.seen.length, 1);
  await assertIdle(t, client);
});

t.test('tries beside others take none from those after a failure', async (t) => {
  const bad: (() => void)[] = [];
  const server = await upstream(t, (_incoming, outgoing) => {
    if (bad.length === 2) outgoing.end('good');
    else bad.push(() => void outgoing.writeHead(503).end());
  });
  const client = meshOf([server.port], after(5), { attempts: 1, retryOn: ['5xx'] });
  const call = record(client.dispatcher, {});
  await until(() => bad.length === 2);
  for (const answer of bad) answer();
  t.equal(await call.done, 'end');
  t.equal(call.text, 'good', 'one beside the first, and one after both');
  await assertIdle(t, client);
});

t.test('an answer whose sender has spent retries of its own is final', async (t) => {
  const spent = { 'x-inmesh-retries-spent': '1' };
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503, spent).end());
  const client = meshOf([server.port], after(10_000), { attempts: 3, retryOn: ['5xx'] });
  const call = record(client.dispatcher, {});
  t.equal(await call.done, 'end');
  t.equal(server.seen.length, 1);
  await assertIdle(t, client);
});

t.test('calls that may be hedged count for a budget of the last while, as others do', async (t) => {
  let seen = 0;
  // Ten answers at once; the eleventh request is left alone, the one beside it is not.
  const server = await upstream(t, (_incoming, outgoing) => void (++seen !== 11 && outgoing.end('ok')));
  const retryBudget = { percent: 20, intervalMs: 60_000, minRetryConcurrency: 0 };
  const clock = fakeClock();
  const client = meshOf([server.port], after(5), {}, { timeoutMs: 2_000, retryBudget, clock });
  for (let i = 0; i < 11; i++) {
    const call = record(client.dispatcher, {});
    if (i === 10) {
      await until(() => seen === 11);
      clock.advance(5);
    }
    await call.done;
    t.equal(call.text, 'ok');
  }
  t.equal(seen, 12);
  await assertIdle(t, client);
});

t.test('the application stops the call: all tries are cut off', async (t) => {
  const slow = await silent(t);
  const client = meshOf([slow.port], after(5));
  const call = record(client.dispatcher, {});
  await until(() => slow.seen() === 2);
  call.controller.abort(new Error('enough'));
  t.equal(await call.done, 'error enough');
  await until(() => slow.cut() === 2);
  await assertIdle(t, client);
});

t.test('the winner can be paused, resumed and stopped in the middle of its body', async (t) => {
  const big = await upstream(t, (_incoming, outgoing) => void outgoing.end(Buffer.alloc(3_000_000, 'x')));
  const slow = await silent(t);
  const client = meshOf([slow.port, big.port], after(5));
  const { dispatcher } = client;
  for (let i = 0; i < 2; i++) {
    const answer = await request('http://a/', { dispatcher });
    await new Promise((resolve) => setTimeout(resolve, 20));
    let bytes = 0;
    for await (const chunk of answer.body) bytes += (chunk as Buffer).length;
    t.equal(bytes, 3_000_000);
  }
  const stopped = await request('http://a/', { dispatcher });
  stopped.body.destroy();
  await until(() => slow.cut() === slow.seen());
  await assertIdle(t, client);
});

t.test('a handler that throws stops the call', async (t) => {
  const good = await upstream(t, says('good'));
  const client = meshOf([good.port], after(5_000));
  for (const name of ['onResponseStart', 'onResponseData'] as const) {
    const call = record(
      client.dispatcher,
      {},
      {
        [name]: () => {
          throw new Error('mine');
        },
      },
    );
    t.equal(await call.done, 'error mine', name);
  }
  await assertIdle(t, client);
});

t.test('by percentile: nothing before enough answers are known, then what is slow meets a second try', async (t) => {
  let hang = false;
  let hung = 0;
  const server = await upstream(t, (_incoming, outgoing) => {
    if (hang && hung === 0) hung++;
    else outgoing.end('fast');
  });
  const client = meshOf([server.port], { when: { kind: 'percentile', percentile: 95, minMs: 20 } });
  for (let i = 0; i < 40; i++) await record(client.dispatcher, {}).done;
  t.equal(server.seen.length, 40, 'fast answers need no second try');
  hang = true;
  const call = record(client.dispatcher, {});
  t.equal(await call.done, 'end');
  t.equal(call.text, 'fast');
  t.equal(server.seen.length, 42);
  await assertIdle(t, client);
});
