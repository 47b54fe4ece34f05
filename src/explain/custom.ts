import type { CustomRules } from '../authz/custom.ts';
import { type AuthorizationFacts, nothingDerived } from '../authz/facts.ts';
import { nameOf } from '../authz/verdicts.ts';
import type { ExternalAuthorizer } from '../model/external-authorizer.ts';
import { compileStringMatch } from '../model/string-match.ts';
import { inBytes, type RequestView, setHeader } from './header-view.ts';
import type { RemoteDocument, RemoteDocuments } from './remote-keys.ts';
import type { ExplainedCustom, InboundExplanation } from './result.ts';

/** What CUSTOM policies come to: nothing where none is for the request. */
export interface CustomExplanation {
  readonly explained: ExplainedCustom;
  readonly refusal?: Pick<InboundExplanation, 'decision' | 'status' | 'reason' | 'detail' | 'policy' | 'rule' | 'at'>;
  readonly note?: string;
}

/**
 * Whether an external authorizer would be asked, and its answer where `remote` has one under its name: status
 * 200 lets the request pass with the headers that the provider may set, one of 500 and more is no answer, any
 * other is that of the caller.
 */
export function explainCustom(
  custom: CustomRules | undefined,
  authorizers: readonly ExternalAuthorizer[],
  facts: AuthorizationFacts,
  view: RequestView,
  remote: RemoteDocuments,
): CustomExplanation | undefined {
  const match = custom?.find(facts, nothingDerived());
  if (custom === undefined || match === undefined) return undefined;
  const { policy, rule } = match.rule;
  const { id, provider = custom.providers.join(' and ') } = match;
  const by = { policy: nameOf(policy), rule };
  const refused = (status: number, why: string): CustomExplanation => ({
    explained: { provider, ...by, outcome: 'denied' },
    refusal: {
      decision: status === 401 ? 'unauthenticated' : 'deny',
      status,
      detail: 'ext_authz_denied',
      reason: `ext_authz_denied: ${why} (${id})`,
      ...by,
      at: policy,
    },
  });
  const authorizer = authorizers.find(({ name }) => name === match.provider);
  if (authorizer === undefined) return refused(403, custom.problem ?? 'nobody can be asked');
  if (authorizer.service === undefined) return refused(403, 'its service is not one that this process can call');
  const answer = Object.hasOwn(remote, provider) ? remote[provider] : undefined;
  if (answer === undefined) {
    const note = `the provider ${provider} would be asked (${id}); taken as allowed, since config.remote has no answer of it`;
    return { explained: { provider, ...by, outcome: 'unknown' }, note };
  }
  const { status = 200 } = answer;
  if (status === 200) {
    setHeaders(view, authorizer, answer);
    return { explained: { provider, ...by, outcome: 'allowed' } };
  }
  if (status < 500) return refused(status, `the provider ${provider} answers ${status}`);
  if (!authorizer.failOpen) return refused(authorizer.statusOnError, `the provider ${provider} fails with ${status}`);
  const note = `the provider ${provider} fails with ${status}, and failOpen lets the request pass (${id})`;
  return { explained: { provider, ...by, outcome: 'allowed' }, note };
}

function setHeaders(view: RequestView, { protocol }: ExternalAuthorizer, { headers = {} }: RemoteDocument): void {
  if (protocol.kind !== 'http') return;
  const taken = protocol.toUpstreamOnAllow.map((match) => compileStringMatch(match));
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (taken.some((matches) => matches(lower))) setHeader(view, lower, inBytes(value));
  }
}
