import type { VerificationKey } from '../lib/jwks.ts';
import type { Attempts } from './attempts.ts';
import type { CostOf } from './verification-cost.ts';

/**
 * Bounds what bad tokens cost. A token that does not name its key is tried with one key after the other, and one
 * verification with a key of P-384 costs as much as ten with one of P-256; to its sender random bytes cost nothing.
 *
 * Free is what costs no more than {@link maxFreeCost}: one verification with a key of P-256, or five of RSA with 2,048 bits. So are
 * tried the key that a token names, those that have verified a token within {@link provenMs}, the latest first, or else the first.
 * Those are what issuers sign with, so their tokens are accepted whatever others send, also where all come from one address.
 * Whatever goes beyond takes attempts of the caller, which a good token gives back.
 */
export interface KeyScans {
  /**
   * Whether a token may be read: a long one takes attempts for that, for to read it costs as much as to verify it.
   * {@link KeyScans.end} must be called afterwards.
   */
  mayRead(length: number, scan: KeyScan): boolean | Promise<boolean>;
  /** It is known what the token is. */
  end(scan: KeyScan): void;
  /**
   * Tries the keys that may have signed a token.
   *
   * @param isSignedWith never rejects
   * @param wait for attempts that others may give back; default by waiting
   * @returns `busy`: not all were tried, and none that were has signed it
   */
  tryKeys(
    keys: readonly VerificationKey[],
    kid: string | undefined,
    scan: KeyScan,
    isSignedWith: (key: VerificationKey) => Promise<boolean>,
    wait?: <T>(what: Promise<T>) => Promise<T>,
  ): Promise<'good' | 'bad' | 'busy'>;
}

/** One token that is tried, with the keys of all rules that look where it is. */
export interface KeyScan {
  /** Who sends it: an identity, or else an address. */
  readonly caller: string;
  /** These have not signed it. */
  readonly failed: Set<VerificationKey>;
  /** Attempts for reading it, as long as it is not known whether it is good. */
  held: number;
  /** No key was tried yet. */
  isFirst: boolean;
  /** What it may cost without attempts. */
  freeCost: number;
  /** Attempts that it has taken and spent. */
  spent: number;
}

/** For how long a key counts as one that the issuer signs with. */
export const provenMs = 600_000;
/** What one token may cost without attempts, in signatures of RSA with 2,048 bits. */
export const maxFreeCost = 5;

/** A token with more characters takes attempts to be read, one for so many of them. */
export const longToken = 2_048;
const charactersPerAttempt = 1_024;

export function newScan(caller: string): KeyScan {
  return { caller, failed: new Set(), held: 0, isFirst: true, freeCost: maxFreeCost, spent: 0 };
}

/** @param now monotonic milliseconds */
export function createKeyScans(attempts: Attempts, costOf: CostOf, now: () => number): KeyScans {
  const proven = new WeakMap<VerificationKey, number>();
  const provenAt = (key: VerificationKey, at: number): number => {
    const last = proven.get(key) ?? -Infinity;
    return at - last < provenMs ? last : -Infinity;
  };
  /** The last that verified a token first. Of no effect on which keys are tried. */
  const inOrder = (keys: readonly VerificationKey[], at: number): readonly VerificationKey[] => {
    if (keys.length < 2 || keys.every((key) => provenAt(key, at) === -Infinity)) return keys;
    return keys.toSorted((a, b) => {
      const [first, second] = [provenAt(a, at), provenAt(b, at)];
      return first === second ? 0 : second - first;
    });
  };

  return {
    mayRead(length, scan) {
      if (length <= longToken) return true;
      const cost = Math.ceil(length / charactersPerAttempt);
      const taken = attempts.take(scan.caller, cost, cost);
      const hold = (each: number): boolean => {
        scan.held = each;
        return each > 0;
      };
      return typeof taken === 'number' ? hold(taken) : taken.then(hold);
    },
    end(scan) {
      if (scan.held > 0) attempts.settle(scan.caller, scan.held, 0);
      scan.held = 0;
    },
    async tryKeys(keys, kid, scan, isSignedWith, wait = (what) => what) {
      const { caller, failed } = scan;
      const at = now();
      const signs = async (key: VerificationKey): Promise<boolean> => {
        if (!(await isSignedWith(key))) {
          failed.add(key);
          return false;
        }
        proven.set(key, now());
        return true;
      };
      /** Takes of what is free. */
      const isFree = (key: VerificationKey): boolean => {
        const isMeant = (kid !== undefined && key.kid === kid) || provenAt(key, at) !== -Infinity;
        const cost = costOf(key);
        if (cost > scan.freeCost || !(isMeant || scan.isFirst)) return false;
        scan.isFirst = false;
        scan.freeCost -= cost;
        return true;
      };

      const paid: VerificationKey[] = [];
      for (const key of inOrder(keys, at)) {
        if (failed.has(key)) continue;
        if (!isFree(key)) paid.push(key);
        else if (await signs(key)) {
          attempts.settle(caller, scan.held, scan.held + scan.spent);
          scan.held = 0;
          return 'good';
        }
      }
      const [first] = paid;
      if (first === undefined) return 'bad';
      // Nobody waits for attempts while others wait for those that he holds.
      const { held } = scan;
      attempts.settle(caller, held, held);
      scan.held = 0;
      const wanted = paid.reduce((sum, key) => sum + costOf(key), held);
      const given = attempts.take(caller, costOf(first) + held, wanted);
      const taken = typeof given === 'number' ? given : await wait(given);
      if (taken === 0) {
        attempts.settle(caller, 0, -held);
        return 'busy';
      }
      let left = taken - held;
      scan.spent += held;
      let back = 0;
      try {
        for (const key of paid) {
          const cost = costOf(key);
          if (cost > left) return 'busy';
          left -= cost;
          scan.spent += cost;
          if (!(await signs(key))) continue;
          back = scan.spent;
          return 'good';
        }
        return 'bad';
      } finally {
        attempts.settle(caller, taken, back + left);
      }
    },
  };
}
