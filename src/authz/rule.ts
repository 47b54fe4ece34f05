import type { AuthorizationRule } from '../model/authorization.ts';
import { allOf, always, anyOf, type Condition, not, type RuleReading } from './facts.ts';
import { compileOperation } from './operation.ts';
import { compileSource } from './source.ts';
import { compileWhen } from './when.ts';

export type { AuthorizationFacts, Condition, DerivedFacts, RuleReading } from './facts.ts';
export { nothingDerived } from './facts.ts';

/**
 * A rule matches when one source (or none is given) and one operation (or none is given) match, and
 * every `when` holds, and none of `unless` does. What is in doubt there is read the other way round.
 */
export function compileRule(rule: AuthorizationRule, reading: RuleReading): Condition {
  const from = anyOf(rule.from.map((source) => compileSource(source, reading)));
  const to = anyOf(rule.to.map((operation) => compileOperation(operation, reading)));
  const when = (rule.when ?? []).map((condition) => compileWhen(condition, reading));
  const conditions = [from, to, ...when].filter((condition) => condition !== always);
  if (rule.unless !== undefined && rule.unless.length > 0) {
    const turned = { ...reading, action: reading.action === 'DENY' ? 'ALLOW' : 'DENY' } as const;
    conditions.push(not(anyOf(rule.unless.map((exception) => compileRule(exception, turned)))));
  }
  return allOf(conditions);
}
