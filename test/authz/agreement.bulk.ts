import t from 'tap';
import { compileRule, nothingDerived } from '../../src/authz/rule.ts';
import { compileRuleSet } from '../../src/authz/rule-set.ts';
import { compareRbac, compareWithNaive, compareWithPlain } from './agreement.ts';
import { chooser, randomFacts } from './random-policies.ts';

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

t.test('rules with so many keys that there is no room to tell them apart: found all the same', async (t) => {
  const exact = (value: string) => ({ kind: 'exact', value }) as const;
  const some = <T>(make: (k: number) => T): T[] => Array.from({ length: 20 }, (_, k) => make(k));
  const rules = Array.from({ length: 600 }, (_, i) => ({
    from: some((k) => ({ principals: [exact(`cluster.local/ns/n${(i * 7 + k * 13) % 97}/sa/s`)] })),
    to: [
      {
        methods: ['GET', 'POST'].map(exact),
        hosts: some((k) => exact(`h${(i + k * 31) % 101}`)),
        paths: some((k) => ({ kind: 'prefix', value: `/p${(i * 3 + k * 17) % 103}/` }) as const),
      },
    ],
  }));
  const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' };
  const reading = { action: 'DENY', literalPaths: false } as const;
  const { find } = compileRuleSet([{ action: 'DENY', rules, provenance }], reading);
  const plain = rules.map((rule) => compileRule(rule, reading));
  const found = new Set<number>();
  for (let i = 0; i < 200; i++) {
    const spiffeId = `spiffe://cluster.local/ns/n${i % 97}/sa/s`;
    const path = `/p${(i * 5) % 103}/x`;
    const facts = {
      ...randomFacts(chooser(i)),
      peer: { spiffeId, trustDomain: 'cluster.local' },
      method: 'GET',
      host: `h${i % 101}`,
      path,
      rawPath: path,
    };
    const first = plain.findIndex((matches) => matches(facts, nothingDerived()));
    t.equal(find(facts, nothingDerived()), first);
    found.add(first);
  }
  t.ok(found.size > 50, 'not all alike');
});

t.test("random trees of Envoy's RBAC: what is looked up is what asking one policy after the other finds", async (t) => {
  const { allowed, asked, denied, disagreement, told } = compareRbac(1, 600, 7);
  t.equal(disagreement, undefined);
  t.equal(asked, 4_200);
  t.ok(allowed > 200 && denied > 600 && told > 1_000, `${allowed} allowed by a policy, ${denied} denied, ${told} told`);
});
