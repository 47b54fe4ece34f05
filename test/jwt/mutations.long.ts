import t from 'tap';
import { verifyMutatedTokens } from '../support/mutated-tokens.ts';

t.test('JWT-088 of 100,000 mutated tokens none is accepted', async (t) => {
  const { accepted, refused } = await verifyMutatedTokens(100_000, 7);
  t.same(accepted.slice(0, 5), []);
  t.ok((refused.get('verification-failed') ?? 0) > 100_000 / 10, 'many get as far as the signature');
  t.ok(refused.size >= 12, `for different reasons: ${[...refused.keys()].join(', ')}`);
});
