import t from 'tap';
import { isInShare, millionths } from '../../src/lib/percent.ts';

t.test('percentages are counted in millionths, rounded down', async (t) => {
  const table: readonly (readonly [percent: number, share: number])[] = [
    [0, 0],
    [100, 1_000_000],
    [50, 500_000],
    [0.0001, 1],
    [0.00009, 0],
    [33.3333, 333_333],
    [0.57, 5_699],
    [-1, 0],
    [250, 1_000_000],
  ];
  for (const [percent, share] of table) t.equal(millionths(percent), share, `${percent} %`);
});

t.test('a share has the lowest numbers, and exactly as many as it says', async (t) => {
  const last = 1 - Number.EPSILON / 2;
  const table: readonly (readonly [percent: number, random: number, hit: boolean])[] = [
    [0, 0, false],
    [100, last, true],
    [50, 0.499999, true],
    [50, 0.5, false],
    [0.0001, 0, true],
    [0.0001, 0.000001, false],
    [99.9999, last, false],
    [10, 0.099999999, true],
    [10, 0.1, false],
  ];
  for (const [percent, random, hit] of table) {
    t.equal(isInShare(millionths(percent), random), hit, `${percent} % and ${random}`);
  }
});
