import t from 'tap';
import { exchangeRootUnderLoad } from '../support/root-rotation.ts';

t.setTimeout(600_000);

t.test('of 100,000 requests while the root of the embedded authority is exchanged, none is lost', async (t) => {
  // CERT-02
  const started = performance.now();
  const { answers, calls, steps, certificates } = await exchangeRootUnderLoad(t, {
    calls: 100_000,
    every: 20_000,
    leafTtlMs: 4_000,
  });
  t.same(answers, { '200 hello': calls });
  t.ok(calls >= 100_000);
  t.same(
    steps.map(([name]) => name),
    ['prepare', 'activate', 'finish', 'done'],
  );
  const seconds = ((performance.now() - started) / 1_000).toFixed(0);
  t.comment(`${calls} calls in ${seconds} s, ${certificates} certificates, steps after ${steps.map(([, at]) => at)}`);
});

t.test('the root is exchanged while members check revocation lists of both roots', async (t) => {
  const load = { calls: 1_000, every: 100, leafTtlMs: 6_000, lists: true };
  const { answers, calls, steps } = await exchangeRootUnderLoad(t, load);
  t.same(answers, { '200 hello': calls });
  t.equal(steps.length, 4);
});
