import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';

t.test('the same seed gives the same sequence, inside [0, 1) and evenly spread', async (t) => {
  const first = seededRandom(7);
  const second = seededRandom(7);
  const tenths = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const value = first();
    if (value !== second() || value < 0 || value >= 1) t.fail(`bad value ${value}`);
    const tenth = Math.floor(value * 10);
    tenths[tenth] = (tenths[tenth] as number) + 1;
  }
  for (const count of tenths) t.ok(count > 880 && count < 1_120, `${count} of 10,000 in one tenth`);
});

t.test('different seeds give different sequences, zero included', async (t) => {
  t.not(seededRandom(0)(), seededRandom(1)());
});
