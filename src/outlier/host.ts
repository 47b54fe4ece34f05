import type { EjectionCause } from '../model/cluster.ts';

/** Requests of one endpoint in one interval. */
export interface RateBucket {
  total: number;
  good: number;
}

/** The interval that runs and the one before it, which is what is judged. */
export interface Rate {
  current: RateBucket;
  previous: RateBucket;
}

/** What outlier detection remembers of one endpoint, across reloads of the configuration. */
export interface OutlierHost {
  consecutive5xx: number;
  consecutiveGateway: number;
  consecutiveLocal: number;
  /** Monotonic time until which it is out; 0 when it is in. */
  ejectedUntil: number;
  /** Why it is out; nothing when it is in. */
  cause: EjectionCause | undefined;
  /** Multiplies the time of the next ejection; falls by one for each interval without trouble. */
  ejectionCount: number;
  /** Monotonic time at which it last came back; 0 when it never was out. */
  returnedAt: number;
  /** All ejections so far. */
  ejections: number;
  /** Answers; kept only where a policy judges rates. */
  external: Rate | undefined;
  /** Connections, likewise. */
  local: Rate | undefined;
}

export function newOutlierHost(): OutlierHost {
  return {
    consecutive5xx: 0,
    consecutiveGateway: 0,
    consecutiveLocal: 0,
    ejectedUntil: 0,
    cause: undefined,
    ejectionCount: 0,
    returnedAt: 0,
    ejections: 0,
    external: undefined,
    local: undefined,
  };
}

/** It may be chosen again. */
export function letBackIn(host: OutlierHost, now: number): void {
  host.ejectedUntil = 0;
  host.cause = undefined;
  host.returnedAt = now;
  // What was still on its way when it went out must not send it out again.
  host.consecutive5xx = 0;
  host.consecutiveGateway = 0;
  host.consecutiveLocal = 0;
}

/** Is there anything that a policy would miss? */
export function isBlank(host: OutlierHost): boolean {
  return (
    host.ejections === 0 && host.consecutive5xx === 0 && host.consecutiveGateway === 0 && host.consecutiveLocal === 0
  );
}
