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

/** One endpoint in service. */
interface Service {
  readonly since: number;
  factor: number;
  /** Number of the last update that knew it. */
  seen: number;
}

/**
 * Slow start of the endpoints of one cluster. Weights grow in steps of a hundredth of the time, by one
 * timer that runs while there is somebody to warm up: a pick asks no clock. `warm` is called when
 * nobody is new any more.
 */
export function createSlowStart<E>(policy: WarmupPolicy, clock: Clock, warm: () => void): SlowStart<E> {
  const stepMs = Math.max(minimumStepMs, policy.durationMs / 100);
  const services = new Map<E, Service>();
  let updates = 0;
  /** How many have less than their whole weight. While the timer runs. */
  let cold = 0;
  let stop: (() => void) | undefined;
  const factorOf = (endpoint: E): number => services.get(endpoint)?.factor ?? 1;

  const refresh = (): void => {
    const now = clock.now();
    cold = 0;
    for (const service of services.values()) {
      if (service.factor === 1 && stop !== undefined) continue;
      service.factor = slowStartFactor(policy, now - service.since);
      if (service.factor < 1) cold++;
    }
  };
  const tick = (): void => {
    refresh();
    stop = cold > 0 ? clock.after(stepMs, tick) : undefined;
    if (stop === undefined) warm();
  };
  const rest = (): undefined => {
    stop?.();
    stop = undefined;
  };

  return {
    update(serving) {
      updates++;
      const now = clock.now();
      const first = slowStartFactor(policy, 0);
      let alike = true;
      let beginning: number | undefined;
      for (const endpoint of serving) {
        let service = services.get(endpoint);
        if (service === undefined) {
          service = { since: now, factor: first, seen: updates };
          services.set(endpoint, service);
          if (first < 1) cold++;
        }
        service.seen = updates;
        beginning ??= service.since;
        alike &&= service.since === beginning;
      }
      if (services.size > serving.length) {
        for (const [endpoint, service] of services) {
          if (service.seen === updates) continue;
          services.delete(endpoint);
          if (service.factor < 1) cold--;
        }
      }
      // When all began together nobody is colder than the others.
      if (alike) return rest();
      // Without the timer nobody has kept the factors up to date.
      if (stop === undefined) refresh();
      if (cold === 0) return rest();
      stop ??= clock.after(stepMs, tick);
      return factorOf;
    },
    close: rest,
  };
}

const minimumStepMs = 20;
