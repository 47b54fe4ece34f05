import t from 'tap';
import { errors, outlierCluster } from '../support/outlier-cluster.ts';

t.test('split: failures of connections are counted by themselves', async (t) => {
  const split = { consecutiveLocalOriginFailures: 3 };
  t.test('they eject by their own threshold', async (t) => {
    const { events, host, report, stats } = outlierCluster(3, split);
    report(0, 0, 0);
    t.same(events, []);
    report(0, 0);
    t.same(events, ['h0 out']);
    t.equal(host(0).outlier.cause, 'consecutive_local_origin_failure');
    t.same(stats.enforced, { consecutive_local_origin_failure: 1 });
  });
  t.test('they are neither 5xx nor gateway errors', async (t) => {
    const { events, report } = outlierCluster(3, {
      consecutiveLocalOriginFailures: 100,
      consecutive5xx: 2,
      consecutiveGatewayErrors: 2,
    });
    report(0, 503, 0, 0, 0);
    t.same(events, []);
    report(0, 503);
    t.same(events, ['h0 out'], 'and do not break their row');
  });
  t.test('a connection breaks their row; an answer does not, which came on one', async (t) => {
    const { detector, events, host, report } = outlierCluster(3, { ...split, consecutive5xx: 0 });
    report(0, 0, 0);
    detector.connected(host(0));
    report(0, 0, 0);
    detector.opened(host(0));
    report(0, 0, 200, 0);
    t.same(events, []);
    report(0, 500, 0);
    t.same(events, ['h0 out']);
  });
});

t.test('without the split a connection alone says nothing, unless it is all there is', async (t) => {
  const { detector, events, host, report } = outlierCluster(3, { consecutive5xx: 3 });
  report(0, 0, 0);
  detector.connected(host(0));
  report(0, 0);
  t.same(events, ['h0 out']);
  report(1, 0, 0);
  detector.opened(host(1));
  report(1, 0, 0);
  t.same(events, ['h0 out']);
});

t.test('listed status codes are the failures, and no others', async (t) => {
  const rows: readonly (readonly [string, readonly number[], readonly number[], boolean])[] = [
    ['a listed 4xx', [429], [429, 429, 429], true],
    ['a 5xx that is not listed', [429], [500, 500, 500], false],
    ['which breaks the row', [429], [429, 429, 503, 429, 429], false],
    ['a listed 5xx', [503], [503, 503, 503], true],
    ['failures to reach it still count', [429], [0, 429, 0], true],
  ];
  for (const [name, errorCodes, statuses, out] of rows) {
    const { events, report } = outlierCluster(3, { consecutive5xx: 3, errorCodes });
    report(0, ...statuses);
    t.same(events, out ? ['h0 out'] : [], name);
  }
  const { events, report } = outlierCluster(3, {
    consecutive5xx: 0,
    consecutiveGatewayErrors: 2,
    errorCodes: [429, 503],
  });
  report(0, ...errors(5, 429));
  t.same(events, [], 'a listed 4xx counts as a 500, which is no gateway error');
  report(0, 503, 503);
  t.same(events, ['h0 out']);
});

t.test('statuses from 600 are no 5xx', async (t) => {
  const { events, report } = outlierCluster(3, { consecutive5xx: 2 });
  report(0, 500, 600, 500);
  t.same(events, []);
});

t.test('gateway errors are looked at first', async (t) => {
  const { host, report, stats } = outlierCluster(3, { consecutive5xx: 2, consecutiveGatewayErrors: 2 });
  report(0, 503, 503);
  t.equal(host(0).outlier.cause, 'consecutive_gateway_failure');
  t.same(stats.detected, { consecutive_gateway_failure: 1 });
});

t.test('one may always go where the policy says so, and only one', async (t) => {
  for (const [count, maxEjectionPercent, alwaysEjectOne, out] of [
    [2, 10, false, 0],
    [2, 10, true, 1],
    [1, 10, true, 1],
    [1, 0, true, 1],
    [9, 10, true, 1],
    [4, 50, true, 2],
  ] as const) {
    const { events, report, stats } = outlierCluster(count, { maxEjectionPercent, alwaysEjectOne });
    for (let i = 0; i < count; i++) report(i, ...errors(5));
    t.equal(events.length, out, `${count} hosts, ${maxEjectionPercent} %, ${alwaysEjectOne}`);
    t.equal(stats.overflow, count - out);
  }
});

