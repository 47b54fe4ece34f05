import type { VerificationKey } from '../lib/jwks.ts';
import { type Random, systemRandom } from '../lib/random.ts';
import { xxHash64 } from '../lib/xxhash64.ts';

/**
 * Bounds what tokens cost that do not name their key. Such a token is tried with one key after the other: one that is
 * good for none costs as many verifications as there are keys, and its sender nothing.
 *
 * Always tried are the keys that have verified a token within {@link provenMs}, and where there are none the first of
 * the set. Those are what the issuer signs with, so its tokens are accepted whatever others send, also where all come
 * from one address. Each key more takes an attempt of the caller. Attempts come back with time, and at once when
 * the token turns out to be good.
 */
export interface KeyScans {
  /** The keys to try, the last that verified a token first. Of no effect on which. */
  order(keys: readonly VerificationKey[], now: number): readonly VerificationKey[];
  /** Whether a token may be tried with a key more; takes an attempt where that is not free. */
  mayTry(key: VerificationKey, scan: KeyScan): boolean;
  /** A key has verified the token. */
  succeeded(key: VerificationKey, scan: KeyScan): void;
}

/** One token that is tried. */
export interface KeyScan {
  /** Who sends it: an identity, or else an address. */
  readonly caller: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Attempts that it has taken. */
  taken: number;
}

/** For how long a key counts as one that the issuer signs with. */
export const provenMs = 600_000;
/** Attempts that a caller has at once, and how many come back in a second. */
export const maxAttempts = 20;
export const attemptsPerSecond = 2;
/** Callers are spread over so many places by chance: together they never have more than this times the above. */
export const places = 64;

/** The scans of one process. */
export function createKeyScans(random: Random = systemRandom): KeyScans {
  const proven = new WeakMap<VerificationKey, number>();
  const left = new Float64Array(places).fill(maxAttempts);
  const since = new Float64Array(places);
  // Nobody can say who shares a place with whom.
  const seed = Math.floor(random() * 2 ** 32);
  const placeOf = (caller: string): number => xxHash64(caller, seed).low % places;
  const provenAt = (key: VerificationKey, now: number): number => {
    const at = proven.get(key) ?? -Infinity;
    return now - at < provenMs ? at : -Infinity;
  };
  return {
    order(keys, now) {
      if (keys.length < 2 || keys.every((key) => provenAt(key, now) === -Infinity)) return keys;
      return keys.toSorted((a, b) => {
        const [first, second] = [provenAt(a, now), provenAt(b, now)];
        return first === second ? 0 : second - first;
      });
    },
    mayTry(key, scan) {
      if (provenAt(key, scan.now) !== -Infinity) return true;
      const place = placeOf(scan.caller);
      // A clock that was set back gives nothing.
      const passed = Math.max(0, scan.now - (since[place] as number));
      const now = Math.min(maxAttempts, (left[place] as number) + (passed / 1_000) * attemptsPerSecond);
      since[place] = scan.now;
      left[place] = now;
      if (now < 1) return false;
      left[place] = now - 1;
      scan.taken++;
      return true;
    },
    succeeded(key, scan) {
      proven.set(key, scan.now);
      const place = placeOf(scan.caller);
      if (scan.taken > 0) left[place] = Math.min(maxAttempts, (left[place] as number) + scan.taken);
    },
  };
}
