import type { Random } from '../lib/random.ts';
import type { EventLoopPolicy } from '../model/overload.ts';

/** RFC 9218: 0 is most urgent. */
export const urgencies = 8;

/**
 * By so much the share grows with a sample of the highest delay that is allowed, in proportion to the
 * delay: a loop that is very late is sampled less often. One long stall alone does not turn everybody away.
 */
const growth = 0.1;
const maxGrowth = 0.4;
/** By so much it shrinks with a sample of no delay. */
const decay = 0.08;

/**
 * Turns away a share of the requests while the event loop is late: the share grows with each sample
 * above `maxDelayMs`, the faster the later the loop is, stays between the two delays, and shrinks below
 * `resumeDelayMs`. The least urgent requests go first.
 */
export class Shedder {
  #policy: EventLoopPolicy;
  readonly #random: Random;
  #share: number;
  #delayMs: number;
  /** How many requests of each urgency came since the last sample. */
  readonly #arrivals: Uint32Array;
  /** Urgencies from here on are turned away altogether; the one before by {@link #partly}. */
  #cut: number;
  #partly: number;

  constructor(policy: EventLoopPolicy, random: Random) {
    this.#policy = policy;
    this.#random = random;
    this.#share = 0;
    this.#delayMs = 0;
    this.#arrivals = new Uint32Array(urgencies);
    this.#cut = urgencies;
    this.#partly = 0;
  }

  /** Share that is turned away, 0 to 1, and the last delay of the event loop. */
  get state(): { readonly share: number; readonly delayMs: number } {
    return { share: this.#share, delayMs: this.#delayMs };
  }

  /** The event loop was late by so much. */
  sample(delayMs: number): void {
    const { maxDelayMs, maxShedPercent, resumeDelayMs } = this.#policy;
    this.#delayMs = delayMs;
    if (delayMs > maxDelayMs) {
      const step = Math.min(maxGrowth, (growth * delayMs) / maxDelayMs);
      this.#share = Math.min(maxShedPercent / 100, this.#share + step);
    } else if (delayMs < resumeDelayMs) {
      this.#share = Math.max(0, this.#share - decay * (1 - delayMs / resumeDelayMs));
    }
    this.#share = Math.round(this.#share * 1e6) / 1e6;
    this.#distribute();
    this.#arrivals.fill(0);
  }

  /** Is a request of this urgency turned away? Counts it. */
  sheds(urgency: number): boolean {
    this.#arrivals[urgency] = (this.#arrivals[urgency] as number) + 1;
    if (this.#share === 0) return false;
    if (urgency >= this.#cut) return true;
    return urgency === this.#cut - 1 && this.#random() < this.#partly;
  }

  adopt(policy: EventLoopPolicy): void {
    this.#policy = policy;
    this.#share = Math.min(this.#share, policy.maxShedPercent / 100);
    this.#distribute();
  }

  /** Finds the urgency up to which requests as they came last make up the share, from the least urgent on. */
  #distribute(): void {
    let total = 0;
    for (const count of this.#arrivals) total += count;
    this.#cut = urgencies;
    this.#partly = this.#share;
    if (this.#share === 0) return;
    let wanted = this.#share * total;
    for (let urgency = urgencies - 1; urgency >= 0; urgency--) {
      const count = this.#arrivals[urgency] as number;
      if (count < wanted) {
        wanted -= count;
        continue;
      }
      this.#cut = urgency + 1;
      this.#partly = count === 0 ? this.#share : wanted / count;
      return;
    }
  }
}
