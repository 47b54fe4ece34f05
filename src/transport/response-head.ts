import type { Dispatcher } from 'undici';
import { MeshError } from '../errors.ts';
import { maxInformational, tooInformative } from '../lib/informational.ts';
import type { ClientCall, ResponseHeaders } from '../pipeline/client-call.ts';

/** A response up to this size is read to its end, although nobody wants it, to keep its connection. */
const maxDrainedBytes = 65_536;

/**
 * What a try ends with whose response is none that may be passed on.
 *
 * @param informed how many informational responses there were, with this one
 */
export function whyNoResponse(status: number, headers: ResponseHeaders, informed: number): MeshError | undefined {
  if (status < 100) return broken(`status ${status}`);
  if (informed > maxInformational) return tooInformative();
  const coding = headers['transfer-encoding'];
  // It has no body at all: what its head announces would be taken for the next response. As in Envoy.
  if (status === 204) {
    const { 'content-length': length = '0' } = headers;
    return coding === undefined && length === '0' ? undefined : broken('a length, of a status that has no content');
  }
  if (coding === undefined || coding === 'chunked' || String(coding).toLowerCase() === 'chunked') return undefined;
  return broken('a transfer-encoding other than chunked');
}

function broken(what: string): MeshError {
  return new MeshError('ERR_MESH_UPSTREAM_PROTOCOL', `the response cannot be passed on: ${what}`);
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
