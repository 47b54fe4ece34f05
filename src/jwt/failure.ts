/**
 * Why a token is not accepted, each with what the caller reads: Envoy's words, which say no more
 * than that. `detail` of a {@link JwtFailure} says more, to the log.
 */
export const jwtFailures = {
  missing: 'Jwt is missing',
  'bad-format': 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  'header-encoding': 'Jwt header is an invalid Base64url encoded',
  'header-json': 'Jwt header is an invalid JSON',
  'header-alg': 'Jwt header [alg] field is required and must be a string',
  'alg-unsupported': 'Jwt header [alg] is not supported',
  'header-kid': 'Jwt header [kid] field is not a string',
  'payload-encoding': 'Jwt payload is an invalid Base64url encoded',
  'payload-json': 'Jwt payload is an invalid JSON',
  'bad-iss': 'Jwt payload [iss] field is not a string',
  'bad-sub': 'Jwt payload [sub] field is not a string',
  'bad-iat': 'Jwt payload [iat] field is not an integer',
  'bad-nbf': 'Jwt payload [nbf] field is not an integer',
  'bad-exp': 'Jwt payload [exp] field is not an integer',
  'bad-jti': 'Jwt payload [jti] field is not a string',
  'bad-aud': 'Jwt payload [aud] field is not a string or string list',
  'signature-encoding': 'Jwt signature is an invalid Base64url encoded',
  'unknown-issuer': 'Jwt issuer is not configured',
  'not-yet-valid': 'Jwt not yet valid',
  expired: 'Jwt is expired',
  audience: 'Audiences in Jwt are not allowed',
  'no-keys': 'Jwks remote fetch is failed',
  'no-matching-key': "Jwks doesn't have key to match kid or alg from Jwt",
  'verification-failed': 'Jwt verification fails',
  'too-many-tokens': 'Found multiple Jwt tokens',
  busy: 'overloaded',
} as const;

/** One of {@link jwtFailures}. */
export type JwtFailureReason = keyof typeof jwtFailures;

/** A token that is not accepted. Never holds a part of the token. */
export interface JwtFailure {
  readonly reason: JwtFailureReason;
  /** For the log: more than the caller is told. */
  readonly detail?: string;
}

/** @param detail more than the caller is told, without any part of the token */
export function jwtFailure(reason: JwtFailureReason, detail?: string): JwtFailure {
  return detail === undefined ? { reason } : { reason, detail };
}
