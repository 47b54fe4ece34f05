import t from 'tap';
import type { OutlierPolicy } from '../../src/model/cluster.ts';
import { findFailing, findSlackers, type RateSample } from '../../src/outlier/rates.ts';
import { errors, outlierCluster } from '../support/outlier-cluster.ts';

const sample = (successPercent: number, total = 100): RateSample<number> => ({
  host: successPercent,
  total,
  successPercent,
});
const all = (...rates: readonly number[]): RateSample<number>[] => rates.map((rate) => sample(rate));

t.test('success rate: who is further below the mean than the deviation allows', async (t) => {
  const policy = { minimumHosts: 5, requestVolume: 100, stdevFactor: 1_900 };
  const rows: readonly (readonly [string, readonly RateSample<number>[], readonly number[]])[] = [
    ['one of five at half: mean 90, deviation 20, threshold 52', all(50, 100, 100, 100, 100), [50]],
    ['all alike', all(80, 80, 80, 80, 80), []],
    ['all bad', all(0, 0, 0, 0, 0), []],
    ['two of ten: threshold 80 - 1.9 * 40', all(0, 0, 100, 100, 100, 100, 100, 100, 100, 100), [0, 0]],
    [
      'three of ten spread the deviation so far that nobody is below',
      all(0, 0, 0, 100, 100, 100, 100, 100, 100, 100),
      [],
    ],
    ['four hosts are not enough', all(0, 100, 100, 100), []],
    ['a host with too few requests does not count', [sample(0, 99), ...all(100, 100, 100, 100)], []],
    ['nor does it make the number full', [...all(0, 100, 100, 100), sample(100, 99)], []],
    ['nobody', [], []],
  ];
  for (const [name, samples, found] of rows) t.same(findSlackers(samples, policy), found, name);
  t.same(findSlackers(all(50, 100, 100, 100, 100), { ...policy, stdevFactor: 2_000 }), [], 'at the threshold is in');
  t.same(findSlackers([], { ...policy, minimumHosts: 0 }), []);
  t.same(findSlackers(all(50, 100), { minimumHosts: 0, requestVolume: 0, stdevFactor: 900 }), [50]);
});

t.test('failure percentage: who fails as often as the threshold says', async (t) => {
  const policy = { threshold: 85, minimumHosts: 5, requestVolume: 50 };
  const rows: readonly (readonly [string, readonly RateSample<number>[], readonly number[]])[] = [
    ['at the threshold', all(15, 100, 100, 100, 100), [15]],
    ['below it', all(16, 100, 100, 100, 100), []],
    ['all', all(1, 2, 3, 4, 5), [1, 2, 3, 4, 5]],
    ['too few hosts', all(0, 100, 100, 100), []],
    ['too few requests', [sample(0, 49), ...all(100, 100, 100, 100, 100)], []],
  ];
  for (const [name, samples, found] of rows) t.same(findFailing(samples, policy), found, name);
  t.same(findFailing([], { ...policy, minimumHosts: 0 }), []);
});

/** Only rates eject. */
const off: Partial<OutlierPolicy> = { consecutive5xx: 0 };
const successRate = { minimumHosts: 5, requestVolume: 10, stdevFactor: 1_900 };
const failurePercentage = { minimumHosts: 5, requestVolume: 10, threshold: 50 };

t.test('success rates are judged at the end of each interval', async (t) => {
  const { clock, events, report, stats } = outlierCluster(5, { ...off, successRate });
  for (let i = 1; i < 5; i++) report(i, ...errors(10, 200));
  report(0, ...errors(5, 200), ...errors(5));
  clock.advance(9_999);
  t.same(events, []);
  clock.advance(1);
  t.same(events, ['h0 out']);
  t.same(stats.enforced, { success_rate: 1 });
});

