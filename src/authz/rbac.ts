import type { PortScope, RbacFilter, RbacPolicy, RbacRules } from '../model/rbac.ts';
import type { AuthorizationObserver, AuthorizationOptions, Authorizer } from './authorizer.ts';
import { type AuthorizationFacts, type DerivedFacts, nothingDerived, type RuleReading } from './facts.ts';
import { indexRbac } from './rbac-index.ts';
import { deniedDetail } from './rule-id.ts';
import type { FindRule } from './rule-index.ts';
import type { PolicyRule } from './rule-set.ts';
import { createTallies, noPolicy, type Tallies, type Tally } from './tallies.ts';
import { nameOf, type ShadowVerdict, type Verdict } from './verdicts.ts';

/**
 * Compiles Envoy's RBAC filters to one decision: they are asked in turn, and the first that refuses decides.
 * LOG filters record what matches; shadow rules are told of. What AuthorizationPolicies of Istio become by istiod
 * decides as they do themselves, see `compileAuthorizer`.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what a policy cannot say
 */
export function compileRbac(
  filters: readonly RbacFilter[],
  options: AuthorizationOptions = {},
  tallies: Tallies = createTallies(),
): Authorizer {
  const literalPaths = options.paths === 'literal';
  const all = filters.map((filter) => compileFilter(filter, literalPaths, tallies));
  const passed = nothingDenied(tallies);
  return {
    decide(facts, observer) {
      const derived = nothingDerived();
      let verdict = passed;
      let audits: PolicyRule[] | undefined;
      for (const { applies, rules, shadow } of all) {
        if (!applies(facts.localPort)) continue;
        if (shadow !== undefined) tell(shadow, facts, derived, observer);
        if (rules === undefined) continue;
        const at = rules.find(facts, derived);
        if (rules.action === 'LOG') {
          if (at !== -1) (audits ??= []).push((rules.policies[at] as Policy).by);
          if (at !== -1) (rules.policies[at] as Policy).matched.count++;
          continue;
        }
        const found = at === -1 ? rules.none : (rules.policies[at] as Policy).verdict;
        if (found !== undefined) verdict = found;
        if (!verdict.allowed) break;
      }
      verdict.tally.count++;
      if (observer !== undefined) for (const by of audits ?? []) observer.audited(facts, by, verdict);
      return verdict;
    },
  };
}

/** Those that are asked about requests, or about connections. */
export function rbacAbout(filters: readonly RbacFilter[], what: 'requests' | 'connections'): readonly RbacFilter[] {
  return filters.filter(({ about }) => about === undefined || about === what);
}

/** Names of all policies, under which is counted. */
export function rbacNames(filters: readonly RbacFilter[]): readonly string[] {
  return filters.flatMap(({ rules, shadow }) =>
    [...(rules?.policies ?? []), ...(shadow?.policies ?? [])].map(({ provenance }) => nameOf(provenance)),
  );
}

/** Whether a port is one of a scope. */
export function inScope(scope: PortScope | undefined): (port: number) => boolean {
  if (scope === undefined) return () => true;
  const { except, ports } = scope;
  return (port) => ports.includes(port) !== (except === true);
}

/**
 * The first of these that matches, read as DENY is.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what a policy cannot say
 */
export function findRbacPolicy(
  policies: readonly RbacPolicy[],
  { paths }: AuthorizationOptions = {},
): (facts: AuthorizationFacts) => RbacPolicy | undefined {
  const find = indexRbac(policies, { action: 'DENY', literalPaths: paths === 'literal' });
  // Nothing is there at -1.
  return (facts) => policies[find(facts, nothingDerived())];
}

interface Filter {
  applies(port: number): boolean;
  readonly rules: Rules | undefined;
  readonly shadow: Shadow | undefined;
}

