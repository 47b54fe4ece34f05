import { type HeaderList, headerValue } from '../lib/header-list.ts';
import { randomUuid } from '../lib/uuid.ts';
import type { Scope } from '../pipeline/scope.ts';

/**
 * Adds what ties this call to the request that caused it: `x-request-id`, the trace headers of the
 * scope, and the headers that the application's settings name. What the application (or its tracer)
 * has set itself is left alone, never doubled. A call outside of any request gets a request id, as a
 * sidecar would give it, and no trace: inventing one here would decide about sampling for everyone
 * downstream.
 */
export function addOutboundHeaders(headers: HeaderList, scope: Scope | undefined): void {
  const own = headers.length > 0;
  if (!own || headerValue(headers, 'x-request-id') === undefined) {
    headers.push('x-request-id', scope?.requestId ?? randomUuid());
  }
  if (scope === undefined) return;
  const { carried, traceHeaders } = scope;
  if (carried !== undefined) addMissing(headers, carried, own, false);
  if (traceHeaders.length === 0) return;
  // One trace, from one origin: if the application carries any trace of its own, ours stays out.
  const traced = own && (headerValue(headers, 'traceparent') ?? headerValue(headers, 'b3')) !== undefined;
  addMissing(headers, traceHeaders, own, traced);
}

/** Baggage is no part of a trace (W3C Baggage section 1): it goes along with a trace of the application's own. */
function addMissing(headers: HeaderList, list: readonly string[], own: boolean, traced: boolean): void {
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] as string;
    if (own && ((traced && name !== 'baggage') || headerValue(headers, name) !== undefined)) continue;
    headers.push(name, list[i + 1] as string);
  }
}
