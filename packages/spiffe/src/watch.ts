import { createHash } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { type Clock, MeshError, type Random, waitFor } from 'inmesh/identity';
import { type Connection, failureOf, isFinal, isUnreachable, type Outcome, type StreamMethod } from './connection.ts';
import { badAnswer, reasonOf } from './problem.ts';

/**
 * What can go wrong while something is watched. `unusable`: an answer was refused. `refused`: the
 * Workload API says no (mostly PERMISSION_DENIED). `unreachable`: there is nobody to ask.
 */
export type ProblemKind = 'unusable' | 'refused' | 'unreachable';

/** Who is told. What was told last stays in force while there are problems. */
export interface WatchHandler<T> {
  /** A complete and verified state; it replaces the one before, also where less is in it. */
  update(state: T): void;
  /** Something went wrong and is tried again. The same problem is told once, until something else happens. */
  problem?(error: MeshError, kind: ProblemKind): void;
}

/** What is watched, and how its messages are read. */
export interface Watched<T> {
  readonly method: StreamMethod;
  /** @throws when the message is unusable */
  read(bytes: Buffer): T;
  /** Until when a state should have been replaced, wall clock; nothing when it does not run out. */
  renewalDue?(state: T): number;
}

/** What a watch needs. */
export interface WatchContext {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

const firstBackoffMs = 100;
/** While there is a state to go on with, and while there is none and nothing works. */
const maxBackoffMs = 10_000;
const maxBackoffWithoutMs = 2_000;
/** A stream that lived this long was a healthy one. */
const healthyMs = 30_000;

/**
 * Follows a stream for as long as the signal allows: connects, reads, verifies, tells, and begins
 * again when the stream ends, at once after a healthy one, otherwise with exponential back-off and
 * jitter. After INVALID_ARGUMENT and UNIMPLEMENTED nothing is tried again (SPIFFE Workload
 * Endpoint, appendix A).
 *
 * @returns when the signal aborts
 * @throws MeshError `ERR_MESH_WORKLOAD_API` for an answer after which nothing is tried again
 */
export async function watch<T>(watched: Watched<T>, handler: WatchHandler<T>, context: WatchContext): Promise<void> {
  const { clock, connection, random, signal } = context;
  let failures = 0;
  /** Digest of the message that is in force, so that the same is neither verified nor told twice. */
  let inForce: string | undefined;
  let lastProblem: string | undefined;

  const tell = (error: MeshError, kind: ProblemKind): void => {
    if (lastProblem === error.message) return;
    lastProblem = error.message;
    handler.problem?.(error, kind);
  };

  /** Follows one stream to its end; says whether it brought anything. */
  const once = async (): Promise<{ outcome: Outcome; delivered: boolean }> => {
    const stop = new AbortController();
    const stopped = AbortSignal.any([signal, stop.signal]);
    let delivered = false;
    let cancelRenewal = (): void => {};
    const onMessage = (bytes: Buffer): void => {
      const digest = createHash('sha256').update(bytes).digest('base64');
      if (digest === inForce && lastProblem === undefined && delivered) return;
      let state: T;
      try {
        state = watched.read(bytes);
      } catch (error) {
        tell(asWorkloadError(error), 'unusable');
        return;
      }
      delivered = true;
      const changed = digest !== inForce || lastProblem !== undefined;
      inForce = digest;
      lastProblem = undefined;
      cancelRenewal();
      cancelRenewal = atRenewal(watched, state, clock, () => stop.abort());
      if (changed) handler.update(state);
    };
    try {
      const outcome = await connection.follow(watched.method, { onMessage, signal: stopped });
      const silent = stop.signal.aborted && !signal.aborted;
      return { outcome: silent ? renewalIsLate : outcome, delivered };
    } finally {
      cancelRenewal();
    }
  };

  while (!signal.aborted) {
    const began = clock.now();
    const { delivered, outcome } = await once();
    if (signal.aborted) return;
    if (isFinal(outcome)) throw failureOf(watched.method, connection.endpoint, outcome);
    if (clock.now() - began >= healthyMs) failures = 0;
    if (!delivered || !isUnreachable(outcome)) {
      const failure = failureOf(watched.method, connection.endpoint, outcome);
      tell(failure, isUnreachable(outcome) ? 'unreachable' : 'refused');
    }
    // A stream that ends is nothing bad (SPIFFE Workload API, section 4.2), unless it happens all the time.
    const ceiling = inForce === undefined ? maxBackoffWithoutMs : maxBackoffMs;
    const backoff = Math.min(ceiling, firstBackoffMs * 2 ** Math.min(failures, 20)) * (0.5 + random() / 2);
    const wait = delivered && failures === 0 ? 0 : backoff;
    failures++;
    // An open stream keeps the process alive; so does the pause before the next, or a watch would end there.
    if (wait > 0) await waitFor(clock, wait, signal, true);
  }
}

const renewalIsLate: Outcome = { code: status.UNAVAILABLE, details: 'nothing new came, though it is time' };

/** Least time after which a silent stream is given up, when a renewal is late already. */
const leastPatienceMs = 10_000;

/** Runs `late` when a state should have been replaced by then, and was not. */
function atRenewal<T>(watched: Watched<T>, state: T, clock: Clock, late: () => void): () => void {
  const due = watched.renewalDue?.(state);
  if (due === undefined) return () => {};
  let cancel = (): void => {};
  const wait = (ms: number): void => {
    // A timer knows nothing of a suspended machine: look again, at least once an hour.
    cancel = clock.after(Math.min(ms, 3_600_000), () => {
      const left = due - clock.wallNow();
      if (left <= 0) late();
      else wait(left);
    });
  };
  wait(Math.max(leastPatienceMs, due - clock.wallNow()));
  return () => cancel();
}

function asWorkloadError(error: unknown): MeshError {
  const known = error instanceof MeshError && error.code === 'ERR_MESH_WORKLOAD_API';
  return known ? error : badAnswer(reasonOf(error), error);
}
