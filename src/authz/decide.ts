import { MeshError } from '../errors.ts';
import type { AuthorizationPolicy, AuthorizationRule } from '../model/authorization.ts';
import type { Provenance } from '../model/provenance.ts';
import { type AuthorizationFacts, type Condition, compileRule, type DerivedFacts } from './rule.ts';

/** Why a request is refused. */
export interface Denial {
  /** A DENY policy matched, or there are ALLOW policies and none did. */
  readonly reason: 'denied' | 'not-allowed';
  /** The DENY policy that matched. */
  readonly policy?: Provenance;
}

/** Nothing when the request may pass. */
export type Authorize = (facts: AuthorizationFacts) => Denial | undefined;

/** How policies are read. */
export interface AuthorizationOptions {
  /**
   * `views` (default): a path counts as allowed only if every path that a router could make of it
   * is, and as denied if any is. `literal`: the canonical path alone, exactly Istio.
   */
  readonly paths?: 'views' | 'literal';
}

const scheme = 'spiffe://';

/**
 * Compiles AuthorizationPolicies to one decision, in Istio's order: a DENY policy that matches
 * refuses; without ALLOW policies everything else passes; with some, one of them must match. An
 * ALLOW policy without rules therefore refuses everything.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what a policy cannot say
 */
export function compileAuthorization(
  policies: readonly AuthorizationPolicy[],
  options: AuthorizationOptions = {},
): Authorize {
  const literalPaths = options.paths === 'literal';
  const deny = compileAction(policies, 'DENY', literalPaths);
  const allow = compileAction(policies, 'ALLOW', literalPaths);
  const mustBeAllowed = policies.some(({ action }) => action === 'ALLOW');
  const unknown = policies.find(({ action }) => action !== 'ALLOW' && action !== 'DENY');
  if (unknown !== undefined) {
    throw new MeshError('ERR_MESH_CONFIG_INVALID', `AuthorizationPolicy: unknown action ${String(unknown.action)}`);
  }
  const notAllowed: Denial = { reason: 'not-allowed' };
  return (facts) => {
    const derived: DerivedFacts = { views: undefined, host: undefined };
    const denying = deny(facts, derived);
    if (denying !== undefined) return { reason: 'denied', policy: denying };
    return mustBeAllowed && allow(facts, derived) === undefined ? notAllowed : undefined;
  };
}

/** The rule that decides about a request. */
export interface DecidingRule {
  readonly policy: Provenance;
  /** Position in the policy's `rules`. */
  readonly rule: number;
}

/**
 * Which rule decides: the first of a DENY policy that matches, else the first of an ALLOW policy;
 * nothing when none matches. For explanations: the same conditions as in {@link compileAuthorization},
 * one after the other in the order of the policies.
 */
export function findDecidingRule(
  policies: readonly AuthorizationPolicy[],
  options: AuthorizationOptions = {},
): (facts: AuthorizationFacts) => DecidingRule | undefined {
  const literalPaths = options.paths === 'literal';
  const ordered = (['DENY', 'ALLOW'] as const).flatMap((action) =>
    policies
      .filter((policy) => policy.action === action)
      .flatMap(({ provenance, rules }) =>
        rules.map((rule, index) => ({
          matches: compileRule(rule, { action, literalPaths }),
          deciding: { policy: provenance, rule: index },
        })),
      ),
  );
  return (facts) => {
    const derived: DerivedFacts = { views: undefined, host: undefined };
    return ordered.find(({ matches }) => matches(facts, derived))?.deciding;
  };
}

interface CompiledRule {
  readonly matches: Condition;
  readonly policy: Provenance;
}

/** The first policy of one action that matches, or nothing. */
type FindPolicy = (facts: AuthorizationFacts, derived: DerivedFacts) => Provenance | undefined;

/**
 * Rules that are about certain callers only are found by the caller's principal, so that the cost
 * of a decision follows the rules that could match and not those that exist.
 */
function compileAction(
  policies: readonly AuthorizationPolicy[],
  action: 'ALLOW' | 'DENY',
  literalPaths: boolean,
): FindPolicy {
  const byPrincipal = new Map<string, CompiledRule[]>();
  const others: CompiledRule[] = [];
  for (const policy of policies) {
    if (policy.action !== action) continue;
    for (const rule of policy.rules) {
      const compiled = { matches: compileRule(rule, { action, literalPaths }), policy: policy.provenance };
      const callers = exactPrincipals(rule);
      if (callers === undefined) others.push(compiled);
      for (const caller of callers ?? []) {
        const list = byPrincipal.get(scheme + caller);
        if (list === undefined) byPrincipal.set(scheme + caller, [compiled]);
        else list.push(compiled);
      }
    }
  }
  return (facts, derived) => {
    const theirs = facts.peer === undefined ? undefined : byPrincipal.get(facts.peer.spiffeId);
    return (theirs && find(theirs, facts, derived)) ?? find(others, facts, derived);
  };
}

function find(
  rules: readonly CompiledRule[],
  facts: AuthorizationFacts,
  derived: DerivedFacts,
): Provenance | undefined {
  for (const rule of rules) {
    if (rule.matches(facts, derived)) return rule.policy;
  }
  return undefined;
}

/** The principals without which a rule cannot match; nothing when it is not that simple. */
function exactPrincipals(rule: AuthorizationRule): ReadonlySet<string> | undefined {
  if (rule.from.length === 0) return undefined;
  const names = new Set<string>();
  for (const { principals } of rule.from) {
    if (principals === undefined) return undefined;
    for (const match of principals) {
      if (match.kind !== 'exact') return undefined;
      names.add(match.value);
    }
  }
  return names;
}
