/** The window moves on in this many steps. */
const steps = 10;

/**
 * Counts successes and failures of the last `windowMs`, in steps of a tenth of it. Recording and
 * reading cost the same however many calls there were: nothing is kept of a call but its count.
 */
export class RollingCounts {
  readonly #stepMs: number;
  readonly #successes: Float64Array;
  readonly #failures: Float64Array;
  /** The step that is counted in, since the beginning of time. */
  #step: number;
  #allSuccesses: number;
  #allFailures: number;

  constructor(windowMs: number) {
    this.#stepMs = windowMs / steps;
    this.#successes = new Float64Array(steps);
    this.#failures = new Float64Array(steps);
    this.#step = 0;
    this.#allSuccesses = 0;
    this.#allFailures = 0;
  }

  record(now: number, failed: boolean, count = 1): void {
    this.moveTo(now);
    const slot = this.#step % steps;
    if (failed) {
      this.#failures[slot] = (this.#failures[slot] as number) + count;
      this.#allFailures += count;
    } else {
      this.#successes[slot] = (this.#successes[slot] as number) + count;
      this.#allSuccesses += count;
    }
  }

  /** Forgets what is older than the window at this moment. */
  moveTo(now: number): void {
    const step = Math.floor(now / this.#stepMs);
    const passed = Math.min(step - this.#step, steps);
    if (passed <= 0) return;
    for (let i = 1; i <= passed; i++) {
      const slot = (this.#step + i) % steps;
      this.#allSuccesses -= this.#successes[slot] as number;
      this.#allFailures -= this.#failures[slot] as number;
      this.#successes[slot] = 0;
      this.#failures[slot] = 0;
    }
    this.#step = step;
  }

  get successes(): number {
    return this.#allSuccesses;
  }

  get failures(): number {
    return this.#allFailures;
  }
}
