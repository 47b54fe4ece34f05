import type { ClientRequest, IncomingMessage } from 'node:http';
import { causeOf, MeshError, type MeshErrorCode } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { stallMs } from '../lib/deadlines.ts';
import { failureKind } from '../lib/failure-kind.ts';
import { changeRaw } from '../lib/header-edit.ts';
import { maxInformational, tooInformative } from '../lib/informational.ts';
import type { AgentTarget, AgentTime } from './agent-target.ts';

/** One request between its routing and its end. */
export interface Watch {
  /**
   * Set while the request waits for a socket: stops the wait because the application destroyed
   * the request. Called at most once.
   */
  stopWaiting: (() => void) | undefined;
  /** Where the request goes, once that is known. */
  target: AgentTarget | undefined;
  /** Gives the request up when one of these times is over. */
  limit(times: readonly AgentTime[] | undefined): void;
  /** Ends the watch: the request turned out to go past the mesh. */
  end(): void;
}

/**
 * Follows a request to its end: tells the target how it went, makes the errors of the endpoint
 * {@link MeshError}s, and notices when the application gives up.
 *
 * It looks at the request's own `emit` and `destroy` and adds no listeners, because listeners change
 * what node:http does: with one for `error` nothing is uncaught any more, with one for `response`
 * a body that nobody wants is not drained, with one for `upgrade` a refused upgrade stays open.
 */
export function watchRequest(request: ClientRequest, clock: Clock): Watch {
  const { emit, destroy } = request;
  let givenUp = false;
  let told = false;
  let stalled = false;
  let informed = 0;
  const tell = (status: number, error?: Error): void => {
    if (told) return;
    told = true;
    watch.target?.done(status, error, stalled);
  };
  // node:http starts this clock together with a socket; ours comes later, when it is connected.
  const { timeout } = request as { timeout?: number };
  const stopClock = timeout ? clock.after(timeout, () => request.emit('timeout')) : undefined;

  const cancels: { readonly time: AgentTime; cancel(): void }[] = [];
  const over = new Set<AgentTime>();
  const stopTimes = (until: AgentTime['until'] | 'all'): void => {
    for (const { cancel, time } of cancels) {
      if (until !== 'all' && time.until !== until) continue;
      over.add(time);
      cancel();
    }
  };
  const watch: Watch = {
    stopWaiting: undefined,
    target: undefined,
    limit(given = []) {
      for (const time of given) {
        const dueAt = clock.now() + time.ms;
        const expire = (): void => {
          if (over.has(time)) return;
          stalled = clock.now() - dueAt > stallMs;
          request.destroy(time.error());
        };
        // What has arrived while the process was busy is in time.
        cancels.push({ time, cancel: clock.after(time.ms, () => clock.afterIo(expire)) });
      }
    },
    end() {
      stopClock?.();
      Object.assign(request, { emit, destroy });
    },
  };

  request.destroy = (error) => {
    givenUp = true;
    const result = destroy.call(request, error);
    watch.stopWaiting?.();
    return result;
  };
  const observed = (event: string | symbol, ...details: unknown[]): boolean => {
    switch (event) {
      case 'socket':
        stopClock?.();
        break;
      case 'continue':
      case 'information':
        if (++informed > maxInformational) {
          request.destroy(tooInformative());
          return true;
        }
        break;
      case 'response':
      case 'upgrade':
      case 'connect':
        // A connection that is the application's own has no times of the mesh.
        stopTimes(event === 'response' ? 'response' : 'all');
        changeResponse(details[0] as IncomingMessage, watch.target);
        tell((details[0] as IncomingMessage).statusCode ?? 0);
        break;
      case 'error':
        if (!givenUp) details[0] = meshErrorFrom(details[0], codeOf(details[0]));
        tell(0, details[0] as Error);
        break;
      case 'close':
        stopClock?.();
        stopTimes('all');
        tell(0);
        watch.target?.ended?.();
        break;
    }
    return emit.call(request, event, ...details);
  };
  request.emit = observed as typeof request.emit;
  return watch;
}

/** Header changes of the route, in every view that Node has of the headers. */
function changeResponse(response: IncomingMessage, target: AgentTarget | undefined): void {
  const changes = target?.response?.(response.statusCode ?? 0, response.rawHeaders) ?? [];
  if (changes.length === 0) return;
  for (const each of changes) response.rawHeaders = changeRaw(response.rawHeaders, each);
  // Node makes the other views from the raw list when somebody looks at them, but only from as many
  // lines as there were; so they are made here, by Node's own rules for names that stand there twice.
  const made = response as unknown as HeaderViews;
  const { rawHeaders } = response;
  const headers = {};
  const distinct = {};
  for (let i = 0; i < rawHeaders.length; i += 2) {
    made._addHeaderLine(rawHeaders[i] as string, rawHeaders[i + 1] as string, headers);
    made._addHeaderLineDistinct(rawHeaders[i] as string, rawHeaders[i + 1] as string, distinct);
  }
  made.headers = headers;
  made.headersDistinct = distinct;
}

/** What `IncomingMessage` has for those who make its views. */
interface HeaderViews {
  headers: object;
  headersDistinct: object;
  _addHeaderLine(name: string, value: string, into: object): void;
  _addHeaderLineDistinct(name: string, value: string, into: object): void;
}

function codeOf(error: unknown): MeshErrorCode {
  return failureKind(error) === 'protocol' ? 'ERR_MESH_UPSTREAM_PROTOCOL' : 'ERR_MESH_UPSTREAM_RESET';
}

const meanings: Partial<Record<MeshErrorCode, string>> = {
  ERR_MESH_UPSTREAM_RESET: 'the connection ended before the response',
  ERR_MESH_UPSTREAM_PROTOCOL: 'what came is no HTTP response',
  ERR_MESH_CONNECT_FAILED: 'no connection',
};

/** The {@link MeshError} in this error or its causes; else a new one with this error as its cause. */
export function meshErrorFrom(error: unknown, code: MeshErrorCode): MeshError {
  const reason = error instanceof Error ? error.message : String(error);
  return causeOf(error) ?? new MeshError(code, `${meanings[code] ?? code}: ${reason}`, { cause: error });
}
