import type { Duplex } from 'node:stream';
import type { Dispatcher } from 'undici';
import type { ClientCall, Handler, Reply, ResponseHeaders, RunningTry, TryWatcher } from '../pipeline/client-call.ts';

type Controller = Dispatcher.DispatchController;

/**
 * One try: undici's handler on one side, a promise of a {@link Reply} on the other. What arrives
 * before the filters have decided is kept; after delivery it is handed straight on. Between
 * response headers and decision lie only microtasks, so at most what one read brought is kept.
 */
export class Try implements Handler, Reply, RunningTry {
  status: number;
  headers: ResponseHeaders;

  readonly #call: ClientCall;
  readonly #resolve: (reply: Reply) => void;
  readonly #reject: (error: Error) => void;
  #statusText: string | undefined;
  #controller: Controller | undefined;
  #aborted: Error | undefined;
  #delivered: boolean;
  #discarded: boolean;
  #settled: boolean;
  #chunks: Buffer[] | undefined;
  #ended: boolean;
  #trailers: ResponseHeaders | undefined;
  #socket: Duplex | undefined;
  #failure: Error | undefined;
  #finished: boolean;
  readonly #watchers: readonly TryWatcher[] | undefined;

  constructor(call: ClientCall, resolve: (reply: Reply) => void, reject: (error: Error) => void) {
    this.#call = call;
    this.#resolve = resolve;
    this.#reject = reject;
    this.status = 0;
    this.headers = noHeaders;
    this.#statusText = undefined;
    this.#controller = undefined;
    this.#aborted = undefined;
    this.#delivered = false;
    this.#discarded = false;
    this.#settled = false;
    this.#chunks = undefined;
    this.#ended = false;
    this.#trailers = undefined;
    this.#socket = undefined;
    this.#failure = undefined;
    this.#finished = false;
    this.#watchers = call.takeTryWatchers();
  }

  // ---- undici's side

