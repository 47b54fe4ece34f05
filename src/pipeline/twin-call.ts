import type { Duplex } from 'node:stream';
import { CallMessages } from './call-messages.ts';
import type { Handler, ResponseHeaders } from './client-call.ts';
import { ClientCall, ClientRequest, grpcCall } from './client-call.ts';
import { addFlag } from './response-flags.ts';

type Controller = Parameters<NonNullable<Handler['onResponseData']>>[0];

/**
 * One of several tries of a call that run at the same time: a call of its own to everything inside,
 * since a call has one try under way. What it brings reaches the application once it was
 * {@link TwinCall.adopt adopted}; until then nobody hears of it.
 */
export class TwinCall extends ClientCall {
  readonly parent: ClientCall;

  constructor(parent: ClientCall, now: number) {
    const { request } = parent;
    const options = {
      method: request.method,
      body: request.body,
      headersTimeout: request.headersTimeoutMs,
      bodyTimeout: request.bodyTimeoutMs,
      reset: request.reset,
      expectContinue: request.expectContinue,
      idempotent: request.idempotent,
      blocking: request.blocking,
      [grpcCall]: request.grpc,
    };
    const copy = new ClientRequest(
      request.path,
      request.headers.slice(),
      options as unknown as ConstructorParameters<typeof ClientRequest>[2],
    );
    const handler = new TwinHandler();
    super(parent.origin, copy, handler, parent.scope, now);
    this.parent = parent;
    this.path = parent.path;
    this.host = parent.host;
    this.route = parent.route;
    this.cluster = parent.cluster;
    this.hash = parent.hash;
    this.deadline = parent.deadline;
    this.failedEndpoints = parent.failedEndpoints?.slice();
    this.impostors = parent.impostors;
    this.trace = parent.trace;
    this.span = parent.span;
    // Told by the parent, once one of its twins is what the application gets.
    if (parent.messages !== undefined) this.messages = new CallMessages(nowhere);
  }

  /** From now on this is what the application gets. */
  adopt(): void {
    (this.handler as TwinHandler).twin = this;
    const { parent } = this;
    parent.endpoint = this.endpoint;
    if (parent.paused) this.pause();
    this.watch({
      callEnded: (_call, status, error) => {
        parent.endpoint = this.endpoint;
        parent.requestBytes = this.requestBytes;
        parent.responseBytes = this.responseBytes;
        parent.grpcStatus = this.grpcStatus;
        parent.messages = this.messages;
        for (const flag of this.flag.split(',')) parent.flag = addFlag(parent.flag, flag);
        parent.ended(status, error);
      },
    });
  }
}

const nowhere = (): undefined => undefined;

/** Hands on to the application of the parent, in the parent's name, once there is a twin to do it for. */
class TwinHandler implements Handler {
  twin: TwinCall | undefined;

  constructor() {
    this.twin = undefined;
  }

  onRequestStart(): void {
    // The application has been told, once.
  }

  onResponseStart(_controller: Controller, status: number, headers: ResponseHeaders, statusText?: string): void {
    const { twin } = this;
    if (twin === undefined) return;
    const { parent } = twin;
    parent.rawHeaders = twin.rawHeaders;
    this.#tell(twin, () => parent.handler.onResponseStart?.(parent, status, headers as never, statusText));
  }

  onResponseData(_controller: Controller, chunk: Buffer): void {
    const { twin } = this;
    if (twin === undefined) return;
    const { parent } = twin;
    try {
      parent.handler.onResponseData?.(parent, chunk);
    } catch (error) {
      parent.abort(error as Error);
    }
  }

  onResponseEnd(_controller: Controller, trailers: ResponseHeaders): void {
    const { twin } = this;
    if (twin === undefined) return;
    const { parent } = twin;
    parent.rawTrailers = twin.rawTrailers;
    parent.handler.onResponseEnd?.(parent, trailers as never);
  }

  onRequestUpgrade(_controller: Controller, _status: number, _headers: ResponseHeaders, socket: Duplex): void {
    // Upgrades are made once: none comes here.
    socket.destroy();
  }

  onResponseError(_controller: Controller, error: Error): void {
    const { twin } = this;
    if (twin !== undefined) twin.parent.tellError(twin.parent.cancelled ? (twin.parent.reason as Error) : error);
  }

  #tell({ parent }: TwinCall, action: () => void): void {
    try {
      action();
    } catch (error) {
      // As undici does it: an exception in the handler aborts the request.
      parent.abort(error as Error);
    }
  }
}
