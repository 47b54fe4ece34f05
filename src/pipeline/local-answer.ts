import { STATUS_CODES } from 'node:http';
import { discardBody } from '../lib/discard-body.ts';
import type { ClientCall, Reply, ResponseHeaders } from './client-call.ts';
import { addFlag } from './response-flags.ts';

/** A response that the mesh gives in place of the service, because its configuration says so. */
export interface LocalAnswer {
  readonly status: number;
  /** Names in lower case; with `content-length` where there is a body. */
  readonly headers: Readonly<ResponseHeaders>;
  /** Absent for none. Left out of the answer to HEAD. */
  readonly body?: Uint8Array;
  /** Envoy response flag, `''` for none. */
  readonly flag: string;
}

/** The reply to one call that consists of such an answer. Nothing was sent. */
export class LocalReply implements Reply {
  readonly status: number;
  /** This reply's own: filters may edit them. */
  readonly headers: ResponseHeaders;
  readonly #answer: LocalAnswer;

  constructor(answer: LocalAnswer) {
    this.status = answer.status;
    this.headers = { ...answer.headers };
    this.#answer = answer;
  }

  deliver(call: ClientCall): void {
    const { body, flag } = this.#answer;
    const { handler, request } = call;
    // Whatever the application still asks of the call is not the business of a try before.
    call.running = undefined;
    call.flag = addFlag(call.flag, flag);
    call.localHeaders = this.headers;
    call.ended(this.status, undefined);
    call.rawHeaders = rawHeadersOf(this.headers);
    discardBody(request.body);
    let told = false;
    try {
      handler.onResponseStart?.(call, this.status, this.headers as never, STATUS_CODES[this.status] ?? '');
      if (body !== undefined && request.method !== 'HEAD' && !call.cancelled) {
        handler.onResponseData?.(call, Buffer.from(body.buffer, body.byteOffset, body.byteLength));
      }
      if (!call.cancelled) {
        told = true;
        call.rawTrailers = [];
        handler.onResponseEnd?.(call, {});
      }
    } catch (thrown) {
      // As undici does it: an exception in the handler aborts the request.
      call.abort(thrown as Error);
      told = false;
    }
    if (call.cancelled && !told) call.tellError(call.reason as Error);
  }

  discard(): void {
    // Nothing is under way.
  }
}

function rawHeadersOf(headers: ResponseHeaders): Buffer[] {
  const raw: Buffer[] = [];
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue;
    for (const one of typeof value === 'string' ? [value] : value) {
      raw.push(Buffer.from(name, 'latin1'), Buffer.from(one, 'latin1'));
    }
  }
  return raw;
}
