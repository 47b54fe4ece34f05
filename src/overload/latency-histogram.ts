/** Steps for each doubling of the latency: one is 4.4 % wide. */
const stepsPerDoubling = 16;
/** From 1 µs to more than an hour. */
const buckets = 32 * stepsPerDoubling;

/** Latencies of a window in steps of equal ratio: recording costs the same however many there are. */
export class LatencyHistogram {
  readonly #counts: Uint32Array;
  #total: number;

  constructor() {
    this.#counts = new Uint32Array(buckets);
    this.#total = 0;
  }

  get total(): number {
    return this.#total;
  }

  record(ms: number): void {
    const at = Math.floor(Math.log2(Math.max(1, ms * 1_000)) * stepsPerDoubling);
    const slot = Math.min(at, buckets - 1);
    this.#counts[slot] = (this.#counts[slot] as number) + 1;
    this.#total++;
  }

  /** In milliseconds, 0 without any; within a step evenly spread. */
  percentile(percent: number): number {
    if (this.#total === 0) return 0;
    const rank = (percent / 100) * this.#total;
    let below = 0;
    for (let slot = 0; slot < buckets; slot++) {
      const count = this.#counts[slot] as number;
      if (count > 0 && below + count >= rank) {
        return 2 ** ((slot + (rank - below) / count) / stepsPerDoubling) / 1_000;
      }
      below += count;
    }
    return 0;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }
}
