import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import { isReplayable } from '../lib/replayable.ts';
import { youngList } from '../lib/young-list.ts';
import type {
  ClientCall,
  Handler,
  Reply,
  ResponseHeaders,
  RunningTry,
  TryActivity,
  TryWatcher,
} from '../pipeline/client-call.ts';
import { type Connection, maxLeftOut, mayRepeat, type Passenger } from './connection.ts';
import { discarded, grpcStatusIn, inform, isShort, noHeaders, rawOf, whyNoResponse } from './response-head.ts';
import { StreamFailure } from './stream-failure.ts';
import type { Place } from './waiting-line.ts';

type Controller = Dispatcher.DispatchController;

/**
 * One try: undici's handler on one side, a promise of a {@link Reply} on the other. What arrives
 * before the filters have decided is kept; after delivery it is handed straight on. Between
 * response headers and decision lie only microtasks, so at most what one read brought is kept.
 */
export class Try implements Handler, Reply, RunningTry, Passenger {
  status: number;
  headers: ResponseHeaders;
  connection: Connection | undefined;
  place: Place | undefined;
  /** Did the request that causes this one come in over HTTP/2? */
  readonly overHttp2: boolean;
  readonly grpc: ClientCall['request']['grpc'];

  readonly #call: ClientCall;
  readonly #translate: (error: Error, call: ClientCall) => Error;
  readonly #resolve: (reply: Reply) => void;
  readonly #reject: (error: Error) => void;
  #dispatcher: Dispatcher | undefined;
  #options: Dispatcher.DispatchOptions | undefined;
  #statusText: string | undefined;
  #controller: Controller | undefined;
  #aborted: Error | undefined;
  #reused: boolean;
  #informed: number;
  #responded: boolean;
  #repeated: boolean;
  /** How often the server left the request out and it was sent once more. */
  #leftOut: number;
  #delivered: boolean;
  #discarded: boolean;
  #settled: boolean;
  #flushing: boolean;
  #told: boolean;
  #chunks: Buffer[] | undefined;
  #ended: boolean;
  #trailers: ResponseHeaders | undefined;
  #socket: Duplex | undefined;
  #failure: Error | undefined;
  #finished: boolean;
  readonly #watchers: readonly TryWatcher[] | undefined;
  readonly #activity: TryActivity | undefined;

  constructor(
    call: ClientCall,
    translate: (error: Error, call: ClientCall) => Error,
    resolve: (reply: Reply) => void,
    reject: (error: Error) => void,
  ) {
    this.#call = call;
    this.overHttp2 = call.scope?.overHttp2 === true;
    this.grpc = call.request.grpc;
    this.#translate = translate;
    this.#resolve = resolve;
    this.#reject = reject;
    this.status = 0;
    this.headers = noHeaders;
    this.connection = undefined;
    this.place = undefined;
    this.#dispatcher = undefined;
    this.#options = undefined;
    this.#statusText = undefined;
    this.#controller = undefined;
    this.#aborted = undefined;
    this.#reused = false;
    this.#informed = 0;
    this.#responded = false;
    this.#repeated = false;
    this.#leftOut = 0;
    this.#delivered = false;
    this.#discarded = false;
    this.#settled = false;
    this.#flushing = false;
    this.#told = false;
    this.#chunks = undefined;
    this.#ended = false;
    this.#trailers = undefined;
    this.#socket = undefined;
    this.#failure = undefined;
    this.#finished = false;
    this.#watchers = call.takeTryWatchers();
    this.#activity = call.activity;
    call.activity = undefined;
    call.requestBytes = 0;
    call.responseBytes = 0;
  }

  /** Sends the request. */
  start(dispatcher: Dispatcher, options: Dispatcher.DispatchOptions): void {
    this.#dispatcher = dispatcher;
    this.#options = options;
    this.#dispatch();
  }

  // ---- undici's side

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    this.place = undefined;
    this.#reused = this.connection?.begin() ?? false;
    if (this.#aborted !== undefined) {
      // It failed long ago, while it waited: what the call knows by now is about another try.
      controller.abort(this.#aborted);
      return;
    }
    this.#call.sent = true;
    this.#call.requestBytes = 0;
    this.#call.messages?.restart();
    this.#call.startWatcher?.tryStarted(this.#call);
  }

