import type { Clock } from '../../src/lib/clock.ts';

/** A clock that a test moves by hand. */
export interface FakeClock extends Clock {
  /** Moves both times forward and runs what became due, in order of due time. */
  advance(ms: number): void;
  /** Like {@link FakeClock.advance}, and lets promises settle after each timer. */
  advanceAsync(ms: number): Promise<void>;
  /** Moves only the wall clock, as a correction of the system time does. */
  jump(ms: number): void;
  /** How many timers wait. */
  pending(): number;
}

/** A clock that stands still. `wallStart` is milliseconds since the epoch (default: the real time now). */
export function fakeClock(wallStart: number = Date.now()): FakeClock {
  let mono = 1_000;
  let offset = wallStart - mono;
  let sequence = 0;
  const timers = new Map<number, { due: number; action: () => void }>();

  const next = (until: number): { due: number; action: () => void } | undefined => {
    let best: number | undefined;
    for (const [id, timer] of timers) {
      if (timer.due > until) continue;
      if (best === undefined || timer.due < (timers.get(best)?.due ?? 0)) best = id;
    }
    if (best === undefined) return undefined;
    const timer = timers.get(best);
    timers.delete(best);
    return timer;
  };
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 10; i++) await Promise.resolve();
  };

  return {
    now: () => mono,
    wallNow: () => mono + offset,
    after: (delayMs, action) => {
      const id = ++sequence;
      timers.set(id, { due: mono + Math.max(0, delayMs), action });
      return () => {
        timers.delete(id);
      };
    },
    afterIo: (action) => {
      setImmediate(action);
    },
    advance: (ms) => {
      const until = mono + ms;
      for (let timer = next(until); timer !== undefined; timer = next(until)) {
        mono = Math.max(mono, timer.due);
        timer.action();
      }
      mono = until;
    },
    advanceAsync: async (ms) => {
      const until = mono + ms;
      await settle();
      for (let timer = next(until); timer !== undefined; timer = next(until)) {
        mono = Math.max(mono, timer.due);
        timer.action();
        await settle();
      }
      mono = until;
    },
    jump: (ms) => {
      offset += ms;
    },
    pending: () => timers.size,
  };
}
