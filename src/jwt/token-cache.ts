import { hash } from 'node:crypto';
import { refusedByTime } from './claims.ts';
import type { LiveRule } from './rules.ts';
import type { VerifiedToken } from './verify.ts';

/** Bounds of a {@link TokenCache}. */
export interface TokenCacheLimits {
  /** Default 10,000. */
  readonly maxEntries?: number;
  /** Of what is remembered, roughly. Default 16 MiB. */
  readonly maxBytes?: number;
}

/** Remembers verified tokens, and only those: who sends bad ones pays for each, and takes no room. */
export interface TokenCache {
  /**
   * A token that one of `rules` has accepted, as long as that rule has the same keys and the time
   * of the token has not passed.
   *
   * @param now milliseconds since the epoch
   */
  find(key: string, rules: readonly LiveRule[], now: number): VerifiedToken | undefined;
  /** @param length of the token, in characters */
  keep(key: string, verified: VerifiedToken, length: number): void;
  readonly size: number;
}

/**
 * By what a token is remembered: its SHA-256. Memory dumps of this process have no tokens of
 * callers who are long gone, which would still be good elsewhere.
 */
export function cacheKey(token: string): string {
  return hash('sha256', token, 'base64url');
}

/** For the entry itself and its key; claims are a few times as large as their text. */
const overheadBytes = 512;
const bytesPerCharacter = 4;

/**
 * Two generations instead of an order of use: what is asked for moves to the young one; when that
 * has half of the room it becomes the old one, and the old one is forgotten. So a hit moves nothing.
 */
export function createTokenCache({ maxBytes = 16_777_216, maxEntries = 10_000 }: TokenCacheLimits = {}): TokenCache {
  interface Entry {
    readonly verified: VerifiedToken;
    readonly bytes: number;
  }
  let young = new Map<string, Entry>();
  let old = new Map<string, Entry>();
  let youngBytes = 0;

  const put = (key: string, entry: Entry): void => {
    if (entry.bytes * 2 > maxBytes) return;
    if ((young.size + 1) * 2 > maxEntries || (youngBytes + entry.bytes) * 2 > maxBytes) {
      old = young;
      young = new Map();
      youngBytes = 0;
    }
    youngBytes += entry.bytes - (young.get(key)?.bytes ?? 0);
    young.set(key, entry);
  };
  const forget = (key: string): void => {
    youngBytes -= young.get(key)?.bytes ?? 0;
    young.delete(key);
    old.delete(key);
  };

  return {
    find(key, rules, now) {
      let entry = young.get(key);
      if (entry === undefined) {
        entry = old.get(key);
        if (entry === undefined) return undefined;
        old.delete(key);
        put(key, entry);
      }
      const { verified } = entry;
      if (verified.live.source.current() !== verified.keys || refusedByTime(verified, now) !== undefined) {
        forget(key);
        return undefined;
      }
      return rules.includes(verified.live) ? verified : undefined;
    },
    keep(key, verified, length) {
      forget(key);
      put(key, { verified, bytes: overheadBytes + length * bytesPerCharacter });
    },
    get size() {
      return young.size + old.size;
    },
  };
}