interface Rules {
  readonly action: RbacRules['action'];
  readonly find: FindRule;
  readonly policies: readonly Policy[];
  /** When no policy matches; nothing: what others said stays. */
  readonly none: Verdict | undefined;
}

interface Policy {
  readonly by: PolicyRule;
  readonly verdict: Verdict;
  readonly matched: Tally;
}

interface Shadow {
  readonly find: FindRule;
  /** Of each policy. */
  readonly verdicts: readonly ShadowVerdict[];
  readonly none: ShadowVerdict;
}

function compileFilter({ rules, scope, shadow }: RbacFilter, literalPaths: boolean, tallies: Tallies): Filter {
  return {
    applies: inScope(scope),
    rules: rules && compileRules(rules, literalPaths, tallies),
    // What is logged only, is logged: trying it out says no more.
    shadow: shadow === undefined || shadow.action === 'LOG' ? undefined : compileShadow(shadow, literalPaths, tallies),
  };
}

function compileRules({ action, policies }: RbacRules, literalPaths: boolean, tallies: Tallies): Rules {
  const allowing = action === 'ALLOW';
  const result = allowing ? 'allowed' : 'denied';
  return {
    action,
    find: indexRbac(policies, readingOf(action, literalPaths)),
    policies: policies.map((policy) => ({
      by: { policy: policy.provenance, rule: policy.rule, id: policy.name },
      verdict: {
        allowed: allowing,
        reason: result,
        policy: policy.provenance,
        rule: policy.rule,
        detail: allowing ? '' : deniedDetail(policy.name),
        tally: tallies.of(
          action === 'LOG'
            ? { policy: nameOf(policy.provenance), action: 'AUDIT', result: 'matched', dryRun: false }
            : { policy: nameOf(policy.provenance), action, result, dryRun: false },
        ),
      },
      matched: tallies.of({ policy: nameOf(policy.provenance), action: 'AUDIT', result: 'matched', dryRun: false }),
    })),
    none: allowing
      ? {
          allowed: false,
          reason: 'not-allowed',
          detail: deniedDetail(noPolicy),
          tally: tallies.of({ policy: noPolicy, action: 'ALLOW', result: 'denied', dryRun: false }),
        }
      : undefined,
  };
}

function compileShadow({ action, policies }: RbacRules, literalPaths: boolean, tallies: Tallies): Shadow {
  const read = action === 'ALLOW' ? 'ALLOW' : 'DENY';
  const matched = read === 'ALLOW' ? 'allowed' : 'denied';
  const unmatched = read === 'ALLOW' ? 'denied' : 'allowed';
  const verdict = (id: string, policy: string, result: ShadowVerdict['result']): ShadowVerdict => ({
    action: read,
    result,
    id,
    tally: tallies.of({ policy, action: read, result, dryRun: true }),
  });
  return {
    find: indexRbac(policies, readingOf(action, literalPaths)),
    verdicts: policies.map((policy) => verdict(policy.name, nameOf(policy.provenance), matched)),
    none: verdict(noPolicy, noPolicy, unmatched),
  };
}

/** What decides nothing is read as DENY is: rather too much than too little; but not what would allow. */
function readingOf(action: RbacRules['action'], literalPaths: boolean): RuleReading {
  return { action: action === 'ALLOW' ? 'ALLOW' : 'DENY', literalPaths };
}

function tell(
  { find, none, verdicts }: Shadow,
  facts: AuthorizationFacts,
  derived: DerivedFacts,
  observer: AuthorizationObserver | undefined,
): void {
  const at = find(facts, derived);
  const verdict = at === -1 ? none : (verdicts[at] as ShadowVerdict);
  verdict.tally.count++;
  observer?.shadowed(facts, verdict);
}

function nothingDenied(tallies: Tallies): Verdict {
  return {
    allowed: true,
    reason: 'not-denied',
    detail: '',
    tally: tallies.of({ policy: noPolicy, action: 'DENY', result: 'allowed', dryRun: false }),
  };
}
