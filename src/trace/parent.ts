import { type HeaderList, headerValue } from '../lib/header-list.ts';
import type { SpanContext } from '../pipeline/tracing.ts';
import { isB3, isB3Field } from './b3.ts';
import { isTraceparent, isTracestate } from './w3c.ts';

/** What the headers of a request say of the trace that it belongs to. */
export interface Parent {
  /** Absent: there is a decision without ids (`b3: 0`), or nothing. */
  readonly context: SpanContext | undefined;
  /** The caller's decision; absent: none was made. */
  readonly sampled: boolean | undefined;
}

/** Of a request that says nothing. */
export const noParent: Parent = { context: undefined, sampled: undefined };

/** `header` has names in lower case. W3C goes before B3, one header `b3` before several. */
export function parentOf(header: (name: string) => string | undefined): Parent {
  return fromW3c(header) ?? fromB3(header) ?? fromB3Fields(header) ?? noParent;
}

/** Of a call of ours: mostly there is nothing, which one look finds out. */
export function parentIn(headers: HeaderList): Parent {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    const first = name.charCodeAt(0) | 0x20;
    const t = first === 0x74 && name.length === 11;
    const b = first === 0x62 && name.length === 2;
    const x = first === 0x78 && name.length > 10 && name.length < 18 && name.charCodeAt(2) !== 0x72;
    if (t || b || x) return parentOf((wanted) => headerValue(headers, wanted));
  }
  return noParent;
}

function fromW3c(header: (name: string) => string | undefined): Parent | undefined {
  const traceparent = header('traceparent');
  if (traceparent === undefined || !isTraceparent(traceparent)) return undefined;
  const state = header('tracestate');
  // Flags are eight bits in hexadecimal; the lowest one says that the caller records.
  const sampled = (Number.parseInt(traceparent.charAt(54), 16) & 1) === 1;
  return {
    sampled,
    context: {
      traceId: traceparent.slice(3, 35),
      spanId: traceparent.slice(36, 52),
      sampled,
      traceState: state !== undefined && isTracestate(state) ? state : undefined,
    },
  };
}

function fromB3(header: (name: string) => string | undefined): Parent | undefined {
  const text = header('b3');
  if (text === undefined || !isB3(text)) return undefined;
  if (text.length === 1) return { context: undefined, sampled: text !== '0' };
  const [trace = '', span = '', flag] = text.split('-');
  return ofIds(trace, span, flag === undefined ? undefined : flag !== '0');
}

function fromB3Fields(header: (name: string) => string | undefined): Parent | undefined {
  const valid = (name: string): string | undefined => {
    const value = header(name);
    return value !== undefined && isB3Field(name, value) ? value : undefined;
  };
  const flag = valid('x-b3-sampled');
  const debug = valid('x-b3-flags') === '1';
  const sampled = debug ? true : flag === undefined ? undefined : flag !== '0' && flag !== 'false';
  const trace = valid('x-b3-traceid');
  const span = valid('x-b3-spanid');
  if (trace !== undefined && span !== undefined) return ofIds(trace, span, sampled);
  return sampled === undefined ? undefined : { context: undefined, sampled };
}

/** Trace ids of 64 bits are filled up with zeros, as OpenTelemetry and Envoy do it. */
function ofIds(trace: string, span: string, sampled: boolean | undefined): Parent {
  const traceId = trace.toLowerCase().padStart(32, '0');
  return { sampled, context: { traceId, spanId: span.toLowerCase(), sampled: sampled === true } };
}
