import type { Random } from 'inmesh/identity';

/** Pauses between streams, from the start of one to the start of the next: gRPC's, with Envoy's upper end. */
const firstPauseMs = 1_000;
const maxPauseMs = 30_000;
const pauseFactor = 1.6;
/** The pause, less or more by half of it: many clients of a control plane that is back do not come at once. */
const pauseJitter = 0.5;

/** How long to wait between streams. */
export interface Pauses {
  /**
   * From the start of a stream that has ended to the start of the next, milliseconds.
   *
   * @param productive it had a response: no failure, and the next failure is a first one
   */
  next(productive: boolean): number;
}

export function createPauses(random: Random): Pauses {
  let pauseMs = firstPauseMs;
  return {
    next(productive) {
      if (productive) pauseMs = firstPauseMs;
      const next = pauseMs * (1 - pauseJitter + 2 * pauseJitter * random());
      if (!productive) pauseMs = Math.min(maxPauseMs, pauseMs * pauseFactor);
      return next;
    },
  };
}
