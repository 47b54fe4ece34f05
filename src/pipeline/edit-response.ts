import type { Duplex } from 'node:stream';
import type { ClientCall, Handler, ResponseHeaders } from './client-call.ts';

type Controller = Parameters<NonNullable<Handler['onResponseData']>>[0];

/**
 * Changes the head of the final response, whoever gives it, before the application sees it: `headers`
 * in place, and `call.rawHeaders`, which has the same as it came over the wire.
 */
export type ResponseEditor = (call: ClientCall, status: number, headers: ResponseHeaders) => void;

/** From now on `edit` sees the response of this call first. The editor that was added last comes first. */
export function editResponse(call: ClientCall, edit: ResponseEditor): void {
  call.handler = new EditingHandler(call, call.handler, edit);
}

/** Stands in front of the application's handler. */
class EditingHandler implements Handler {
  readonly #call: ClientCall;
  readonly #inner: Handler;
  readonly #edit: ResponseEditor;

  constructor(call: ClientCall, inner: Handler, edit: ResponseEditor) {
    this.#call = call;
    this.#inner = inner;
    this.#edit = edit;
  }

  onRequestStart(controller: Controller, context: unknown): void {
    this.#inner.onRequestStart?.(controller, context);
  }

  onResponseStart(controller: Controller, status: number, headers: ResponseHeaders, statusText?: string): void {
    // What comes ahead of the response is not the response.
    if (status >= 200) this.#edit(this.#call, status, headers);
    this.#inner.onResponseStart?.(controller, status, headers as never, statusText);
  }

  onRequestUpgrade(controller: Controller, status: number, headers: ResponseHeaders, socket: Duplex): void {
    this.#edit(this.#call, status, headers);
    this.#inner.onRequestUpgrade?.(controller, status, headers as never, socket);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#inner.onResponseData?.(controller, chunk);
  }

  onResponseEnd(controller: Controller, trailers: ResponseHeaders): void {
    this.#inner.onResponseEnd?.(controller, trailers as never);
  }

  onResponseError(controller: Controller, error: Error): void {
    this.#inner.onResponseError?.(controller, error);
  }

  onResponseStarted(): void {
    this.#inner.onResponseStarted?.();
  }

  onBodySent(chunk: Buffer): void {
    this.#inner.onBodySent?.(chunk as never);
  }

  onRequestSent(): void {
    this.#inner.onRequestSent?.();
  }
}
