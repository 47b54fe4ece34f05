import t from 'tap';
import { compareWithNaive, compareWithPlain } from './agreement.ts';

t.test(
  'random policies and requests: a second evaluator, which is naive, agrees on answer, policy and rule',
  async (t) => {
    const { allowed, asked, denied, disagreement } = compareWithNaive(1, 5_000, 4);
    t.equal(disagreement, undefined);
    t.equal(asked, 20_000);
    t.ok(allowed > 1_000 && denied > 1_000, `${allowed} allowed by a rule, ${denied} denied by one`);
  },
);

t.test('random rules, many of them: what the index finds is what asking one after the other finds', async (t) => {
  const { allowed, asked, denied, disagreement } = compareWithPlain(1, 500, 30);
  t.equal(disagreement, undefined);
  t.equal(asked, 15_000);
  t.ok(allowed > 500 && denied > 1_000, `${allowed} found nothing, ${denied} found a rule`);
});
