import { type AuthorizationFacts, nothingDerived } from '../authz/facts.ts';
import type { RuleSet } from '../authz/rule-set.ts';
import { nameOf } from '../authz/verdicts.ts';
import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { RemoteDocuments } from './remote-keys.ts';
import type { ExplainedCustom, InboundExplanation } from './result.ts';

/** What CUSTOM policies come to: nothing where none is for the request. */
export interface CustomExplanation {
  readonly explained: ExplainedCustom;
  readonly refusal?: Pick<InboundExplanation, 'decision' | 'status' | 'reason' | 'detail' | 'policy' | 'rule' | 'at'>;
  readonly note?: string;
}

/**
 * Whether an external authorizer would be asked, and its answer where `remote` has one under its name: status
 * 200 lets the request pass, any other is the answer to the caller.
 */
export function explainCustom(
  rules: RuleSet,
  policies: readonly AuthorizationPolicy[],
  facts: AuthorizationFacts,
  remote: RemoteDocuments,
): CustomExplanation | undefined {
  const at = rules.find(facts, nothingDerived());
  if (at === -1) return undefined;
  const { id, policy, rule } = rules.rules[at] as RuleSet['rules'][number];
  const custom = policies.filter(({ action, dryRun }) => action === 'CUSTOM' && dryRun !== true);
  const { provider = '' } = custom.find(({ provenance }) => provenance === policy) ?? {};
  const by = { policy: nameOf(policy), rule };
  const providers = [...new Set(custom.map((each) => each.provider))];
  const refused = (status: number, why: string, outcome: ExplainedCustom['outcome']): CustomExplanation => ({
    explained: { provider, ...by, outcome },
    refusal: {
      decision: status === 401 ? 'unauthenticated' : 'deny',
      status,
      detail: 'ext_authz_denied',
      reason: `ext_authz_denied: ${why} (${id})`,
      ...by,
      at: policy,
    },
  });
  if (providers.length > 1) return refused(403, `policies for this workload name ${providers.join(' and ')}`, 'denied');
  const answer = Object.hasOwn(remote, provider) ? remote[provider] : undefined;
  if (answer === undefined) {
    const note = `the provider ${provider} would be asked (${id}); taken as allowed, since config.remote has no answer of it`;
    return { explained: { provider, ...by, outcome: 'unknown' }, note };
  }
  const { status = 200 } = answer;
  if (status !== 200) return refused(status, `the provider ${provider} answers ${status}`, 'denied');
  return { explained: { provider, ...by, outcome: 'allowed' } };
}
