import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import type { Round } from './measure.ts';
import { compare, type Pair } from './mirror/paired.ts';
import { formatTable, median, type Row, summarize } from './report.ts';

const round = (calls: number, more: Partial<Round> = {}): Round => ({
  calls,
  seconds: 2,
  errors: 0,
  cpuMicros: calls * 10,
  p50Micros: 100,
  p99Micros: 900,
  ...more,
});

const row = (name: string, rounds: readonly Round[], more: Partial<Row> = {}): Row => ({
  name,
  base: 'bare',
  direction: 'outbound',
  concurrency: 50,
  rounds,
  ...more,
});

t.test('the median is the middle, or the mean of the two middles', async (t) => {
  t.equal(median([9, 1, 5]), 5);
  t.equal(median([10, 1, 2, 4]), 3);
  t.equal(median([7]), 7);
  t.ok(Number.isNaN(median([])));
});

t.test('ratios are taken round by round against the base of the same concurrency', async (t) => {
  const [, mesh, alone] = summarize([
    // The machine was half as fast in the second round: that is not the variant's doing.
    row('bare', [round(1_000), round(500), round(1_000)]),
    row('mesh', [round(900, { cpuMicros: 900 * 12 }), round(450, { cpuMicros: 450 * 13 }), round(900)]),
    row('mesh', [round(10)], { concurrency: 1 }),
  ]);
  t.equal(mesh?.ofBase, 0.9);
  t.equal(mesh?.callsPerSecond, 450);
  t.equal(mesh?.cpuMicrosPerCall, 12);
  t.equal(mesh?.addedCpuMicros, 2);
  t.ok(Number.isNaN(alone?.ofBase), 'there is no base for one at a time');
});

t.test('a round in which no call ended says nothing', async (t) => {
  const none = round(0, { seconds: 0, p50Micros: Number.NaN, p99Micros: Number.NaN });
  const [, mesh, idle] = summarize([
    row('bare', [round(1_000), none, round(1_000)]),
    row('mesh', [none, round(900), round(800)]),
    row('idle', [none]),
  ]);
  t.equal(mesh?.ofBase, 0.8);
  t.equal(mesh?.p50Micros, 100);
  t.ok(Number.isNaN(idle?.callsPerSecond));
});

t.test('errors are counted over all rounds and shown', async (t) => {
  const summaries = summarize([row('bare', [round(1_000, { errors: 2 }), round(1_000, { errors: 1 })])]);
  t.equal(summaries[0]?.errors, 3);
  t.match(formatTable(summaries), /3 ERRORS/);
});

t.test('the table has a block for each direction and concurrency, with aligned columns', async (t) => {
  const table = formatTable(
    summarize([
      row('bare', [round(100_000)]),
      row('with much more', [round(90_000, { cpuMicros: 90_000 * 12.5 })]),
      row('with less', [round(110_000, { cpuMicros: 110_000 * 9 })]),
      row('server', [round(10)], { base: 'server', direction: 'inbound', concurrency: 1 }),
    ]),
  );
  t.equal(
    table,
    `outbound, 50 at a time
                   req/s  × base  CPU µs  + CPU  p50 µs  p99 µs  × base
  bare            50,000    1.00    10.0            100     900
  with much more  45,000    0.90    12.5   +2.5     100     900    1.00
  with less       55,000    1.10     9.0   -1.0     100     900    1.00

inbound, 1 at a time
          req/s  × base  CPU µs  + CPU  p50 µs  p99 µs  × base
  server      5    1.00    10.0            100     900
`,
  );
});

t.test('rows at a steady rate have a block of their own, and their slowest percent is compared', async (t) => {
  const steady = { concurrency: 3_000, isSteady: true };
  const rows = [
    row('bare', [round(100), round(100)], steady),
    row('with more', [round(100, { p99Micros: 990 }), round(100, { p99Micros: 990 })], steady),
  ];
  const summaries = summarize(rows);
  t.equal(summaries[1]?.p99OfBase, 1.1);
  t.match(formatTable(summaries), /^outbound, 3,000 a second\n/);
});

t.test('pairs of windows are compared by a quantile, with an interval', async (t) => {
  const random = seededRandom(7);
  const pairs = (factor: number): readonly Pair[] =>
    Array.from({ length: 60 }, () => {
      // A machine that is slow at times is slow for both windows of a pair.
      const slow = 1 + 10 * random();
      const window = (times: number): readonly number[] => Array.from({ length: 50 }, () => slow * times * random());
      return { on: window(factor), off: window(1) };
    });
  const same = compare(pairs(1), 0.5, random, 100);
  t.equal(same.calls, 6_000);
  t.ok(same.from < 1 && same.to > 1, `no difference: ${same.from} to ${same.to}`);
  const twice = compare(pairs(2), 0.5, random, 100);
  t.ok(twice.from > 1 && twice.from < 2 && twice.to > 2, `twice: ${twice.from} to ${twice.to}`);
  t.ok(twice.ratio >= twice.from && twice.ratio <= twice.to, `${twice.ratio} is within its interval`);
});
