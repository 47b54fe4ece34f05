import { type HeaderList, headerValue } from '../lib/header-list.ts';
import { randomUuid } from '../lib/uuid.ts';
import type { Scope } from '../pipeline/scope.ts';
import type { SpanContext, TraceForm } from '../pipeline/tracing.ts';
import { formsIn, isTraceHeader, replaceTraceHeaders } from './trace-headers.ts';

const w3c: readonly TraceForm[] = ['w3c'];
const noForms: readonly TraceForm[] = [];

/**
 * Adds what ties this call to the request that caused it: `x-request-id`, the trace headers of the
 * scope, and the headers that the application's settings name. What the application (or its tracer)
 * has set itself is left alone, never doubled. A call outside of any request gets a request id, as a
 * sidecar would give it, and no trace: inventing one here would decide about sampling for everyone
 * downstream.
 *
 * @param trace where the call is in its trace, if the mesh traces: then that is what goes along, in `forms`
 *   and in those in which the request came; `null`: none does
 */
export function addOutboundHeaders(
  headers: HeaderList,
  scope: Scope | undefined,
  trace?: SpanContext | null,
  forms: readonly TraceForm[] = w3c,
): void {
  const own = headers.length > 0;
  if (!own || headerValue(headers, 'x-request-id') === undefined) {
    headers.push('x-request-id', scope?.requestId ?? randomUuid());
  }
  if (trace) replaceTraceHeaders(headers, trace, forms, scope === undefined ? noForms : formsIn(scope.traceHeaders));
  if (scope === undefined) return;
  const { carried, traceHeaders } = scope;
  if (carried !== undefined) addMissing(headers, carried, own, false);
  if (traceHeaders.length === 0) return;
  // One trace, from one origin: if the application carries any trace of its own, ours stays out.
  const ofApplication = own && (headerValue(headers, 'traceparent') ?? headerValue(headers, 'b3')) !== undefined;
  const traced = trace !== undefined || ofApplication;
  addMissing(headers, traceHeaders, own || traced, traced);
}

/** Baggage is no part of a trace (W3C Baggage section 1): it goes along with a trace of the application's own. */
function addMissing(headers: HeaderList, list: readonly string[], own: boolean, traced: boolean): void {
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] as string;
    if (own && ((traced && isTraceHeader(name)) || headerValue(headers, name) !== undefined)) continue;
    headers.push(name, list[i + 1] as string);
  }
}
