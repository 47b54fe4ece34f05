import fc from 'fast-check';
import t from 'tap';
import { retryLoads } from '../../src/locality/retry-priority.ts';

const healthy = (...totals: number[]) => totals.map((total) => ({ total, available: total }));

t.test('after each two tries a call goes on to priorities that it has not tried', async (t) => {
  const three = healthy(2, 2, 2);
  for (const [tried, loads] of [
    [[], undefined],
    [[0], undefined],
    [[0, 0], '0 100 0'],
    [[0, 0, 1], '0 100 0'],
    [[0, 0, 1, 1], '0 0 100'],
    [[0, 1], '0 0 100'],
    [[0, 0, 1, 1, 2], '0 0 100'],
    [[0, 0, 1, 1, 2, 2], '100 0 0'],
    [[0, 0, 1, 1, 2, 2, 0], undefined],
    [[0, 0, 1, 1, 2, 2, 0, 0], '0 100 0'],
  ] as const) {
    t.equal(retryLoads(three, tried)?.join(' '), loads, `after ${tried.join(' ')}`);
  }
});

t.test('with one priority, or nobody available, the loads are as ever', async (t) => {
  t.equal(retryLoads(healthy(3), [0, 0])?.join(' '), '100', 'all of it');
  t.equal(retryLoads([{ total: 3, available: 0 }], [0, 0]), undefined);
});

t.test('what was just tried is left out as long as another priority can carry anything', async () => {
  const level = fc
    .nat(9)
    .chain((available) =>
      fc.record({ total: fc.integer({ min: Math.max(1, available), max: 9 }), available: fc.constant(available) }),
    );
  fc.assert(
    fc.property(fc.array(level, { minLength: 2, maxLength: 5 }), fc.nat(4), (levels, priority) => {
      const at = priority % levels.length;
      const loads = retryLoads(levels, [at, at]);
      const others = levels.some(({ available, total }, i) => i !== at && (140 * available) / total >= 1);
      return others ? loads?.[at] === 0 : loads === undefined || loads[at] === 100;
    }),
  );
});
