import type { AgentRequest, AgentRouter, AgentTarget, RoutedLater } from './host/agent-target.ts';
import type { HeaderList } from './lib/header-list.ts';
import { flagOf } from './pipeline/failure-flag.ts';
import { currentScope, type Scope } from './pipeline/scope.ts';
import type { SpanAttributes } from './pipeline/tracing.ts';
import { beginTrace, type ClientTracing, nameOf, type TraceTarget } from './trace/client-filter.ts';
import { formsIn, isTraceHeader, replaceTraceHeaders, traceHeaderNames } from './trace/trace-headers.ts';

type Routed = Awaited<ReturnType<AgentRouter>>;

/**
 * Spans of requests of node:http: as the filters make them of other calls. What is sent beside the mesh
 * (`direct`) has none.
 */
export function tracedRouter(router: AgentRouter, tracing: ClientTracing | undefined): AgentRouter {
  if (tracing === undefined) return router;
  return (request) => {
    const scope = currentScope();
    const headers: HeaderList = [];
    for (const [name, value] of request.headers()) headers.push(name, value);
    const of = { method: request.method, path: request.path, headers };
    const origin = originOf(request);
    const begun: TraceTarget = { trace: undefined, span: undefined };
    beginTrace(tracing, of, origin, scope?.trace, begun);
    if (begun.trace === undefined) return router(request);

    const answered = (status: number, { cluster = '', endpoint = '' }: AgentTarget): void => {
      const soFar: SpanAttributes = { 'http.response.status_code': status };
      if (cluster !== '') soFar['upstream_cluster'] = cluster;
      if (endpoint !== '') soFar['upstream_address'] = endpoint;
      begun.span?.set(soFar);
    };
    const end = (how: { target?: AgentTarget; status: number; error?: Error | undefined }): void => {
      const { span } = begun;
      begun.span = undefined;
      if (span === undefined) return;
      const { error, status, target } = how;
      const ended = {
        cluster: target?.cluster ?? '',
        endpoint: target?.endpoint ?? '',
        status,
        flag: error === undefined ? '' : flagOf(error),
        tries: 1,
        failure: error === undefined ? undefined : nameOf(error),
        grpcStatus: -1,
      };
      span.end(tracing.attributes.end(of, origin, ended, tracing.clock.wallNow()));
    };
    const failed = (error: unknown): never => {
      end({ status: 0, error: error instanceof Error ? error : new Error(String(error)) });
      throw error;
    };
    const traced = (target: Routed): Routed => {
      // Nobody sees how it ends: its span is left behind, and recorded nowhere.
      if (target === 'direct') return target;
      return withTrace(target, begun, scope, tracing, end, answered);
    };
    let routed: ReturnType<AgentRouter>;
    try {
      routed = router(request);
    } catch (error) {
      return failed(error);
    }
    if (typeof routed === 'string' || !('then' in routed)) return traced(routed);
    const later = routed;
    const settled = later.then(traced, failed) as RoutedLater;
    settled.giveUp = () => {
      later.giveUp?.();
      end({ status: 0, error: new Error('the request was given up') });
    };
    return settled;
  };
}

function withTrace(
  target: AgentTarget,
  { trace }: TraceTarget,
  scope: Scope | undefined,
  tracing: ClientTracing,
  end: (how: { target: AgentTarget; status: number; error?: Error | undefined }) => void,
  answered: (status: number, target: AgentTarget) => void,
): AgentTarget {
  const headers: string[] = [];
  for (let i = 0; i < target.headers.length; i += 2) {
    const name = target.headers[i] as string;
    if (!isTraceHeader(name)) headers.push(name, target.headers[i + 1] as string);
  }
  const own: HeaderList = [];
  if (trace) replaceTraceHeaders(own, trace, tracing.forms(), scope === undefined ? [] : formsIn(scope.traceHeaders));
  let told: { status: number; error: Error | undefined } = { status: 0, error: undefined };
  const set = own.map(String);
  return {
    ...target,
    headers,
    // What the application has set is the parent, and gives way.
    changes: [{ remove: [...traceHeaderNames], set, add: [] }, ...(target.changes ?? [])],
    done(status, error, stalled) {
      told = { status, error };
      // Instrumentations end their span before the request has.
      if (status !== 0) answered(status, target);
      target.done(status, error, stalled);
    },
    ended() {
      target.ended?.();
      end({ target, ...told });
    },
  };
}

function originOf({ hostname, port, secure }: AgentRequest): string {
  const host = hostname.includes(':') ? `[${hostname}]` : hostname;
  return `${secure ? 'https' : 'http'}://${host}:${port}`;
}
