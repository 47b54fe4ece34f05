import type { Clock } from 'inmesh/identity';

/** Allows each caller so many requests a second, with a burst. */
export interface RateLimiter {
  /** Takes one; false when the caller has to wait. */
  take(caller: string): boolean;
}

const maxCallers = 10_000;

/** A token bucket for each caller. Full buckets are forgotten, so that memory is bounded. */
export function createRateLimiter(perSecond: number, burst: number, clock: Clock): RateLimiter {
  const buckets = new Map<string, { level: number; at: number }>();
  const levelNow = (bucket: { level: number; at: number }, now: number): number =>
    Math.min(burst, bucket.level + ((now - bucket.at) / 1_000) * perSecond);
  const forget = (now: number): void => {
    for (const [caller, bucket] of buckets) if (levelNow(bucket, now) >= burst) buckets.delete(caller);
    // Still too many callers at once: drop those that were seen first, a tenth of all, so that this is seldom.
    for (const caller of buckets.keys()) {
      if (buckets.size <= maxCallers * 0.9) return;
      buckets.delete(caller);
    }
  };
  return {
    take: (caller) => {
      const now = clock.now();
      const bucket = buckets.get(caller);
      if (bucket === undefined && buckets.size >= maxCallers) forget(now);
      const level = bucket === undefined ? burst : levelNow(bucket, now);
      buckets.set(caller, { level: level >= 1 ? level - 1 : level, at: now });
      return level >= 1;
    },
  };
}
