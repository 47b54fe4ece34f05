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
