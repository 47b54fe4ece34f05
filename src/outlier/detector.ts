import type { Clock } from '../lib/clock.ts';
import { outside } from '../lib/outside.ts';
import type { Random } from '../lib/random.ts';
import type { EjectionCause, OutlierPolicy } from '../model/cluster.ts';
import { letBackIn, type OutlierHost, type Rate } from './host.ts';
import { findFailing, findSlackers, newRate, type RateSample, turnRate } from './rates.ts';
import { count, type OutlierStats } from './stats.ts';

/** An endpoint as outlier detection sees it. */
export interface OutlierSubject {
  readonly outlier: OutlierHost;
  /** It has left the cluster; answers that were on the way may still come. */
  readonly retired: boolean;
}

/** Ejections never last longer than this (Envoy `max_ejection_time`), or the base if that is longer. */
const defaultMaxEjectionMs = 300_000;

/** Timers of Node may fire up to this much before their time. */
const timerSlackMs = 1;

export interface OutlierDetector<S extends OutlierSubject> {
  /** A response with this status. `status` 0: the endpoint could not be reached, broke off, or was too slow. */
  report(subject: S, status: number): void;
  /** A try has a connection. Counts only where connection failures are counted by themselves. */
  connected(subject: S): void;
  /** A connection was made that is all there is to judge by: nobody reads what passes on it. */
  opened(subject: S): void;
  /** An active health check passed. */
  healthy(subject: S): void;
  /** Endpoints came or went. */
  membersChanged(): void;
  /** How many are out. */
  readonly active: number;
  close(): void;
}

/**
 * Outlier detection as Envoy runs it (`outlier_detection_impl.cc`): consecutive errors eject at once,
 * success rates and failure percentages at the end of each interval. An endpoint is out for
 * `baseEjectionMs` times the number of its ejections, as long as not more than `maxEjectionPercent`
 * of the endpoints are out: of nine endpoints and with Istio's default of 10 nobody ever goes, as in
 * Envoy without `always_eject_one_host`. A sweep each `intervalMs` lets endpoints back in and forgives.
 */
