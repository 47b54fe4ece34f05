import type { ServerResponse } from 'node:http';
import { beforeHead } from '../pipeline/before-head.ts';
import type { Filter } from '../pipeline/filter.ts';
import { passed, type ServerCall } from '../pipeline/server-call.ts';
import type { CorsDecider } from './decide.ts';

/**
 * Answers preflights of browsers, and marks the responses to their other requests, in place of whatever the
 * application says of it: for those who call this process directly, without a gateway. Inside of
 * authorization, as Istio orders its filters.
 */
export function inboundCorsFilter(policyFor: (call: ServerCall) => CorsDecider | undefined): Filter<ServerCall, void> {
  return (call, next) => {
    const { request, response } = call;
    if (request.headers.origin === undefined) return next(call);
    const decide = policyFor(call);
    if (decide === undefined) return next(call);
    const decision = decide(call.method, (name) => {
      const value = request.headers[name];
      return Array.isArray(value) ? value.join(',') : value;
    });
    if (decision.kind === 'preflight') {
      response.statusCode = decision.answer.status;
      for (const [name, value] of Object.entries(decision.answer.headers)) {
        if (value !== undefined) response.setHeader(name, value);
      }
      response.end();
      // What nobody reads would hold up the connection.
      request.resume();
      return passed;
    }
    const set = decision.kind === 'allow' ? decision.response.set : [];
    beforeHead(response, () => {
      for (let i = 0; i < set.length; i += 2) response.setHeader(set[i] as string, set[i + 1] as string);
      varyByOrigin(response);
    });
    return next(call);
  };
}

/** What one origin gets caches must not give to another (Fetch, "CORS protocol and HTTP caches"). */
function varyByOrigin(response: ServerResponse): void {
  const vary = [response.getHeader('vary') ?? []].flat().join(', ');
  if (vary.split(',').some((name) => /^\s*(origin|\*)\s*$/i.test(name))) return;
  response.setHeader('vary', vary === '' ? 'origin' : `${vary}, origin`);
}
