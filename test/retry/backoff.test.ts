import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import { backoffMs } from '../../src/retry/backoff.ts';

t.test('the ceiling doubles with each retry and stops at ten times the base, as in Envoy', async (t) => {
  const highest = [1, 2, 3, 4, 5, 6, 100, 10_000].map((retry) => backoffMs(retry, 25, () => 1));
  t.same(highest, [25, 75, 175, 250, 250, 250, 250, 250]);
});

t.test('full jitter: anything from nothing to the ceiling', async (t) => {
  t.equal(
    backoffMs(3, 25, () => 0),
    0,
  );
  const random = seededRandom(7);
  const waits = Array.from({ length: 10_000 }, () => backoffMs(3, 25, random));
  t.ok(Math.min(...waits) < 2);
  t.ok(Math.max(...waits) > 173 && Math.max(...waits) < 175);
  const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length;
  t.ok(Math.abs(mean - 87.5) < 2, `mean ${mean}`);
});

t.test('no base, no wait', async (t) => {
  t.equal(
    backoffMs(5, 0, () => 0.9),
    0,
  );
});

t.test('full jitter is even: chi-square over ten classes for each of three retries (POL-02)', async (t) => {
  const random = seededRandom(11);
  for (const [retry, ceiling] of [
    [1, 25],
    [2, 75],
    [3, 175],
  ] as const) {
    const classes = new Array<number>(10).fill(0);
    const count = 20_000;
    for (let i = 0; i < count; i++) {
      const at = Math.floor((backoffMs(retry, 25, random) / ceiling) * 10);
      classes[at] = (classes[at] as number) + 1;
    }
    const expected = count / 10;
    const chiSquare = classes.reduce((sum, seen) => sum + (seen - expected) ** 2 / expected, 0);
    // 9 degrees of freedom: 27.9 is passed once in a thousand times.
    t.ok(chiSquare < 27.9, `retry ${retry}: ${chiSquare}`);
  }
});
