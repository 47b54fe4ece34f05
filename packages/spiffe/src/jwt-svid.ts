import { type Clock, MeshError, parseSpiffeId, systemClock } from 'inmesh/identity';
import { errors, jwtVerify } from 'jose';
import type { JwtAuthority, JwtBundles } from './jwt-bundles.ts';
import { badToken, quoted, reasonOf } from './problem.ts';
import type { Claims } from './struct.ts';
import { readTokenText } from './token-text.ts';

/** A JWT-SVID: a token, and what it says. */
export interface JwtSvid {
  readonly spiffeId: string;
  readonly trustDomain: string;
  /** For a header `authorization: Bearer <token>`. Whoever has it can use it: do not log it. */
  readonly token: string;
  readonly audience: readonly string[];
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  /** All claims, those above included. */
  readonly claims: Claims;
  /** What the operator says this identity is for; '' for nothing. */
  readonly hint: string;
}

/** JWT-SVID, section 2.1. No others, and `none` least of all. */
const algorithms: ReadonlySet<string> = new Set([
  'RS256',
  'RS384',
  'RS512',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
]);

/** JWT-SVID, section 2: these headers and no others. */
const headers: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);

/** What a token says about itself. */
export interface ReadToken extends JwtSvid {
  readonly algorithm: string;
  readonly keyId: string | undefined;
}

/**
 * Reads a JWT-SVID and checks everything but its signature and its time: algorithm, type, headers,
 * subject, audience and expiry are there and have the right form.
 *
 * @throws MeshError `ERR_MESH_PEER_IDENTITY`
 */
export function readJwtSvid(token: string, hint = ''): ReadToken {
  const { claims, header } = readTokenText(token);
  const { alg, kid, typ } = header;
  if (typeof alg !== 'string' || !algorithms.has(alg)) {
    throw badToken(`expected an alg of ${[...algorithms].join(', ')}, not ${quoted(String(alg))}`);
  }
  if (typ !== undefined && typ !== 'JWT' && typ !== 'JOSE') {
    throw badToken(`expected the typ JWT or JOSE or none, not ${quoted(String(typ))}`);
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) throw badToken('the kid is not text');
  const other = Object.keys(header).find((name) => !headers.has(name));
  if (other !== undefined) throw badToken(`the header ${quoted(other)} must not be in a JWT-SVID`);
  const { aud, exp, sub } = claims;
  if (typeof sub !== 'string') throw badToken('it has no sub');
  const { path, trustDomain, uri } = parseSubject(sub);
  if (path === '') throw badToken(`expected a workload, its sub is that of a trust domain: ${uri}`);
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw badToken('it has no exp');
  const audience = typeof aud === 'string' ? [aud] : aud;
  if (!isTextList(audience) || audience.length === 0 || audience.includes('')) throw badToken('it has no aud');
  return {
    spiffeId: uri,
    trustDomain,
    token,
    audience,
    expiresAt: exp * 1_000,
    claims,
    hint,
    algorithm: alg,
    keyId: kid,
  };
}

