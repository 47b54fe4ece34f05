import type { CorsDecider } from '../cors/decide.ts';
import { inboundCorsPolicies } from '../cors/inbound-policies.ts';
import type { InboundPolicy } from '../model/inbound.ts';
import { routesOf } from '../route/matcher.ts';
import type { RoutableRequest } from '../route/request-view.ts';
import type { RequestView } from './header-view.ts';
import type { InboundExplanation } from './result.ts';

const compiled = new WeakMap<InboundPolicy, (request: RoutableRequest) => CorsDecider | undefined>();

/** What `corsPolicy` of the own services makes of a request that is allowed; nothing where it says nothing. */
export function explainInboundCors(
  policy: InboundPolicy,
  method: string,
  host: string,
  view: RequestView,
  secure: boolean,
): Pick<InboundExplanation, 'cors' | 'direct'> {
  const { cors = [] } = policy;
  if (cors.length === 0 || view.headers['origin'] === undefined) return {};
  let policyFor = compiled.get(policy);
  if (policyFor === undefined) compiled.set(policy, (policyFor = inboundCorsPolicies(cors, routesOf)));
  const { rawHeaders: headers, url: path } = view;
  const decide = policyFor({ method, path, headers, secure, hostHeader: host, scope: undefined });
  if (decide === undefined) return {};
  const decision = decide(method, (name) => view.headers[name]);
  if (decision.kind === 'preflight') {
    const { 'content-length': _, ...set } = decision.answer.headers as Record<string, string>;
    return { cors: set, direct: { status: decision.answer.status, body: '' } };
  }
  const added: Record<string, string> = {};
  const { set } = decision.kind === 'allow' ? decision.response : { set: [] };
  for (let i = 0; i < set.length; i += 2) added[set[i] as string] = set[i + 1] as string;
  return { cors: { ...added, vary: 'origin' } };
}
