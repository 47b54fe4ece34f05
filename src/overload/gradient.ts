import type { Random } from '../lib/random.ts';
import type { AdaptivePolicy } from '../model/overload.ts';
import { LatencyHistogram } from './latency-histogram.ts';

/** After so many windows at the lowest limit the latency without load is measured anew (Envoy: 5). */
const lowWindows = 5;

/**
 * Envoy's gradient controller: the limit grows with the square root of itself as long as the latency
 * of a window is near the one that was measured without load, and shrinks in proportion when it is
 * higher. Time comes in with each call, so that nothing runs while no requests come.
 */
export class GradientController {
  #policy: AdaptivePolicy;
  readonly #random: Random;
  readonly #samples: LatencyHistogram;
  #limit: number;
  #limitBefore: number;
  #measuring: boolean;
  /** What began earlier says nothing about the present measurement. */
  #epoch: number;
  #windowEnds: number;
  #measureAt: number;
  #windowsAtLowest: number;
  #minRttMs: number;
  #sampleRttMs: number;
  #gradient: number;

  constructor(policy: AdaptivePolicy, random: Random, now: number) {
    this.#policy = policy;
    this.#random = random;
    this.#samples = new LatencyHistogram();
    this.#limit = policy.minConcurrency;
    this.#limitBefore = this.#limit;
    this.#measuring = false;
    this.#epoch = now;
    this.#windowEnds = 0;
    this.#measureAt = 0;
    this.#windowsAtLowest = 0;
    this.#minRttMs = 0;
    this.#sampleRttMs = 0;
    this.#gradient = 1;
    if (policy.minLimit !== undefined) this.#limit = Math.max(policy.minConcurrency, policy.minLimit);
    this.#measure(now);
  }

  /** How many requests may be under way at this moment. */
  limit(now: number): number {
    this.#advance(now);
    return this.#limit;
  }

  get state(): {
    readonly measuring: boolean;
    readonly minRttMs: number;
    readonly sampleRttMs: number;
    readonly gradient: number;
  } {
    return {
      measuring: this.#measuring,
      minRttMs: this.#minRttMs,
      sampleRttMs: this.#sampleRttMs,
      gradient: this.#gradient,
    };
  }

  /** A request that began at `startedAt` has been answered. */
  record(startedAt: number, now: number): void {
    this.#advance(now);
    if (startedAt < this.#epoch) return;
    this.#samples.record(now - startedAt);
    if (this.#measuring && this.#samples.total >= this.#policy.minRttRequests) this.#measured(now);
  }

  adopt(policy: AdaptivePolicy): void {
    this.#policy = policy;
    this.#limit = this.#clamp(this.#limit);
    this.#limitBefore = this.#clamp(this.#limitBefore);
  }

  #advance(now: number): void {
    if (this.#measuring) return;
    if (now >= this.#windowEnds) {
      if (this.#samples.total > 0) this.#closeWindow();
      this.#windowEnds = now + this.#policy.updateIntervalMs;
    }
    if (now >= this.#measureAt) this.#measure(now);
  }

  #measure(now: number): void {
    this.#measuring = true;
    this.#limitBefore = this.#limit;
    if (this.#policy.minLimit === undefined) this.#limit = this.#policy.minConcurrency;
    this.#windowsAtLowest = 0;
    this.#samples.clear();
    this.#epoch = now;
  }

  #measured(now: number): void {
    const { jitterPercent, minRttIntervalMs, samplePercentile, updateIntervalMs } = this.#policy;
    this.#minRttMs = this.#samples.percentile(samplePercentile);
    this.#samples.clear();
    this.#measuring = false;
    this.#limit = this.#limitBefore;
    this.#windowEnds = now + updateIntervalMs;
    this.#measureAt = now + minRttIntervalMs * (1 + (jitterPercent / 100) * this.#random());
  }

  #closeWindow(): void {
    const { bufferPercent, samplePercentile } = this.#policy;
    this.#sampleRttMs = this.#samples.percentile(samplePercentile);
    this.#samples.clear();
    const buffered = this.#minRttMs * (1 + bufferPercent / 100);
    this.#gradient = Math.max(0.5, Math.min(2, buffered / this.#sampleRttMs));
    const limit = this.#limit * this.#gradient;
    const next = this.#clamp(Math.floor(limit + Math.sqrt(limit)));
    const lowest = this.#lowest();
    this.#windowsAtLowest = this.#limit === lowest && next === lowest ? this.#windowsAtLowest + 1 : 0;
    this.#limit = next;
    // Already where a measurement would put it: what was measured may be wrong.
    if (this.#windowsAtLowest >= lowWindows) this.#measureAt = 0;
  }

  #lowest(): number {
    return this.#policy.minLimit ?? this.#policy.minConcurrency;
  }

  #clamp(limit: number): number {
    return Math.max(this.#lowest(), Math.min(this.#policy.maxLimit, limit));
  }
}
