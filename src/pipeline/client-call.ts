import { type Dispatcher, errors } from 'undici';
import type { HeaderList } from '../lib/header-list.ts';
import { youngList } from '../lib/young-list.ts';
import type { CallMessages } from './call-messages.ts';
import type { Scope } from './scope.ts';
import type { Span, SpanContext } from './tracing.ts';

/** undici's handler: told about the answer as it arrives. */
export type Handler = Dispatcher.DispatchHandler;
export type ResponseHeaders = Record<string, string | string[] | undefined>;

/** Endpoints with another identity than they must have, and the newest finding. */
export interface Impostors {
  readonly endpoints: readonly CallEndpoint[];
  readonly error: Error;
}

/** What one try became once its response headers are there. The body follows on delivery. */
export interface Reply {
  readonly status: number;
  /** Parsed, names in lower case. */
  readonly headers: ResponseHeaders;
  /** Sends everything to the application's handler; after this there are no more tries. */
  deliver(call: ClientCall): void;
  /** Gives the reply up: another try follows. */
  discard(): void;
}

/**
 * Follows one try: what a filter that only watches needs. Told at once and without a promise,
 * since each promise between application and connection costs every call.
 */
export interface TryWatcher {
  /** Response headers have arrived; names in lower case. */
  tryReplied(call: ClientCall, status: number, headers: ResponseHeaders): void;
  /**
   * The last byte has arrived, or the try failed; exactly once for each try watched. `status` is
   * that of the response, 0 when none has begun.
   */
  tryEnded(call: ClientCall, error: Error | undefined, status: number): void;
}

/** Is told of each piece of body of a try, in both directions. */
export interface TryActivity {
  tryActive(): void;
}

/** Is told when a try has a connection and is about to be sent. */
export interface StartWatcher {
  tryStarted(call: ClientCall): void;
}

/** Follows the whole call. */
export interface CallWatcher {
  /** Exactly once. `status` is what the application got, 0 for nothing. */
  callEnded(call: ClientCall, status: number, error: Error | undefined): void;
}

/** The try that is under way. */
export interface RunningTry {
  /** Of its response, names in lower case; empty before, absent where nobody knows. */
  readonly headers?: ResponseHeaders | undefined;
  /** Stops it; its promise rejects, or its delivered body fails, with `reason`. */
  abort(reason: Error): void;
  pause(): void;
  resume(): void;
  /** Another try begins: a response that was given up and still arrives is cut off. */
  abandon(): void;
}

/** Where a try is sent: the runtime's endpoint as far as the pipeline needs it. */
export interface CallEndpoint {
  /** `10.0.0.7:9080`, for messages. */
  readonly name: string;
  /** Connections to this endpoint. Made on first use, when `host` becomes {@link host}. */
  dispatcher(host: string): Dispatcher;
  /** Host header of requests without one. */
  readonly host: string;
}

/** Marks the options of a call that the mesh makes for itself. */
export const ownCall: unique symbol = Symbol('inmesh.own-call');

/**
 * Marks the options of a call of gRPC: it goes over HTTP/2 whatever its cluster says of the version, and
 * its failures are told as errors, which its client makes a gRPC status of. Registered, so that packages
 * find it.
 */
export const grpcCall: unique symbol = Symbol.for('inmesh.grpc-call') as never;

/** What a gRPC client asks of its call. */
export interface GrpcCall {
  /** It carries credentials: no byte of it may travel in plaintext. */
  readonly secure: boolean;
  /** Retries that the client's service config asks for; they hold where the route names none. */
  readonly retry: GrpcRetry | undefined;
  /** The Unix socket that its target names, which is outside of the mesh. */
  readonly socketPath: string | undefined;
}

/** gRFC A6 `retryPolicy`, as far as it is not in the model's words. */
export interface GrpcRetry {
  /** Tries in all, at least 2. */
  readonly maxAttempts: number;
  readonly initialBackoffMs: number;
  readonly maxBackoffMs: number;
  readonly backoffMultiplier: number;
  /** Status codes, 1 to 16. */
  readonly retryableStatusCodes: ReadonlySet<number>;
  /** `retryThrottling` of the client, shared by its calls. Absent: none. */
  readonly throttle: RetryThrottle | undefined;
}

/** Counts how calls of one client end, and says when there have been too many failures to retry any. */
export interface RetryThrottle {
  /** A try ended with a status that would be retried. May it be? */
  failed(): boolean;
  /** A call ended with OK. */
  succeeded(): void;
}

interface Marked {
  readonly [ownCall]?: true;
  readonly [grpcCall]?: GrpcCall;
}

