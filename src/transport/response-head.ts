import type { Dispatcher } from 'undici';
import { MeshError } from '../errors.ts';
import type { ClientCall, ResponseHeaders } from '../pipeline/client-call.ts';

/** A response up to this size is read to its end, although nobody wants it, to keep its connection. */
const maxDrainedBytes = 65_536;

/** More informational responses (1xx) than this are no answer: a server could send them for ever. */
export const maxInformational = 100;

/** What a try ends with that got more. */
export function tooInformative(): MeshError {
  const message = `more than ${maxInformational} informational responses, and no final one`;
  return new MeshError('ERR_MESH_UPSTREAM_PROTOCOL', message);
}

/** Is it worth reading to its end? One that does not say how long it is, is not. */
export function isShort(headers: ResponseHeaders): boolean {
  const length = headers['content-length'];
  return typeof length === 'string' && Number(length) <= maxDrainedBytes;
}

/** Headers or trailers as they came over the wire. */
export function rawOf(raw: Dispatcher.DispatchController['rawHeaders']): Buffer[] | string[] | null {
  return Array.isArray(raw) ? raw : null;
}

/** `grpc-status`: in the trailers, as a rule, and in the head of an answer that is nothing else; -1 without one. */
export function grpcStatusIn(trailers: ResponseHeaders | undefined, headers: ResponseHeaders): number {
  const status = trailers?.['grpc-status'] ?? headers['grpc-status'];
  return status === undefined ? -1 : Number(status);
}

export const noHeaders: ResponseHeaders = {};

/** What a response ends with that nobody wants any more. */
export const discarded: Error = new Error('response discarded: another try follows');

/** 1xx goes straight on to the application: it commits to nothing (RFC 9110 section 15.2). */
export function inform(
  call: ClientCall,
  controller: Dispatcher.DispatchController,
  status: number,
  headers: ResponseHeaders,
  statusText: string | undefined,
): void {
  call.rawHeaders = rawOf(controller.rawHeaders);
  try {
    call.handler.onResponseStart?.(call, status, headers as never, statusText);
  } catch (error) {
    call.abort(error as Error);
  }
}
