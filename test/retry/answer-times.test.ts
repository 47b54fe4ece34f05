import fc from 'fast-check';
import t from 'tap';
import { createAnswerTimes } from '../../src/retry/answer-times.ts';

t.test('nothing is known before there are enough answers', async (t) => {
  const times = createAnswerTimes();
  for (let i = 0; i < 19; i++) times.record(10);
  t.equal(times.quantileMs(95), undefined);
  for (let i = 0; i < 16; i++) times.record(10);
  const known = times.quantileMs(95) as number;
  t.ok(known >= 10 && known <= 11, `${known}`);
});

t.test('property: the time within which so many came, and at most a tenth more', async (t) => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.2, max: 100_000, noNaN: true }), { minLength: 20, maxLength: 300 }),
        fc.double({ min: 50, max: 99.99, noNaN: true }),
        (list, percentile) => {
          const times = createAnswerTimes();
          for (const ms of list) times.record(ms);
          const exact = [...list].sort((a, b) => a - b)[Math.ceil((list.length * percentile) / 100) - 1] as number;
          const said = times.quantileMs(percentile) as number;
          return said >= exact * 0.999 && said <= exact * 1.101;
        },
      ),
      { seed: 7, numRuns: 300 },
    ),
  );
});

t.test('old answers fade', async (t) => {
  const times = createAnswerTimes();
  for (let i = 0; i < 2_000; i++) times.record(100);
  for (let i = 0; i < 40_000; i++) times.record(1);
  t.ok((times.quantileMs(99) as number) < 2);
});

t.test('any number is some time', async (t) => {
  const times = createAnswerTimes();
  for (const ms of [-1, 0, 1e12, Number.POSITIVE_INFINITY]) for (let i = 0; i < 10; i++) times.record(ms);
  t.ok((times.quantileMs(50) as number) > 0);
});