  onResponseStarted(): void {
    this.#responded = true;
    this.#call.handler.onResponseStarted?.();
  }

  onBodySent(chunk: Buffer): void {
    this.#activity?.tryActive();
    this.#call.requestBytes += chunk.length;
    if (!this.#discarded) this.#call.messages?.readRequest(chunk);
    this.#call.handler.onBodySent?.(chunk);
  }

  onRequestSent(): void {
    this.#call.handler.onRequestSent?.();
  }

  onResponseStart(controller: Controller, status: number, headers: ResponseHeaders, statusText?: string): void {
    const why = whyNoResponse(status, headers, status < 200 ? ++this.#informed : 0);
    if (why !== undefined) this.abort(why);
    else if (status < 200) inform(this.#call, controller, status, headers, statusText);
    else {
      this.status = status;
      this.headers = headers;
      this.#statusText = statusText;
      if (!this.#discarded) this.#call.messages?.answered(status, headers['content-type']);
      this.#settle();
    }
  }

  onRequestUpgrade(_controller: Controller, status: number, headers: ResponseHeaders, socket: Duplex): void {
    this.status = status;
    this.headers = headers;
    this.#socket = socket;
    this.#leave();
    this.#settle();
  }

  onResponseData(_controller: Controller, chunk: Buffer): void {
    this.#activity?.tryActive();
    if (!this.#discarded) {
      this.#call.responseBytes += chunk.length;
      this.#call.messages?.readResponse(chunk);
    }
    if (this.#delivered && this.#chunks === undefined) {
      try {
        this.#call.handler.onResponseData?.(this.#call, chunk);
      } catch (error) {
        this.#call.abort(error as Error);
      }
      return;
    }
    if (this.#discarded) return;
    this.#chunks ??= youngList();
    this.#chunks.push(chunk);
  }

  onResponseEnd(_controller: Controller, trailers: ResponseHeaders): void {
    this.#ended = true;
    this.#trailers = trailers;
    this.#leave();
    this.#finish(undefined);
    if (this.#delivered && this.#chunks === undefined) this.#tellEnd();
  }

  onResponseError(_controller: Controller | null, error: Error): void {
    this.#leave();
    const silent = !this.#responded && !this.#settled && this.#aborted === undefined;
    if (silent && this.#mayRepeat(error)) {
      this.#repeat();
      return;
    }
    const failure = this.#aborted ?? this.#translate(error, this.#call);
    this.#failure = failure;
    this.#finish(failure);
    if (!this.#settled) {
      this.#settled = true;
      this.#reject(failure);
    } else if (this.#delivered) this.#tellError(failure);
  }

  get fresh(): boolean {
    return this.#repeated;
  }

  // ---- the pipeline's side

  deliver(call: ClientCall): void {
    const { handler } = call;
    this.#delivered = true;
    call.messages?.begin(call);
    if (this.#finished) this.#over(call, this.#failure);
    if (this.#failure !== undefined) {
      this.#tellError(this.#failure);
      return;
    }
    call.rawHeaders = rawOf(this.#controller?.rawHeaders);
    try {
      if (this.#socket !== undefined) {
        // From here on the connection is the application's.
        this.#finish(undefined);
        handler.onRequestUpgrade?.(call, this.status, this.headers as never, this.#socket);
        this.#told = true;
        return;
      }
      handler.onResponseStart?.(call, this.status, this.headers as never, this.#statusText);
    } catch (error) {
      // As undici does it: an exception in the handler aborts the request.
      call.abort(error as Error);
      return;
    }
    this.#flush();
  }

  discard(): void {
    this.#discarded = true;
    this.#chunks = undefined;
    if (this.#socket !== undefined) {
      this.#socket.destroy();
      this.#finish(discarded);
    } else if (!this.#ended) {
      // What is on its way is read to its end so that the connection can be used again, unless it is
      // long: then a new connection is cheaper than the bytes.
      if (isShort(this.headers)) this.#controller?.resume();
      else this.abort(discarded);
    }
  }

  abandon(): void {
    if (this.#discarded) this.abort(discarded);
  }

  abort(reason: Error): void {
    if (this.#finished) {
      // All has arrived, but the application has not taken it: what is kept is dropped.
      if (!this.#delivered || this.#told) return;
      this.#socket?.destroy();
      this.#tellError(reason);
      return;
    }
    if (this.#aborted !== undefined) return;
    this.#aborted = reason;
    if (this.#controller !== undefined) this.#controller.abort(reason);
    // Still waiting for a connection: undici cannot take a request out of its queue, so the try
    // fails here and is stopped when its turn comes.
    else if (!this.#settled) {
      this.place?.leave();
      this.#settled = true;
      this.#failure = reason;
      this.#finish(reason);
      this.#reject(reason);
    }
  }

  pause(): void {
    if (!this.#discarded) this.#controller?.pause();
  }

  resume(): void {
    if (this.#delivered && this.#chunks !== undefined) this.#flush();
    // A connection that is done with this try may carry another by now.
    if (!this.#call.paused && !this.#finished) this.#controller?.resume();
  }

  /** Hands on what was kept, stopping when the application pauses. */
  #flush(): void {
    // The application may resume while it is being told: the loop that runs already goes on then.
    if (this.#flushing) return;
    const chunks = this.#chunks;
    const call = this.#call;
    if (chunks !== undefined && chunks.length > 0) {
      this.#flushing = true;
      try {
        while (chunks.length > 0 && !call.paused && !call.aborted) {
          call.handler.onResponseData?.(call, chunks.shift() as Buffer);
        }
      } catch (error) {
        call.abort(error as Error);
      }
      this.#flushing = false;
    }
    if (call.aborted) return;
    // The end waits too; only a HEAD has nothing that could (undici does not stop it either).
    if (call.paused && call.request.method !== 'HEAD') {
      this.#chunks = chunks ?? [];
      this.#controller?.pause();
      return;
    }
    this.#chunks = undefined;
    if (this.#ended) this.#tellEnd();
  }

  #tellEnd(): void {
    if (this.#told) return;
    this.#told = true;
    const call = this.#call;
    call.rawTrailers = rawOf(this.#controller?.rawTrailers);
    try {
      call.handler.onResponseEnd?.(call, (this.#trailers ?? noHeaders) as never);
    } catch (error) {
      call.tellError(error as Error);
    }
  }

  #tellError(error: Error): void {
    if (this.#told) return;
    this.#told = true;
    this.#chunks = undefined;
    this.#call.tellError(error);
  }

  #finish(error: Error | undefined): void {
    if (this.#finished) return;
    this.#finished = true;
    const watchers = this.#watchers;
    if (watchers !== undefined) for (const watcher of watchers) watcher.tryEnded(this.#call, error, this.status);
    if (this.#delivered) this.#over(this.#call, error);
  }

  #over(call: ClientCall, error: Error | undefined): void {
    call.grpcStatus = grpcStatusIn(this.#trailers, this.headers);
    call.ended(this.status, error);
  }

  #settle(): void {
    this.#settled = true;
    const watchers = this.#watchers;
    if (watchers !== undefined)
      for (const watcher of watchers) watcher.tryReplied(this.#call, this.status, this.headers);
    this.#resolve(this);
  }

  #leave(): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.connection = undefined;
    connection.end();
  }

  /** May the same try be sent again, without anybody's policy being asked? */
  #mayRepeat(error: Error): boolean {
    const { request } = this.#call;
    if (error instanceof StreamFailure && error.unprocessed) {
      if (!isReplayable(request.body)) return false;
      // Left out by a GOAWAY: as often as it takes, within reason. Refused: once (RFC 9113 section 8.7).
      if (error.kind === 'unsent') return ++this.#leftOut <= maxLeftOut;
    } else if (!this.#reused || !mayRepeat(request, error)) return false;
    if (this.#repeated) return false;
    this.#repeated = true;
    return true;
  }

  /** The same try again, on another connection. */
  #repeat(): void {
    this.#controller = undefined;
    // Not from within undici's own clearing up after the connection.
    queueMicrotask(() => {
      if (!this.#settled) this.#dispatch();
    });
  }

  #dispatch(): void {
    try {
      this.#dispatcher?.dispatch(this.#options as Dispatcher.DispatchOptions, this);
    } catch (error) {
      // Connections that cannot even be set up: what the try holds is given back all the same.
      this.onResponseError(null, error as Error);
    }
  }
}
