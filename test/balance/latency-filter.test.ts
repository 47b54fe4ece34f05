import t from 'tap';
import { latencyFilter } from '../../src/balance/latency-filter.ts';
import { LatencyMemory } from '../../src/balance/peak-ewma.ts';
import { MeshError, type MeshErrorCode } from '../../src/errors.ts';
import type { ClientCall, Reply, TryWatcher } from '../../src/pipeline/client-call.ts';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { assertIdle, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { upstream } from '../support/upstream.ts';

/** What the memory is told of a try that begins at 0, and is then ended by `run`. */
function told(run: (watcher: TryWatcher, wait: (ms: number) => void, call: ClientCall) => void): string[] {
  const clock = fakeClock();
  const said: string[] = [];
  const note =
    (what: string) =>
    (elapsedMs: number): void =>
      void said.push(`${what} ${elapsedMs}`);
  const memory = Object.assign(new LatencyMemory(), {
    answered: note('answered'),
    failed: note('failed'),
    abandoned: note('abandoned'),
  });
  let watcher: TryWatcher | undefined;
  const call = {
    endpoint: {},
    cancelled: false,
    watchTry(each: TryWatcher) {
      watcher = each;
    },
  } as unknown as ClientCall;
  const next = (): Promise<Reply> => new Promise(() => {});
  void latencyFilter(clock, () => memory)(call, next);
  run(watcher as TryWatcher, (ms) => clock.advance(ms), call);
  return said;
}

const error = (code: MeshErrorCode): MeshError => new MeshError(code, 'no');

t.test('the time is that until the response headers', async (t) => {
  const said = told((watcher, wait, call) => {
    wait(20);
    watcher.tryReplied(call, 200, {});
    wait(300);
    watcher.tryEnded(call, undefined, 200);
  });
  t.same(said, ['answered 20']);
});

t.test('which answers are failures', async (t) => {
  for (const [status, expected] of [
    [200, 'answered 5'],
    [304, 'answered 5'],
    [404, 'answered 5'],
    [409, 'answered 5'],
    [429, 'failed 5'],
    [499, 'answered 5'],
    [500, 'failed 5'],
    [503, 'failed 5'],
  ] as const) {
    const said = told((watcher, wait, call) => {
      wait(5);
      watcher.tryReplied(call, status, {});
      watcher.tryEnded(call, undefined, status);
    });
    t.same(said, [expected], String(status));
  }
});

t.test('which errors are those of the endpoint', async (t) => {
  for (const [code, expected] of [
    ['ERR_MESH_CONNECT_FAILED', ['failed 5']],
    ['ERR_MESH_TLS_FAILED', ['failed 5']],
    ['ERR_MESH_PEER_IDENTITY', ['failed 5']],
    ['ERR_MESH_UPSTREAM_RESET', ['failed 5']],
    ['ERR_MESH_TRY_TIMEOUT', ['failed 5']],
    ['ERR_MESH_TIMEOUT', ['failed 5']],
    ['ERR_MESH_DEADLINE_EXPIRED', ['abandoned 5']],
    ['ERR_MESH_OVERFLOW', ['abandoned 5']],
  ] as const) {
    const said = told((watcher, wait, call) => {
      wait(5);
      watcher.tryEnded(call, error(code), 0);
    });
    t.same(said, expected, code);
  }
});

t.test('a body that breaks off is a failure, one that takes the rest of the time is not', async (t) => {
  const after = (code: MeshErrorCode): string[] =>
    told((watcher, wait, call) => {
      wait(5);
      watcher.tryReplied(call, 200, {});
      wait(5);
      watcher.tryEnded(call, error(code), 200);
    });
  t.same(after('ERR_MESH_UPSTREAM_RESET'), ['answered 5', 'failed 10']);
  t.same(after('ERR_MESH_TIMEOUT'), ['answered 5']);
});

t.test('what the application stops says only how long it waited', async (t) => {
  const stop = (replied: boolean, thrown: Error): string[] =>
    told((watcher, wait, call) => {
      wait(5);
      if (replied) watcher.tryReplied(call, 200, {});
      Object.assign(call, { cancelled: true });
      wait(5);
      watcher.tryEnded(call, thrown, 0);
    });
  t.same(stop(false, new Error('enough')), ['abandoned 10']);
  t.same(stop(false, error('ERR_MESH_UPSTREAM_RESET')), ['abandoned 10']);
  t.same(stop(true, new Error('enough')), ['answered 5']);
});

t.test('PEAK_EWMA leaves an endpoint alone that refuses everything at once (EP-21)', async (t) => {
  const refusing = await upstream(t, (_incoming, outgoing) => {
    outgoing.statusCode = 429;
    outgoing.end();
  });
  const others = [await upstream(t), await upstream(t)];
  const endpoints = [refusing, ...others].map(({ port }) => endpoint(port));
  const a = cluster('a', endpoints, { balance: 'PEAK_EWMA' });
  const first = snapshot({ a: [route(a.name)] }, [a]);
  const client = testClient(first);
  for (let i = 0; i < 50; i++) await record(client.dispatcher, {}).done;
  t.ok(refusing.seen.length <= 3, `${refusing.seen.length} of 50`);

  const before = refusing.seen.length;
  const changed = { ...a, limits: { ...a.limits, maxRetries: 7 } };
  client.use(snapshot({ a: [route(a.name)] }, [changed], { version: '2' }));
  for (let i = 0; i < 50; i++) await record(client.dispatcher, {}).done;
  t.ok(refusing.seen.length - before <= 1, 'a new configuration forgets nothing');
  await assertIdle(t, client);
});

t.test('a time that was over while this process was busy says nothing', async (t) => {
  for (const [stalled, expected] of [
    [true, []],
    [false, ['failed 5000']],
  ] as const) {
    const said = told((watcher, wait, call) => {
      wait(5_000);
      watcher.tryEnded(Object.assign(call, { stalled }), error('ERR_MESH_TRY_TIMEOUT'), 0);
    });
    t.same(said, expected);
  }
});
