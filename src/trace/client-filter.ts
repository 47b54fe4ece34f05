import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { headerValue } from '../lib/header-list.ts';
import type { TracingDirection } from '../model/tracing.ts';
import type { CallWatcher, ClientCall, Reply, TryWatcher } from '../pipeline/client-call.ts';
import { failureFlag } from '../pipeline/failure-flag.ts';
import type { Filter } from '../pipeline/filter.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import type { Span, SpanContext, TraceForm } from '../pipeline/tracing.ts';
import type { ClientAttributes, TracedRequest } from './client-attributes.ts';
import type { GuardedTracing } from './guarded.ts';
import { Unrecorded } from './ids.ts';
import { parentIn } from './parent.ts';
import type { TraceSampler } from './sampler.ts';
import { formsIn, replaceTraceHeaders } from './trace-headers.ts';

export interface ClientTracing {
  readonly tracing: GuardedTracing;
  readonly sampler: TraceSampler;
  readonly clock: Clock;
  readonly attributes: ClientAttributes;
  /** Forms that every call has. */
  forms(): readonly TraceForm[];
  /** As the configuration says it now. */
  policy(): TracingDirection;
}

/** What is found out of a call before it is routed. */
export interface TraceTarget {
  trace: SpanContext | null | undefined;
  span: Span | undefined;
}

/**
 * Under which trace a call goes out. Its parent is what the application has put into its headers, else
 * the application's own span, else that of the request that causes it; without any a trace begins here.
 */
export function beginTrace(
  { attributes, clock, policy, sampler, tracing }: ClientTracing,
  request: TracedRequest,
  origin: string,
  ofRequest: SpanContext | undefined,
  into: TraceTarget,
): void {
  const direction = policy();
  if (!direction.enabled || tracing.suppressed()) return;
  const said = parentIn(request.headers);
  const adopted = said.context === undefined ? undefined : tracing.instrumented('client', said.context.spanId);
  if (adopted !== undefined) {
    into.trace = adopted.context;
    if (!adopted.context.sampled) return;
    adopted.set(attributes.start(request, origin, direction));
    into.span = adopted;
    return;
  }
  const parent = said.context ?? tracing.active() ?? ofRequest;
  const sampled = said.sampled ?? parent?.sampled ?? begins(sampler, direction, request);
  if (sampled) {
    const span = tracing.start({
      name: attributes.name('', origin),
      kind: 'client',
      parent,
      remote: false,
      startTimeMs: clock.wallNow(),
      attributes: attributes.start(request, origin, direction),
    });
    if (span !== undefined) {
      into.trace = direction.propagate ? span.context : null;
      if (span.context.sampled) into.span = span;
      return;
    }
  }
  // What the application has said goes as it is.
  if (said.sampled === undefined) into.trace = direction.propagate ? (parent ?? new Unrecorded()) : null;
}

function begins(sampler: TraceSampler, direction: TracingDirection, { headers }: TracedRequest): boolean {
  return sampler.begins(direction, headers.length === 0 ? undefined : headerValue(headers, 'x-request-id'));
}

/** Outermost: the span covers waiting and retries, and is there for calls without a route, too. */
export function clientTraceFilter(options: ClientTracing): Filter<ClientCall, Reply> {
  const { attributes, clock, tracing } = options;
  const watcher: CallWatcher = {
    callEnded(call, status, error) {
      const end = {
        cluster: call.cluster,
        endpoint: call.endpoint?.name ?? '',
        status,
        flag: error === undefined ? call.flag : addFlag(call.flag, failureFlag(error, call)),
        tries: call.tries,
        failure: error === undefined ? undefined : nameOf(error),
        grpcStatus: call.grpcStatus,
        requestBytes: call.requestBytes,
        responseBytes: call.responseBytes,
      };
      call.span?.end(attributes.end(call.request, call.origin, end, clock.wallNow()));
    },
  };
  return (call, next) => {
    // The mesh's own questions (keys, authorizers) are part of what they are asked for.
    if (call.request.own) return next(call);
    beginTrace(options, call.request, call.origin, call.scope?.trace, call);
    if (call.span === undefined) return next(call);
    call.watch(watcher);
    return tracing.suppress(() => next(call));
  };
}

/** What `error.type` says: our code, else that of Node.js or undici, else the name of the class. */
export function nameOf(error: Error): string {
  if (error instanceof MeshError) return error.code;
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' ? code : error.name;
}

/**
 * Inside retry and hedge: each try after the first is a span of its own below that of the call, and what
 * its server records is below that; a try that failed is an event of the call's span.
 */
export function tryTraceFilter(options: ClientTracing): Filter<ClientCall, Reply> {
  const { attributes, clock, tracing } = options;
  return (call, next) => {
    const { span } = call;
    if (span === undefined) return next(call);
    const number = call.tries;
    const own = number > 1 ? startTry(call, span) : undefined;
    let status = 0;
    const watcher: TryWatcher = {
      tryReplied(_, replied) {
        status = replied;
      },
      tryEnded(ended, error) {
        const endpoint = ended.endpoint?.name ?? '';
        const failure = error === undefined ? undefined : nameOf(error);
        const flag = error === undefined ? '' : failureFlag(error, ended);
        const { cluster } = ended;
        if (own === undefined) {
          if (error === undefined && status < 400) return;
          const what: Record<string, string | number> = { 'inmesh.try': Math.max(1, number) };
          if (endpoint !== '') what['upstream_address'] = endpoint;
          if (status !== 0) what['http.response.status_code'] = status;
          if (failure !== undefined) what['error.type'] = failure;
          span.event('try failed', what, clock.wallNow());
          return;
        }
        const end = { cluster, endpoint, status, flag, tries: number, failure, grpcStatus: -1 };
        own.end(attributes.end(ended.request, ended.origin, end, clock.wallNow()));
      },
    };
    call.watchTry(watcher);
    return next(call);
  };

  function startTry(call: ClientCall, parent: Span): Span | undefined {
    const started = tracing.start({
      name: attributes.name(call.cluster, call.origin),
      kind: 'client',
      parent: parent.context,
      remote: false,
      startTimeMs: clock.wallNow(),
      attributes: attributes.start(call.request, call.origin, options.policy()),
    });
    if (started !== undefined && call.trace) {
      const arrived = call.scope === undefined ? noForms : formsIn(call.scope.traceHeaders);
      replaceTraceHeaders(call.request.headers, started.context, options.forms(), arrived);
    }
    return started;
  }
}

const noForms: readonly TraceForm[] = [];
