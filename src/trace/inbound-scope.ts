import { randomUuid } from '../lib/uuid.ts';
import { setRequestHeader } from '../pipeline/request-headers.ts';
import type { Scope } from '../pipeline/scope.ts';
import { headerHints, type ServerCall } from '../pipeline/server-call.ts';
import { inboundTraceHeaders } from './inbound-headers.ts';
import { propagatedHeaders } from './propagated.ts';
import { isRequestId } from './request-id.ts';

const noHeaders: readonly string[] = [];

/**
 * What the request hands to the calls that it causes. A missing or unusable `x-request-id` is
 * replaced by a new one, in the request as well: the application's log and ours name it alike.
 * `propagated` are names of further headers to hand on.
 */
export function inboundScope(call: ServerCall, propagated: readonly string[] = noHeaders): Scope {
  const { claims, request, deadline, peer } = call;
  let requestId = request.headers['x-request-id'];
  if (typeof requestId !== 'string' || !isRequestId(requestId)) {
    requestId = randomUuid();
    setRequestHeader(request, 'x-request-id', requestId);
  }
  const traceHeaders = (call.hints & headerHints.trace) === 0 ? noHeaders : inboundTraceHeaders(request.headers);
  const carried = propagated.length === 0 ? undefined : propagatedHeaders(request.headers, propagated);
  if (claims !== undefined || carried !== undefined) {
    return {
      requestId,
      traceHeaders,
      ...(deadline < Infinity ? { deadline } : {}),
      ...(peer === undefined ? {} : { peer }),
      ...(claims === undefined ? {} : { claims }),
      ...(carried === undefined ? {} : { carried }),
    };
  }
  if (peer === undefined)
    return deadline < Infinity ? { requestId, traceHeaders, deadline } : { requestId, traceHeaders };
  return deadline < Infinity ? { requestId, traceHeaders, deadline, peer } : { requestId, traceHeaders, peer };
}
