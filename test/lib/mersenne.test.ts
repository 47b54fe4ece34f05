import t from 'tap';
import { mersenneTwister } from '../../src/lib/mersenne.ts';

const sequence = (seed: number, count: number): readonly number[] =>
  Array.from({ length: count }, mersenneTwister(seed));

t.test('has the 10,000th number that the C++ standard gives for std::mt19937', async (t) => {
  t.equal(sequence(5_489, 10_000).at(-1), 4_123_659_995);
});

t.test('the same seed gives the same numbers, only 32 bits of it count', async (t) => {
  t.same(sequence(7, 1_300), sequence(7, 1_300));
  t.same(sequence(7 + 2 ** 32, 3), sequence(7, 3));
  t.notSame(sequence(7, 3), sequence(8, 3));
});
