import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import type { BreakerPolicy } from '../model/breaker.ts';
import { type Circuit, createCircuit } from './circuit.ts';

/** `closed`: calls pass. `open`: none does. `halfOpen`: one does, the trial, and decides. */
export type BreakerState = 'closed' | 'open' | 'halfOpen';

/** What a call says about its destination. `neutral`: nothing. */
export type Outcome = 'success' | 'failure' | 'neutral';

export interface BreakerDependencies {
  readonly clock: Clock;
  /** Called after each change of state. */
  changed(breaker: Breaker): void;
}

/** What is left of an open breaker whose destination went. */
export interface BreakerRemains {
  /** Monotonic milliseconds. */
  readonly openedAt: number;
  readonly openings: number;
  readonly refusals: number;
}

/** What is not a ticket: the call is refused. */
export const refused = 0;

/**
 * The breaker of one destination. Each period of it (closed, open, a trial) has a number, a call that
 * is admitted carries the number of its period, and an outcome of another period says nothing: a slow
 * call from before the opening decides nothing about the trial.
 */
export class Breaker {
  #policy: BreakerPolicy;
  #state: BreakerState;
  #circuit: Circuit | undefined;
  /** What {@link #circuit} goes by. */
  #circuitPolicy: BreakerPolicy;
  #period: number;
  #trialRuns: boolean;
  #openedAt: number;
  #cancelTimer: (() => void) | undefined;
  #openings: number;
  #fatal: ReturnType<Circuit['counts']>;
  #refusals: number;
  #ended: boolean;
  readonly #dependencies: BreakerDependencies;

  /** @param remains an open one that was there a moment ago, which this one continues */
  constructor(policy: BreakerPolicy, dependencies: BreakerDependencies, remains?: BreakerRemains) {
    this.#policy = policy;
    this.#circuitPolicy = policy;
    this.#dependencies = dependencies;
    this.#state = 'closed';
    this.#period = 1;
    this.#trialRuns = false;
    this.#openedAt = remains?.openedAt ?? 0;
    this.#cancelTimer = undefined;
    this.#openings = remains?.openings ?? 0;
    this.#fatal = { successes: 0, failures: 0 };
    this.#refusals = remains?.refusals ?? 0;
    this.#ended = false;
    if (remains === undefined) {
      this.#circuit = this.#newCircuit('closed');
      return;
    }
    this.#circuit = undefined;
    this.#state = 'open';
    this.#waitForReset();
  }

  get policy(): BreakerPolicy {
    return this.#policy;
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** How often it has opened, and how many calls it has refused. */
  get openings(): number {
    return this.#openings;
  }

  get refusals(): number {
    return this.#refusals;
  }

  /** Calls of the window that counted, and failures among them; while it is open those that opened it. */
  counts(): { readonly calls: number; readonly failures: number } {
    const { successes, failures } = this.#circuit?.counts(this.#dependencies.clock.now()) ?? this.#fatal;
    return { calls: successes + failures, failures };
  }

  /** A ticket for a call that may go on, or {@link refused}. Whoever has a ticket settles it. */
  admit(): number {
    if (this.#state === 'closed') return this.#period;
    // Timers of a process that was frozen come late.
    if (this.#state === 'open' && this.#dependencies.clock.now() >= this.#openedAt + this.#policy.resetTimeoutMs) {
      this.#halfOpen();
    }
    if (this.#state === 'halfOpen' && !this.#trialRuns) {
      this.#trialRuns = true;
      const ticket = this.#period;
      const { clock } = this.#dependencies;
      this.#setTimer(this.#policy.trialTimeoutMs, () => {
        // An answer that has arrived and was not read yet counts.
        clock.afterIo(() => this.settle(ticket, 'failure'));
      });
      return ticket;
    }
    this.#refusals++;
    return refused;
  }

