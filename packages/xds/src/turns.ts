import type { Clock } from 'inmesh/identity';

/** Work in steps: between two of them others may have their turn. */
export type Steps<T> = Generator<void, T, void>;

/** Does one piece of work after the other, each in slices, so that requests are served in between. */
export interface Turns {
  /**
   * Begins at once where nothing is under way, and may then end before it returns. `done` follows in the same
   * slice: what the steps have found is put into force before anybody else looks.
   *
   * @param failed is told what the steps, or `done`, have thrown
   */
  run<T>(steps: Iterator<void, T, void>, done: (result: T) => void, failed: (error: unknown) => void): void;
  /** Whether something is under way, or waits for it. */
  busy(): boolean;
  /** What is under way is left as it is. */
  close(): void;
}

/** How long one slice may take, milliseconds; a single step may be longer. */
const sliceMs = 5;

interface Job {
  /** @returns whether it has ended */
  step(): boolean;
  failed(error: unknown): void;
}

/** @param idle is called when the last piece of several has ended */
export function createTurns(clock: Clock, idle: () => void = () => {}): Turns {
  const jobs: Job[] = [];
  let running = false;
  let closed = false;
  /** When this turn of the event loop has had its slice; nothing: it had none yet. */
  let sliceEnd: number | undefined;

  const work = (): void => {
    running = true;
    if (sliceEnd === undefined) {
      sliceEnd = clock.now() + sliceMs;
      clock.afterIo(nextTurn);
    }
    for (let job = jobs[0]; job !== undefined && !closed; job = jobs[0]) {
      // Many small pieces, each begun by what has just arrived, are as long as a large one.
      if (clock.now() >= sliceEnd) return;
      let ended = true;
      try {
        ended = job.step();
      } catch (error) {
        job.failed(error);
      }
      if (ended) jobs.shift();
    }
    running = false;
    if (!closed) idle();
  };
  const nextTurn = (): void => {
    sliceEnd = undefined;
    if (running && !closed) work();
  };

  return {
    run(steps, done, failed) {
      jobs.push({
        step() {
          const { done: ended, value } = steps.next();
          if (ended === true) done(value);
          return ended === true;
        },
        failed,
      });
      if (!running && !closed) work();
    },
    busy: () => running,
    close() {
      closed = true;
      jobs.length = 0;
    },
  };
}

/** Does all steps in one go. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
