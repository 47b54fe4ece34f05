import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import { type Candidate, type Picker, weighted } from './candidate.ts';
import { drawByWeight } from './draw.ts';

/** What is remembered of old answers falls to 37 % in this time (Finagle's and Linkerd's 10 s). */
export const latencyDecayMs = 10_000;

/** What an endpoint that has not answered yet is taken for while a try is under way (tower's 1 s). */
export const assumedLatencyMs = 1_000;

/** What an endpoint costs that does nothing but fail, beside its latency (Linkerd's `load-biaser-penalty`). */
export const failurePenaltyMs = 5_000;

/**
 * What Peak-EWMA remembers of one endpoint: how long its answers take and how many of them are
 * failures, as averages in which the past fades. A slow answer counts at once and in full, a fast one
 * only little by little: that is the peak.
 *
 * Time lets an idle endpoint look better and better, so that it is tried again; but for one try
 * only. While something is under way there what was seen last counts, so that no crowd follows.
 */
export class LatencyMemory {
  /** When something was seen last; infinitely long ago at the beginning. */
  #at: number;
  #latencyMs: number;
  #measured: boolean;
  /** Share of failures, 0 to 1. */
  #failing: number;

  constructor() {
    this.#at = Number.NEGATIVE_INFINITY;
    this.#latencyMs = assumedLatencyMs;
    this.#measured = false;
    this.#failing = 0;
  }

  /** Response headers arrived `elapsedMs` after the try began. */
  answered(elapsedMs: number, now: number): void {
    const kept = this.#keep(now);
    this.#failing *= kept;
    if (!this.#measured || elapsedMs >= this.#latencyMs) this.#latencyMs = elapsedMs;
    else this.#latencyMs = this.#latencyMs * kept + elapsedMs * (1 - kept);
    this.#measured = true;
  }

  /**
   * It failed after `elapsedMs`. How fast it failed speaks in no way for it: otherwise whoever refuses
   * everything at once would get all the calls.
   */
  failed(elapsedMs: number, now: number): void {
    const kept = this.#keep(now);
    this.#failing = this.#failing * kept + (1 - kept);
    this.#atLeast(elapsedMs);
  }

  /** The application did not wait any longer: it takes at least as long. */
  abandoned(elapsedMs: number, now: number): void {
    if (elapsedMs <= this.#latencyMs) return;
    this.#failing *= this.#keep(now);
    this.#atLeast(elapsedMs);
  }

  /** What one more try would cost: milliseconds times tries, to be compared and nothing else. */
  cost(inFlight: number, now: number): number {
    const once = this.#latencyMs + this.#failing * failurePenaltyMs;
    if (inFlight > 0) return once * (1 + inFlight);
    return once * Math.exp((this.#at - now) / latencyDecayMs);
  }

  /** What is left of the past by now, 0 to 1. */
  #keep(now: number): number {
    const kept = Math.exp((this.#at - now) / latencyDecayMs);
    this.#at = now;
    return kept;
  }

  #atLeast(elapsedMs: number): void {
    if (elapsedMs < this.#latencyMs) return;
    this.#latencyMs = elapsedMs;
    this.#measured = true;
  }
}

/** What Peak-EWMA goes by, and what it needs. */
export interface PeakEwmaOptions<E> {
  readonly clock: Clock;
  readonly random: Random;
  latencyOf(endpoint: E): LatencyMemory;
  /** Above 0 to 1: an endpoint that starts slowly takes this share of the tries that it would get. */
  readonly factorOf?: (endpoint: E) => number;
}

/**
 * The cheaper of two different random ones, where the cost is latency times the tries under way. With
 * weights two are drawn by weight, and tries under way count for the weight they have.
 */
export function peakEwma<E extends Candidate>(candidates: readonly E[], options: PeakEwmaOptions<E>): Picker<E> {
  const { clock, random, factorOf } = options;
  const all = weighted(candidates);
  const { length } = all;
  if (length < 2) return () => all[0];
  const weights = all.map(({ weight }) => weight || 1);
  const even = weights.every((weight) => weight === weights[0]);
  const mean = weights.reduce((sum, weight) => sum + weight, 0) / length;
  const draw = drawByWeight(weights, random);
  const costOf = (at: number, now: number): number => {
    const endpoint = all[at] as E;
    return options.latencyOf(endpoint).cost((endpoint.inFlight * mean) / (weights[at] as number), now);
  };
  return () => {
    const first = draw();
    let second: number;
    if (even) {
      second = Math.floor(random() * (length - 1));
      if (second >= first) second++;
    } else {
      second = draw();
      if (second === first) second = draw();
    }
    const now = clock.now();
    const better = costOf(second, now) < costOf(first, now) ? second : first;
    if (factorOf === undefined || random() < factorOf(all[better] as E)) return all[better];
    return all[better === first ? second : first];
  };
}