  /** How the call with this ticket went. Without effect when its period is over. */
  settle(ticket: number, outcome: Outcome): void {
    if (ticket !== this.#period || this.#circuit === undefined || this.#ended) return;
    if (outcome === 'neutral') {
      if (this.#state === 'halfOpen') {
        // The trial said nothing: the next call is one, and this ticket is of no use any more.
        this.#trialRuns = false;
        this.#stopTimer();
        this.#period++;
      }
      return;
    }
    this.#circuit.tell(this.#dependencies.clock.now(), outcome === 'failure');
  }

  /** Goes on under a changed policy, in the state that it has. */
  adopt(policy: BreakerPolicy): void {
    const now = this.#dependencies.clock.now();
    this.#policy = policy;
    if (this.#state === 'open') this.#waitForReset();
    // A trial goes on; its circuit is replaced when that has gone well.
    if (this.#state === 'closed') this.#circuit = this.#renewed(now);
  }

  /** What a breaker of the same destination can go on from; nothing while it is closed. */
  remains(): BreakerRemains | undefined {
    if (this.#state === 'closed') return undefined;
    return { openedAt: this.#openedAt, openings: this.#openings, refusals: this.#refusals };
  }

  /** Leaves no timer behind. Calls that come still are not held up. */
  close(): void {
    this.#ended = true;
    this.#stopTimer();
    this.#circuit?.drop();
    this.#circuit = undefined;
    this.#state = 'closed';
  }

  /** The circuit with what it has counted, under the policy that holds now. */
  #renewed(now: number): Circuit | undefined {
    const circuit = this.#circuit;
    if (circuit === undefined || this.#circuitPolicy === this.#policy) return circuit;
    const counts = circuit.counts(now);
    circuit.drop();
    return this.#newCircuit('closed', { now, ...counts });
  }

  #newCircuit(state: 'closed' | 'halfOpen', counts?: Parameters<typeof createCircuit>[0]['counts']): Circuit {
    this.#circuitPolicy = this.#policy;
    return createCircuit({
      policy: this.#policy,
      state,
      ...(counts === undefined ? {} : { counts }),
      opened: () => this.#open(),
      closed: () => this.#close(),
    });
  }

  #open(): void {
    this.#openings++;
    this.#fatal = this.#circuit?.counts(this.#dependencies.clock.now()) ?? this.#fatal;
    this.#openedAt = this.#dependencies.clock.now();
    this.#enter('open', undefined);
    this.#waitForReset();
    this.#dependencies.changed(this);
  }

  #waitForReset(): void {
    const { clock } = this.#dependencies;
    this.#setTimer(Math.max(0, this.#openedAt + this.#policy.resetTimeoutMs - clock.now()), () => this.#halfOpen());
  }

  #halfOpen(): void {
    if (this.#state !== 'open') return;
    this.#enter('halfOpen', this.#newCircuit('halfOpen'));
    this.#dependencies.changed(this);
  }

  /** The trial went well; its circuit goes on as a closed one, unless the policy has changed meanwhile. */
  #close(): void {
    this.#enter('closed', this.#renewed(this.#dependencies.clock.now()));
    this.#dependencies.changed(this);
  }

  #enter(state: BreakerState, circuit: Circuit | undefined): void {
    this.#stopTimer();
    this.#state = state;
    this.#circuit = circuit;
    this.#trialRuns = false;
    this.#period++;
  }

  #setTimer(delayMs: number, action: () => void): void {
    this.#stopTimer();
    this.#cancelTimer = this.#dependencies.clock.after(delayMs, () => {
      this.#cancelTimer = undefined;
      action();
    });
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}

/** The breaker of a destination under this policy: the one that there was goes on. */
export function reconcileBreaker(
  current: Breaker | undefined,
  policy: BreakerPolicy | undefined,
  dependencies: BreakerDependencies,
  remains?: BreakerRemains,
): Breaker | undefined {
  if (policy === undefined) {
    current?.close();
    return undefined;
  }
  if (current === undefined) return new Breaker(policy, dependencies, remains);
  if (!isDeepStrictEqual(current.policy, policy)) current.adopt(policy);
  return current;
}
