import { Readable } from 'node:stream';
import t from 'tap';
import { request, upgrade } from 'undici';
import { defaultConnectionLimits } from '../../src/model/cluster.ts';
import { defaultRetryPolicy, type Fault, type HeaderEdits, type RetryPolicy } from '../../src/model/route.ts';
import { runInScope } from '../../src/pipeline/scope.ts';
import { testClient } from '../support/client.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { assertIdle, counted, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { turns, until, upstream } from '../support/upstream.ts';

interface Setup {
  readonly fault: Fault;
  readonly retry?: Partial<RetryPolicy>;
  readonly timeoutMs?: number;
  readonly onFailure?: 'response' | 'throw';
  readonly random?: () => number;
  readonly maxRequests?: number;
  readonly outlier?: boolean;
  readonly headers?: HeaderEdits;
}
function meshOf(port: number, setup: Setup) {
  const clock = fakeClock();
  const { fault, maxRequests = Number.POSITIVE_INFINITY, onFailure = 'response', timeoutMs } = setup;
  const a = cluster('a', [endpoint(port)], {
    limits: { ...defaultConnectionLimits, maxRequests },
    ...(setup.outlier === true
      ? {
          outlier: {
            consecutive5xx: 1,
            consecutiveGatewayErrors: 0,
            intervalMs: 10_000,
            baseEjectionMs: 30_000,
            maxEjectionPercent: 100,
            minHealthPercent: 0,
          },
        }
      : {}),
  });
  const retry = { ...defaultRetryPolicy, backoffBaseMs: 0, ...setup.retry };
  const headers = setup.headers === undefined ? {} : { headers: setup.headers };
  const to = route(a.name, { fault, retry, ...headers, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  const random = setup.random === undefined ? {} : { random: setup.random };
  return { clock, client: testClient(snapshot({ a: [to] }, [a]), { clock, onFailure, ...random }) };
}
/** Time passes, and what is due happens. */
const pass = async (clock: FakeClock, ms: number): Promise<void> => {
  await clock.advanceAsync(ms);
  await turns(3);
};
const aborting = (status: number, level: Fault['level'] = 'call', percent = 100): Fault => ({
  level,
  abort: { status, percent },
});
const delaying = (delayMs: number, level: Fault['level'] = 'call', percent = 100): Fault => ({
  level,
  delay: { delayMs, percent },
});
/** These numbers, over and over. */
const drawing = (...numbers: readonly number[]): (() => number) => {
  let i = 0;
  return () => numbers[i++ % numbers.length] as number;
};

t.test('an abort is an answer in place of that of the service', async (t) => {
  const server = await upstream(t);
  for (const onFailure of ['response', 'throw'] as const) {
    const { client } = meshOf(server.port, { fault: aborting(555), onFailure });
    const response = await request('http://a/', { dispatcher: client.dispatcher });
    t.equal(response.statusCode, 555);
    t.same(response.headers, { 'content-length': '18', 'content-type': 'text/plain' });
    t.equal(await response.body.text(), 'fault filter abort');
    t.same(counted(client), ['555 x1', 'FI x1']);
    t.match(client.metrics.snapshot().find(({ requests }) => requests > 0)?.labels, {
      destinationService: 'a',
      destinationWorkload: 'unknown',
    });
    await assertIdle(t, client);
  }
  t.equal(server.seen.length, 0);
});

t.test('an aborted HEAD has the same head and no body', async (t) => {
  const server = await upstream(t);
  const { client } = meshOf(server.port, { fault: aborting(503) });
  const call = record(client.dispatcher, { method: 'HEAD' });
  t.equal(await call.done, 'end');
  t.same(call.events, ['start', '503', 'end']);
  t.equal(call.headers['content-length'], '18');
  await assertIdle(t, client);
});

t.test('an aborted gRPC call gets a gRPC status, and headers only', async (t) => {
  const server = await upstream(t);
  const grpc = { 'content-type': 'application/grpc+proto' };
  const table: readonly (readonly [Fault, Record<string, string>, string, string | undefined])[] = [
    [{ level: 'call', abort: { status: 200, grpcStatus: 8, percent: 100 } }, grpc, '200', '8'],
    [aborting(503), grpc, '200', '14'],
    [{ level: 'call', abort: { status: 200, grpcStatus: 8, percent: 100 } }, {}, '200', undefined],
    [aborting(404), { 'Content-Type': 'application/grpc-web' }, '404', undefined],
  ];
  for (const [fault, headers, status, code] of table) {
    const { client } = meshOf(server.port, { fault });
    const call = record(client.dispatcher, { method: 'POST', headers });
    t.equal(await call.done, 'end');
    t.equal(call.events[1], status);
    t.equal(call.headers['grpc-status'], code);
    t.equal(call.text, code === undefined ? 'fault filter abort' : '');
    t.equal(call.headers['grpc-message'], code === undefined ? undefined : 'fault filter abort');
    await assertIdle(t, client);
  }
});

t.test('an injected answer has the header edits of its route', async (t) => {
  const server = await upstream(t);
  const edit = { set: [{ name: 'x-route', value: '%RESPONSE_CODE%' }], add: [], remove: ['content-type'] };
  for (const level of ['call', 'try'] as const) {
    const { client } = meshOf(server.port, { fault: aborting(418, level), headers: { response: edit } });
    const call = record(client.dispatcher, {});
    t.equal(await call.done, 'end');
    t.same(call.headers, { 'content-length': '18', 'x-route': '418' });
    await assertIdle(t, client);
  }
});

t.test('percentages hold', async (t) => {
  const server = await upstream(t);
  const { client } = meshOf(server.port, { fault: aborting(418, 'call', 25) });
  let aborted = 0;
  for (let i = 0; i < 400; i++) {
    const { body, statusCode } = await request('http://a/', { dispatcher: client.dispatcher });
    await body.dump();
    if (statusCode === 418) aborted++;
  }
  t.ok(aborted > 60 && aborted < 140, String(aborted));
  t.equal(server.seen.length, 400 - aborted);
  await assertIdle(t, client);
});

t.test('delay and abort draw for themselves; the delay comes first', async (t) => {
  const server = await upstream(t);
  const fault: Fault = { ...delaying(1_000, 'call', 50), ...aborting(503, 'call', 50) };
  const table: readonly (readonly [delay: number, abort: number, waits: boolean, status: string, flags: string[]])[] = [
    [0.1, 0.9, true, '200', ['200 x1', 'DI x1']],
    [0.9, 0.1, false, '503', ['503 x1', 'FI x1']],
    [0.1, 0.1, true, '503', ['503 x1', 'DI,FI x1']],
    [0.9, 0.9, false, '200', ['200 x1']],
  ];
  for (const [delay, abort, waits, status, flags] of table) {
    const { client, clock } = meshOf(server.port, { fault, random: drawing(delay, abort) });
    const before = server.seen.length;
    const call = record(client.dispatcher, {});
    if (waits) {
      await pass(clock, 999);
      t.same(call.events, ['start'], 'it waits');
      t.equal(server.seen.length, before);
      await pass(clock, 1);
    }
    t.equal(await call.done, 'end');
    t.equal(call.events[1], status);
    t.same(counted(client), flags);
    t.equal(clock.pending(), 0);
    await assertIdle(t, client);
  }
});

t.test('the timeout of the route begins after the delay', async (t) => {
  const server = await upstream(t, () => {});
  const { client, clock } = meshOf(server.port, { fault: delaying(5_000), timeoutMs: 1_000 });
  const call = record(client.dispatcher, {});
  await pass(clock, 5_000);
  const incoming = await server.arrived(1);
  t.equal(incoming.headers['x-envoy-expected-rq-timeout-ms'], '1000');
  await pass(clock, 999);
  t.same(call.events, ['start']);
  await pass(clock, 1);
  t.equal(await call.done, 'end');
  t.ok(call.events.includes('504'));
  t.same(counted(client), ['504 x1', 'UT,DI x1']);
  await assertIdle(t, client);
});

t.test('a retry after a delay tells the next hop what is left of the time without the delay', async (t) => {
  let answers = 0;
  const server = await upstream(t, (_in, outgoing) => void outgoing.writeHead(++answers === 1 ? 503 : 200).end());
  const setup = { fault: delaying(5_000), timeoutMs: 1_000, retry: { retryOn: ['5xx'] } } as const;
  const { client, clock } = meshOf(server.port, setup);
  const call = record(client.dispatcher, {});
  await pass(clock, 5_000);
  await until(() => {
    if (server.seen.length === 2) return true;
    clock.advance(0);
    return false;
  });
  t.equal(await call.done, 'end');
  t.equal(server.requests[1]?.headers['x-envoy-expected-rq-timeout-ms'], '1000');
  await assertIdle(t, client);
});

t.test('an abort of the call ends its delay, and leaves nothing behind', async (t) => {
  const server = await upstream(t);
  for (const level of ['call', 'try'] as const) {
    const { client, clock } = meshOf(server.port, { fault: delaying(60_000, level) });
    const call = record(client.dispatcher, {});
    await pass(clock, 10);
    call.controller.abort(new Error('enough'));
    t.equal(await call.done, 'error enough');
    t.equal(clock.pending(), 0, 'no timer');
    t.same(counted(client), ['0 x1', 'DI,DC x1']);
    await assertIdle(t, client);
  }
  t.equal(server.seen.length, 0);
});

t.test('a delay lasts no longer than the time of the request that causes the call', async (t) => {
  const server = await upstream(t);
  const { client, clock } = meshOf(server.port, { fault: delaying(60_000), onFailure: 'throw' });
  const scope = { requestId: 'r', traceHeaders: [], deadline: clock.now() + 100 };
  const call = runInScope(scope, () => record(client.dispatcher, {}));
  await pass(clock, 94);
  t.same(call.events, ['start']);
  await pass(clock, 1);
  t.equal(await call.done, 'error ERR_MESH_DEADLINE_EXPIRED');
  t.equal(server.seen.length, 0);
  t.same(counted(client), ['504 x1', 'DI,DT x1']);
  await assertIdle(t, client);
});

t.test('an aborted call gives its request body back unread', async (t) => {
  const server = await upstream(t);
  const { client } = meshOf(server.port, { fault: aborting(500) });
  const body = Readable.from(['never', 'read']);
  const call = record(client.dispatcher, { method: 'POST', body });
  t.equal(await call.done, 'end');
  t.equal(body.destroyed, true);
  await assertIdle(t, client);
});

t.test('whoever wants a connection gets an error', async (t) => {
  const server = await upstream(t);
  const { client } = meshOf(server.port, { fault: aborting(418) });
  await t.rejects(upgrade('http://a/', { protocol: 'echo', dispatcher: client.dispatcher }), {
    code: 'ERR_MESH_FAULT',
    message: /418/,
  });
  t.same(counted(client), ['503 x1', 'FI x1']);
  await assertIdle(t, client);
});

t.test('a handler that throws at an injected answer is told of its own error', async (t) => {
  const server = await upstream(t);
  const { client } = meshOf(server.port, { fault: aborting(500) });
  const throwing = record(
    client.dispatcher,
    {},
    {
      onResponseStart: () => {
        throw new Error('mine');
      },
    },
  );
  t.equal(await throwing.done, 'error mine');
  const stopping = record(
    client.dispatcher,
    {},
    { onResponseData: (controller) => controller.abort(new Error('stop')) },
  );
  t.equal(await stopping.done, 'error stop');
  t.notOk(stopping.events.includes('end'));
  await assertIdle(t, client);
});

t.test('retries do not see faults of whole calls', async (t) => {
  const server = await upstream(t);
  const { client } = meshOf(server.port, { fault: aborting(503), retry: { retryOn: ['5xx'], attempts: 3 } });
  const call = record(client.dispatcher, {});
  t.equal(await call.done, 'end');
  t.same(counted(client), ['503 x1', 'FI x1'], 'and no URX');
  await assertIdle(t, client);
});

t.test('a fault of a try is retried as the policy says', async (t) => {
  const server = await upstream(t);
  // abort, back-off, abort, back-off, no abort
  const random = drawing(0.1, 0, 0.1, 0, 0.9, 0);
  const retry = { retryOn: ['5xx'], attempts: 2 } as const;
  const { client, clock } = meshOf(server.port, { fault: aborting(503, 'try', 50), retry, random });
  const call = record(client.dispatcher, {});
  await until(() => {
    clock.advance(0);
    return call.events.includes('end');
  });
  t.same(call.events, ['start', '200', 'data ok', 'end']);
  t.equal(server.requests[0]?.headers['x-envoy-attempt-count'], '3');
  t.same(counted(client), ['200 x1'], 'what was injected on the way is not what the call ended with');
  await assertIdle(t, client);
});

t.test('when tries run out, the injected answer is the answer', async (t) => {
  const server = await upstream(t);
  const retry = { retryOn: ['5xx'], attempts: 2 } as const;
  const { client, clock } = meshOf(server.port, { fault: aborting(503, 'try'), retry });
  const call = record(client.dispatcher, {});
  await until(() => {
    clock.advance(0);
    return call.events.includes('end');
  });
  t.same(call.events, ['start', '503', 'data fault filter abort', 'end']);
  t.same(counted(client), ['503 x1', 'FI,URX x1']);
  t.equal(server.seen.length, 0);
  await assertIdle(t, client);
});

t.test('an injected gRPC status is retried by its name', async (t) => {
  const server = await upstream(t);
  const fault: Fault = { level: 'try', abort: { status: 200, grpcStatus: 14, percent: 50 } };
  const retry = { retryOn: ['unavailable'], attempts: 1 } as const;
  const { client, clock } = meshOf(server.port, { fault, retry, random: drawing(0.1, 0, 0.9, 0) });
  const call = record(client.dispatcher, { method: 'POST', headers: { 'content-type': 'application/grpc' } });
  await until(() => {
    clock.advance(0);
    return call.events.includes('end');
  });
  t.equal(server.seen.length, 1);
  t.equal(call.headers['grpc-status'], undefined);
  await assertIdle(t, client);
});

t.test('a delay takes from the time of its try', async (t) => {
  const server = await upstream(t, () => {});
  const setup = { fault: delaying(300, 'try'), retry: { perTryTimeoutMs: 1_000, attempts: 0 } } as const;
  const { client, clock } = meshOf(server.port, { ...setup, onFailure: 'throw' });
  const call = record(client.dispatcher, {});
  await pass(clock, 300);
  const incoming = await server.arrived(1);
  t.equal(incoming.headers['x-envoy-expected-rq-timeout-ms'], '700');
  await pass(clock, 699);
  t.same(call.events, ['start']);
  await pass(clock, 1);
  t.equal(await call.done, 'error ERR_MESH_TRY_TIMEOUT');
  t.same(counted(client), ['504 x1', 'UT,DI x1']);
  await assertIdle(t, client);
});

t.test('a delay longer than a try ends the try, and the next one begins', async (t) => {
  const server = await upstream(t);
  const retry = { perTryTimeoutMs: 100, attempts: 1, retryOn: ['reset'] } as const;
  const setup = { fault: delaying(5_000, 'try', 50), retry, random: drawing(0.1, 0, 0.9, 0) };
  const { client, clock } = meshOf(server.port, setup);
  const call = record(client.dispatcher, {});
  await pass(clock, 99);
  t.equal(server.seen.length, 0);
  await pass(clock, 1);
  await until(() => {
    clock.advance(0);
    return call.events.includes('end');
  });
  t.ok(call.events.includes('200'));
  t.equal(server.seen.length, 1);
  t.same(counted(client), ['200 x1', 'DI x1']);
  await assertIdle(t, client);
});

t.test('the timeout of the route ends a delay of a try', async (t) => {
  const server = await upstream(t);
  const { client, clock } = meshOf(server.port, {
    fault: delaying(5_000, 'try'),
    timeoutMs: 1_000,
    onFailure: 'throw',
  });
  const call = record(client.dispatcher, {});
  await pass(clock, 1_000);
  t.equal(await call.done, 'error ERR_MESH_TIMEOUT');
  t.equal(server.seen.length, 0);
  t.equal(clock.pending(), 0);
  await assertIdle(t, client);
});

t.test('what is injected takes no place from others and ejects nobody', async (t) => {
  const server = await upstream(t);
  const fault: Fault = { ...delaying(1_000, 'try', 50), ...aborting(503, 'try', 100) };
  const setup = { fault, maxRequests: 1, outlier: true, retry: { attempts: 0 }, random: drawing(0.1, 0) };
  const { client, clock } = meshOf(server.port, setup);
  const calls = [1, 2, 3].map(() => record(client.dispatcher, {}));
  t.equal(
    [...client.active().values()].reduce((sum, active) => sum + active, 0),
    0,
    'nothing is taken',
  );
  await pass(clock, 1_000);
  for (const call of calls) {
    t.equal(await call.done, 'end');
    t.equal(call.text, 'fault filter abort');
  }
  t.same(client.health, []);
  await assertIdle(t, client);
});
