import type { Clock } from 'inmesh/identity';
import { ipBytes } from './ip.ts';

/** Allows each caller so many requests a second, with a burst. */
export interface RateLimiter {
  /** Takes one; false when the caller at this address has to wait. */
  take(address: string): boolean;
}

/** Whoever has one address of IPv6 has 2^64 of them: the network counts. */
function callerOf(address: string): string {
  const bytes = address.includes(':') && !address.startsWith('fe80:') ? ipBytes(address) : undefined;
  if (bytes === undefined || isMapped(bytes)) return address;
  return bytes.toString('hex', 0, 8);
}

/** `::ffff:192.0.2.1`, IPv4 on a socket for both. */
function isMapped(bytes: Buffer): boolean {
  return bytes.readUInt32BE(0) === 0 && bytes.readUInt32BE(4) === 0 && bytes.readUInt32BE(8) === 0xffff;
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
    take: (address) => {
      const now = clock.now();
      const caller = callerOf(address);
      const bucket = buckets.get(caller);
      if (bucket === undefined && buckets.size >= maxCallers) forget(now);
      const level = bucket === undefined ? burst : levelNow(bucket, now);
      buckets.set(caller, { level: level >= 1 ? level - 1 : level, at: now });
      return level >= 1;
    },
  };
}
