import type { Clock } from '../lib/clock.ts';

/**
 * Resolves after `ms`, or at once when `signal` aborts. Leaves no timer and no listener behind. Does not
 * keep the process alive unless `keepAlive` says so.
 */
export function waitFor(clock: Clock, ms: number, signal: AbortSignal, keepAlive = false): Promise<void> {
  return new Promise((resolve) => {
    // An abort before the listener is there would not be announced again.
    if (signal.aborted) return resolve();
    const done = (): void => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(ms, done, keepAlive);
    signal.addEventListener('abort', done);
  });
}
