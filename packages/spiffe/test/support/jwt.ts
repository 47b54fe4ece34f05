import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** Tokens for tests, good ones and hostile ones, put together byte by byte. */

const curves: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

/** A private key for an algorithm of JWT-SVIDs. */
export function jwtKey(algorithm: string): KeyObject {
  const namedCurve = curves[algorithm];
  return namedCurve === undefined
    ? generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey
    : generateKeyPairSync('ec', { namedCurve }).privateKey;
}

/** The public half as a member of a JWK set. */
export function jwkOf(key: KeyObject, kid: string, more: object = {}): object {
  return { ...createPublicKey(key).export({ format: 'jwk' }), kid, ...more };
}

const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A signed token. Header and claims may be JSON text that no sane builder would write. */
export function signToken(key: KeyObject, header: object | string, claims: object | string): string {
  const input = `${encode(header)}.${encode(claims)}`;
  const given = (header as { readonly alg?: unknown }).alg;
  const alg = typeof given === 'string' ? given : 'ES256';
  const padding = alg.startsWith('PS') ? { padding: 6, saltLength: Number(alg.slice(2)) / 8 } : {};
  const bytes = sign(`sha${/^[A-Z]{2}\d{3}$/.test(alg) ? alg.slice(2) : '256'}`, Buffer.from(input), {
    key,
    dsaEncoding: 'ieee-p1363',
    ...padding,
  });
  return `${input}.${bytes.toString('base64url')}`;
}
