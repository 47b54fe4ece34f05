import type { Clock } from '../lib/clock.ts';
import { outside } from '../lib/outside.ts';
import type { Random } from '../lib/random.ts';
import type { HealthCheckPolicy } from '../model/health-check.ts';
import type { Gate } from './gate.ts';
import { type HealthHost, type HealthResult, nextCheckMs, takeResult, withJitter } from './host.ts';

/** An endpoint as health checks see it. */
export interface HealthSubject {
  readonly health: HealthHost;
}

/** How an endpoint is asked. */
export interface Prober {
  /** Asks once. `done` is called at most once, and never from within this call. Returns a function that stops it. */
  ask(done: (result: HealthResult) => void): () => void;
  /** Connections that are kept between checks are made anew. */
  renew(): void;
  close(): void;
}

/** Counters of one cluster; they only grow. Names follow Envoy's `cluster.<name>.health_check.*`. */
export interface HealthStats {
  attempt: number;
  success: number;
  failure: number;
  /** Of the failures, those without an answer. */
  networkFailure: number;
  /** Of the failures, those that an endpoint announced on a call. */
  passiveFailure: number;
}

export function newHealthStats(): HealthStats {
  return { attempt: 0, success: 0, failure: 0, networkFailure: 0, passiveFailure: 0 };
}

export interface HealthChecker<S extends HealthSubject> {
  /** Begins to check it. */
  add(subject: S): void;
  /** Stops checking it. */
  remove(subject: S): void;
  has(subject: S): boolean;
  /** It has said itself that it shall be left alone (`x-envoy-immediate-health-check-fail`). */
  failNow(subject: S): void;
  /** How many have had no result yet. */
  readonly unchecked: number;
  /** New connections for all: there is another certificate, or another way to speak. */
  renew(): void;
  close(): void;
}

/**
 * Asks each endpoint again and again, as Envoy's active health checking does: one check of an
 * endpoint at a time, and never more than the gate lets in of all.
 */
export function createHealthChecker<S extends HealthSubject>(options: {
  readonly policy: HealthCheckPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly gate: Gate;
  readonly stats: HealthStats;
  probe(subject: S): Prober;
  /** A result came in. `changed`: balancing has to know. */
  settled(subject: S, passed: boolean, changed: boolean): void;
}): HealthChecker<S> {
  const { policy, clock, random, gate, stats, probe, settled } = options;
  const sessions = new Map<S, Session>();
  let unchecked = 0;

  const take = (subject: S, result: HealthResult): ReturnType<typeof takeResult> => {
    if (subject.health.first) unchecked--;
    if (result.kind === 'pass') stats.success++;
    else {
      stats.failure++;
      if (result.reason === 'network') stats.networkFailure++;
    }
    const transition = takeResult(subject.health, result, policy);
    settled(subject, result.kind === 'pass', transition === 'changed');
    return transition;
  };

  const start = (subject: S): Session => {
    const prober = probe(subject);
    let cancel: () => void = () => {};
    let closed = false;

    const check = (): void => {
      let entered = false;
      const leaveLine = gate.ask(() => {
        entered = true;
        stats.attempt++;
        let over = false;
        const end = (result: HealthResult): void => {
          if (over) return;
          over = true;
          cancelTimer();
          gate.leave();
          if (closed) return;
          const transition = take(subject, result);
          // Whoever was told may have removed it.
          if (!closed) schedule(nextCheckMs(result.kind === 'pass', transition, policy, random));
        };
        const stop = prober.ask(end);
        // Answers that have arrived, but were not read because the process was busy, are in time.
        const cancelTimer = clock.after(policy.timeoutMs, () =>
          clock.afterIo(() => {
            if (over) return;
            stop();
            end({ kind: 'fail', reason: 'network', problem: `no answer within ${policy.timeoutMs} ms` });
          }),
        );
        cancel = () => {
          stop();
          end({ kind: 'fail', reason: 'network', problem: 'given up' });
        };
      });
      if (!entered) cancel = leaveLine;
    };
    const schedule = (ms: number): void => {
      cancel = clock.after(ms, check);
    };

    const { initialJitterMs } = policy;
    if (initialJitterMs > 0) schedule(withJitter(0, initialJitterMs, 0, random));
    else check();
    return {
      prober,
      close() {
        closed = true;
        cancel();
        prober.close();
      },
    };
  };

  const remove = (subject: S): void => {
    const session = sessions.get(subject);
    if (session === undefined) return;
    sessions.delete(subject);
    if (subject.health.first) unchecked--;
    session.close();
  };

  return {
    add(subject) {
      if (subject.health.first) unchecked++;
      sessions.set(
        subject,
        outside(() => start(subject)),
      );
    },
    remove,
    has: (subject) => sessions.has(subject),
    failNow(subject) {
      if (!sessions.has(subject)) return;
      stats.passiveFailure++;
      take(subject, { kind: 'fail', reason: 'answer', excluded: true, problem: 'it asked to be left alone' });
    },
    get unchecked() {
      return unchecked;
    },
    renew() {
      for (const { prober } of sessions.values()) prober.renew();
    },
    close() {
      for (const subject of [...sessions.keys()]) remove(subject);
    },
  };
}

interface Session {
  readonly prober: Prober;
  close(): void;
}
