import { readFileSync } from 'node:fs';
import t from 'tap';
import { root } from '../support/source-files.ts';
import { defaults, parseLabArguments } from './arguments.ts';
import { chartOf } from './chart.ts';
import { type Results, runAll, runFleet, runOdd, spread } from './results.ts';
import { updatePage } from './tables.ts';
import { oneRefusing, oneSlow } from './worlds.ts';

const read = (name: string): string => readFileSync(`${root}docs/${name}`, 'utf8');
const documented = JSON.parse(read('load-balancing.json')) as Results;

t.test('the same seed gives the same figures, byte for byte, and another seed others', async (t) => {
  const size = { clients: 20, servers: 30 };
  const one = JSON.stringify(runAll(size, 7));
  t.equal(JSON.stringify(runAll(size, 7)), one);
  t.not(JSON.stringify({ ...runAll(size, 8), seed: 7 }), one);
});

t.test('tables and chart of the documentation are made of its figures', async (t) => {
  t.match(documented, defaults);
  const remedy = 'out of date: npm run lab';
  t.equal(updatePage(read('load-balancing.md'), documented), read('load-balancing.md'), remedy);
  t.equal(chartOf(documented), read('load-balancing.svg'), remedy);
});

t.test('the figures of the documentation are those of the balancers as they are', async (t) => {
  const { seed } = documented;
  const remedy = 'a balancer has changed: npm run lab';
  for (const run of documented.oneSlow) t.same(runOdd(oneSlow, { policy: run.policy }, seed), run, remedy);
  for (const run of documented.oneRefusing) t.same(runOdd(oneRefusing, { policy: run.policy }, seed), run, remedy);
  const subset = documented.subsets.find(({ size }) => size === 20);
  t.same(spread(documented, 20), subset, remedy);
  const run = documented.fleet.find(({ policy, subsetSize }) => policy === 'PEAK_EWMA' && subsetSize === 20);
  t.same(runFleet(documented, { policy: 'PEAK_EWMA', subsetSize: 20 }, seed), run, remedy);
});

const figuresOf = (of: 'oneSlow' | 'oneRefusing', policy: string) =>
  documented[of].find((run) => run.policy === policy) ?? { timesHealthy: Number.NaN, oddPercent: Number.NaN };

t.test('a server that is a hundred times as slow is felt by nobody after a second (EP-18)', async (t) => {
  for (const policy of ['LEAST_REQUEST', 'PEAK_EWMA']) {
    const { timesHealthy } = figuresOf('oneSlow', policy);
    t.ok(timesHealthy < 2, `${policy}: p99 of all requests is ${timesHealthy} times that of healthy servers`);
  }
});

t.test('a server that refuses at once does not attract requests (EP-21)', async (t) => {
  for (const policy of ['PEAK_EWMA', 'UTILIZATION']) {
    const { oddPercent } = figuresOf('oneRefusing', policy);
    t.ok(oddPercent < 2, `${policy}: ${oddPercent} %, an even share is 10 %`);
  }
});

t.test('the chart has nothing that is not a number, and nothing outside', async (t) => {
  const chart = chartOf(documented);
  t.notMatch(chart, /NaN|undefined|Infinity/);
  const [, width = 0, height = 0] = (/viewBox="0 0 (\d+) (\d+)"/.exec(chart) ?? []).map(Number);
  for (const [, name, value] of chart.matchAll(/ (x|y|cx|cy|x1|x2|y1|y2)="(-?[\d.]+)"/g)) {
    const most = name?.includes('x') ? width : height;
    if (Number(value) < 0 || Number(value) > most) t.fail(`${name}=${value}`);
  }
  t.ok(chart.includes('role="img"'));
});

t.test('a page without a place for a table is a mistake', async (t) => {
  t.throws(() => updatePage('nothing', documented), { message: /no place for the table fleet/ });
});

t.test('arguments', async (t) => {
  t.same(parseLabArguments([]), { ...defaults, isDefault: true });
  t.same(parseLabArguments(['--seed', '1']), { ...defaults, isDefault: true });
  const given = ['--seed=5', '--clients=10', '--servers=20'];
  t.same(parseLabArguments(given), { seed: 5, clients: 10, servers: 20, isDefault: false });
  for (const wrong of [
    ['--seed', '-1'],
    ['--clients', '0'],
    ['--servers', 'many'],
    ['--servers', '1'],
    ['--speed', '1'],
    ['x'],
  ]) {
    t.type(parseLabArguments(wrong), 'string', wrong.join(' '));
  }
});
