import type { Duplex } from 'node:stream';
import type { ClientCall, Handler, ResponseHeaders } from './client-call.ts';
import { PassingHandler } from './passing-handler.ts';

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
class EditingHandler extends PassingHandler {
  readonly #call: ClientCall;
  readonly #edit: ResponseEditor;

  constructor(call: ClientCall, inner: Handler, edit: ResponseEditor) {
    super(inner);
    this.#call = call;
    this.#edit = edit;
  }

  override onResponseStart(
    controller: Controller,
    status: number,
    headers: ResponseHeaders,
    statusText?: string,
  ): void {
    // What comes ahead of the response is not the response.
    if (status >= 200) this.#edit(this.#call, status, headers);
    super.onResponseStart(controller, status, headers, statusText);
  }

  override onRequestUpgrade(controller: Controller, status: number, headers: ResponseHeaders, socket: Duplex): void {
    this.#edit(this.#call, status, headers);
    super.onRequestUpgrade(controller, status, headers, socket);
  }
}
