import { randomUuid } from '../lib/uuid.ts';
import { setRequestHeader } from '../pipeline/request-headers.ts';
import { retriesSpentHeader } from '../pipeline/retries-spent.ts';
import type { Peer, Scope } from '../pipeline/scope.ts';
import { headerHints, type ServerCall, scopeCall } from '../pipeline/server-call.ts';
import type { SpanContext } from '../pipeline/tracing.ts';
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
  const { request } = call;
  let requestId = request.headers['x-request-id'];
  if (typeof requestId !== 'string' || !isRequestId(requestId)) {
    requestId = randomUuid();
    setRequestHeader(request, 'x-request-id', requestId);
  }
  const traceHeaders = (call.hints & headerHints.trace) === 0 ? noHeaders : inboundTraceHeaders(request.headers);
  const carried = propagated.length === 0 ? undefined : propagatedHeaders(request.headers, propagated);
  return new InboundScope(call, requestId, traceHeaders, carried);
}

class InboundScope implements Scope {
  readonly requestId: string;
  readonly traceHeaders: readonly string[];
  declare readonly trace?: SpanContext;
  declare readonly deadline?: number;
  declare readonly peer?: Peer;
  declare readonly claims?: Readonly<Record<string, unknown>>;
  declare readonly carried?: readonly string[];
  declare readonly overHttp2?: true;
  readonly #call: ServerCall;

  constructor(
    call: ServerCall,
    requestId: string,
    traceHeaders: readonly string[],
    carried: readonly string[] | undefined,
  ) {
    this.requestId = requestId;
    this.traceHeaders = traceHeaders;
    this.#call = call;
    const { deadline, peer, tokenClaims: claims, trace } = call;
    if (trace !== undefined) this.trace = trace;
    if (deadline < Number.POSITIVE_INFINITY) this.deadline = deadline;
    if (peer !== undefined) this.peer = peer;
    if (claims !== undefined) this.claims = claims;
    if (carried !== undefined) this.carried = carried;
    // A server of the application's own may be one of node:http2.
    const { connection, request } = call;
    if (connection?.overHttp2 ?? request.httpVersionMajor === 2) this.overHttp2 = true;
  }

  get [scopeCall](): ServerCall {
    return this.#call;
  }

  /** Looked up when somebody asks. */
  get callerAddress(): string | undefined {
    return this.#call.sourceAddress;
  }

  retriesSpent(): void {
    const { request, response } = this.#call;
    // Callers that count their tries are those that may retry; nobody else is told.
    if (request.headers['x-envoy-attempt-count'] === undefined) return;
    if (response.headersSent || response.writableEnded || response.destroyed) return;
    response.setHeader(retriesSpentHeader, '1');
  }
}
