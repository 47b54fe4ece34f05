import type { Duplex } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import { type HeaderList, headerValue, setHeader } from '../lib/header-list.ts';
import { ClientCall, ClientRequest, grpcCall, type Handler, type ResponseHeaders } from '../pipeline/client-call.ts';
import { shadowHost } from './decide.ts';

/** A response of a mirror is read to its end up to this size, to keep the connection; a longer one is cut. */
export const maxReadResponse = 65_536;

type Controller = Parameters<NonNullable<Handler['onResponseData']>>[0];
type Body = ClientRequest['body'];

/** What is sent of a call, kept before anything inside of the mirror filter adds to it. */
export class Original {
  readonly call: ClientCall;
  readonly path: string;
  readonly headers: HeaderList;
  readonly host: string;

  constructor(call: ClientCall) {
    const { headers } = call.request;
    this.call = call;
    this.path = call.path;
    this.headers = headers.slice();
    // Without a header of its own the connection would send the host that the call is for.
    this.host = headerValue(headers, 'host') ?? (call.host === '' ? hostOf(call.origin) : call.host);
  }

  /** A call of its own, which nobody waits for. */
  copy(body: Body, cluster: string, clock: Clock): ClientCall {
    const { call } = this;
    const { request } = call;
    const headers = this.headers.slice();
    setHeader(headers, 'host', shadowHost(this.host));
    const options = {
      method: request.method as 'GET',
      path: this.path,
      body,
      idempotent: request.idempotent ?? null,
      [grpcCall]: request.grpc,
    };
    const sent = new ClientRequest(this.path, headers, options as ConstructorParameters<typeof ClientRequest>[2]);
    const copy = new ClientCall(call.origin, sent, new Discarding(), undefined, clock.now());
    copy.route = call.route;
    copy.cluster = cluster;
    return copy;
  }
}

/** Reads a response and keeps nothing of it. */
class Discarding implements Handler {
  #read: number;

  constructor() {
    this.#read = 0;
  }

  onRequestStart(): void {
    // Nobody could want to stop it.
  }

  onResponseStart(controller: Controller, _status: number, headers: ResponseHeaders): void {
    const length = headers['content-length'];
    if (typeof length === 'string' && Number(length) > maxReadResponse) controller.abort(tooLong);
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#read += chunk.byteLength;
    if (this.#read > maxReadResponse) controller.abort(tooLong);
  }

  onRequestUpgrade(_controller: Controller, _status: number, _headers: ResponseHeaders, socket: Duplex): void {
    socket.destroy();
  }

  onResponseEnd(): void {
    // The response is of no interest.
  }

  onResponseError(): void {
    // Counted, and that is all.
  }
}

const tooLong = new Error('the rest of a response to a copy is not wanted');

/** `http://reviews:9080` is called with the Host header `reviews:9080`. */
function hostOf(origin: string): string {
  return origin.slice(origin.indexOf('//') + 2);
}
