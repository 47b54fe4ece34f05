import { MeshError, type MeshErrorCode } from '../errors.ts';
import { grpcStatusOf } from './grpc-answer.ts';

/**
 * What the failures of the mesh are to a gRPC client, where the status of HTTP would say less or
 * something else: time that ran out is DEADLINE_EXCEEDED, and a refusal for want of rights is no
 * reason to try again. All others are what gRPC makes of their status, as of an Envoy.
 */
const statuses: Partial<Record<MeshErrorCode, number>> = {
  ERR_MESH_TIMEOUT: 4,
  ERR_MESH_TRY_TIMEOUT: 4,
  ERR_MESH_DEADLINE_EXPIRED: 4,
  ERR_MESH_OPTION_INVALID: 3,
  ERR_MESH_UNSUPPORTED: 12,
  ERR_MESH_RATE_LIMITED: 8,
};

/** Status of a call that failed with this error; 14 is UNAVAILABLE. */
export function grpcStatusOfError(error: MeshError): number {
  if (error.code === 'ERR_MESH_STREAM_RESET' || error.code === 'ERR_MESH_UPSTREAM_PROTOCOL') {
    const { rstCode } = (error.cause ?? {}) as { readonly rstCode?: number };
    if (rstCode !== undefined) return grpcStatusOfReset(rstCode);
  }
  return statuses[error.code] ?? grpcStatusOf(error.status);
}

/** Error codes of RST_STREAM (gRPC over HTTP/2, "Errors"): those that do not mean INTERNAL. */
export function grpcStatusOfReset(code: number): number {
  switch (code) {
    // REFUSED_STREAM: nothing was done, it may be tried again.
    case 7:
      return 14;
    // CANCEL
    case 8:
      return 1;
    // ENHANCE_YOUR_CALM
    case 11:
      return 8;
    // INADEQUATE_SECURITY
    case 12:
      return 7;
    default:
      return 13;
  }
}

/** How a try failed, where that says something about its endpoint or the way there: gRPC may retry these. */
export function isFailedTry(error: unknown): error is MeshError {
  return error instanceof MeshError && ofTries.has(error.code);
}

const ofTries: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  'ERR_MESH_CONNECT_FAILED',
  'ERR_MESH_TLS_FAILED',
  'ERR_MESH_PEER_IDENTITY',
  'ERR_MESH_STREAM_REFUSED',
  'ERR_MESH_STREAM_RESET',
  'ERR_MESH_UPSTREAM_RESET',
  'ERR_MESH_UPSTREAM_PROTOCOL',
  'ERR_MESH_TRY_TIMEOUT',
]);
