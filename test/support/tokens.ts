import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { fixedKeys } from '../../src/jwt/keys.ts';
import type { JwtRule } from '../../src/model/request-authentication.ts';

/** A key that issues tokens. */
export interface TestKey {
  readonly privateKey: KeyObject;
  /** Public members, as they stand in a key set. */
  readonly jwk: Readonly<Record<string, unknown>>;
}

type Members = Readonly<Record<string, unknown>>;

const curves: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

/** A new key for an algorithm. */
export function makeTokenKey(alg: string, members: Members = {}): TestKey {
  const curve = curves[alg];
  const { privateKey, publicKey } =
    curve !== undefined
      ? generateKeyPairSync('ec', { namedCurve: curve })
      : alg.startsWith('Ed')
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: 2_048 });
  return { privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), ...members } };
}

/** The text of a key set. */
export function jwksOf(...keys: readonly TestKey[]): string {
  return JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });
}

export const encode = (value: string | Buffer): string => Buffer.from(value).toString('base64url');

/** Parts of a token; a text is taken as it is, whatever it is. */
export interface TokenParts {
  readonly header?: Members | string;
  readonly claims?: Members | string | Buffer;
  readonly key: TestKey;
  /** Default RS256. */
  readonly alg?: string;
}

/** Signs a token by hand, so that it may be one that no library would make. */
export function makeToken({ alg = 'RS256', claims = {}, header = { alg, kid: 'k1' }, key }: TokenParts): string {
  const text = (part: Members | string | Buffer): string | Buffer =>
    typeof part === 'string' || Buffer.isBuffer(part) ? part : JSON.stringify(part);
  const signed = `${encode(text(header))}.${encode(text(claims))}`;
  return `${signed}.${encode(signatureOf(signed, alg, key.privateKey))}`;
}

function signatureOf(signed: string, alg: string, privateKey: KeyObject): Buffer {
  const data = Buffer.from(signed);
  const digest = `sha${alg.slice(2)}`;
  if (alg.startsWith('Ed')) return sign(null, data, privateKey);
  if (alg.startsWith('ES')) return sign(digest, data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  // PSS with a salt as long as the digest (RFC 7518 section 3.5).
  return alg.startsWith('PS')
    ? sign(digest, data, { key: privateKey, padding: 6, saltLength: Number(alg.slice(2)) / 8 })
    : sign(digest, data, privateKey);
}

/** A rule that takes tokens of `https://issuer.example`, with the keys inline. */
export function tokenRule(jwks: string, more: Partial<JwtRule> = {}): JwtRule {
  return {
    issuer: 'https://issuer.example',
    audiences: [],
    keys: { kind: 'inline', jwks },
    fromHeaders: [],
    fromParams: [],
    fromCookies: [],
    outputClaimToHeaders: [],
    forwardOriginalToken: false,
    timeoutMs: 5_000,
    spaceDelimitedClaims: [],
    ...more,
  };
}

/** The keys of rules that have theirs inline. */
export function inlineKeysOf(): (rule: JwtRule) => ReturnType<typeof fixedKeys> {
  const known = new Map<string, ReturnType<typeof fixedKeys>>();
  return ({ keys }) => {
    if (keys.kind !== 'inline') throw new Error('the keys are not inline');
    let source = known.get(keys.jwks);
    if (source === undefined) known.set(keys.jwks, (source = fixedKeys(keys.jwks)));
    return source;
  };
}

/** A RequestAuthentication of namespace `shop` for `https://issuer.example`, with the keys inline. */
export function authenticationYaml(jwks: string, more = ''): string {
  return `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec: {jwtRules: [{issuer: "https://issuer.example", jwks: '${jwks}'${more}}]}
`;
}
