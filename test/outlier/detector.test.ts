import t from 'tap';
import type { OutlierPolicy } from '../../src/model/cluster.ts';
import type { OutlierHost } from '../../src/outlier/host.ts';
import { errors, outlierCluster } from '../support/outlier-cluster.ts';

const setup = (count: number, changes: Partial<OutlierPolicy> = {}) => {
  const made = outlierCluster(count, changes);
  const fail = (host: number, times = 5): void => made.report(host, ...errors(times));
  return { ...made, fail, host: (i: number): OutlierHost => made.host(i).outlier };
};

t.test('five errors in a row eject, four do not (EP-16)', async (t) => {
  const { events, fail, report } = setup(3);
  fail(0, 4);
  t.same(events, []);
  report(0, 500);
  t.same(events, ['h0 out']);
});

t.test('any good answer begins the count anew', async (t) => {
  const { events, fail, report } = setup(3);
  for (const good of [100, 200, 302, 404, 429, 499]) {
    fail(0, 4);
    report(0, good);
  }
  t.same(events, [], 'a 429 is a good answer too (EP-21)');
});

t.test('hosts are counted apart', async (t) => {
  const { events, fail } = setup(3);
  fail(0, 4);
  fail(1, 4);
  fail(2, 5);
  t.same(events, ['h2 out']);
});

t.test('0 turns the count of 5xx off', async (t) => {
  const { events, fail } = setup(3, { consecutive5xx: 0 });
  fail(0, 100);
  t.same(events, []);
});

t.test('gateway errors: 502, 503, 504 and failures to reach the host; others break the row', async (t) => {
  const rows: readonly (readonly [string, readonly number[], boolean])[] = [
    ['502, 503, 504', [502, 503, 504], true],
    ['local failures', [0, 0, 0], true],
    ['mixed', [503, 0, 504], true],
    ['a 500 between', [503, 503, 500, 503, 503], false],
    ['a 501 between', [503, 503, 501, 503, 503], false],
    ['a 200 between', [503, 503, 200, 503, 503], false],
    ['two', [503, 503], false],
  ];
  for (const [name, statuses, ejected] of rows) {
    const { events, report } = setup(3, { consecutive5xx: 0, consecutiveGatewayErrors: 3 });
    report(0, ...statuses);
    t.same(events, ejected ? ['h0 out'] : [], name);
  }
});

t.test('a failure to reach the host counts as a 5xx too (EP-01)', async (t) => {
  const { events, report } = setup(3);
  report(0, 0, 500, 0, 503, 0);
  t.same(events, ['h0 out']);
});

t.test('it comes back after the base time, at the next sweep, with a clean sheet', async (t) => {
  const { clock, events, fail, host, report } = setup(3);
  fail(0);
  report(0, 500, 500, 500, 500);
  clock.advance(29_999);
  t.same(events, ['h0 out']);
  clock.advance(1);
  t.same(events, ['h0 out', 'h0 in']);
  t.equal(host(0).consecutive5xx, 0, 'what was on its way is forgotten');
  fail(0, 4);
  t.equal(events.length, 2);
});

t.test('each ejection takes longer than the one before (EP-19)', async (t) => {
  const { clock, fail, host } = setup(3);
  for (const seconds of [30, 60, 90, 120]) {
    fail(0);
    t.equal(host(0).ejectedUntil - clock.now(), seconds * 1_000);
    clock.advance(seconds * 1_000);
    t.equal(host(0).ejectedUntil, 0);
  }
});

t.test('good behaviour is forgiven, one ejection for each sweep', async (t) => {
  const { clock, fail, host } = setup(3);
  fail(0);
  clock.advance(30_000);
  fail(0);
  clock.advance(60_000);
  t.equal(host(0).ejectionCount, 2);
  clock.advance(10_000);
  t.equal(host(0).ejectionCount, 1);
  clock.advance(10_000);
  t.equal(host(0).ejectionCount, 0);
  fail(0);
  t.equal(host(0).ejectedUntil - clock.now(), 30_000);
});

