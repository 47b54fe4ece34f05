import { MeshError } from '../errors.ts';

/** More informational responses (1xx) than this are no answer: a server could send them for ever. */
export const maxInformational = 100;

/** What a try ends with that got more. */
export function tooInformative(): MeshError {
  const message = `more than ${maxInformational} informational responses, and no final one`;
  return new MeshError('ERR_MESH_UPSTREAM_PROTOCOL', message);
}
