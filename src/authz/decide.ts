import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { Provenance } from '../model/provenance.ts';
import { type AuthorizationOptions, compileAuthorizer } from './authorizer.ts';
import type { AuthorizationFacts } from './rule.ts';
import type { Verdict } from './verdicts.ts';

export type { AuthorizationOptions } from './authorizer.ts';

/** Why a request is refused: a {@link Verdict} that is not `allowed`. */
export type Denial = Pick<Verdict, 'reason' | 'policy' | 'rule' | 'detail'>;

/** Nothing when the request may pass. */
export type Authorize = (facts: AuthorizationFacts) => Denial | undefined;

/**
 * Compiles AuthorizationPolicies to whether a request is refused, see {@link compileAuthorizer}.
 *
 * @throws MeshError `ERR_MESH_CONFIG_INVALID` for what a policy cannot say
 */
export function compileAuthorization(
  policies: readonly AuthorizationPolicy[],
  options: AuthorizationOptions = {},
): Authorize {
  const authorizer = compileAuthorizer(policies, options);
  return (facts) => {
    const verdict = authorizer.decide(facts);
    return verdict.allowed ? undefined : verdict;
  };
}

/** The rule that decides about a request. */
export interface DecidingRule {
  readonly policy: Provenance;
  /** Position in the policy's `rules`. */
  readonly rule: number;
}

/**
 * Which rule decides: the first of a DENY policy that matches, else the first of an ALLOW policy, in the
 * order of the policies; nothing when none matches.
 */
export function findDecidingRule(
  policies: readonly AuthorizationPolicy[],
  options: AuthorizationOptions = {},
): (facts: AuthorizationFacts) => DecidingRule | undefined {
  const authorizer = compileAuthorizer(policies, options);
  return (facts) => {
    const { policy, rule } = authorizer.decide(facts);
    return policy === undefined || rule === undefined ? undefined : { policy, rule };
  };
}
