import fc from 'fast-check';
import t from 'tap';
import {
  availabilityOf,
  type LevelHealth,
  loadsWithout,
  localityLoad,
  priorityLoads,
} from '../../src/locality/priority-load.ts';

/** `4/5 10/10`: so many of so many available, by priority. */
const read = (text: string): LevelHealth[] =>
  text.split(' ').map((part) => {
    const [available = 0, total = 0] = part.split('/').map(Number);
    return { available, total };
  });

t.test('a priority can carry 1.4 times the share of it that is available', async (t) => {
  for (const [health, expected] of [
    ['0/0', 0],
    ['0/3', 0],
    ['3/3', 100],
    ['5/7', 100],
    ['7/10', 98],
    ['1/3', 46],
    ['1/1000', 0],
  ] as const) {
    t.equal(availabilityOf(read(health)[0] as LevelHealth), expected, health);
  }
  t.equal(localityLoad({ available: 3, total: 4 }), 1);
  t.equal(localityLoad({ available: 1, total: 2 }), 0.7);
  t.equal(localityLoad({ available: 0, total: 2 }), 0);
  t.equal(localityLoad({ available: 0, total: 0 }), 0, 'nobody counts');
});

const cases: readonly (readonly [what: string, health: string, panicPercent: number, loads: string, panic: string])[] =
  [
    ['one priority has all', '3/3', 50, '100', '-'],
    ['the first one has all as long as it can carry it', '8/11 5/5', 50, '100 0', '- -'],
    ['what it cannot carry goes to the second', '6/10 5/5', 50, '84 16', '- -'],
    ['and from there to the third', '2/10 3/10 5/5', 50, '28 42 30', '- - -'],
    ['none available: all to the next', '0/4 5/5', 50, '0 100', '- -'],
    ['a priority without endpoints is passed over', '0/0 5/5', 50, '0 100', '- -'],
    ['together enough: nobody panics, however few are left', '1/10 9/10', 50, '14 86', '- -'],
    ['not enough, and nobody above the threshold: by the number of endpoints', '2/10 3/20', 50, '34 66', 'p p'],
    ['not enough: scaled to the whole, and those below the threshold panic', '5/10 1/10', 40, '84 16', '- p'],
    ['what rounding leaves goes to the first', '1/10 1/10 1/10', 10, '34 33 33', '- - -'],
    ['at the threshold nobody panics yet', '5/10', 50, '100', '-'],
    ['all panic: by the number of endpoints', '0/3 0/6 0/1', 50, '30 60 10', 'p p p'],
    ['all panic: rounding goes to the first that has endpoints', '0/0 0/1 0/2', 50, '0 34 66', 'p p p'],
    ['many endpoints in panic', '0/300 0/100', 50, '75 25', 'p p'],
    ['a threshold of 0 never panics', '0/3', 0, '100', '-'],
    ['not even with nobody left anywhere', '0/3 0/2', 0, '100 0', '- -'],
    ['above 100 is 100', '6/10', 150, '100', 'p'],
  ];

t.test('priorities get their loads as in Envoy', async (t) => {
  for (const [what, health, panicPercent, loads, panic] of cases) {
    const found = priorityLoads(read(health), panicPercent);
    t.equal(found.loads.join(' '), loads, what);
    t.equal(found.panic.map((panics) => (panics ? 'p' : '-')).join(' '), panic, what);
  }
  t.same(priorityLoads([], 50).loads, [], 'without endpoints there is nothing to share');
});

t.test('priorities that are left out give theirs to the others', async (t) => {
  const of = (health: string, ...without: number[]) => loadsWithout(read(health), new Set(without))?.join(' ');
  t.equal(of('3/3 3/3'), '100 0');
  t.equal(of('3/3 3/3', 0), '0 100');
  t.equal(of('1/2 1/2 1/2', 0), '0 70 30');
  t.equal(of('1/10 1/10 1/10', 2), '50 50 0');
  t.equal(of('3/3 3/3', 0, 1), undefined);
  t.equal(of('3/3 0/3', 0), undefined, 'an empty one is none');
});

const level = fc.nat(20).chain((total) => fc.record({ total: fc.constant(total), available: fc.nat(total) }));
const levels = fc.array(level, { minLength: 1, maxLength: 8 });

t.test('whatever the health, loads add up to 100 %, and go where there is somebody to call', async () => {
  fc.assert(
    fc.property(levels, fc.nat(100), (all, panicPercent) => {
      const { loads, panic } = priorityLoads(all, panicPercent);
      const sum = loads.reduce((a, b) => a + b, 0);
      const callable = all.some(({ available }, i) => available > 0 || (panic[i] && (all[i]?.total ?? 0) > 0));
      const nowhere = loads.some((load, i) => {
        const { available, total } = all[i] as LevelHealth;
        return load > 0 && (panic[i] ? total === 0 : available === 0);
      });
      return sum === 100 && loads.every((load) => load >= 0) && (nowhere ? !callable : true);
    }),
  );
});

t.test('a priority with more available never gets less', async () => {
  fc.assert(
    fc.property(levels, fc.nat(7), (all, at) => {
      const one = all[at];
      if (one === undefined || one.available === one.total) return true;
      const better = all.map((each, i) => (i === at ? { ...each, available: each.available + 1 } : each));
      // One percent is what rounding may take away.
      return (priorityLoads(better, 0).loads[at] ?? 0) >= (priorityLoads(all, 0).loads[at] ?? 0) - all.length;
    }),
  );
});

t.test('what is left out gets nothing, the others 100 %', async () => {
  fc.assert(
    fc.property(levels, fc.uniqueArray(fc.nat(7)), (all, without) => {
      const loads = loadsWithout(all, new Set(without));
      if (loads === undefined) return true;
      return loads.reduce((a, b) => a + b, 0) === 100 && without.every((priority) => (loads[priority] ?? 0) === 0);
    }),
  );
});
