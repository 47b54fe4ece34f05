import type { Clock } from '../lib/clock.ts';
import type { ClientCall } from './client-call.ts';

/** Waits `ms`, but no longer than the call lives: its end rejects at once, and the timer is gone. */
export async function pauseCall(call: ClientCall, clock: Clock, ms: number): Promise<void> {
  let cancel = (): void => {};
  try {
    // There may be nothing else that keeps the process waiting for the call.
    await call.until(new Promise<void>((resolve) => (cancel = clock.after(ms, resolve, true))));
  } catch (error) {
    cancel();
    throw error;
  }
}
