import type { Clock } from '../lib/clock.ts';
import type { WarmupPolicy } from '../model/cluster.ts';

/** Which part of its weight an endpoint has after `ageMs` in service (Envoy's slow start): above 0 to 1. */
export function slowStartFactor({ durationMs, minimumPercent, aggression }: WarmupPolicy, ageMs: number): number {
  if (ageMs >= durationMs) return 1;
  const passed = Math.max(1, ageMs) / durationMs;
  return Math.min(1, Math.max(aggression === 1 ? passed : passed ** (1 / aggression), minimumPercent / 100));
}

/** Remembers since when endpoints are in service. */
export interface SlowStart<E> {
  /**
   * Those in service now. One that was not among them the last time is new: it was added, or has come
   * back. Returns what to multiply weights by; nothing when all are alike.
   */
  update(serving: readonly E[]): ((endpoint: E) => number) | undefined;
  close(): void;
}

/**
 * Slow start of the endpoints of one cluster. Weights grow in steps of a hundredth of the time, by one
 * timer that runs while there is somebody to warm up: a pick asks no clock. `warm` is called when
 * nobody is new any more.
 */
export function createSlowStart<E>(policy: WarmupPolicy, clock: Clock, warm: () => void): SlowStart<E> {
  const stepMs = Math.max(minimumStepMs, policy.durationMs / 100);
  let since: ReadonlyMap<E, number> = new Map();
  const factors = new Map<E, number>();
  let stop: (() => void) | undefined;

  const refresh = (): void => {
    const now = clock.now();
    factors.clear();
    for (const [endpoint, start] of since) {
      const factor = slowStartFactor(policy, now - start);
      if (factor < 1) factors.set(endpoint, factor);
    }
  };
  const tick = (): void => {
    stop = undefined;
    refresh();
    if (factors.size > 0) stop = clock.after(stepMs, tick);
    else warm();
  };

  return {
    update(serving) {
      const now = clock.now();
      const next = new Map<E, number>();
      let alike = true;
      let first: number | undefined;
      for (const endpoint of serving) {
        const start = since.get(endpoint) ?? now;
        next.set(endpoint, start);
        first ??= start;
        alike &&= start === first;
      }
      since = next;
      // When all began together nobody is colder than the others.
      if (alike) factors.clear();
      else refresh();
      if (factors.size === 0) {
        stop?.();
        stop = undefined;
        return undefined;
      }
      stop ??= clock.after(stepMs, tick);
      return (endpoint) => factors.get(endpoint) ?? 1;
    },
    close() {
      stop?.();
      stop = undefined;
    },
  };
}

const minimumStepMs = 20;
