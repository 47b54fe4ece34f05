import type { Random } from '../lib/random.ts';
import type { ResponseHeaders } from '../pipeline/client-call.ts';

/** An answer that asks for a longer wait is final: what it says is worth more than a call that hangs. */
export const longestAskedWaitMs = 10_000;

/** Never again, an exact wait, or the least of one. */
export type Pushback = 'final' | { readonly waitMs: number; readonly jitter: boolean };

/**
 * What an answer says about the next try. `grpc-retry-pushback-ms` (gRFC A6): that many milliseconds,
 * or never when it is negative or no number. `retry-after` in seconds or as a date, then
 * `x-ratelimit-reset` as seconds since 1970 (Envoy's `rate_limited_retry_back_off`): not before
 * that. Nothing, zero, what has passed and what cannot be read: the usual back-off.
 *
 * @param wallNow milliseconds since 1970
 */
export function pushbackOf(headers: ResponseHeaders, wallNow: number): Pushback | undefined {
  const exact = headers['grpc-retry-pushback-ms'];
  if (exact !== undefined) {
    const waitMs = wholeNumber(exact);
    return waitMs === undefined ? 'final' : { waitMs, jitter: false };
  }
  const waitMs = afterMs(headers['retry-after'], wallNow) ?? resetMs(headers['x-ratelimit-reset'], wallNow);
  return waitMs === undefined ? undefined : { waitMs, jitter: true };
}

/**
 * How long to wait for it: up to half as long again where several callers were told the same, as in
 * Envoy. Nothing: longer than the call has left, or than anybody should wait.
 */
export function pushbackMs(
  { waitMs, jitter }: Exclude<Pushback, 'final'>,
  leftMs: number,
  random: Random,
): number | undefined {
  if (waitMs >= leftMs || waitMs > longestAskedWaitMs) return undefined;
  const spread = jitter ? waitMs * (1 + random() / 2) : waitMs;
  return spread < leftMs ? spread : waitMs;
}

function afterMs(text: string | string[] | undefined, wallNow: number): number | undefined {
  const seconds = wholeNumber(text);
  if (seconds !== undefined) return positive(seconds * 1_000);
  // Only the form that RFC 9110 has servers write: Date.parse takes nearly anything for a date.
  if (typeof text !== 'string' || text.length !== 29 || !text.endsWith(' GMT')) return undefined;
  return positive(Date.parse(text) - wallNow);
}

function resetMs(text: string | string[] | undefined, wallNow: number): number | undefined {
  const seconds = wholeNumber(text);
  return seconds === undefined ? undefined : positive(seconds * 1_000 - wallNow);
}

function positive(ms: number): number | undefined {
  return ms > 1 ? ms : undefined;
}

/** One to 15 digits. */
function wholeNumber(text: string | string[] | undefined): number | undefined {
  if (typeof text !== 'string' || text.length === 0 || text.length > 15) return undefined;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
  }
  return Number(text);
}
