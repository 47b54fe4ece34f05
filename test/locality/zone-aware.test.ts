import fc from 'fast-check';
import t from 'tap';
import { wholeShare, zoneShares } from '../../src/locality/zone-aware.ts';

const sizes = (given: Readonly<Record<string, number>>) =>
  Object.entries(given).map(([locality, size]) => ({ locality, size }));

const cases: readonly (readonly [
  what: string,
  endpoints: Readonly<Record<string, number>>,
  callers: Readonly<Record<string, number>>,
  expected: string | undefined,
  minClusterSize?: number,
])[] = [
  ['as many endpoints as callers: all stay', { a: 5, b: 5 }, { a: 2, b: 2 }, '10000: 0 0'],
  ['more endpoints than callers: all stay', { a: 8, b: 2 }, { a: 1, b: 1 }, '10000: 0 0'],
  [
    'half as many: half stays, the rest goes where there is room',
    { a: 2, b: 4, c: 2 },
    { a: 4, b: 2, c: 2 },
    '5000: 0 2500 0',
  ],
  ['others by the room that they have', { a: 4, b: 8, c: 4 }, { a: 8, b: 6, c: 2 }, '5000: 0 1250 1250'],
  ['none here: everything goes elsewhere', { b: 6, c: 2 }, { a: 1, b: 1 }, '0: 2500 2500'],
  ['none available here', { a: 0, b: 6 }, { a: 1, b: 1 }, '0: 0 5000'],
  ['nowhere any room by rounding: anywhere', { a: 2, b: 2, c: 2 }, { a: 3_334, b: 3_333, c: 3_333 }, '9997: 1 1 1'],
  ['callers in one locality only', { a: 5, b: 5 }, { a: 2 }, undefined],
  ['nobody knows of callers here', { a: 5, b: 5 }, { b: 2, c: 2 }, undefined],
  ['endpoints in one locality only', { a: 9 }, { a: 1, b: 1 }, undefined],
  ['too few endpoints', { a: 3, b: 2 }, { a: 1, b: 1 }, undefined],
  ['unless the setting says that it is enough', { a: 3, b: 2 }, { a: 1, b: 1 }, '10000: 0 0', 5],
  ['a name of every object is no caller', { toString: 3, b: 5 }, { a: 1, b: 1 }, '0: 3750 1250'],
];

t.test('tries stay in the own locality as far as it can carry them', async (t) => {
  for (const [what, endpoints, callers, expected, minClusterSize = 6] of cases) {
    const shares = zoneShares(sizes(endpoints), callers, 'a', minClusterSize);
    t.equal(shares && `${shares.own}: ${shares.others.join(' ')}`, expected, what);
  }
});

t.test('with callers everywhere every endpoint gets about the same, and as much as possible stays', async () => {
  const zones = ['a', 'b', 'c', 'd'];
  const counts = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: zones.length, maxLength: zones.length });
  fc.assert(
    fc.property(counts, counts, (endpoints, callers) => {
      const of = (numbers: readonly number[]) =>
        Object.fromEntries(zones.map((zone, i) => [zone, numbers[i] as number]));
      const all = callers.reduce((a, b) => a + b, 0);
      const got = zones.map(() => 0);
      let stays = 0;
      for (const [at, zone] of zones.entries()) {
        const shares = zoneShares(sizes(of(endpoints)), of(callers), zone, 1);
        if (shares === undefined) return false;
        const mine = (callers[at] as number) / all;
        const kept = shares.own / wholeShare;
        const room = shares.others.reduce((a, b) => a + b, 0);
        stays += mine * kept;
        got[at] = (got[at] as number) + mine * kept;
        for (const [to, weight] of shares.others.entries()) {
          if (kept < 1) got[to] = (got[to] as number) + mine * (1 - kept) * (weight / room);
        }
      }
      const total = endpoints.reduce((a, b) => a + b, 0);
      const most = zones.reduce(
        (sum, _, i) => sum + Math.min((callers[i] as number) / all, (endpoints[i] as number) / total),
        0,
      );
      // Shares are whole ten-thousandths.
      return (
        zones.every((_, i) => Math.abs((got[i] as number) - (endpoints[i] as number) / total) < 0.002) &&
        Math.abs(stays - most) < 0.002
      );
    }),
  );
});