export function createOutlierDetector<S extends OutlierSubject>(options: {
  readonly policy: OutlierPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly stats: OutlierStats;
  /** All endpoints of the cluster at this moment. */
  hosts(): readonly S[];
  /** These went out or came back. */
  changed(subjects: readonly S[]): void;
}): OutlierDetector<S> {
  const { policy, clock, random, stats, hosts, changed } = options;
  const { baseEjectionMs, ejectionJitterMs = 0, failurePercentage, intervalMs, successRate } = policy;
  const maxEjectionMs = policy.maxEjectionMs ?? Math.max(defaultMaxEjectionMs, baseEjectionMs);
  const { consecutive5xx, consecutiveGatewayErrors, consecutiveLocalOriginFailures } = policy;
  const split = consecutiveLocalOriginFailures !== undefined;
  const rated = successRate !== undefined || failurePercentage !== undefined;
  const errorCodes = policy.errorCodes === undefined ? undefined : tableOf(policy.errorCodes);
  let active = 0;
  let cancelSweep: (() => void) | undefined;
  let closed = false;

  const arm = (): void => {
    if (!closed) cancelSweep ??= outside(() => clock.after(intervalMs, sweep));
  };

  const countActive = (): void => {
    active = 0;
    let more = false;
    for (const { outlier } of hosts()) {
      if (outlier.ejectedUntil !== 0) active++;
      more ||= outlier.ejectedUntil !== 0 || outlier.ejectionCount > 0;
    }
    // Who was sent out under an earlier policy, or before it left the cluster, comes back under this one.
    if (more) arm();
  };

  /** Sends it out if the policy lets it go. */
  const eject = (subject: S, cause: EjectionCause): boolean => {
    const host = subject.outlier;
    if (host.ejectedUntil !== 0 || subject.retired || closed) return false;
    count(stats.detected, cause);
    const mayGo = (100 * (active + 1)) / hosts().length <= policy.maxEjectionPercent;
    if (!mayGo && !(policy.alwaysEjectOne === true && active === 0)) {
      stats.overflow++;
      return false;
    }
    const enforcing = policy.enforcing?.[cause];
    if (enforcing !== undefined && random() * 100 >= enforcing) return false;
    count(stats.enforced, cause);
    active++;
    host.ejections++;
    host.cause = cause;
    // Beyond the longest time more ejections add nothing, and would have to be forgiven one by one.
    if (baseEjectionMs * host.ejectionCount < maxEjectionMs + baseEjectionMs) host.ejectionCount++;
    const lastsMs = Math.min(baseEjectionMs * host.ejectionCount, maxEjectionMs) + randomUpTo(ejectionJitterMs, random);
    host.ejectedUntil = clock.now() + lastsMs;
    arm();
    return true;
  };

  const letIn = (subject: S, now: number): void => {
    letBackIn(subject.outlier, now);
    active--;
  };

  /** Those whose rates of the interval that just ended are bad. */
  const judge = (
    all: readonly S[],
    rateOf: (host: OutlierHost) => Rate | undefined,
    slackers: EjectionCause,
    failing: EjectionCause,
    moved: S[],
  ): void => {
    const samples: RateSample<S>[] = [];
    for (const host of all) {
      const previous = rateOf(host.outlier)?.previous;
      if (previous === undefined || previous.total === 0 || host.outlier.ejectedUntil !== 0) continue;
      samples.push({ host, total: previous.total, successPercent: (100 * previous.good) / previous.total });
    }
    if (successRate !== undefined) {
      for (const host of findSlackers(samples, successRate)) if (eject(host, slackers)) moved.push(host);
    }
    if (failurePercentage !== undefined) {
      for (const host of findFailing(samples, failurePercentage)) if (eject(host, failing)) moved.push(host);
    }
  };

  const sweep = (): void => {
    cancelSweep = undefined;
    if (closed) return;
    const now = clock.now();
    const all = hosts();
    const moved: S[] = [];
    for (const subject of all) {
      const host = subject.outlier;
      if (host.ejectedUntil !== 0 && host.ejectedUntil <= now + timerSlackMs) {
        letIn(subject, now);
        moved.push(subject);
      }
      if (host.external !== undefined) turnRate(host.external);
      if (host.local !== undefined) turnRate(host.local);
    }
    if (rated) {
      judge(all, externalOf, 'success_rate', 'failure_percentage', moved);
      judge(all, localOf, 'local_origin_success_rate', 'local_origin_failure_percentage', moved);
    }
    let more = false;
    for (const { outlier: host } of all) {
      const goodFor = now + timerSlackMs - host.returnedAt;
      if (host.ejectedUntil === 0 && host.ejectionCount > 0 && goodFor >= intervalMs) host.ejectionCount--;
      more ||= host.ejectedUntil !== 0 || host.ejectionCount > 0;
    }
    // It runs only while somebody is out or not yet forgiven; requests that are counted begin it anew.
    if (more) arm();
    if (moved.length > 0) changed(moved);
  };

  const found = (subject: S, cause: EjectionCause): void => {
    if (eject(subject, cause)) changed([subject]);
  };

  const external = (subject: S, code: number): void => {
    const host = subject.outlier;
    const bad = code >= 500 && code < 600;
    if (rated) {
      host.external ??= newRate();
      tally(host.external, !bad);
      arm();
    }
    if (!bad) {
      host.consecutive5xx = 0;
      host.consecutiveGateway = 0;
      return;
    }
    host.consecutive5xx++;
    host.consecutiveGateway = code >= 502 && code <= 504 ? host.consecutiveGateway + 1 : 0;
    if (consecutiveGatewayErrors > 0 && host.consecutiveGateway >= consecutiveGatewayErrors) {
      host.consecutiveGateway = 0;
      found(subject, 'consecutive_gateway_failure');
    }
    if (consecutive5xx > 0 && host.consecutive5xx >= consecutive5xx) {
      host.consecutive5xx = 0;
      found(subject, 'consecutive_5xx');
    }
  };

  const local = (subject: S, good: boolean): void => {
    const host = subject.outlier;
    if (rated) {
      host.local ??= newRate();
      tally(host.local, good);
      arm();
    }
    if (good) {
      host.consecutiveLocal = 0;
      return;
    }
    host.consecutiveLocal++;
    if (split && host.consecutiveLocal >= consecutiveLocalOriginFailures) {
      host.consecutiveLocal = 0;
      found(subject, 'consecutive_local_origin_failure');
    }
  };

  countActive();

  return {
    report(subject, status) {
      if (status === 0) {
        // Envoy maps failures of the connection to a 503.
        if (split) local(subject, false);
        else external(subject, 503);
        return;
      }
      // The connection it came on was counted when it was made: `connected`.
      external(subject, errorCodes === undefined ? status : codeOf(status, errorCodes));
    },
    connected(subject) {
      if (split) local(subject, true);
    },
    opened(subject) {
      if (split) local(subject, true);
      else external(subject, 200);
    },
    healthy(subject) {
      if (subject.outlier.ejectedUntil === 0 || policy.healthCheckReturns === false || closed) return;
      letIn(subject, clock.now());
      changed([subject]);
    },
    membersChanged: countActive,
    get active() {
      return active;
    },
    close() {
      closed = true;
      cancelSweep?.();
    },
  };
}

const externalOf = (host: OutlierHost): Rate | undefined => host.external;
const localOf = (host: OutlierHost): Rate | undefined => host.local;

function tally({ current }: Rate, good: boolean): void {
  current.total++;
  if (good) current.good++;
}

/** What a status stands for where the policy says which ones are failures: 500 or the 5xx that it is, else 200. */
function codeOf(status: number, errorCodes: Uint8Array): number {
  if (errorCodes[status] !== 1) return 200;
  return Math.max(status, 500);
}

/** By status, 1 for those that are listed. */
function tableOf(codes: readonly number[]): Uint8Array {
  const table = new Uint8Array(1_000);
  for (const code of codes) table[code] = 1;
  return table;
}

/** Asks for a random number only where there is something to choose. */
function randomUpTo(upToMs: number, random: Random): number {
  return upToMs > 0 ? random() * upToMs : 0;
}
