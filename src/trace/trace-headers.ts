import { type HeaderList, takeHeader } from '../lib/header-list.ts';
import type { SpanContext, TraceForm } from '../pipeline/tracing.ts';

/** Headers that say to which trace a request belongs. Baggage is none of them. */
export const traceHeaderNames: readonly string[] = [
  'traceparent',
  'tracestate',
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
];

const names: ReadonlySet<string> = new Set(traceHeaderNames);

/** Is this (lower case) one of {@link traceHeaderNames}? */
export function isTraceHeader(name: string): boolean {
  return names.has(name);
}

/** The forms among headers: a flat list of names in lower case and values. */
export function formsIn(list: readonly string[]): readonly TraceForm[] {
  let forms: TraceForm[] | undefined;
  for (let i = 0; i < list.length; i += 2) {
    const form = formOf(list[i] as string);
    if (form === undefined || forms?.includes(form) === true) continue;
    forms ??= [];
    forms.push(form);
  }
  return forms ?? noForms;
}

const noForms: readonly TraceForm[] = [];

function formOf(name: string): TraceForm | undefined {
  if (name === 'traceparent') return 'w3c';
  if (name === 'b3') return 'b3';
  return name.startsWith('x-b3-') ? 'b3multi' : undefined;
}

/** Adds the headers of `context` in one form. */
export function addTraceHeaders(headers: HeaderList, context: SpanContext, form: TraceForm): void {
  const { sampled, spanId, traceId, traceState } = context;
  switch (form) {
    case 'w3c':
      headers.push('traceparent', `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`);
      if (traceState !== undefined && traceState !== '') headers.push('tracestate', traceState);
      break;
    case 'b3':
      headers.push('b3', `${traceId}-${spanId}-${sampled ? '1' : '0'}`);
      break;
    case 'b3multi':
      headers.push('x-b3-traceid', traceId, 'x-b3-spanid', spanId, 'x-b3-sampled', sampled ? '1' : '0');
      break;
  }
}

/** Takes all headers of a trace out of a list, and puts those of `context` in, in these forms. */
export function replaceTraceHeaders(
  headers: HeaderList,
  context: SpanContext,
  forms: readonly TraceForm[],
  more: readonly TraceForm[] = noForms,
): void {
  for (const name of traceHeaderNames) takeHeader(headers, name);
  for (const form of forms) addTraceHeaders(headers, context, form);
  for (const form of more) if (!forms.includes(form)) addTraceHeaders(headers, context, form);
}
