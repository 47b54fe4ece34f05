import { applyTokens, removeOutputs } from '../jwt/apply.ts';
import { jwtFailures } from '../jwt/failure.ts';
import { compileTokenRules } from '../jwt/rules.ts';
import type { TokenOptions } from '../jwt/token.ts';
import { verifyRequestTokens } from '../jwt/verify.ts';
import type { InboundPolicy } from '../model/inbound.ts';
import { asRequest, type RequestView } from './header-view.ts';
import type { ExplainedKeys } from './remote-keys.ts';
import type { InboundExplanation } from './result.ts';

/** What the tokens of a request come to. */
export type ExplainedTokens =
  | { readonly claims: Readonly<Record<string, unknown>> | undefined; readonly notes: readonly string[] }
  | { readonly refusal: Pick<InboundExplanation, 'decision' | 'status' | 'reason' | 'detail' | 'notes'> };

/**
 * RequestAuthentication for one request: verifies its tokens, and brings the request into the form in
 * which the application gets it.
 */
export async function explainTokens(
  { requestAuthentication = [] }: InboundPolicy,
  view: RequestView,
  method: string,
  keysOf: (rule: Parameters<Parameters<typeof verifyRequestTokens>[2]>[0]) => ExplainedKeys,
  nowMs: number,
  options: TokenOptions,
): Promise<ExplainedTokens> {
  const rules = requestAuthentication.flatMap((each) => each.rules);
  if (rules.length === 0) return { claims: undefined, notes: [] };
  const request = asRequest(view);
  removeOutputs(request, compileTokenRules(rules, (rule) => ({ rule, source: keysOf(rule).source })).outputs);
  if (isPreflight(view, method)) {
    return { claims: undefined, notes: ['a CORS preflight: its tokens are not looked at'] };
  }
  const verdict = await verifyRequestTokens(rules, view, (rule) => keysOf(rule).source, nowMs, options);
  if (!('failure' in verdict)) {
    applyTokens(request, verdict.accepted);
    return { claims: verdict.policyClaims, notes: [] };
  }
  const { detail, reason } = verdict.failure;
  const words = jwtFailures[reason];
  const problems = rules.flatMap((rule) => keysOf(rule).problem ?? []);
  const status = reason === 'audience' ? 403 : reason === 'busy' ? 503 : 401;
  return {
    refusal: {
      decision: status === 401 ? 'unauthenticated' : 'deny',
      status,
      reason: detail === undefined ? words : `${words}: ${detail}`,
      detail: `jwt_authn_access_denied{${words.replaceAll(' ', '_')}}`,
      notes: reason === 'no-keys' ? [...new Set(problems)] : [],
    },
  };
}

function isPreflight({ headers }: RequestView, method: string): boolean {
  return method === 'OPTIONS' && Boolean(headers['origin']) && Boolean(headers['access-control-request-method']);
}