function parseSubject(sub: string) {
  try {
    return parseSpiffeId(sub);
  } catch (cause) {
    throw badToken(`its sub is ${reasonOf(cause)}`, cause);
  }
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/** What a token is held against. */
export interface VerifyJwtOptions {
  /** Who we are for callers: one of these must be in `aud`. Compared whole. */
  readonly audience: string | readonly string[];
  /** Keys by trust domain, as `fetchJwtBundles` and `watchJwtBundles` give them. */
  readonly bundles: JwtBundles;
  /** How far clocks may differ, milliseconds. Default 60,000. */
  readonly toleranceMs?: number;
  readonly clock?: Clock;
}

/**
 * Verifies a JWT-SVID here, without asking anybody: the rules of the JWT-SVID standard, the signature
 * by a key of the subject's own trust domain, audience and time. Without `kid` the trust domain must
 * have exactly one key that fits.
 *
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` saying what was expected; never with the token in it.
 * `ERR_MESH_OPTION_INVALID` for a tolerance that is none
 *
 * @example
 * const bundles = await client.fetchJwtBundles();
 * const { spiffeId } = await verifyJwtSvid(token, { audience: 'spiffe://example.org/cart', bundles });
 */
export async function verifyJwtSvid(token: string, options: VerifyJwtOptions): Promise<JwtSvid> {
  const { bundles, clock = systemClock, toleranceMs = 60_000 } = options;
  // No comparison with NaN is true: every token would be in time.
  if (!(toleranceMs >= 0 && Number.isFinite(toleranceMs))) {
    const message = `toleranceMs: expected 0 or more, not ${String(toleranceMs)}`;
    throw new MeshError('ERR_MESH_OPTION_INVALID', message);
  }
  const audience = typeof options.audience === 'string' ? [options.audience] : options.audience;
  // jose takes an empty list for "anybody's".
  if (audience.length === 0 || audience.includes('')) throw badToken('there is no audience to hold it against');
  const { algorithm, keyId, ...svid } = readJwtSvid(token);
  const keys = bundles.get(svid.trustDomain);
  if (keys === undefined) throw badToken(`there is no JWT bundle of the trust domain ${svid.trustDomain}`);
  const { publicKey } = findKey(keys, algorithm, keyId, svid.trustDomain);
  try {
    await jwtVerify(token, publicKey, {
      algorithms: [algorithm],
      audience: [...audience],
      requiredClaims: ['sub', 'aud', 'exp'],
      currentDate: new Date(clock.wallNow()),
      clockTolerance: toleranceMs / 1_000,
    });
  } catch (cause) {
    throw badToken(reasonFor(cause, svid, audience), cause);
  }
  return svid;
}

function findKey(
  keys: ReadonlyMap<string, JwtAuthority>,
  algorithm: string,
  keyId: string | undefined,
  trustDomain: string,
): JwtAuthority {
  const of = `the trust domain ${trustDomain}`;
  if (keyId !== undefined) {
    const key = keys.get(keyId);
    if (key === undefined) throw badToken(`${of} has no key ${quoted(keyId)}`);
    if (!fits(key, algorithm)) throw badToken(`the key ${quoted(keyId)} of ${of} is not for ${algorithm}`);
    return key;
  }
  const fitting = [...keys.values()].filter((key) => fits(key, algorithm));
  const [only] = fitting;
  if (only === undefined || fitting.length > 1) {
    throw badToken(`it has no kid, and ${of} has ${fitting.length} keys for ${algorithm}`);
  }
  return only;
}

const curves: Readonly<Record<string, string>> = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' };

/** RFC 7518, 3.1: the type of a key, and for ECDSA its curve, go with the algorithm. */
function fits({ algorithm: only, publicKey }: JwtAuthority, algorithm: string): boolean {
  if (only !== undefined && only !== algorithm) return false;
  const { asymmetricKeyDetails, asymmetricKeyType } = publicKey;
  const curve = curves[algorithm];
  return curve === undefined
    ? asymmetricKeyType === 'rsa'
    : asymmetricKeyType === 'ec' && asymmetricKeyDetails?.namedCurve === curve;
}

function reasonFor(error: unknown, svid: JwtSvid, audience: readonly string[]): string {
  const of = `of ${svid.spiffeId}`;
  if (error instanceof errors.JWTExpired) return `that ${of} expired at ${dateOf(svid.expiresAt)}`;
  if (error instanceof errors.JWSSignatureVerificationFailed) return `the signature ${of} is wrong`;
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'aud') {
    return `expected the audience ${audience.map(quoted).join(' or ')}, that ${of} is for ${svid.audience.slice(0, 10).map(quoted).join(', ')}`;
  }
  return `that ${of}: ${reasonOf(error)}`;
}

function dateOf(ms: number): string {
  // A date beyond the year 275,760 has no text.
  return Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`;
}
