import { constants, verify } from 'node:crypto';
import { compactVerify } from 'jose';
import type { VerificationKey } from '../lib/jwks.ts';
import { derSignature } from './der-signature.ts';
import { type JwtFailure, jwtFailure } from './failure.ts';
import { type KeyScan, type KeyScans, maxFreeCost } from './key-scans.ts';
import type { KeySet, KeySource } from './keys.ts';
import type { ParsedToken } from './token.ts';
import { costOf } from './verification-cost.ts';

/** Keys that are tried for one token: each costs a verification. */
export const maxKeysPerToken = 5;

/** What a token may cost that is good for none of the keys. */
export interface BoundedScan {
  readonly scans: KeyScans;
  readonly scan: KeyScan;
}

/** Waits for what others have to say or to give back (keys of an issuer, attempts), and keeps nobody waiting meanwhile. */
export type WaitAside = <T>(what: Promise<T>) => Promise<T>;

export const waitHere: WaitAside = (what) => what;

/**
 * Verifies the signature of a token with the keys of a rule, which it hands back when it is good.
 * Asks for newer keys once when there are none, or none that the token could mean.
 *
 * @param bounded what tokens may cost that are not good; default whatever they cost
 */
export async function verifySignature(
  token: ParsedToken,
  source: KeySource,
  wait: WaitAside = waitHere,
  bounded?: BoundedScan,
): Promise<KeySet | JwtFailure> {
  let keys = source.current();
  if (keys === undefined) {
    keys = await wait(source.refresh('none'));
    if (keys === undefined) return jwtFailure('no-keys');
  }
  let candidates = keysFor(token, keys);
  if (candidates.length === 0) {
    keys = (await wait(source.refresh('unknown-key'))) ?? keys;
    candidates = keysFor(token, keys);
    if (candidates.length === 0) return jwtFailure('no-matching-key');
  }
  const isSignedWith = (key: VerificationKey): Promise<boolean> => isSigned(token, key);
  const found =
    bounded === undefined
      ? await tryAll(candidates, isSignedWith)
      : await bounded.scans.tryKeys(candidates, token.kid, bounded.scan, isSignedWith, wait);
  if (found === 'good') return keys;
  if (found === 'bad') return jwtFailure('verification-failed');
  return jwtFailure('busy', 'too many tokens of this caller were not good, and this one would cost much to verify');
}

async function tryAll(
  keys: readonly VerificationKey[],
  isSignedWith: (key: VerificationKey) => Promise<boolean>,
): Promise<'good' | 'bad'> {
  for (const key of keys) if (await isSignedWith(key)) return 'good';
  return 'bad';
}

/**
 * jose has the last word. Where a verification costs less than to have a thread do it, bad tokens do not come so far:
 * they are what somebody sends who wants to keep us busy.
 */
async function isSigned(token: ParsedToken, verificationKey: VerificationKey): Promise<boolean> {
  if (costOf(verificationKey) <= maxFreeCost && !isSignedNow(token, verificationKey)) return false;
  const { algorithm, text } = token;
  const { key } = verificationKey;
  try {
    // The algorithm is one that the key itself allows; whatever else the header asks for is not read.
    await compactVerify(text, key, { algorithms: [algorithm] });
    return true;
  } catch {
    return false;
  }
}

/** Of the curves of ES256, ES384 and ES512 (RFC 7518 section 3.4). */
const bytesOfNumber: Readonly<Record<string, number>> = { 256: 32, 384: 48, 512: 66 };

/** The same by OpenSSL alone, at once (RFC 7518 sections 3.3 to 3.5, RFC 8037 section 3.1). */
function isSignedNow({ algorithm, text }: ParsedToken, { key }: VerificationKey): boolean {
  const dot = text.lastIndexOf('.');
  const signed = Buffer.from(text.slice(0, dot), 'latin1');
  const signature = Buffer.from(text.slice(dot + 1), 'base64url');
  const bits = algorithm.slice(2);
  try {
    switch (algorithm.slice(0, 2)) {
      case 'RS':
        return verify(`sha${bits}`, signed, key, signature);
      case 'PS': {
        const padding = constants.RSA_PKCS1_PSS_PADDING;
        return verify(`sha${bits}`, signed, { key, padding, saltLength: Number(bits) / 8 }, signature);
      }
      case 'ES': {
        const der = derSignature(signature, bytesOfNumber[bits] ?? 0);
        return der !== undefined && verify(`sha${bits}`, signed, key, der);
      }
      default:
        return verify(null, signed, key, signature);
    }
  } catch {
    // Not even the form of a signature of this key.
    return false;
  }
}

/**
 * The keys that may have signed a token, by its algorithm and `kid`. As in Envoy a key without `kid`
 * is tried for every token, and a token without one is tried with every key: up to
 * {@link maxKeysPerToken} of them, those that the token names first.
 */
export function keysFor({ algorithm, kid }: ParsedToken, { byKid, keys }: KeySet): readonly VerificationKey[] {
  const named = kid === undefined ? keys : (byKid.get(kid) ?? []);
  const unnamed = kid === undefined ? [] : keys.filter((key) => key.kid === undefined);
  return [...named, ...unnamed].filter(({ algorithms }) => algorithms.includes(algorithm)).slice(0, maxKeysPerToken);
}
