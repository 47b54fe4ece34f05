import type { RbacPolicy } from '../model/rbac.ts';
import type { RuleReading } from './facts.ts';
import { rbacKeys } from './rbac-keys.ts';
import { compileRbacPolicy } from './rbac-match.ts';
import { type FindRule, type IndexedRule, indexRules } from './rule-index.ts';

/**
 * Finds the first policy that matches, as Envoy does in the order in which they are given, at a cost that follows
 * those that could match.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what a policy cannot say
 */
export function indexRbac(policies: readonly RbacPolicy[], reading: RuleReading): FindRule {
  const viewed = reading.action === 'DENY' && !reading.literalPaths;
  return indexRules(
    policies.map((policy) => compiled(policy, reading)),
    viewed,
  );
}

// Each request goes through one of few listeners, and what is asked of each is mostly the same.
const known = new WeakMap<RbacPolicy, Map<string, IndexedRule>>();

function compiled(policy: RbacPolicy, reading: RuleReading): IndexedRule {
  let readings = known.get(policy);
  if (readings === undefined) known.set(policy, (readings = new Map()));
  const { action, literalPaths } = reading;
  const name = `${action} ${literalPaths}`;
  let found = readings.get(name);
  if (found === undefined) {
    found = { matches: compileRbacPolicy(policy, reading), keys: rbacKeys(policy, reading) };
    readings.set(name, found);
  }
  return found;
}
