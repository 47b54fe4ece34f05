import type { EventEmitter } from 'node:events';
import CircuitBreaker from 'opossum';
import type { BreakerPolicy } from '../model/breaker.ts';
import { RollingCounts } from './rolling-counts.ts';

/** opossum, told of outcomes. It decides when there were too many failures, and about a trial. */
export interface Circuit {
  /** Tells the outcome of a call; may call `opened` or `closed` before it returns. */
  tell(now: number, failed: boolean): void;
  /** Counts of the window, at this moment. */
  counts(now: number): { readonly successes: number; readonly failures: number };
  /** Nothing of it is left behind. */
  drop(): void;
}

/** What opossum calls to know how a call went: settled already, so that it is told at once. */
interface Outcome {
  then(done: () => void): Outcome;
  catch(failed: (error: Error) => void): void;
}

const success: Outcome = {
  // biome-ignore lint/suspicious/noThenProperty: this is what opossum asks for an outcome
  then(done) {
    done();
    return success;
  },
  catch() {},
};
const error = new Error('the call failed');
const failure: Outcome = {
  // biome-ignore lint/suspicious/noThenProperty: as above
  then: () => failure,
  catch(failed) {
    failed(error);
  },
};

/** In place of the emitter whose events turn opossum's window: its counts are not used, see below. */
const standsStill = { listenerCount: () => 1, on() {}, removeListener() {} } as unknown as EventEmitter;

/**
 * One period of opossum's state machine: closed until it opens, or half-open until the trial is
 * decided. It is fed with outcomes of calls and never holds a call itself: so none of its timers
 * runs, and what it does to the calls around a failed one does not arise.
 * `docs/decisions/0010-circuit-breaker.md` lists what is used of it, and what is not.
 */
export function createCircuit(options: {
  readonly policy: BreakerPolicy;
  readonly state: 'closed' | 'halfOpen';
  /** To go on with; default nothing. */
  readonly counts?: { readonly now: number; readonly successes: number; readonly failures: number };
  opened(): void;
  closed(): void;
}): Circuit {
  const { policy, state, counts } = options;
  const window = new RollingCounts(policy.rollingWindowMs);
  if (counts !== undefined) {
    window.record(counts.now, false, counts.successes);
    window.record(counts.now, true, counts.failures);
  }
  let told = 0;
  // opossum's own counts keep a number for each call and are added up anew after each failure.
  const status = CircuitBreaker.newStatus({
    rollingCountBuckets: 1,
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
    rotateBucketController: standsStill,
  } as never);
  Object.defineProperties(status, {
    increment: {
      value: (what: string) => {
        if (what === 'failures') window.record(told, true);
        else if (what === 'successes') window.record(told, false);
      },
    },
    stats: {
      get: () => ({ fires: window.successes + window.failures, failures: window.failures }),
    },
  });
  const circuit = new CircuitBreaker<[Outcome], unknown>((outcome: Outcome) => outcome as never, {
    status,
    state: { enabled: true, closed: state === 'closed', halfOpen: state === 'halfOpen' },
    // Time is ours: opossum's timers are neither started (calls) nor waited for (reset).
    timeout: false,
    resetTimeout: policy.resetTimeoutMs,
    errorThresholdPercentage: policy.errorThresholdPercentage,
    volumeThreshold: policy.volumeThreshold,
    rollingPercentilesEnabled: false,
    enableSnapshots: false,
  } as never);
  // With it a failure is no rejected promise that somebody would have to catch.
  circuit.fallback(() => undefined);
  circuit.on('open', () => {
    circuit.shutdown();
    options.opened();
  });
  circuit.on('close', () => options.closed());

  return {
    tell(now, failed) {
      told = now;
      void circuit.fire(failed ? failure : success);
    },
    counts(now) {
      window.moveTo(now);
      return { successes: window.successes, failures: window.failures };
    },
    drop: () => circuit.shutdown(),
  };
}
