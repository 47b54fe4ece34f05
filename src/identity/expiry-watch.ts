import type { Clock } from '../lib/clock.ts';

/** Shares of the life that is left at which a certificate that was not renewed is reported. */
const warningShares = [0.5, 0.25, 0.1, 0] as const;

/** The wall clock is looked at this often: a suspended machine or a corrected clock moves it against timers. */
const lookEveryMs = 60_000;

/**
 * Tells once each when half, a quarter and a tenth of the life that a certificate has now are left,
 * and when it has ended (share 0). When the clock jumps over several of them only the last is told.
 * Returns a function that ends it.
 */
export function watchExpiry(clock: Clock, notAfter: number, tell: (shareLeft: number) => void): () => void {
  const life = notAfter - clock.wallNow();
  let next = 0;
  let cancel = (): void => {};
  const dueAt = (index: number): number => notAfter - life * (warningShares[index] as number);
  const wait = (): void => {
    const leftMs = dueAt(next) - clock.wallNow();
    cancel = clock.after(Math.min(Math.max(leftMs, 0), lookEveryMs), look);
  };
  const look = (): void => {
    const before = next;
    while (next < warningShares.length && clock.wallNow() >= dueAt(next)) next++;
    if (next < warningShares.length) wait();
    if (next > before) tell(warningShares[next - 1] as number);
  };
  wait();
  return () => cancel();
}
