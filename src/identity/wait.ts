import type { Clock } from '../lib/clock.ts';

/** Resolves after `ms`, or at once when `signal` aborts. Leaves no timer and no listener behind. */
export function waitFor(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // An abort before the listener is there would not be announced again.
    if (signal.aborted) return resolve();
    const done = (): void => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(ms, done);
    signal.addEventListener('abort', done);
  });
}
