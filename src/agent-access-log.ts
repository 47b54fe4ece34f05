import type { AgentRequest, AgentRouter, AgentTarget, Routed, RoutedLater } from './host/agent-target.ts';
import type { Clock } from './lib/clock.ts';
import { flagOf } from './pipeline/failure-flag.ts';
import { addFlag } from './pipeline/response-flags.ts';
import { detailsOf, transportFailureOf } from './telemetry/access-client-filter.ts';
import type { SideLog } from './telemetry/access-log.ts';
import type { AccessRecord } from './telemetry/access-record.ts';

/**
 * Logs requests of node:http as the filters log other calls. Nobody counts their bytes, which are `-`; what is sent
 * beside the mesh (`direct`) is not logged.
 */
export function loggedRouter(router: AgentRouter, log: SideLog | undefined, clock: Clock): AgentRouter {
  if (log === undefined) return router;
  return (request) => {
    if (!log.on) return router(request);
    const startedAt = clock.now();
    const headers = headersOf(request);
    let told = false;
    const ended = (end: AgentEnd): void => {
      // Who gave up while it was decided where to is told about, and not again when that is known.
      if (told) return;
      told = true;
      log.write(agentRecord(clock, request, end, headers));
    };
    const failed = (error: unknown): never => {
      ended({ startedAt, status: 0, error: error instanceof Error ? error : new Error(String(error)) });
      throw error;
    };
    const followed = (target: Routed): Routed => (target === 'direct' ? target : follow(target, startedAt, ended));
    let routed: ReturnType<AgentRouter>;
    try {
      routed = router(request);
    } catch (error) {
      return failed(error);
    }
    if (typeof routed === 'string' || !('then' in routed)) return followed(routed);
    const later = routed;
    const settled = later.then(followed, failed) as RoutedLater;
    settled.giveUp = () => {
      later.giveUp?.();
      ended({ startedAt, status: 0, error: undefined });
    };
    return settled;
  };
}

/** Headers as the application has set them: the request changes on its way. */
function headersOf(request: AgentRequest): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const [name, value] of request.headers()) {
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before},${value}`);
  }
  return headers;
}

/** What a record wants to know of a target. */
type AgentTold = Pick<AgentTarget, 'path' | 'authority' | 'headers' | 'cluster' | 'endpoint' | 'route' | 'flag'>;

interface AgentEnd {
  readonly startedAt: number;
  readonly status: number;
  readonly error: Error | undefined;
  readonly target?: AgentTold;
  /** Headers of the response: name, value, name, value. */
  readonly raw?: readonly string[];
}

function follow(target: AgentTarget, startedAt: number, tell: (end: AgentEnd) => void): AgentTarget {
  let end: AgentEnd = { startedAt, status: 0, error: undefined, target };
  return {
    ...target,
    response(status, raw) {
      end = { ...end, raw };
      return target.response?.(status, raw) ?? [];
    },
    done(status, error, stalled) {
      end = { ...end, status, error };
      target.done(status, error, stalled);
    },
    ended() {
      target.ended?.();
      tell(end);
    },
  };
}

/** Shows the head of the response, as it came, to who makes tags of it. */
export function keepingHead(target: AgentTarget, keep: (raw: readonly string[]) => void): AgentTarget {
  return {
    ...target,
    response(status, raw) {
      keep(raw);
      return target.response?.(status, raw) ?? [];
    },
  };
}

/** What is known of a request that has ended; `headers`: as they were before the mesh changed the request. */
export function agentRecord(
  clock: Clock,
  request: AgentRequest,
  end: AgentEnd,
  headers: ReadonlyMap<string, string> = headersOf(request),
): AccessRecord {
  const { hostname, method, path, port, secure } = request;
  const { error, raw = [], startedAt, status, target } = end;
  const durationMs = clock.now() - startedAt;
  const host = hostname.includes(':') ? `[${hostname}]` : hostname;
  const usual = secure ? 443 : 80;
  const flag = target?.flag ?? '';
  const failure = error === undefined ? (status === 0 ? 'DC' : '') : flagOf(error);
  return {
    direction: 'outbound',
    startTimeMs: clock.wallNow() - durationMs,
    durationMs,
    method,
    target: target?.path ?? path,
    authority: target?.authority ?? headers.get('host') ?? (port === usual ? host : `${host}:${port}`),
    protocol: 'HTTP/1.1',
    status,
    flags: failure === '' ? flag : addFlag(flag, failure),
    details: detailsOf(error),
    bytesReceived: undefined,
    bytesSent: undefined,
    upstreamHost: target?.endpoint ?? '',
    upstreamCluster: target?.cluster ?? '',
    transportFailure: transportFailureOf(error),
    localPort: port,
    localAddress: '',
    remoteAddress: '',
    peer: '',
    serverName: '',
    routeName: target?.route ?? '',
    tries: target?.endpoint === undefined ? 0 : 1,
    grpcStatus: -1,
    requestHeader: (name) => headers.get(name) ?? added(target, name),
    responseHeader: (name) => rawValue(raw, name),
  };
}

/** What the mesh puts on a request. */
function added(target: AgentTold | undefined, name: string): string | undefined {
  return target === undefined ? undefined : rawValue(target.headers, name);
}

function rawValue(raw: readonly string[], name: string): string | undefined {
  let value: string | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const text = raw[i + 1] as string;
    if (raw[i]?.toLowerCase() === name) value = value === undefined ? text : `${value},${text}`;
  }
  return value;
}