t.test('each interval begins with nothing', async (t) => {
  const { clock, events, report } = outlierCluster(5, { ...off, successRate });
  for (let i = 1; i < 5; i++) report(i, ...errors(10, 200));
  report(0, ...errors(9));
  clock.advance(10_000);
  t.same(events, [], 'nine requests are not enough');
  for (let i = 1; i < 5; i++) report(i, ...errors(10, 200));
  report(0, ...errors(9));
  clock.advance(10_000);
  t.same(events, [], 'those of before do not count');
  clock.advance(100_000);
  t.equal(clock.pending(), 0, 'nothing is left to judge');
});

t.test('failure percentages are judged at the end of each interval', async (t) => {
  const { clock, events, report, stats } = outlierCluster(5, { ...off, failurePercentage });
  for (let i = 2; i < 5; i++) report(i, ...errors(10, 200));
  report(0, ...errors(5, 200), ...errors(5));
  report(1, ...errors(6, 200), ...errors(4));
  clock.advance(10_000);
  t.same(events, ['h0 out']);
  t.same(stats.enforced, { failure_percentage: 1 });
});

t.test('one that both find goes once', async (t) => {
  const { clock, events, host, report, stats } = outlierCluster(5, { ...off, successRate, failurePercentage });
  for (let i = 1; i < 5; i++) report(i, ...errors(10, 200));
  report(0, ...errors(10));
  clock.advance(10_000);
  t.same(events, ['h0 out']);
  t.equal(host(0).outlier.ejections, 1);
  t.same(stats.detected, { success_rate: 1 });
});

t.test('the share that may go holds for rates too', async (t) => {
  const { clock, events, report, stats } = outlierCluster(5, { ...off, failurePercentage, maxEjectionPercent: 40 });
  for (let i = 0; i < 5; i++) report(i, ...errors(10));
  clock.advance(10_000);
  t.same(events, ['h0 out', 'h1 out']);
  t.equal(stats.overflow, 3);
});

t.test('who is out is neither judged nor counted among the hosts', async (t) => {
  const { clock, events, report } = outlierCluster(6, { consecutive5xx: 3, failurePercentage });
  report(0, ...errors(10));
  t.same(events, ['h0 out']);
  report(1, ...errors(2), ...errors(1, 200), ...errors(2), ...errors(1, 200), ...errors(2), 200, 500);
  for (let i = 2; i < 5; i++) report(i, ...errors(10, 200));
  clock.advance(10_000);
  t.same(events, ['h0 out'], 'four are left: too few');
});

t.test('with split errors, connections have a rate of their own', async (t) => {
  const { clock, detector, events, host, report, stats } = outlierCluster(5, {
    ...off,
    consecutiveLocalOriginFailures: 100,
    successRate,
  });
  for (let i = 1; i < 5; i++) for (let n = 0; n < 10; n++) detector.connected(host(i));
  report(0, ...errors(10, 0));
  clock.advance(10_000);
  t.same(events, ['h0 out']);
  t.same(stats.enforced, { local_origin_success_rate: 1 });
});

t.test('with split errors, a connection counts once, and its answer not at all, as in Envoy', async (t) => {
  const { clock, detector, events, host, report, stats } = outlierCluster(5, {
    ...off,
    consecutiveLocalOriginFailures: 100,
    failurePercentage: { ...failurePercentage, threshold: 50 },
  });
  for (let i = 0; i < 5; i++) {
    for (let n = 0; n < 10; n++) {
      detector.connected(host(i));
      report(i, 200);
    }
  }
  // Of twenty connections ten.
  report(0, ...errors(10, 0));
  clock.advance(10_000);
  t.same(events, ['h0 out']);
  t.same(stats.enforced, { local_origin_failure_percentage: 1 });
});

t.test('an ejection by rate lasts and returns like any other', async (t) => {
  const { clock, events, host, report } = outlierCluster(5, { ...off, failurePercentage });
  for (let i = 1; i < 5; i++) report(i, ...errors(10, 200));
  report(0, ...errors(10));
  clock.advance(10_000);
  t.equal(host(0).outlier.cause, 'failure_percentage');
  clock.advance(30_000);
  t.same(events, ['h0 out', 'h0 in']);
  t.equal(host(0).outlier.cause, undefined);
});
