import type { Dispatcher } from 'undici';
import type { HeaderList } from '../lib/header-list.ts';
import type { Scope } from './scope.ts';

/** undici's handler: told about the answer as it arrives. */
export type Handler = Dispatcher.DispatchHandler;
export type ResponseHeaders = Record<string, string | string[] | undefined>;

/** What one try became once its response headers are there. The body follows on delivery. */
export interface Reply {
  readonly status: number;
  /** Parsed, names in lower case. */
  readonly headers: ResponseHeaders;
  /** Sends everything to the application's handler; after this there are no more tries. */
  deliver(call: ClientCall): void;
  /** Gives the reply up: another try follows. */
  discard(): void;
  /** Calls `listener` once when the last byte arrived or the reply failed. */
  whenEnded(listener: ReplyListener): void;
}

export interface ReplyListener {
  replyEnded(reply: Reply, error: Error | undefined): void;
}

/** The try that is under way. */
export interface RunningTry {
  /** Stops it; its promise rejects, or its delivered body fails, with `reason`. */
  abort(reason: Error): void;
  pause(): void;
  resume(): void;
}

/** Where a try is sent: the runtime's endpoint as far as the pipeline needs it. */
export interface CallEndpoint {
  /** `10.0.0.7:9080`, for messages. */
  readonly name: string;
  /** Connections to this endpoint. Made on first use. */
  dispatcher(): Dispatcher;
}

/** What the application asked for, in one shape for all hosts. */
export interface ClientRequest {
  readonly method: string;
  readonly path: string;
  /** The call's own copy: filters add to it. */
  readonly headers: HeaderList;
  readonly body: Dispatcher.DispatchOptions['body'];
  readonly upgrade: string | boolean | null | undefined;
  readonly headersTimeoutMs: number | null | undefined;
  readonly bodyTimeoutMs: number | null | undefined;
  readonly reset: boolean | undefined;
  readonly expectContinue: boolean | undefined;
  readonly idempotent: boolean | undefined;
  readonly blocking: boolean | undefined;
}

/**
 * One call: all its tries, and the controller that the application's handler holds. Fields that
 * filters share are plain fields: a map of context keys costs more than the work of most filters.
 */
export class ClientCall implements Dispatcher.DispatchController {
  readonly handler: Handler;
  readonly request: ClientRequest;
  /** The inbound request that causes this call, if any. */
  readonly scope: Scope | undefined;
  /** `http://reviews:9080`. */
  readonly origin: string;
  /** Monotonic time at the start in milliseconds. */
  readonly startedAt: number;

  /** Path to send: the request's, or rewritten. */
  path: string;
  /** Name of the chosen route and cluster, for messages and telemetry; '' before routing. */
  route: string;
  cluster: string;
  /** Tries begun so far. */
  tries: number;
  endpoint: CallEndpoint | undefined;
  /** Endpoints that failed this call, so that the next try goes elsewhere. */
  failedEndpoints: CallEndpoint[] | undefined;
  /** Where `x-envoy-attempt-count` stands in the header list, once it does. */
  attemptHeaderAt: number;
  /** Envoy response flag, '' when all went well. */
  flag: string;

  rawHeaders: Buffer[] | string[] | null;
  rawTrailers: Buffer[] | string[] | null;

  #interrupted: Error | null;
  #paused: boolean;
  #running: RunningTry | undefined;
  #wake: ((reason: Error) => void) | undefined;

  constructor(origin: string, request: ClientRequest, handler: Handler, scope: Scope | undefined, startedAt: number) {
    this.origin = origin;
    this.request = request;
    this.handler = handler;
    this.scope = scope;
    this.startedAt = startedAt;
    this.path = request.path;
    this.route = '';
    this.cluster = '';
    this.tries = 0;
    this.endpoint = undefined;
    this.failedEndpoints = undefined;
    this.attemptHeaderAt = -1;
    this.flag = '';
    this.rawHeaders = null;
    this.rawTrailers = null;
    this.#interrupted = null;
    this.#paused = false;
    this.#running = undefined;
    this.#wake = undefined;
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

  /** Stops the call wherever it is: in a try, between tries, or in the middle of the body. */
  abort(reason: Error): void {
    if (this.#interrupted !== null) return;
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