t.test('findings that are not enforced are counted and eject nobody', async (t) => {
  const enforcing = { consecutive_5xx: 30 } as const;
  for (const [random, out] of [
    [0.29, ['h0 out']],
    [0.3, []],
  ] as const) {
    const { events, report, stats } = outlierCluster(3, { enforcing }, () => random);
    report(0, ...errors(5));
    t.same(events, out);
    t.same(stats.detected, { consecutive_5xx: 1 });
    t.same(stats.enforced, out.length === 0 ? {} : { consecutive_5xx: 1 });
  }
  const none = outlierCluster(3, { enforcing: { consecutive_5xx: 0 } }, () => 0);
  none.report(0, ...errors(5));
  t.same(none.events, []);
});

t.test('each ejection gets its own random part', async (t) => {
  const { clock, events, report } = outlierCluster(3, { ejectionJitterMs: 10_000 }, () => 0.95);
  report(0, ...errors(5));
  clock.advance(39_999);
  t.same(events, ['h0 out']);
  clock.advance(1);
  t.same(events, ['h0 out', 'h0 in'], '39.5 seconds, at the next sweep');
});

t.test('the longest ejection can be set', async (t) => {
  const { clock, host, report } = outlierCluster(3, { maxEjectionMs: 45_000, intervalMs: 1_000 });
  for (const seconds of [30, 45, 45]) {
    report(0, ...errors(5));
    t.equal(host(0).outlier.ejectedUntil - clock.now(), seconds * 1_000);
    clock.advance(seconds * 1_000);
  }
});

t.test('a health check that passes ends an ejection, unless the policy says otherwise', async (t) => {
  const { detector, events, host, report } = outlierCluster(3);
  detector.healthy(host(0));
  report(0, ...errors(5));
  detector.healthy(host(0));
  t.same(events, ['h0 out', 'h0 in']);
  t.equal(detector.active, 0);
  const strict = outlierCluster(3, { healthCheckReturns: false });
  strict.report(0, ...errors(5));
  strict.detector.healthy(strict.host(0));
  t.same(strict.events, ['h0 out']);
});

t.test('good behaviour is forgiven one interval after the return, not before', async (t) => {
  const { clock, detector, host, report } = outlierCluster(3);
  report(0, ...errors(5));
  clock.advance(15_000);
  detector.healthy(host(0));
  clock.advance(5_000);
  t.equal(host(0).outlier.ejectionCount, 1, 'the sweep came five seconds after the return');
  clock.advance(10_000);
  t.equal(host(0).outlier.ejectionCount, 0);
});

t.test('ejections of endpoints that leave make room', async (t) => {
  const { detector, events, leave, report } = outlierCluster(10, { maxEjectionPercent: 20 });
  for (const i of [0, 1, 2]) report(i, ...errors(5));
  t.same(events, ['h0 out', 'h1 out']);
  t.equal(detector.active, 2);
  leave(0);
  t.equal(detector.active, 1);
  // h2 is now at place 1; 2 of 9 are more than 20 %
  report(1, ...errors(5));
  t.equal(events.length, 2);
  leave(0);
  t.equal(detector.active, 0);
  report(0, ...errors(5));
  t.same(events, ['h0 out', 'h1 out', 'h2 out']);
});

t.test('one that joins with a past is let in by the next sweep after its time', async (t) => {
  const { clock, events, join, leave, report } = outlierCluster(3);
  report(0, ...errors(5));
  const { outlier } = leave(0);
  t.ok(clock.pending() <= 1);
  clock.advance(20_000);
  t.equal(clock.pending(), 0);
  join(outlier, 'again');
  clock.advance(10_000);
  t.same(events, ['h0 out', 'again in']);
});
