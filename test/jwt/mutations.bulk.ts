import t from 'tap';
import { verifyMutatedTokens } from '../support/mutated-tokens.ts';

t.test('JWT-088 of 20,000 mutated tokens none is accepted', async (t) => {
  const { accepted, refused } = await verifyMutatedTokens(20_000, 20261121);
  t.same(accepted.slice(0, 5), []);
  t.ok((refused.get('verification-failed') ?? 0) > 20_000 / 10, 'many get as far as the signature');
  t.ok(refused.size >= 12, `for different reasons: ${[...refused.keys()].join(', ')}`);
});
