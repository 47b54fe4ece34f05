import type { Provenance } from '../model/provenance.ts';
import type { AuthorizationDecision } from '../pipeline/authorization-decision.ts';
import { deniedDetail } from './rule-id.ts';
import type { PolicyRule } from './rule-set.ts';
import { noPolicy, type Tallies, type Tally } from './tallies.ts';

/** A decision with its counter. One for each rule, made when policies are compiled. */
export interface Verdict extends AuthorizationDecision {
  readonly policy?: Provenance;
  readonly tally: Tally;
}

/** What a dry run would have decided, or what an AUDIT policy found. */
export interface ShadowVerdict {
  readonly action: 'ALLOW' | 'DENY';
  readonly result: 'allowed' | 'denied';
  /** Of the rule that matched; `none` when none did. */
  readonly id: string;
  readonly tally: Tally;
}

/** Those of an action: for each of its rules, and for when none matches. */
export interface Verdicts<V> {
  readonly rules: readonly V[];
  readonly none: V;
}

/** The decisions of policies that are enforced. */
export function verdictsOf(
  action: 'ALLOW' | 'DENY',
  rules: readonly PolicyRule[],
  mustBeAllowed: boolean,
  tallies: Tallies,
): Verdicts<Verdict> {
  const allowing = action === 'ALLOW';
  const result = allowing ? 'allowed' : 'denied';
  return {
    rules: rules.map(({ policy, rule, id }) => ({
      allowed: allowing,
      reason: result,
      policy,
      rule,
      detail: allowing ? '' : deniedDetail(id),
      tally: tallies.of({ policy: nameOf(policy), action, result, dryRun: false }),
    })),
    none: mustBeAllowed
      ? {
          allowed: false,
          reason: 'not-allowed',
          detail: deniedDetail(noPolicy),
          tally: tallies.of({ policy: noPolicy, action: 'ALLOW', result: 'denied', dryRun: false }),
        }
      : {
          allowed: true,
          reason: 'not-denied',
          detail: '',
          tally: tallies.of({ policy: noPolicy, action: 'DENY', result: 'allowed', dryRun: false }),
        },
  };
}

/** What policies that are only tried out would have decided, as Envoy's shadow rules do. */
export function shadowVerdictsOf(
  action: 'ALLOW' | 'DENY',
  rules: readonly PolicyRule[],
  tallies: Tallies,
): Verdicts<ShadowVerdict> {
  const matched = action === 'ALLOW' ? 'allowed' : 'denied';
  const unmatched = action === 'ALLOW' ? 'denied' : 'allowed';
  return {
    rules: rules.map(({ policy, id }) => ({
      action,
      result: matched,
      id,
      tally: tallies.of({ policy: nameOf(policy), action, result: matched, dryRun: true }),
    })),
    none: {
      action,
      result: unmatched,
      id: noPolicy,
      tally: tallies.of({ policy: noPolicy, action, result: unmatched, dryRun: true }),
    },
  };
}

/** `<namespace>/<name>`. */
export function nameOf({ namespace, name }: Provenance): string {
  return `${namespace}/${name}`;
}
