import type { Clock } from '../lib/clock.ts';
import type { Random } from '../lib/random.ts';
import type { TracingDirection } from '../model/tracing.ts';
import type { ParentSampledLimits } from '../pipeline/tracing.ts';

/** Traces a second that callers may force, where nothing else is said. */
export const defaultParentSampledLimits: Required<ParentSampledLimits> = {
  strangersPerSecond: 10,
  peersPerSecond: 1_000,
};

/** Decides what is recorded. */
export interface TraceSampler {
  /** Of a trace that begins here. `requestId`: the caller's, if there is one. */
  begins(direction: TracingDirection, requestId: string | undefined): boolean;
  /** Does a caller's decision to record count? Takes one of those that it has. */
  admits(peer: boolean): boolean;
  /** Traces that callers had wanted, and that were not recorded. */
  readonly refused: number;
}

/**
 * Istio's sampling, and a bound on what others can force: without one, whoever sets a flag on each of
 * its requests has this process record them all, and whatever is behind it.
 *
 * @param percent goes before the configuration
 */
export function createTraceSampler(
  clock: Clock,
  random: Random,
  limits: ParentSampledLimits = {},
  percent?: number,
): TraceSampler {
  const strangers = new Allowance(limits.strangersPerSecond ?? defaultParentSampledLimits.strangersPerSecond, clock);
  const peers = new Allowance(limits.peersPerSecond ?? defaultParentSampledLimits.peersPerSecond, clock);
  let refused = 0;
  return {
    begins({ byRequestId, samplingPercent }, requestId) {
      const of = percent ?? samplingPercent;
      if (of >= 100) return true;
      if (of <= 0) return false;
      const number = byRequestId && requestId !== undefined ? numberOf(requestId) : -1;
      return number === -1 ? random() * 100 < of : number % 10_000 < of * 100;
    },
    admits(peer) {
      if ((peer ? peers : strangers).take()) return true;
      refused++;
      return false;
    },
    get refused() {
      return refused;
    },
  };
}

/** As many as there are for a second, which come in evenly. */
class Allowance {
  readonly #perSecond: number;
  readonly #clock: Clock;
  #left: number;
  #at: number;

  constructor(perSecond: number, clock: Clock) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    this.#left = perSecond;
    this.#at = clock.now();
  }

  take(): boolean {
    const now = this.#clock.now();
    if (now > this.#at) {
      // Less than one a second still saves up to one.
      const most = Math.max(1, this.#perSecond);
      this.#left = Math.min(most, this.#left + ((now - this.#at) * this.#perSecond) / 1_000);
      this.#at = now;
    }
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}

/** Envoy's number of a request: the first eight digits of its id, which is a UUID; -1 for anything else. */
function numberOf(requestId: string): number {
  if (!isUuid(requestId)) return -1;
  return Number.parseInt(requestId.slice(0, 8), 16);
}

function isUuid(text: string): boolean {
  return text.length === 36 && /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text);
}

/**
 * Did somebody before decide to record the request, and write that into its id? Envoy's digit: `9` for
 * sampled, `a` for forced by a service, `b` by a client.
 */
export function saysSampled(requestId: string): boolean {
  const digit = requestId.charAt(14);
  return (digit === '9' || digit === 'a' || digit === 'b') && isUuid(requestId);
}
