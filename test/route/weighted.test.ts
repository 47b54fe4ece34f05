import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import { createWeightedChoice } from '../../src/route/weighted.ts';

const options = (...weights: readonly number[]) => weights.map((weight, value) => ({ weight, value }));

t.test('shares follow the weights', async (t) => {
  for (const weights of [
    [90, 10],
    [1, 1, 1],
    [50, 0, 30, 20],
    [1, 99],
  ]) {
    const choose = createWeightedChoice(options(...weights), seededRandom(1));
    const counts = weights.map(() => 0);
    for (let i = 0; i < 100_000; i++) {
      const chosen = choose();
      counts[chosen] = (counts[chosen] as number) + 1;
    }
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    weights.forEach((weight, i) => {
      const share = (counts[i] as number) / 100_000;
      t.ok(Math.abs(share - weight / total) < 0.005, `${weights}: ${share} for ${weight}`);
    });
  }
});

t.test('90/10 stays within three percent over 2,000 calls, for any seed', async (t) => {
  for (let seed = 0; seed < 50; seed++) {
    const choose = createWeightedChoice(options(90, 10), seededRandom(seed));
    let canary = 0;
    for (let i = 0; i < 2_000; i++) canary += choose();
    t.ok(Math.abs(canary / 2_000 - 0.1) < 0.03, `seed ${seed}: ${canary}`);
  }
});

t.test('weight 0 is never chosen', async (t) => {
  const choose = createWeightedChoice(options(0, 1, 0), () => {
    throw new Error('one option needs no dice');
  });
  for (let i = 0; i < 100; i++) t.equal(choose(), 1);
});

t.test('the borders belong to the next option; the end of the range to the last', async (t) => {
  const at = (value: number): number => createWeightedChoice(options(50, 0, 50, 0), () => value)();
  t.equal(at(0), 0);
  t.equal(at(0.499), 0);
  t.equal(at(0.5), 2);
  t.equal(at(0.999_999_999), 2);
  t.equal(at(1), 2, 'also when a sum of fractions falls short');
});

t.test('one option, with or without weight, is the choice', async (t) => {
  t.equal(createWeightedChoice(options(100), Math.random)(), 0);
  t.equal(createWeightedChoice(options(0), Math.random)(), 0);
  t.equal(createWeightedChoice(options(0, 0), Math.random)(), 0, 'of none that may be chosen the first');
});

t.test('no option is a mistake', async (t) => {
  t.throws(() => createWeightedChoice([], Math.random), TypeError);
});
