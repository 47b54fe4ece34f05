import type { Random } from '../lib/random.ts';

/**
 * Wait before retry number `retry` (from 1) in milliseconds: uniform in [0, (2^retry - 1) * base),
 * at most ten times the base. Full jitter, Envoy's router (`retry_back_off`).
 */
export function backoffMs(retry: number, baseMs: number, random: Random): number {
  const ceiling = Math.min((2 ** Math.min(retry, 30) - 1) * baseMs, 10 * baseMs);
  return random() * ceiling;
}