  onRequestStart(controller: Controller): void {
    this.#controller = controller;
    if (this.#aborted !== undefined) controller.abort(this.#aborted);
  }

  onResponseStarted(): void {
    this.#call.handler.onResponseStarted?.();
  }

  onBodySent(chunk: Buffer): void {
    this.#call.handler.onBodySent?.(chunk);
  }

  onRequestSent(): void {
    this.#call.handler.onRequestSent?.();
  }

  onResponseStart(controller: Controller, status: number, headers: ResponseHeaders, statusText?: string): void {
    if (status < 200) {
      // 1xx goes straight on: it commits to nothing (RFC 9110 section 15.2).
      this.#call.rawHeaders = rawOf(controller.rawHeaders);
      this.#call.handler.onResponseStart?.(this.#call, status, headers as never, statusText);
      return;
    }
    this.status = status;
    this.headers = headers;
    this.#statusText = statusText;
    this.#settle();
  }

  onRequestUpgrade(_controller: Controller, status: number, headers: ResponseHeaders, socket: Duplex): void {
    this.status = status;
    this.headers = headers;
    this.#socket = socket;
    this.#settle();
  }

  onResponseData(_controller: Controller, chunk: Buffer): void {
    if (this.#delivered && this.#chunks === undefined) {
      this.#call.handler.onResponseData?.(this.#call, chunk);
      return;
    }
    if (this.#discarded) return;
    if (this.#chunks === undefined) this.#chunks = [chunk];
    else this.#chunks.push(chunk);
  }

  onResponseEnd(controller: Controller, trailers: ResponseHeaders): void {
    this.#ended = true;
    this.#trailers = trailers;
    this.#finish(undefined);
    if (this.#delivered && this.#chunks === undefined) this.#end(controller);
  }

  onResponseError(_controller: Controller | null, error: Error): void {
    const failure = this.#aborted ?? error;
    this.#failure = failure;
    this.#finish(failure);
    if (!this.#settled) {
      this.#settled = true;
      this.#reject(failure);
    } else if (this.#delivered) {
      this.#chunks = undefined;
      this.#call.handler.onResponseError?.(this.#call, failure);
    }
  }

  // ---- the pipeline's side

  deliver(call: ClientCall): void {
    const { handler } = call;
    this.#delivered = true;
    if (this.#finished) call.ended(this.status, this.#failure);
    if (this.#failure !== undefined) {
      handler.onResponseError?.(call, this.#failure);
      return;
    }
    call.rawHeaders = rawOf(this.#controller?.rawHeaders);
    try {
      if (this.#socket !== undefined) {
        this.#finish(undefined);
        handler.onRequestUpgrade?.(call, this.status, this.headers as never, this.#socket);
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
    if (this.#socket !== undefined) this.#socket.destroy();
    // What is on its way is read to its end so that the connection can be used again, unless it is
    // long: then a new connection is cheaper than the bytes.
    else if (!this.#ended && !this.#isShort()) this.abort(discarded);
  }

  abort(reason: Error): void {
    if (this.#aborted !== undefined || this.#finished) {
      // All has arrived, but the application has not taken it: what is kept is dropped.
      if (this.#delivered && this.#chunks !== undefined) {
        this.#chunks = undefined;
        this.#call.handler.onResponseError?.(this.#call, reason);
      }
      return;
    }
    this.#aborted = reason;
    if (this.#controller !== undefined) this.#controller.abort(reason);
    // Still waiting for a connection: undici cannot take a request out of its queue, so the try
    // fails here and is stopped when its turn comes.
    else if (!this.#settled) {
      this.#settled = true;
      this.#failure = reason;
      this.#finish(reason);
      this.#reject(reason);
    }
  }

  pause(): void {
    this.#controller?.pause();
  }

  resume(): void {
    if (this.#delivered && this.#chunks !== undefined) this.#flush();
    if (!this.#call.paused) this.#controller?.resume();
  }

  /** Hands on what was kept, stopping when the application pauses. */
  #flush(): void {
    const chunks = this.#chunks;
    const call = this.#call;
    if (chunks !== undefined) {
      try {
        while (chunks.length > 0 && !call.paused && !call.aborted) {
          call.handler.onResponseData?.(call, chunks.shift() as Buffer);
        }
      } catch (error) {
        call.abort(error as Error);
        return;
      }
      if (call.aborted) return;
      if (chunks.length > 0) {
        this.#controller?.pause();
        return;
      }
      this.#chunks = undefined;
    }
    if (this.#ended) this.#end(this.#controller);
    else if (call.paused) this.#controller?.pause();
  }

  #end(controller: Controller | undefined): void {
    const call = this.#call;
    call.rawTrailers = rawOf(controller?.rawTrailers);
    call.handler.onResponseEnd?.(call, (this.#trailers ?? noHeaders) as never);
  }

  #finish(error: Error | undefined): void {
    if (this.#finished) return;
    this.#finished = true;
    const watchers = this.#watchers;
    if (watchers !== undefined) for (const watcher of watchers) watcher.tryEnded(this.#call, error);
    if (this.#delivered) this.#call.ended(this.status, error);
  }

  #settle(): void {
    this.#settled = true;
    const watchers = this.#watchers;
    if (watchers !== undefined) for (const watcher of watchers) watcher.tryReplied(this.#call, this.status);
    this.#resolve(this);
  }

  #isShort(): boolean {
    const length = this.headers['content-length'];
    return typeof length === 'string' && Number(length) <= maxDrainedBytes;
  }
}

/** A discarded response up to this size is read to its end to keep the connection. */
const maxDrainedBytes = 65_536;
const noHeaders: ResponseHeaders = {};
const discarded = new Error('response discarded: another try follows');

function rawOf(raw: Controller['rawHeaders']): Buffer[] | string[] | null {
  return Array.isArray(raw) ? raw : null;
}