/**
 * What the application asked for, in one shape for all hosts. A class, as a literal would have an
 * allocation site: see `lib/young-list.ts`.
 */
export class ClientRequest {
  /** The mesh's own: it may say what an application may not, and its failures are told as errors. */
  readonly own: boolean;
  /** It is a call of a gRPC client of the mesh. */
  readonly grpc: GrpcCall | undefined;
  readonly method: string;
  /** As the application wrote it; once its route is chosen, in the canonical form by which that was done. */
  path: string;
  /** The call's own copy: filters add to it. */
  readonly headers: HeaderList;
  /** The application's, or one that stands in for it and can be read again. */
  body: Dispatcher.DispatchOptions['body'];
  readonly upgrade: string | boolean | null | undefined;
  readonly headersTimeoutMs: number | null | undefined;
  readonly bodyTimeoutMs: number | null | undefined;
  readonly reset: boolean | undefined;
  readonly expectContinue: boolean | undefined;
  readonly idempotent: boolean | undefined;
  readonly blocking: boolean | undefined;

  constructor(path: string, headers: HeaderList, options: Dispatcher.DispatchOptions) {
    this.own = (options as Marked)[ownCall] === true;
    this.grpc = (options as Marked)[grpcCall];
    this.method = options.method;
    this.path = path;
    this.headers = headers;
    this.body = options.body ?? null;
    this.upgrade = options.upgrade;
    this.headersTimeoutMs = options.headersTimeout;
    this.bodyTimeoutMs = options.bodyTimeout;
    this.reset = options.reset;
    this.expectContinue = options.expectContinue;
    this.idempotent = options.idempotent;
    this.blocking = options.blocking;
  }
}

/**
 * One call: all its tries, and the controller that the application's handler holds. Fields that
 * filters share are plain fields: a map of context keys costs more than the work of most filters.
 */
export class ClientCall implements Dispatcher.DispatchController {
  /** The application's, or what a filter put in front of it. */
  handler: Handler;
  readonly request: ClientRequest;
  /** The inbound request that causes this call, if any. */
  readonly scope: Scope | undefined;
  /** `http://reviews:9080`. */
  readonly origin: string;
  /** Monotonic time at the start in milliseconds. */
  readonly startedAt: number;

  /** Path to send: the request's, or rewritten. */
  path: string;
  /** Host header to send; '' when it stands in the header list. */
  host: string;
  /** Name of the chosen route and cluster, for messages and telemetry; '' before routing. */
  route: string;
  cluster: string;
  /** Tries begun so far. */
  tries: number;
  /** May a byte of the try under way have left? False: its server has provably not seen it. */
  sent: boolean;
  endpoint: CallEndpoint | undefined;
  /** Whoever has to know that a try got its connection; nobody, as a rule. */
  startWatcher: StartWatcher | undefined;
  /** Of the request, where the cluster chooses endpoints by it. */
  hash: bigint | undefined;
  /** Follows the body of the try that is about to be made; nobody, as a rule. */
  activity: TryActivity | undefined;
  /** Was this process too busy to notice in time that the time of a try was over? Then that says nothing about the endpoint. */
  stalled: boolean;
  /** Endpoints that failed this call, so that the next try goes elsewhere. */
  failedEndpoints: CallEndpoint[] | undefined;
  /** Endpoints that proved to be somebody else: this call does not ask them again. */
  impostors: Impostors | undefined;
  /** Monotonic time at which the call is over in any case; Infinity when nothing limits it. */
  deadline: number;
  /** Envoy response flag, '' when all went well. */
  flag: string;
  /** Bytes of body that the newest try has sent and received. */
  requestBytes: number;
  responseBytes: number;
  /** `grpc-status` of the answer; -1 when it has none. */
  grpcStatus: number;
  /** Headers of an answer of the mesh's own, which is no try's. */
  localHeaders: ResponseHeaders | undefined;
  /** metrics: counts the messages of a call of gRPC; nothing for others. */
  messages: CallMessages<ClientCall> | undefined;

  /** trace: the context that goes out; `null`: none does; nothing where nothing is traced. */
  trace: SpanContext | null | undefined;
  /** trace: the span of the call, if it is recorded. */
  span: Span | undefined;

  rawHeaders: Buffer[] | string[] | null;
  rawTrailers: Buffer[] | string[] | null;

  /** Neighbours in the list of calls that are under way, kept by the host. */
  previous: ClientCall | undefined;
  next: ClientCall | undefined;

  #interrupted: Error | null;
  #cancelled: boolean;
  #paused: boolean;
  #running: RunningTry | undefined;
  #wake: ((reason: Error) => void) | undefined;
  #tryWatchers: TryWatcher[] | undefined;
  #callWatchers: CallWatcher[] | undefined;

