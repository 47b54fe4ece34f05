import { createHash } from 'node:crypto';
import type { LocalRateLimit } from '../model/rate-limit.ts';
import { BucketState, refill } from './token-bucket.ts';

/** Keys are made of what callers send: of a longer one a digest is kept, so that a table stays small. */
const longestKey = 256;

/** With a full table it is looked through for buckets that need not be kept at most this often, milliseconds. */
const sweepIntervalMs = 1_000;

/**
 * The buckets of one limit, by key. A bucket is forgotten only when it is full again, which loses
 * nothing. While the table is full, whoever comes new shares one bucket: so a flood of made-up keys
 * costs neither memory nor gives anybody more tokens, and does not touch those that are known.
 */
export class Buckets {
  limit: LocalRateLimit;
  readonly #states: Map<string, BucketState>;
  #shared: BucketState | undefined;
  #sweptAt: number;

  constructor(limit: LocalRateLimit) {
    this.limit = limit;
    this.#states = new Map();
    this.#shared = undefined;
    this.#sweptAt = Number.NEGATIVE_INFINITY;
  }

  get size(): number {
    return this.#states.size;
  }

  /** The bucket of a key, up to date. */
  of(given: string, now: number): BucketState {
    const key = given.length > longestKey ? digestOf(given) : given;
    const { bucket } = this.limit;
    let state = this.#states.get(key);
    if (state === undefined) {
      if (this.#states.size >= this.limit.maxKeys) this.#sweep(now);
      if (this.#states.size >= this.limit.maxKeys) state = this.#shared ??= new BucketState(bucket.maxTokens, now);
      else this.#states.set(key, (state = new BucketState(bucket.maxTokens, now)));
    }
    refill(state, bucket, now);
    return state;
  }

  /** Takes over a changed limit: what was used up stays used up. */
  adopt(limit: LocalRateLimit, now: number): void {
    const { bucket } = this.limit;
    const all = [...this.#states.values(), ...(this.#shared === undefined ? [] : [this.#shared])];
    for (const state of all) {
      refill(state, bucket, now);
      const used = bucket.maxTokens - state.tokens;
      state.tokens = Math.max(0, limit.bucket.maxTokens - used);
    }
    this.limit = limit;
  }

  #sweep(now: number): void {
    if (now - this.#sweptAt < sweepIntervalMs) return;
    this.#sweptAt = now;
    const { bucket } = this.limit;
    for (const [key, state] of this.#states) {
      refill(state, bucket, now);
      if (state.tokens >= bucket.maxTokens) this.#states.delete(key);
    }
  }
}

function digestOf(key: string): string {
  // What stands in front is in no header: nobody writes the digest of somebody else's key.
  return `\0${createHash('sha256').update(key).digest('base64')}`;
}

/** The buckets of all limits of a process; they outlive configurations. */
export interface RateLimitMemory {
  /** The buckets of a limit: those of the one with the same name and keys before it, if there was one. */
  of(limit: LocalRateLimit, now: number): Buckets;
  /** Forgets the limits that are not among these. */
  keep(limits: readonly LocalRateLimit[]): void;
}

export function createRateLimitMemory(): RateLimitMemory {
  const all = new Map<string, Buckets>();
  return {
    of(limit, now) {
      const known = all.get(limit.name);
      if (known !== undefined && JSON.stringify(known.limit.by) === JSON.stringify(limit.by)) {
        if (known.limit !== limit) known.adopt(limit, now);
        return known;
      }
      const buckets = new Buckets(limit);
      all.set(limit.name, buckets);
      return buckets;
    },
    keep(limits) {
      const names = new Set(limits.map(({ name }) => name));
      for (const name of all.keys()) if (!names.has(name)) all.delete(name);
    },
  };
}
