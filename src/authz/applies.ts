import type { AuthorizationRule } from '../model/authorization.ts';
import { type AuthorizationFacts, type Condition, compileRule, nothingDerived } from './rule.ts';

/**
 * Whether something that is limited to requests by rules is for a request: no rules, all requests.
 * Paths as a DENY policy reads them: a path counts if any view of it that a router could have does.
 */
export function compileApplies(rules: readonly AuthorizationRule[]): (facts: AuthorizationFacts) => boolean {
  if (rules.length === 0) return () => true;
  const conditions: readonly Condition[] = rules.map((rule) =>
    compileRule(rule, { action: 'DENY', literalPaths: false }),
  );
  return (facts) => {
    const derived = nothingDerived();
    return conditions.some((condition) => condition(facts, derived));
  };
}
