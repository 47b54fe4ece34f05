import type { TokenBucket } from '../model/rate-limit.ts';

/** A bucket as it was when it was looked at last. */
export class BucketState {
  tokens: number;
  /** Monotonic time in milliseconds. */
  at: number;

  constructor(tokens: number, at: number) {
    this.tokens = tokens;
    this.at = at;
  }
}

/**
 * Brings a bucket up to date. Tokens come evenly, and not all at the end of an interval: so there is
 * no moment around which twice as many requests pass, and never more than `maxTokens` plus what came in.
 */
export function refill(
  state: BucketState,
  { fillIntervalMs, maxTokens, tokensPerFill }: TokenBucket,
  now: number,
): void {
  // The clock is monotonic; should it ever stand back, nothing is given for it.
  if (now <= state.at) return;
  state.tokens = Math.min(maxTokens, state.tokens + ((now - state.at) * tokensPerFill) / fillIntervalMs);
  state.at = now;
}

/** Milliseconds until a bucket that is up to date has so many tokens; 0 when it has. */
export function timeUntil(state: BucketState, tokens: number, { fillIntervalMs, tokensPerFill }: TokenBucket): number {
  return Math.max(0, ((tokens - state.tokens) * fillIntervalMs) / tokensPerFill);
}
