import { parseJwks, type VerificationKey } from '../lib/jwks.ts';

/**
 * The keys of one issuer at one time, ready to verify with. Never changed after it was made: who
 * remembers what was verified with it remembers it for this object.
 */
export interface KeySet {
  /** Counts the sets of one source that differ, from 1. For people: what is remembered hangs on the object itself. */
  readonly generation: number;
  readonly keys: readonly VerificationKey[];
  /** Those that name a `kid`. More than one may have the same (RFC 7517 section 4.5). */
  readonly byKid: ReadonlyMap<string, readonly VerificationKey[]>;
}

/**
 * Why somebody wants new keys. `none`: there are none. `unknown-key`: a token names a `kid`, or
 * has an algorithm, that no key has.
 */
export type RefreshReason = 'none' | 'unknown-key';

/** Where the keys of one {@link JwtRule} come from, kept up to date in the background. */
export interface KeySource {
  /**
   * The last good keys, at once; nothing as long as there were none. The same object until the
   * keys differ: an answer with the same keys as before is no new set.
   */
  current(): KeySet | undefined;
  /**
   * Asks for newer keys and waits for them, within the rule's `timeoutMs`. All who ask at the same
   * time share one request; within the cool-down, or where keys cannot change, it answers at once
   * what `current` does. Never rejects: what went wrong is logged and counted by the source.
   */
  refresh(reason: RefreshReason): Promise<KeySet | undefined>;
}

/** Indexes keys that were read by {@link parseJwks}. */
export function keySetOf(keys: readonly VerificationKey[], generation = 1): KeySet {
  const byKid = new Map<string, VerificationKey[]>();
  for (const key of keys) {
    if (key.kid === undefined) continue;
    const same = byKid.get(key.kid);
    if (same === undefined) byKid.set(key.kid, [key]);
    else same.push(key);
  }
  return { generation, keys, byKid };
}

/**
 * Keys that never change: those inline in a rule, or given for an explanation.
 *
 * @throws Error when the text is no usable key set
 */
export function fixedKeys(jwks: string): KeySource {
  const set = keySetOf(parseJwks(jwks).keys);
  return { current: () => set, refresh: async () => set };
}

/** No keys, ever: what cannot be verified is not accepted. */
export const noKeys: KeySource = { current: () => undefined, refresh: async () => undefined };
