import type { AuthorizationPolicy, AuthorizationRule } from '../model/authorization.ts';
import type { Provenance } from '../model/provenance.ts';
import { type AuthorizationFacts, compileRule, type DerivedFacts, type RuleReading } from './rule.ts';
import { ruleId } from './rule-id.ts';
import { type IndexedRule, indexRules } from './rule-index.ts';
import { ruleKeys } from './rule-keys.ts';

/** A rule and where it comes from. */
export interface PolicyRule {
  readonly policy: Provenance;
  /** Position in the policy's `rules`. */
  readonly rule: number;
  /** `ns[shop]-policy[no-admin]-rule[0]`. */
  readonly id: string;
}

/** The rules of several policies, read in one way. */
export interface RuleSet {
  /** All of them, in the order of the policies. */
  readonly rules: readonly PolicyRule[];
  /** Position in `rules` of the first that matches; -1 when none does. */
  find(facts: AuthorizationFacts, derived: DerivedFacts): number;
}

/**
 * Compiles the rules of policies to one look-up.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what a rule cannot say
 */
export function compileRuleSet(policies: readonly AuthorizationPolicy[], reading: RuleReading): RuleSet {
  const rules: PolicyRule[] = [];
  const indexed = policies.flatMap(({ provenance, rules: all }) =>
    all.map((rule, at) => {
      rules.push({ policy: provenance, rule: at, id: ruleId(provenance, at) });
      return compiled(rule, reading);
    }),
  );
  const viewed = reading.action === 'DENY' && !reading.literalPaths;
  return { rules, find: indexRules(indexed, viewed) };
}

// Of many policies few change at a time, and configuration keeps the objects of the others.
const known = new WeakMap<AuthorizationRule, Map<string, IndexedRule>>();

function compiled(rule: AuthorizationRule, reading: RuleReading): IndexedRule {
  let readings = known.get(rule);
  if (readings === undefined) known.set(rule, (readings = new Map()));
  const { action, literalPaths } = reading;
  const name = `${action} ${literalPaths}`;
  let found = readings.get(name);
  if (found === undefined) {
    found = { matches: compileRule(rule, reading), keys: ruleKeys(rule, reading) };
    readings.set(name, found);
  }
  return found;
}
