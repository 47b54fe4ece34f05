import fc from 'fast-check';
import t from 'tap';
import { createSubset } from '../../src/balance/subset.ts';

interface Host {
  readonly name: string;
}
const hosts = (count: number, from = 0): Host[] =>
  Array.from({ length: count }, (_, i) => ({ name: `10.0.${(from + i) >> 8}.${(from + i) & 255}:80` }));
const names = (all: readonly Host[]): string[] => all.map(({ name }) => name).sort();

t.test('with no more endpoints than that, all of them', async (t) => {
  for (const count of [0, 1, 19, 20]) {
    const all = hosts(count);
    t.equal(createSubset<Host>('a', 20).of(all), all);
  }
  t.equal(createSubset<Host>('a', 20).of(hosts(21)).length, 20);
});

t.test('the same process has the same ones, in whatever order they come; another has others', async (t) => {
  const all = hosts(200);
  const mine = createSubset<Host>('a', 20).of(all);
  t.same(names(createSubset<Host>('a', 20).of(all)), names(mine));
  t.same(names(createSubset<Host>('a', 20).of([...all].reverse())), names(mine));
  const common = names(createSubset<Host>('b', 20).of(all)).filter((name) => names(mine).includes(name));
  t.ok(common.length < 8, `${common.length} in common`);
});

t.test('the choice is the same in every version and language: the lowest XXH64 of name, NUL and address', async (t) => {
  t.same(names(createSubset<Host>('web-7d9', 3).of(hosts(10))), ['10.0.0.3:80', '10.0.0.7:80', '10.0.0.9:80']);
});

t.test('one that comes or goes moves one connection at most, one that is away comes back to its place', async (t) => {
  const run = fc.property(fc.integer({ min: 0, max: 299 }), fc.string(), (gone, instance) => {
    const all = hosts(300);
    const subset = createSubset<Host>(instance, 20);
    const before = subset.of(all);
    const without = subset.of(all.filter((_, i) => i !== gone));
    if (without.length !== 20) return false;
    const lost = before.filter((host) => !without.includes(host));
    const won = without.filter((host) => !before.includes(host));
    const was = before.includes(all[gone] as Host);
    if (lost.length !== (was ? 1 : 0) || won.length !== lost.length) return false;
    return names(subset.of(all)).join() === names(before).join();
  });
  fc.assert(run, { numRuns: 200, seed: 3 });
  t.ok(true);
});

t.test('however many are away, others take their place as long as there are some', async (t) => {
  const all = hosts(100);
  const subset = createSubset<Host>('a', 20);
  const first = subset.of(all);
  const others = subset.of(all.filter((host) => !first.includes(host)));
  t.equal(others.length, 20);
  t.same(
    others.filter((host) => first.includes(host)),
    [],
  );
  t.equal(subset.of(first.slice(0, 7)).length, 7);
});

t.test('endpoints that come and go for ever leave nothing behind', async (t) => {
  const subset = createSubset<Host>('a', 5);
  for (let from = 0; from < 20_000; from += 50) t.equal(subset.of(hosts(50, from)).length, 5);
  t.same(names(subset.of(hosts(50))), names(createSubset<Host>('a', 5).of(hosts(50))));
});

t.test('a thousand processes spread over a thousand endpoints', async (t) => {
  const all = hosts(1_000);
  const counts = new Map<Host, number>();
  for (let i = 0; i < 1_000; i++) {
    for (const host of createSubset<Host>(`web-${i}`, 20).of(all)) counts.set(host, (counts.get(host) ?? 0) + 1);
  }
  const loads = all.map((host) => counts.get(host) ?? 0);
  t.equal(
    loads.reduce((sum, load) => sum + load, 0),
    20_000,
  );
  // Each endpoint is chosen by a binomial number of processes: 20 ± 4.4; six deviations are 46.6.
  t.ok(Math.max(...loads) < 47 && Math.min(...loads) > 1, `${Math.min(...loads)} to ${Math.max(...loads)}`);
});
