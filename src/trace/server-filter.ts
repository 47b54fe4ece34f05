import type { TLSSocket } from 'node:tls';
import type { Clock } from '../lib/clock.ts';
import type { TracingDirection } from '../model/tracing.ts';
import type { Filter } from '../pipeline/filter.ts';
import { removeRequestHeader, setRequestHeader } from '../pipeline/request-headers.ts';
import { headerHints, type ServerCall } from '../pipeline/server-call.ts';
import type { Span, SpanContext, TraceForm } from '../pipeline/tracing.ts';
import type { GuardedTracing } from './guarded.ts';
import { Unrecorded } from './ids.ts';
import { noParent, parentOf } from './parent.ts';
import { saysSampled, type TraceSampler } from './sampler.ts';
import type { ServerAttributes } from './server-attributes.ts';
import { addTraceHeaders, formsIn, traceHeaderNames } from './trace-headers.ts';

const w3c: readonly TraceForm[] = ['w3c'];

export interface ServerTracing {
  readonly tracing: GuardedTracing;
  readonly sampler: TraceSampler;
  readonly clock: Clock;
  readonly attributes: ServerAttributes;
  /** As the configuration says it now. */
  policy(): TracingDirection;
}

/**
 * Makes the span of a request, if it is recorded, and says under which trace it is served. What comes
 * from the caller is bounded: its wish to record counts as often as the {@link TraceSampler} admits it.
 */
export function serverTraceFilter(options: ServerTracing): Filter<ServerCall, void> {
  const { attributes, clock, sampler, tracing } = options;

  const begin = (call: ServerCall, policy: TracingDirection): void => {
    const { headers } = call.request;
    const header = (name: string): string | undefined => {
      const value = headers[name];
      return typeof value === 'string' ? value : undefined;
    };
    const parent = (call.hints & headerHints.trace) === 0 ? noParent : parentOf(header);
    const adopted = tracing.instrumented('server', parent.context?.spanId);
    if (adopted !== undefined) {
      // The application's SDK has decided.
      if (adopted.context.sampled) adopted.set(attributes.start(call, policy, header));
      record(call, adopted, policy);
      return;
    }
    const requestId = header('x-request-id');
    let wanted = parent.sampled;
    if (wanted === undefined && policy.byRequestId && requestId !== undefined && saysSampled(requestId)) wanted = true;
    const forced = wanted === true;
    const sampled = forced ? sampler.admits(provesIdentity(call)) : (wanted ?? sampler.begins(policy, requestId));
    const { context } = parent;
    if (sampled) {
      const span = tracing.start({
        name: attributes.name(call),
        kind: 'server',
        parent: context === undefined || context.sampled ? context : asIf(context, true),
        remote: true,
        startTimeMs: clock.wallNow(),
        attributes: attributes.start(call, policy, header),
      });
      if (span !== undefined) {
        record(call, span, policy);
        return;
      }
    }
    call.trace = context === undefined ? new Unrecorded() : context.sampled ? asIf(context, false) : context;
    // Whoever reads the request in the application shall not record what was refused here.
    if (forced && context !== undefined) tellApplication(call, call.trace);
  };

  const record = (call: ServerCall, span: Span, policy: TracingDirection): void => {
    call.trace = span.context;
    if (!span.context.sampled) return;
    call.span = span;
    tellApplication(call, span.context);
    // Before an instrumentation that ends its span at the same event.
    call.response.prependListener('close', () => {
      span.end(attributes.end(call, policy, clock.wallNow()));
    });
  };

  return (call, next) => {
    const policy = options.policy();
    if (policy.enabled && !tracing.suppressed()) begin(call, policy);
    return next(call);
  };
}

/** A client certificate that the handshake has verified. The peer filter looks closer, and later. */
function provesIdentity({ connection, request }: ServerCall): boolean {
  if (connection !== undefined) return connection.encrypted;
  return (request.socket as Partial<TLSSocket> | null)?.authorized === true;
}

function asIf({ spanId, traceId, traceState }: SpanContext, sampled: boolean): SpanContext {
  return { traceId, spanId, traceState, sampled };
}

/** As a sidecar does it: the request that the application reads is in the span of the mesh. */
function tellApplication({ request }: ServerCall, context: SpanContext): void {
  const arrived: string[] = [];
  for (const name of traceHeaderNames) {
    if (request.headers[name] === undefined) continue;
    arrived.push(name, '');
    removeRequestHeader(request, name);
  }
  const forms = formsIn(arrived);
  for (const form of forms.length === 0 ? w3c : forms) {
    const list: string[] = [];
    addTraceHeaders(list, context, form);
    for (let i = 0; i < list.length; i += 2) setRequestHeader(request, list[i] as string, list[i + 1] as string);
  }
}
