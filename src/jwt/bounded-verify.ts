import type { JwtFailure } from './failure.ts';
import { jwtFailure } from './failure.ts';
import type { LiveRule } from './rules.ts';
import type { WaitAside } from './signature.ts';
import { cacheKey, type TokenCache } from './token-cache.ts';
import type { VerifiedToken, VerifyToken } from './verify.ts';

/** Tokens that are verified at the same time, in all: signatures are checked by the threads of libuv, of which there are few. */
export const maxConcurrent = 64;
/** Tokens that wait for their turn; with more the request is refused as when the process is overloaded. */
export const maxWaiting = 1_024;

/** Verifies the text of a token; what waits for keys of an issuer, or for attempts, does it by `waitAside`. */
export type VerifyInTurn = (
  text: string,
  rules: readonly LiveRule[],
  waitAside: WaitAside,
  caller: string | undefined,
) => Promise<VerifiedToken | JwtFailure>;

/**
 * Verification for requests: what was verified is remembered, a token that many requests present
 * at the same moment is verified once, and only so many are verified at a time. Those that wait for
 * keys of an issuer are not among them: who has good keys need not wait for an issuer that is slow. Nor are those that
 * wait for attempts, which tokens may hold that wait for keys, and then for their turn: each would wait for the other.
 */
export function boundedVerify(verify: VerifyInTurn, cache: TokenCache): VerifyToken {
  const running = new Map<string, { readonly rules: readonly LiveRule[]; readonly result: ReturnType<VerifyToken> }>();
  const waiting: (() => void)[] = [];
  let busy = 0;

  /** The turn goes to who waits longest, or is given back. */
  const giveUp = (): void => {
    const next = waiting.shift();
    if (next === undefined) busy--;
    else next();
  };
  const waitAside: WaitAside = async (what) => {
    giveUp();
    try {
      return await what;
    } finally {
      // Never refused: only so many wait for keys, or for attempts.
      if (busy >= maxConcurrent) await new Promise<void>((resolve) => void waiting.push(resolve));
      else busy++;
    }
  };

  const inTurn: VerifyToken = async (text, rules, caller) => {
    if (busy >= maxConcurrent) {
      if (waiting.length >= maxWaiting) return jwtFailure('busy', 'too many tokens wait to be verified');
      await new Promise<void>((resolve) => void waiting.push(resolve));
    } else busy++;
    try {
      return await verify(text, rules, waitAside, caller);
    } finally {
      giveUp();
    }
  };

  return (text, rules, caller) => {
    const key = cacheKey(text);
    const same = running.get(key);
    if (same !== undefined && same.rules === rules) return same.result;
    const result = inTurn(text, rules, caller)
      .then((verified) => {
        if (!('reason' in verified)) cache.keep(key, verified as VerifiedToken, text.length);
        return verified;
      })
      .finally(() => {
        if (running.get(key)?.result === result) running.delete(key);
      });
    running.set(key, { rules, result });
    return result;
  };
}