t.test('no ejection is longer than five minutes, and the multiplier stops there', async (t) => {
  const { clock, fail, host } = setup(3);
  for (let i = 0; i < 30; i++) {
    fail(0);
    t.ok(host(0).ejectedUntil - clock.now() <= 300_000);
    clock.advance(host(0).ejectedUntil - clock.now());
    // the sweep that lets it in may be up to an interval later
    if (host(0).ejectedUntil !== 0) clock.advance(10_000);
  }
  t.equal(host(0).ejectionCount, 11, 'Envoy counts one beyond what prolongs');
});

t.test('a base time above five minutes is honoured', async (t) => {
  const { clock, fail, host } = setup(3, { baseEjectionMs: 3_600_000 });
  for (let i = 0; i < 3; i++) {
    fail(0);
    t.equal(host(0).ejectedUntil - clock.now(), 3_600_000);
    clock.advance(3_600_000);
  }
  t.equal(host(0).ejectionCount, 2);
});

t.test('no more than the share that may go (EP-17)', async (t) => {
  const rows: readonly (readonly [number, number, number])[] = [
    // hosts, percent, ejected when all fail
    [10, 10, 1],
    [9, 10, 0],
    [3, 10, 0],
    [3, 33, 0],
    [3, 34, 1],
    [4, 50, 2],
    [1, 100, 1],
    [5, 100, 5],
    [5, 0, 0],
  ];
  for (const [count, percent, ejected] of rows) {
    const { events, fail } = setup(count, { maxEjectionPercent: percent });
    for (let i = 0; i < count; i++) fail(i);
    t.equal(events.length, ejected, `${percent} % of ${count}`);
  }
});

t.test('one that could not go then goes with the next full row of errors, once there is room', async (t) => {
  const { clock, events, fail } = setup(4, { maxEjectionPercent: 25 });
  fail(0);
  fail(1);
  t.same(events, ['h0 out']);
  clock.advance(30_000);
  fail(1, 4);
  t.same(events, ['h0 out', 'h0 in']);
  fail(1, 1);
  t.same(events, ['h0 out', 'h0 in', 'h1 out']);
});

t.test('answers that arrive while it is out neither eject it again nor prolong', async (t) => {
  const { events, fail, host } = setup(3);
  fail(0);
  const until = host(0).ejectedUntil;
  fail(0, 50);
  t.equal(host(0).ejectedUntil, until);
  t.equal(host(0).ejectionCount, 1);
  t.same(events, ['h0 out']);
});

t.test('a host that has left the cluster is not ejected', async (t) => {
  const { detector, events, hosts, leave } = setup(3);
  const gone = leave(0);
  for (let i = 0; i < 5; i++) detector.report(gone, 500);
  t.same(events, []);
  hosts.length = 0;
  for (let i = 0; i < 5; i++) detector.report(gone, 500);
  t.same(events, []);
});

t.test('the sweep runs only while somebody is out or not forgiven', async (t) => {
  const { clock, fail } = setup(3);
  t.equal(clock.pending(), 0);
  fail(0);
  t.equal(clock.pending(), 1);
  clock.advance(30_000);
  t.equal(clock.pending(), 1, 'back, not yet forgiven');
  clock.advance(10_000);
  t.equal(clock.pending(), 0);
});

t.test('closed: no timer, no ejection', async (t) => {
  const { clock, detector, events, fail } = setup(3);
  fail(0);
  detector.close();
  t.equal(clock.pending(), 0);
  fail(1);
  t.same(events, ['h0 out']);
  t.equal(clock.pending(), 0);
});

t.test('a host that an earlier policy sent out comes back under the next', async (t) => {
  const { clock, create, detector, events, fail, policy } = setup(3);
  fail(0);
  detector.close();
  const next = create({ ...policy, consecutive5xx: 7 });
  clock.advance(30_000);
  t.same(events, ['h0 out', 'h0 in']);
  next.close();
  t.equal(clock.pending(), 0);
});
