import { compactVerify } from 'jose';
import type { VerificationKey } from '../lib/jwks.ts';
import { type JwtFailure, jwtFailure } from './failure.ts';
import type { KeyScan, KeyScans } from './key-scans.ts';
import type { KeySet, KeySource } from './keys.ts';
import type { ParsedToken } from './token.ts';

/** Keys that are tried for one token: each costs a verification. */
export const maxKeysPerToken = 5;

/** How far a token that does not name its key is tried. */
export interface BoundedScan {
  readonly scans: KeyScans;
  readonly scan: KeyScan;
}

/** Waits for keys of an issuer, and does meanwhile what is to be done meanwhile. */
export type WaitForKeys = (keys: Promise<KeySet | undefined>) => Promise<KeySet | undefined>;

/**
 * Verifies the signature of a token with the keys of a rule, which it hands back when it is good.
 * Asks for newer keys once when there are none, or none that the token could mean.
 *
 * @param bounded what tokens that do not name their key may cost; default whatever they cost
 */
export async function verifySignature(
  token: ParsedToken,
  source: KeySource,
  wait: WaitForKeys = (keys) => keys,
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
  const { kid } = token;
  const { scan, scans } = bounded ?? {};
  const ordered = kid === undefined && scan !== undefined ? scans?.order(candidates, scan.now) : candidates;
  for (const [index, candidate] of (ordered ?? candidates).entries()) {
    const isNamed = kid !== undefined && candidate.kid === kid;
    if (index > 0 && !isNamed && scan !== undefined && scans?.mayTry(candidate, scan) === false) {
      return jwtFailure('busy', 'too many tokens of this caller that name no key were good for none');
    }
    try {
      // The algorithm is one that the key itself allows; whatever else the header asks for is not read.
      await compactVerify(token.text, candidate.key, { algorithms: [token.algorithm] });
      if (scan !== undefined) scans?.succeeded(candidate, scan);
      return keys;
    } catch {
      // Not signed with this one.
    }
  }
  return jwtFailure('verification-failed');
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
