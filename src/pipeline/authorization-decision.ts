/** What authorization said about a request. Made when policies are compiled, not for each request. */
export interface AuthorizationDecision {
  readonly allowed: boolean;
  /**
   * - `denied`: a rule of a DENY policy matched.
   * - `not-allowed`: there are ALLOW policies, and no rule of any of them matched.
   * - `allowed`: a rule of an ALLOW policy matched.
   * - `not-denied`: there is no ALLOW policy, and no DENY policy matched.
   * - `provider`: the external provider of a CUSTOM policy refused, or could not be asked.
   */
  readonly reason: 'denied' | 'not-allowed' | 'allowed' | 'not-denied' | 'provider';
  /** The policy whose rule decided; nothing when none did. */
  readonly policy?: { readonly kind: string; readonly namespace: string; readonly name: string };
  /** Position of that rule in the policy. */
  readonly rule?: number;
  /**
   * Why it is refused, in Envoy's words for response code details:
   * `rbac_access_denied_matched_policy[ns[shop]-policy[no-admin]-rule[0]]`, with `[none]` when no rule
   * did it; '' when it is allowed. For logs and explanations; callers are not told.
   */
  readonly detail: string;
}
