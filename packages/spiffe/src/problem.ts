import { MeshError } from 'inmesh/identity';

/** What an unusable answer of the Workload API is reported as. */
export function badAnswer(reason: string, cause?: unknown): MeshError {
  return new MeshError('ERR_MESH_WORKLOAD_API', `the Workload API sent an unusable answer: ${reason}`, { cause });
}

/** What a JWT-SVID is refused with. */
export function badToken(reason: string, cause?: unknown): MeshError {
  return new MeshError('ERR_MESH_PEER_IDENTITY', `JWT-SVID refused: ${reason}`, { cause });
}

/** Text of others in a message of ours: quoted and short. */
export function quoted(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

/** What an error says, for a message that wraps it. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
