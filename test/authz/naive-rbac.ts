// Envoy's RBAC as its reference tells it: filter by filter, policy by policy in the order of their names, tree by tree.
// Nothing is looked up and nothing is put together; only single leaves are those of src/.
import { type AuthorizationFacts, type Condition, nothingDerived, type RuleReading } from '../../src/authz/facts.ts';
import { compileRbacPolicy } from '../../src/authz/rbac-match.ts';
import type { RbacFilter, RbacMatch, RbacPolicy, RbacRules } from '../../src/model/rbac.ts';

export interface NaiveVerdict {
  readonly allowed: boolean;
  /** Name of the policy that decided last, if one did. */
  readonly by: string | undefined;
  /** What LOG filters and shadow rules had to say, in order. */
  readonly told: readonly string[];
}

/** What filters decide in turn; the first that refuses ends it. */
export function naiveRbac(
  filters: readonly RbacFilter[],
  facts: AuthorizationFacts,
  literalPaths: boolean,
): NaiveVerdict {
  const told: string[] = [];
  const audits: string[] = [];
  let by: string | undefined;
  let allowed = true;
  for (const { rules, scope, shadow } of filters) {
    if (scope !== undefined && scope.ports.includes(facts.localPort) === (scope.except === true)) continue;
    if (shadow !== undefined && shadow.action !== 'LOG') {
      const name = firstOf(shadow, facts, literalPaths);
      told.push(
        `${shadow.action} ${(name === undefined) === (shadow.action === 'DENY') ? 'allowed' : 'denied'} ${name ?? 'none'}`,
      );
    }
    if (rules === undefined) continue;
    const name = firstOf(rules, facts, literalPaths);
    if (rules.action === 'LOG') {
      if (name !== undefined) audits.push(`audit ${name}`);
      continue;
    }
    if (rules.action === 'ALLOW') {
      by = name;
      allowed = name !== undefined;
    } else if (name !== undefined) {
      by = name;
      allowed = false;
    }
    if (!allowed) break;
  }
  return { allowed, by, told: [...told, ...audits] };
}

function firstOf({ action, policies }: RbacRules, facts: AuthorizationFacts, literalPaths: boolean) {
  const reading: RuleReading = { action: action === 'ALLOW' ? 'ALLOW' : 'DENY', literalPaths };
  const sorted = [...policies].sort((a, b) => (a.name < b.name ? -1 : 1));
  return sorted.find(
    ({ permissions, principals }) => holds(permissions, facts, reading) && holds(principals, facts, reading),
  )?.name;
}

const any: RbacMatch = { kind: 'any' };

/** Compiling is slow, and has nothing to do with what is compared. */
const compiled = new WeakMap<readonly RbacMatch[], Map<string, Condition>>();

function leaves(matches: readonly RbacMatch[], facts: AuthorizationFacts, reading: RuleReading): boolean {
  let readings = compiled.get(matches);
  if (readings === undefined) compiled.set(matches, (readings = new Map()));
  const name = `${reading.action} ${reading.literalPaths}`;
  let condition = readings.get(name);
  if (condition === undefined) {
    const policy: RbacPolicy = {
      name: 'leaf',
      provenance: { kind: 'Listener', namespace: 'xds', name: 'leaf' },
      rule: 0,
      permissions: matches,
      principals: [any],
    };
    condition = compileRbacPolicy(policy, reading);
    readings.set(name, condition);
  }
  return condition(facts, nothingDerived());
}

interface Parts {
  readonly headers: readonly (readonly RbacMatch[])[];
  readonly others: readonly RbacMatch[];
}
const parts = new WeakMap<readonly RbacMatch[], Parts>();
const single = new WeakMap<RbacMatch, readonly RbacMatch[]>();

/** One of several; headers of one name stand together, since each of their lines must be one of the texts. */
function holds(matches: readonly RbacMatch[], facts: AuthorizationFacts, reading: RuleReading): boolean {
  let known = parts.get(matches);
  if (known === undefined) {
    const byName = Map.groupBy(matches.filter(isPlainHeader), ({ name }) => name);
    known = { headers: [...byName.values()], others: matches.filter((match) => !isPlainHeader(match)) };
    parts.set(matches, known);
  }
  return (
    known.headers.some((same) => leaves(same, facts, reading)) ||
    known.others.some((match) => fits(match, facts, reading))
  );
}

function isPlainHeader(match: RbacMatch): match is Extract<RbacMatch, { readonly kind: 'header' }> {
  return (
    match.kind === 'header' && match.invert !== true && match.absentIsEmpty !== true && match.match.kind !== 'range'
  );
}

function fits(match: RbacMatch, facts: AuthorizationFacts, reading: RuleReading): boolean {
  if (match.kind === 'any') return true;
  if (match.kind === 'never') return false;
  if (match.kind === 'and') return match.of.every((each) => fits(each, facts, reading));
  if (match.kind === 'or') return holds(match.of, facts, reading);
  // What is excepted is read the other way round.
  if (match.kind === 'not')
    return !fits(match.of, facts, { ...reading, action: reading.action === 'DENY' ? 'ALLOW' : 'DENY' });
  let alone = single.get(match);
  if (alone === undefined) single.set(match, (alone = [match]));
  return leaves(alone, facts, reading);
}
