import { compileAuthorizer } from '../../src/authz/authorizer.ts';
import { compileRbac } from '../../src/authz/rbac.ts';
import { type AuthorizationFacts, compileRule, nothingDerived, type RuleReading } from '../../src/authz/rule.ts';
import { compileRuleSet } from '../../src/authz/rule-set.ts';
import { parseSpiffeId } from '../../src/model/spiffe-id.ts';
import { naiveAnswer } from './naive-evaluator.ts';
import { naiveRbac } from './naive-rbac.ts';
import {
  allPaths,
  type Chooser,
  chooser,
  randomFacts,
  randomPlacedRule,
  randomPolicies,
  randomRule,
} from './random-policies.ts';
import { randomFilters, randomId } from './random-trees.ts';

export interface Agreement {
  readonly asked: number;
  /** Answers of each kind, to see that the cases are not all alike. */
  readonly denied: number;
  readonly allowed: number;
  /** The first case in which they do not agree; nothing when they do. */
  readonly disagreement: string | undefined;
}

/** So many random sets of policies, each with a few requests: both evaluators, policy and rule included. */
export function compareWithNaive(seed: number, sets: number, requests: number): Agreement {
  let [asked, denied, allowed] = [0, 0, 0];
  for (let i = 0; i < sets; i++) {
    const choose = chooser(seed + i);
    const policies = randomPolicies(choose);
    const { decide } = compileAuthorizer(policies, { paths: 'literal' });
    for (let j = 0; j < requests; j++) {
      const facts = randomFacts(choose);
      const verdict = decide(facts);
      const naive = naiveAnswer(policies, facts);
      asked++;
      if (verdict.policy !== undefined) verdict.allowed ? allowed++ : denied++;
      const same =
        verdict.allowed === naive.allowed && verdict.policy?.name === naive.by?.[0] && verdict.rule === naive.by?.[1];
      if (same) continue;
      const disagreement = JSON.stringify({ seed: seed + i, verdict, naive, facts, policies }, null, 1);
      return { asked, denied, allowed, disagreement };
    }
  }
  return { asked, denied, allowed, disagreement: undefined };
}

/** So many random sets of rules, enough to be indexed, against the same rules asked one after the other. */
export function compareWithPlain(seed: number, sets: number, requests: number): Agreement {
  let [asked, denied, allowed] = [0, 0, 0];
  const readings: readonly RuleReading[] = [
    { action: 'DENY', literalPaths: false },
    { action: 'ALLOW', literalPaths: false },
    { action: 'DENY', literalPaths: true },
  ];
  const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'p' };
  for (let i = 0; i < sets; i++) {
    const choose = chooser(seed + i);
    const reading = choose.of(readings);
    const rules = Array.from({ length: 1 + choose.number(40) }, () =>
      choose.once(60) ? randomRule(choose, allPaths) : randomPlacedRule(choose),
    );
    const indexed = compileRuleSet([{ action: reading.action, rules, provenance }], reading);
    const plain = rules.map((rule) => compileRule(rule, reading));
    for (let j = 0; j < requests; j++) {
      const facts = randomFacts(choose, allPaths);
      const found = indexed.find(facts, nothingDerived());
      const first = plain.findIndex((matches) => matches(facts, nothingDerived()));
      asked++;
      found === -1 ? allowed++ : denied++;
      if (found === first) continue;
      const disagreement = JSON.stringify(
        { seed: seed + i, found, first, reading, facts, rule: rules[first] },
        null,
        1,
      );
      return { asked, denied, allowed, disagreement };
    }
  }
  return { asked, denied, allowed, disagreement: undefined };
}

/** So many random sets of Envoy's filters, each with a few requests: the index against one policy after the other. */
export function compareRbac(seed: number, sets: number, requests: number): Agreement & { readonly told: number } {
  let [asked, denied, allowed, told] = [0, 0, 0, 0];
  for (let i = 0; i < sets; i++) {
    const choose = chooser(seed + i);
    const filters = randomFilters(choose, 1 + choose.number(choose.once(10) ? 60 : 8));
    const paths = choose.of(['views', 'literal'] as const);
    const { decide } = compileRbac(filters, { paths });
    for (let j = 0; j < requests; j++) {
      const facts = rbacFacts(choose);
      const shadows: string[] = [];
      const audits: string[] = [];
      const verdict = decide(facts, {
        audited: (_, { id }) => void audits.push(`audit ${id}`),
        shadowed: (_, { action, id, result }) => void shadows.push(`${action} ${result} ${id}`),
      });
      const naive = naiveRbac(filters, facts, paths === 'literal');
      asked++;
      told += naive.told.length;
      if (verdict.policy !== undefined) verdict.allowed ? allowed++ : denied++;
      const found = { allowed: verdict.allowed, by: verdict.policy?.name, told: [...shadows, ...audits] };
      if (JSON.stringify(found) === JSON.stringify(naive)) continue;
      const disagreement = JSON.stringify({ seed: seed + i, paths, found, naive, facts, filters }, null, 1);
      return { asked, denied, allowed, told, disagreement };
    }
  }
  return { asked, denied, allowed, told, disagreement: undefined };
}

function rbacFacts(choose: Chooser): AuthorizationFacts {
  const facts = randomFacts(choose, allPaths);
  if (facts.peer === undefined || choose.once(3)) return facts;
  const { namespace, serviceAccount, trustDomain, uri: spiffeId } = parseSpiffeId(randomId(choose));
  const parts = namespace === undefined || serviceAccount === undefined ? {} : { namespace, serviceAccount };
  return { ...facts, peer: { spiffeId, trustDomain, ...parts } };
}
