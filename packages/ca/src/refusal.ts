import { MeshError } from 'inmesh/identity';

/** Why the authority refuses, with the HTTP status that says so. A closed table: clients may rely on the words. */
export const refusals = {
  /** The request is not what the API takes. */
  bad_request: 400,
  /** The certificate request is malformed, its signature is wrong, or it asks for more than a leaf. */
  bad_csr: 400,
  /** The key is of a kind or size that is not accepted. */
  weak_key: 400,
  /** No join token and no certificate, or a certificate that proves nothing. */
  unauthenticated: 401,
  /** The join token is unknown, expired or used up. One word for all: a stranger learns nothing. */
  token_invalid: 401,
  /** The request names another identity than the caller has proven. */
  identity_mismatch: 403,
  /** The key was certified for another identity before. */
  key_reused: 403,
  /** The certificate or the identity was revoked. */
  revoked: 403,
  not_found: 404,
  method_not_allowed: 405,
  /** Not at this point: a step of a rotation out of order, say. */
  conflict: 409,
  too_large: 413,
  rate_limited: 429,
  internal: 500,
  /** The authority has no certificate that it could sign with. */
  unavailable: 503,
} as const;

/** One of the reasons in {@link refusals}. */
export type RefusalReason = keyof typeof refusals;

/** An error of the authority: code `ERR_MESH_CA`, with the reason. */
export type Refusal = MeshError & { readonly reason: RefusalReason };

/** Makes the error of a refusal. */
export function refusal(reason: RefusalReason, message: string, cause?: unknown): Refusal {
  return Object.assign(new MeshError('ERR_MESH_CA', message, { cause }), { reason });
}

/** The reason that an error carries; nothing when it is not a {@link Refusal}. */
export function reasonOf(error: unknown): RefusalReason | undefined {
  if (!(error instanceof MeshError) || !('reason' in error)) return undefined;
  const { reason } = error;
  return typeof reason === 'string' && Object.hasOwn(refusals, reason) ? (reason as RefusalReason) : undefined;
}
