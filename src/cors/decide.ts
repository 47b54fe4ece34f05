import type { HeaderChanges } from '../lib/header-edit.ts';
import type { CorsPolicy } from '../model/route.ts';
import { compileStringMatch } from '../model/string-match.ts';
import type { LocalAnswer } from '../pipeline/local-answer.ts';

/** What a CORS policy makes of a request. */
export type CorsDecision =
  /** Nothing: no CORS request, or from an origin that is not allowed. */
  | { readonly kind: 'none' }
  /** A preflight, answered in place of the service. */
  | { readonly kind: 'preflight'; readonly answer: LocalAnswer }
  /** The request goes on; the response gets headers. */
  | { readonly kind: 'allow'; readonly response: HeaderChanges };

/** Decides about one request; `header` reads its headers by lower-case name. */
export type CorsDecider = (method: string, header: (name: string) => string | undefined) => CorsDecision;

const nothing: CorsDecision = { kind: 'none' };

/**
 * Compiles a policy, once per route: Istio's `CorsPolicy` with the meaning of Envoy's CORS filter. A
 * preflight is an OPTIONS request with `origin` and `access-control-request-method`; its answer names
 * what is allowed and leaves the judgement to whoever asks. `*` in methods or headers gives back
 * what was asked for. Responses to other requests of allowed origins tell who may read them.
 */
export function compileCors(policy: CorsPolicy): CorsDecider {
  const origins = policy.allowOrigins.map((match) => compileStringMatch(match));
  // As in Envoy: whatever would match the text `*` stands for every origin.
  const anyOrigin = origins.some((test) => test('*'));
  const methods = policy.allowMethods.join(',');
  const headers = policy.allowHeaders.join(',');
  const exposed = policy.exposeHeaders.join(',');
  const credentials = policy.allowCredentials === true;
  const maxAge = policy.maxAgeMs === undefined ? undefined : String(Math.floor(policy.maxAgeMs / 1_000));

  /** The same for preflights and for others: Envoy's filter sees its own answers, too. */
  const shared = (origin: string): string[] => [
    'access-control-allow-origin',
    origin,
    ...(credentials ? ['access-control-allow-credentials', 'true'] : []),
    ...(exposed === '' ? [] : ['access-control-expose-headers', exposed]),
  ];
  const preflight = (asked: string, askedHeaders: string, origin: string | undefined): LocalAnswer => {
    const answer: Record<string, string> = {};
    const list = origin === undefined ? [] : shared(origin);
    for (let i = 0; i < list.length; i += 2) answer[list[i] as string] = list[i + 1] as string;
    if (credentials) answer['access-control-allow-credentials'] = 'true';
    if (methods !== '') answer['access-control-allow-methods'] = methods === '*' ? asked : methods;
    if (headers !== '') answer['access-control-allow-headers'] = headers === '*' ? askedHeaders : headers;
    if (maxAge !== undefined) answer['access-control-max-age'] = maxAge;
    answer['content-length'] = '0';
    return { status: 200, headers: answer, flag: '' };
  };

  return (method, header) => {
    const origin = header('origin');
    if (origin === undefined || origin === '') return nothing;
    const allowed = anyOrigin || origins.some((test) => test(origin));
    const asked = method === 'OPTIONS' ? header('access-control-request-method') : undefined;
    if (asked !== undefined && asked !== '' && (allowed || !policy.forwardUnmatchedPreflights)) {
      const askedHeaders = header('access-control-request-headers') ?? '';
      return { kind: 'preflight', answer: preflight(asked, askedHeaders, allowed ? origin : undefined) };
    }
    return allowed ? { kind: 'allow', response: { remove: [], set: shared(origin), add: [] } } : nothing;
  };
}
