import { createPublicKey, type KeyObject } from 'node:crypto';
import { parseStrictJson } from 'inmesh/identity';
import { bounds } from './bounds.ts';
import { badAnswer, quoted, reasonOf } from './problem.ts';
import { trustDomainOf } from './x509.ts';

/** A key that signs JWT-SVIDs. */
export interface JwtAuthority {
  readonly keyId: string;
  readonly publicKey: KeyObject;
  /** The one algorithm that it is for, where the bundle says so. */
  readonly algorithm?: string;
}

/** Keys by trust domain (`example.org`), then by key ID. */
export type JwtBundles = ReadonlyMap<string, ReadonlyMap<string, JwtAuthority>>;

/**
 * Reads the bundles of an answer: one JWK set (RFC 7517) for each trust domain.
 *
 * @throws MeshError `ERR_MESH_WORKLOAD_API`
 */
export function jwtBundlesOf(message: ReadonlyMap<string, Uint8Array>): JwtBundles {
  if (message.size === 0) throw badAnswer('bundles is empty');
  const bundles = new Map<string, ReadonlyMap<string, JwtAuthority>>();
  for (const [key, bytes] of message) {
    try {
      bundles.set(trustDomainOf(key), parseJwtBundle(Buffer.from(bytes).toString('utf8')));
    } catch (cause) {
      throw badAnswer(`bundles[${quoted(key)}]: ${reasonOf(cause)}`, cause);
    }
  }
  return bundles;
}

/**
 * Reads the JWT keys of a JWK set, as the Workload API sends them, or as a SPIFFE bundle document
 * has them beside others. Keys of another use, and of types that JWT-SVIDs know nothing of, are
 * passed over (RFC 7517, section 5; SPIFFE Trust Domain and Bundle, 4.2); a key without ID, two with
 * one ID, a private or weak key make the whole set unusable.
 *
 * @throws Error saying what is wrong
 */
export function parseJwtBundle(text: string): ReadonlyMap<string, JwtAuthority> {
  const set = parseStrictJson(text, { maxLength: bounds.messageBytes, maxDepth: bounds.claimDepth });
  const keys = isObject(set) ? set['keys'] : undefined;
  if (!Array.isArray(keys)) throw new Error('expected a JWK set with a list of keys');
  if (keys.length > bounds.jwtKeys) throw new Error(`a JWK set of more than ${bounds.jwtKeys} keys`);
  const authorities = new Map<string, JwtAuthority>();
  keys.forEach((jwk: unknown, i) => {
    const authority = authorityOf(jwk, `keys[${i}]`);
    if (authority === undefined) return;
    if (authorities.has(authority.keyId)) throw new Error(`two keys have the kid ${quoted(authority.keyId)}`);
    authorities.set(authority.keyId, authority);
  });
  return authorities;
}

function authorityOf(jwk: unknown, at: string): JwtAuthority | undefined {
  if (!isObject(jwk)) throw new Error(`${at} is not an object`);
  const { alg, kid, kty, use } = jwk;
  for (const secret of ['d', 'k', 'p', 'q', 'dp', 'dq', 'qi', 'oth']) {
    if (secret in jwk) throw new Error(`${at} has the member ${secret}: a private key is no part of a bundle`);
  }
  if (use !== undefined && use !== 'jwt-svid' && use !== 'sig') return undefined;
  if (kty !== 'EC' && kty !== 'RSA') return undefined;
  if (typeof kid !== 'string' || kid === '') throw new Error(`${at} has no kid`);
  if (alg !== undefined && typeof alg !== 'string') throw new Error(`${at} has an alg that is not text`);
  return {
    keyId: kid,
    publicKey: importKey(jwk, at),
    ...(alg === undefined ? {} : { algorithm: alg }),
  };
}

function importKey(jwk: Readonly<Record<string, unknown>>, at: string): KeyObject {
  const { crv, e, kty, n, x, y } = jwk;
  // Only what makes the key, so that nothing else in it has a say.
  const material = kty === 'EC' ? { kty, crv, x, y } : { kty, n, e };
  let key: KeyObject;
  try {
    key = createPublicKey({ key: material as Record<string, string>, format: 'jwk' });
  } catch (cause) {
    throw new Error(`${at} is not a public key that can be read`, { cause });
  }
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (kty === 'RSA' && (bits === undefined || bits < 2_048 || bits > 16_384)) {
    throw new Error(`${at} is an RSA key of ${bits} bits, expected 2048 to 16384`);
  }
  if (kty === 'EC' && crv !== 'P-256' && crv !== 'P-384' && crv !== 'P-521') {
    throw new Error(`${at} is on the curve ${quoted(String(crv))}, expected P-256, P-384 or P-521`);
  }
  return key;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
