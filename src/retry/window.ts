import type { Clock } from '../lib/clock.ts';

/** Counts what happened during the last while. */
export interface RequestWindow {
  readonly lengthMs: number;
  add(): void;
  count(): number;
}

const slices = 10;

/** A window in ten slices: what is forgotten is forgotten a tenth of the window at a time. */
export function requestWindow(lengthMs: number, clock: Clock): RequestWindow {
  const counts = new Uint32Array(slices);
  const sliceMs = lengthMs / slices;
  let total = 0;
  let current = Math.floor(clock.now() / sliceMs);

  const turn = (): void => {
    const now = Math.floor(clock.now() / sliceMs);
    for (let gone = Math.min(now - current, slices); gone > 0; gone--) {
      const slot = (now - gone + 1) % slices;
      total -= counts[slot] as number;
      counts[slot] = 0;
    }
    current = now;
  };

  return {
    lengthMs,
    add() {
      turn();
      counts[current % slices] = (counts[current % slices] as number) + 1;
      total++;
    },
    count() {
      turn();
      return total;
    },
  };
}