  constructor(origin: string, request: ClientRequest, handler: Handler, scope: Scope | undefined, startedAt: number) {
    this.origin = origin;
    this.request = request;
    this.handler = handler;
    this.scope = scope;
    this.startedAt = startedAt;
    this.path = request.path;
    this.host = '';
    this.route = '';
    this.cluster = '';
    this.tries = 0;
    this.sent = false;
    this.endpoint = undefined;
    this.startWatcher = undefined;
    this.hash = undefined;
    this.activity = undefined;
    this.stalled = false;
    this.failedEndpoints = undefined;
    this.impostors = undefined;
    this.deadline = Number.POSITIVE_INFINITY;
    this.flag = '';
    this.requestBytes = 0;
    this.responseBytes = 0;
    this.grpcStatus = -1;
    this.localHeaders = undefined;
    this.messages = undefined;
    this.trace = undefined;
    this.span = undefined;
    this.rawHeaders = null;
    this.rawTrailers = null;
    this.previous = undefined;
    this.next = undefined;
    this.#interrupted = null;
    this.#cancelled = false;
    this.#paused = false;
    this.#running = undefined;
    this.#wake = undefined;
    this.#tryWatchers = undefined;
    this.#callWatchers = undefined;
  }

  /** Adds a watcher to the try that is about to be made. */
  watchTry(watcher: TryWatcher): void {
    this.#tryWatchers ??= youngList();
    this.#tryWatchers.push(watcher);
  }

  /** Hands the watchers over to the try that now begins. */
  takeTryWatchers(): readonly TryWatcher[] | undefined {
    const watchers = this.#tryWatchers;
    this.#tryWatchers = undefined;
    return watchers;
  }

  /** Ends a try that could not even begin; whatever it holds is given back. */
  failTry(error: Error): Promise<never> {
    const watchers = this.takeTryWatchers();
    if (watchers !== undefined) for (const watcher of watchers) watcher.tryEnded(this, error, 0);
    return Promise.reject(error);
  }

  /** Adds a watcher to the call. */
  watch(watcher: CallWatcher): void {
    this.#callWatchers ??= youngList();
    this.#callWatchers.push(watcher);
  }

  /** Tells the watchers that the call is over; the first time counts. */
  ended(status: number, error: Error | undefined): void {
    const watchers = this.#callWatchers;
    if (watchers === undefined) return;
    this.#callWatchers = undefined;
    for (const watcher of watchers) watcher.callEnded(this, status, error);
  }

  /** Why the call was stopped: the application's abort reason, or a deadline. No more tries. */
  get reason(): Error | null {
    return this.#interrupted;
  }

  get aborted(): boolean {
    return this.#interrupted !== null;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Did the application stop the call itself? Then the reason goes back to it as it is. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  /**
   * The application stops the call, wherever it is: in a try, between tries, or in the middle of
   * the body. undici's own API gives no reason when a body is destroyed.
   */
  abort(reason?: Error | null): void {
    if (this.#cancelled) return;
    this.#cancelled = true;
    const why = reason ?? new errors.RequestAbortedError();
    if (this.#interrupted === null) this.#interrupt(why);
    else this.#interrupted = why;
  }

  /**
   * Tells the application that the call failed. What its handler throws then has nowhere left to
   * go: the process is warned about it, and lives.
   */
  tellError(error: Error): void {
    try {
      this.handler.onResponseError?.(this, error);
    } catch (thrown) {
      process.emitWarning(thrown instanceof Error ? thrown : new Error(`a handler threw ${String(thrown)}`));
    }
  }

  /** The mesh stops the call: its time is up. */
  expire(error: Error): void {
    if (this.#interrupted === null) this.#interrupt(error);
  }

  #interrupt(reason: Error): void {
    this.#interrupted = reason;
    this.#running?.abort(reason);
    this.#wake?.(reason);
  }

  pause(): void {
    this.#paused = true;
    this.#running?.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#running?.resume();
  }

  /** The try under way; replaced by each new one. */
  set running(running: RunningTry | undefined) {
    this.#running?.abandon();
    this.#running = running;
  }

  get running(): RunningTry | undefined {
    return this.#running;
  }

  /** Waits for `promise`, but no longer than the call lives: an abort rejects at once. */
  until<T>(promise: Promise<T>): Promise<T> {
    if (this.#interrupted !== null) return Promise.reject(this.#interrupted);
    return new Promise<T>((resolve, reject) => {
      this.#wake = reject;
      promise.then(resolve, reject);
    }).finally(() => {
      this.#wake = undefined;
    });
  }
}
