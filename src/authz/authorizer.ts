import { MeshError } from '../errors.ts';
import type { AuthorizationAction, AuthorizationPolicy } from '../model/authorization.ts';
import { type AuthorizationFacts, type DerivedFacts, nothingDerived } from './rule.ts';
import { compileRuleSet, type PolicyRule, type RuleSet } from './rule-set.ts';
import { createTallies, type Tallies, type Tally } from './tallies.ts';
import { nameOf, type ShadowVerdict, shadowVerdictsOf, type Verdict, type Verdicts, verdictsOf } from './verdicts.ts';

/** How policies are read. */
export interface AuthorizationOptions {
  /**
   * `views` (default): a path counts as allowed only if every path that a router could make of it
   * is, and as denied if any is. `literal`: the canonical path alone, exactly Istio.
   */
  readonly paths?: 'views' | 'literal';
}

/** Hears what does not decide. */
export interface AuthorizationObserver {
  /** A rule of an AUDIT policy matched; the request is decided as told. */
  audited(facts: AuthorizationFacts, rule: PolicyRule, verdict: Verdict): void;
  /** What policies with the annotation `istio.io/dry-run` would have decided. */
  shadowed(facts: AuthorizationFacts, verdict: ShadowVerdict): void;
}

/** The policies of a workload, compiled. */
export interface Authorizer {
  /** Decides, counts, and tells the observer. CUSTOM is not asked here: it comes before, see `compileCustom`. */
  decide(facts: AuthorizationFacts, observer?: AuthorizationObserver): Verdict;
}

/**
 * Compiles AuthorizationPolicies to one decision, in the order of Istio's filters: AUDIT policies see
 * every request; a DENY policy that matches refuses; without ALLOW policies everything else passes; with
 * some, one of them must match. An ALLOW policy without rules therefore refuses everything. What is
 * only tried out is decided beside those of its action, and changes nothing: ALLOW policies that are
 * all tried out leave everything allowed, and of what DENY refuses, nobody asks what ALLOW would say.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what a policy cannot say
 */
export function compileAuthorizer(
  policies: readonly AuthorizationPolicy[],
  options: AuthorizationOptions = {},
  tallies: Tallies = createTallies(),
): Authorizer {
  checkActions(policies);
  const literalPaths = options.paths === 'literal';
  const those = (action: AuthorizationAction, dryRun: boolean): readonly AuthorizationPolicy[] =>
    policies.filter((policy) => policy.action === action && (policy.dryRun === true) === dryRun);
  const rulesOf = (action: AuthorizationAction, dryRun = false): RuleSet =>
    // What decides nothing is read as DENY is: rather too much than too little.
    compileRuleSet(those(action, dryRun), { action: action === 'ALLOW' ? 'ALLOW' : 'DENY', literalPaths });

  const shadow = (action: 'ALLOW' | 'DENY'): Shadow | undefined => {
    if (those(action, true).length === 0) return undefined;
    const rules = rulesOf(action, true);
    return { rules, verdicts: shadowVerdictsOf(action, rules.rules, tallies) };
  };
  const audit = those('AUDIT', false).length === 0 ? undefined : auditOf(rulesOf('AUDIT'), tallies);
  const intentions = those('ALLOW', false).filter((policy) => policy.intentions === true);
  const own = those('ALLOW', false).filter((policy) => policy.intentions !== true);
  const mustBeAllowed = own.length + intentions.length > 0;
  const deny = rulesOf('DENY');
  const denied = verdictsOf('DENY', deny.rules, mustBeAllowed, tallies);
  const shadowDeny = shadow('DENY');
  // Of two languages in which to say what is allowed, both count.
  const allows = [intentions, own].filter((all) => all.length > 0).map((all) => allowOf(all, literalPaths, tallies));
  const shadowAllow = shadow('ALLOW');

  const judge = (facts: AuthorizationFacts, derived: DerivedFacts, observer?: AuthorizationObserver): Verdict => {
    if (shadowDeny !== undefined) tryOut(shadowDeny, facts, derived, observer);
    const denying = deny.find(facts, derived);
    if (denying !== -1) return denied.rules[denying] as Verdict;
    if (shadowAllow !== undefined) tryOut(shadowAllow, facts, derived, observer);
    let verdict = denied.none;
    for (const { rules, verdicts } of allows) {
      const allowing = rules.find(facts, derived);
      if (allowing === -1) return verdicts.none;
      verdict = verdicts.rules[allowing] as Verdict;
    }
    return verdict;
  };
  return {
    decide(facts, observer) {
      const derived = nothingDerived();
      const audited = audit === undefined ? -1 : audit.rules.find(facts, derived);
      const verdict = judge(facts, derived, observer);
      verdict.tally.count++;
      if (audit !== undefined && audited !== -1) {
        (audit.tallies[audited] as Tally).count++;
        observer?.audited(facts, audit.rules.rules[audited] as PolicyRule, verdict);
      }
      return verdict;
    },
  };
}

interface Allow {
  readonly rules: RuleSet;
  readonly verdicts: Verdicts<Verdict>;
}

function allowOf(policies: readonly AuthorizationPolicy[], literalPaths: boolean, tallies: Tallies): Allow {
  const rules = compileRuleSet(policies, { action: 'ALLOW', literalPaths });
  return { rules, verdicts: verdictsOf('ALLOW', rules.rules, true, tallies) };
}

interface Shadow {
  readonly rules: RuleSet;
  readonly verdicts: Verdicts<ShadowVerdict>;
}

function tryOut(
  { rules, verdicts }: Shadow,
  facts: AuthorizationFacts,
  derived: DerivedFacts,
  observer: AuthorizationObserver | undefined,
): void {
  const found = rules.find(facts, derived);
  const verdict = found === -1 ? verdicts.none : (verdicts.rules[found] as ShadowVerdict);
  verdict.tally.count++;
  observer?.shadowed(facts, verdict);
}

interface Audit {
  readonly rules: RuleSet;
  readonly tallies: readonly Tally[];
}

function auditOf(rules: RuleSet, tallies: Tallies): Audit {
  return {
    rules,
    tallies: rules.rules.map(({ policy }) =>
      tallies.of({ policy: nameOf(policy), action: 'AUDIT', result: 'matched', dryRun: false }),
    ),
  };
}

const actions: readonly AuthorizationAction[] = ['ALLOW', 'DENY', 'AUDIT', 'CUSTOM'];

function checkActions(policies: readonly AuthorizationPolicy[]): void {
  const unknown = policies.find(({ action }) => !actions.includes(action));
  if (unknown === undefined) return;
  throw new MeshError('ERR_MESH_CONFIG_INVALID', `AuthorizationPolicy: unknown action ${String(unknown.action)}`);
}
