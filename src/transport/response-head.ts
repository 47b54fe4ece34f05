import type { Dispatcher } from 'undici';
import { MeshError } from '../errors.ts';
import type { ResponseHeaders } from '../pipeline/client-call.ts';

/** A response up to this size is read to its end, although nobody wants it, to keep its connection. */
const maxDrainedBytes = 65_536;

/** More informational responses (1xx) than this are no answer: a server could send them for ever. */
export const maxInformational = 100;

/** What a try ends with that got more. */
export function tooInformative(): MeshError {
  const message = `more than ${maxInformational} informational responses, and no final one`;
  return new MeshError('ERR_MESH_UPSTREAM_RESET', message);
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
