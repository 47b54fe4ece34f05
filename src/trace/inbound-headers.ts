import type { IncomingHttpHeaders } from 'node:http';
import { isB3, isB3Field } from './b3.ts';
import { isTraceparent, isTracestate } from './w3c.ts';

/** Longest `baggage` that is passed on (W3C Baggage: 8,192 bytes). */
const maxBaggageLength = 8_192;

const b3Fields = ['x-b3-traceid', 'x-b3-spanid', 'x-b3-parentspanid', 'x-b3-sampled', 'x-b3-flags'] as const;

/**
 * The trace headers of a request that outbound calls send on, as a flat list of names and values:
 * `traceparent` with its `tracestate`, `baggage`, B3 in the form that arrived. What does not
 * follow its specification is left out, so that nobody downstream has to wonder; repeated headers
 * arrive joined with commas and are then no trace.
 */
export function inboundTraceHeaders(headers: IncomingHttpHeaders): readonly string[] {
  const list: string[] = [];
  const traceparent = headers['traceparent'];
  if (typeof traceparent === 'string' && isTraceparent(traceparent)) {
    list.push('traceparent', traceparent);
    const tracestate = headers['tracestate'];
    // W3C Trace Context section 3.3: without a valid traceparent it means nothing.
    if (typeof tracestate === 'string' && isTracestate(tracestate)) list.push('tracestate', tracestate);
  }
  const baggage = headers['baggage'];
  if (typeof baggage === 'string' && baggage !== '' && baggage.length <= maxBaggageLength)
    list.push('baggage', baggage);
  const b3 = headers['b3'];
  if (typeof b3 === 'string' && isB3(b3)) list.push('b3', b3);
  for (const name of b3Fields) {
    const value = headers[name];
    if (typeof value === 'string' && isB3Field(name, value)) list.push(name, value);
  }
  return list;
}
