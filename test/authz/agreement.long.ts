import t from 'tap';
import { compareRbac, compareWithNaive, compareWithPlain } from './agreement.ts';

t.test(
  '100,000 sets of random policies, each with requests: a second evaluator agrees on answer, policy and rule',
  async (t) => {
    const { allowed, asked, denied, disagreement } = compareWithNaive(1_000_000, 100_000, 5);
    t.equal(disagreement, undefined);
    t.equal(asked, 500_000);
    t.ok(allowed > 20_000 && denied > 20_000, `${allowed} allowed by a rule, ${denied} denied by one`);
  },
);

t.test('10,000 sets of random rules: what the index finds is what asking one after the other finds', async (t) => {
  const { allowed, asked, denied, disagreement } = compareWithPlain(1_000_000, 10_000, 40);
  t.equal(disagreement, undefined);
  t.equal(asked, 400_000);
  t.ok(allowed > 20_000 && denied > 20_000, `${allowed} found nothing, ${denied} found a rule`);
});

t.test(
  "20,000 sets of policies with random trees of Envoy's RBAC decide, and tell, as one policy after the other does",
  async (t) => {
    const { allowed, asked, denied, disagreement, told } = compareRbac(1_000_000, 20_000, 6);
    t.equal(disagreement, undefined);
    t.equal(asked, 120_000);
    t.ok(allowed > 5_000 && denied > 10_000, `${allowed} allowed by a policy, ${denied} denied, ${told} told`);
  },
);
