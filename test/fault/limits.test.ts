import t from 'tap';
import { request } from 'undici';
import { ActiveFaults } from '../../src/fault/active.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import type { Fault } from '../../src/model/route.ts';
import { runInScope, type Scope } from '../../src/pipeline/scope.ts';
import { testClient } from '../support/client.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { modelMesh, ways } from '../support/model-mesh.ts';
import { assertIdle, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { turns, until, upstream } from '../support/upstream.ts';

const release = holdProcess();
t.teardown(release);

const abort = (status: number, own: Partial<Fault> = {}): Fault => ({
  level: 'call',
  abort: { status, percent: 100 },
  ...own,
});
const delay = (delayMs: number, own: Partial<Fault> = {}): Fault => ({
  level: 'call',
  delay: { delayMs, percent: 100 },
  ...own,
});
const scope: Scope = { requestId: 'r', traceHeaders: [] };

t.test('while enough calls have a fault, others have none', async (t) => {
  const server = await upstream(t);
  for (const level of ['call', 'try'] as const) {
    const clock = fakeClock();
    const a = cluster('a', [endpoint(server.port)]);
    const client = testClient(snapshot({ a: [route(a.name, { fault: delay(1_000, { level, maxActive: 3 }) })] }, [a]), {
      clock,
    });
    const before = server.seen.length;
    const calls = Array.from({ length: 10 }, () => record(client.dispatcher, {}));
    await until(() => server.seen.length - before === 7, 'those beyond the limit go their way');
    await turns();
    t.equal(server.seen.length - before, 7, level);
    await clock.advanceAsync(1_000);
    await Promise.all(calls.map(({ done }) => done));
    t.equal(server.seen.length - before, 10);
    const again = record(client.dispatcher, {});
    await turns();
    t.equal(server.seen.length - before, 10, 'there is room for a fault again');
    await clock.advanceAsync(1_000);
    t.equal(await again.done, 'end');
    await assertIdle(t, client);
  }
});

t.test('a limit of 0: none at all', async (t) => {
  const server = await upstream(t);
  const a = cluster('a', [endpoint(server.port)]);
  const client = testClient(snapshot({ a: [route(a.name, { fault: abort(418, { maxActive: 0 }) })] }, [a]));
  const { body, statusCode } = await request('http://a/', { dispatcher: client.dispatcher });
  await body.dump();
  t.equal(statusCode, 200);
});

t.test('a fault is under way from its beginning to the end of the call, and counts once', async (t) => {
  const active = new ActiveFaults();
  const [a, b] = [{}, {}];
  t.ok(active.begin(a, 'delay'));
  t.notOk(active.begin(a, 'abort'));
  t.ok(active.begin(b, 'abort'));
  t.notOk(active.admits(2));
  t.ok(active.admits(3));
  active.end(a);
  active.end(a);
  t.same(active.status, { active: 1, delays: 1, aborts: 2, overflow: 1 });
});

t.test('1,000 calls in a delay hold no connection', async (t) => {
  const server = await upstream(t);
  const clock = fakeClock();
  const a = cluster('a', [endpoint(server.port)]);
  const b = cluster('b', [endpoint(server.port)]);
  const routes = { a: [route(a.name, { fault: delay(60_000) })], b: [route(b.name)] };
  const client = testClient(snapshot(routes, [a, b]), { clock });
  const calls = Array.from({ length: 1_000 }, () => record(client.dispatcher, {}));
  await turns();
  t.equal(server.accepted(), 0);
  const { body, statusCode } = await request('http://b/', { dispatcher: client.dispatcher });
  await body.dump();
  t.equal(statusCode, 200, 'others are not held up');
  for (const call of calls) call.controller.abort(new Error('enough'));
  await Promise.all(calls.map(({ done }) => done));
  t.equal(server.accepted(), 1);
  t.equal(clock.pending(), 0);
  await assertIdle(t, client);
});

for (const [way, call] of Object.entries(ways)) {
  t.test(way, async (t) => {
    t.test('callers ask for faults by headers, where that is enabled', async (t) => {
      const server = await upstream(t);
      const a = cluster('a', [endpoint(server.port)]);
      const b = cluster('b', [endpoint(server.port)]);
      const fault: Fault = { level: 'call', byHeaders: { maxPercent: 100 } };
      const routes = { a: [route(a.name, { fault })], b: [route(b.name)] };
      const mesh = await modelMesh(t, snapshot(routes, [a, b]));
      const headers = { 'x-envoy-fault-abort-request': '418' };
      t.equal((await call(mesh, 'http://a/')).status, 200);
      const aborted = await call(mesh, 'http://a/', { headers });
      t.match(aborted, { status: 418, text: 'fault filter abort' });
      t.equal((await call(mesh, 'http://b/', { headers })).status, 200, 'nowhere else');
      const late = { 'x-envoy-fault-delay-request': '1' };
      t.equal((await call(mesh, 'http://a/', { headers: late })).status, 200);
      t.match(mesh.stats().faults, { delays: 1, aborts: 1 });
      await until(() => mesh.stats().faults.active === 0);
    });

    t.test('a stranger cannot, whatever the application hands on; a caller with an identity can', async (t) => {
      const server = await upstream(t);
      const a = cluster('a', [endpoint(server.port)]);
      const fault: Fault = { level: 'call', byHeaders: { maxPercent: 100 } };
      const mesh = await modelMesh(t, snapshot({ a: [route(a.name, { fault })] }, [a]));
      const ask = (own: Scope) =>
        new Promise<number>((resolve, reject) => {
          const headers = { 'x-envoy-fault-abort-request': '503' };
          runInScope(own, () => {
            call(mesh, 'http://a/', { headers }).then(({ status }) => resolve(status), reject);
          });
        });
      t.equal(await ask(scope), 200);
      const peer = { spiffeId: 'spiffe://cluster.local/ns/shop/sa/web', trustDomain: 'cluster.local' };
      t.equal(await ask({ ...scope, peer }), 503);
    });
  });
}

t.test('a delay that its caller gives up leaves no timer of the process', async (t) => {
  const server = await upstream(t);
  const a = cluster('a', [endpoint(server.port)]);
  const mesh = await modelMesh(t, snapshot({ a: [route(a.name, { fault: delay(60_000) })] }, [a]));
  const timers = (): number => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length;
  const { fetch } = mesh;
  // The first call makes what stays: timers that all calls share.
  const first = new AbortController();
  const warm = fetch('http://a/', { signal: first.signal });
  await turns();
  first.abort();
  await t.rejects(warm);
  await turns();
  const before = timers();
  const abortion = new AbortController();
  const calls = Array.from({ length: 100 }, () => fetch('http://a/', { signal: abortion.signal }));
  for (const each of calls) each.catch(() => {});
  await turns();
  t.ok(timers() >= before + 100);
  abortion.abort();
  await Promise.allSettled(calls);
  await turns();
  // Another timer of the process may have ended meanwhile; none may have been added.
  t.ok(timers() <= before);
  t.match(mesh.stats().faults, { active: 0, delays: 101 });
});
