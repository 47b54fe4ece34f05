import { MeshError } from '../errors.ts';
import type { CallWatcher, ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import { type LocalAnswer, LocalReply } from '../pipeline/local-answer.ts';
import { type Breaker, type Outcome, refused } from './breaker.ts';
import type { Judge } from './outcome.ts';

/** Makes the answer to a call that is refused; may take its time, and may fail. */
export type Fallback = (call: ClientCall) => LocalAnswer | Promise<LocalAnswer>;

/**
 * Lets calls pass while the breaker does, and tells it how they went: by the response headers of the
 * last try, since a stream may have no end; a body that breaks off counts as one more failure.
 */
export function breakerFilter(options: {
  readonly cluster: string;
  readonly breaker: Breaker;
  readonly judge: Judge;
  readonly fallback?: Fallback | undefined;
}): Filter<ClientCall, Reply> {
  const { breaker, cluster, judge } = options;
  return (call, next) => {
    const ticket = breaker.admit();
    if (ticket === refused) return refuse(call, cluster, options.fallback);
    const judged = new JudgedCall(breaker, ticket, judge);
    call.watch(judged);
    return next(call).then(
      (reply) => judged.replied(reply),
      (error: unknown) => {
        judged.failed(call, error);
        throw error;
      },
    );
  };
}

async function refuse(call: ClientCall, cluster: string, fallback: Fallback | undefined): Promise<Reply> {
  const { method, upgrade } = call.request;
  // Whoever wants a connection and not a response can only be told of an error.
  if (fallback === undefined || upgrade || method === 'CONNECT') throw circuitOpen(cluster, call.route);
  return new LocalReply(await fallback(call));
}

/** What callers of a destination get whose breaker is open. */
export function circuitOpen(cluster: string, route: string): MeshError {
  const message = `the circuit breaker of cluster ${cluster} is open`;
  return new MeshError('ERR_MESH_CIRCUIT_OPEN', message, { cluster, route });
}

class JudgedCall implements CallWatcher {
  readonly #breaker: Breaker;
  readonly #ticket: number;
  readonly #judge: Judge;
  #outcome: Outcome | undefined;

  constructor(breaker: Breaker, ticket: number, judge: Judge) {
    this.#breaker = breaker;
    this.#ticket = ticket;
    this.#judge = judge;
    this.#outcome = undefined;
  }

  replied(reply: Reply): Reply {
    // An answer of our own (a fault that was injected) says nothing about the destination.
    this.#settle(reply instanceof LocalReply ? 'neutral' : this.#judge.ofStatus(reply.status));
    return reply;
  }

  failed(call: ClientCall, error: unknown): void {
    this.#settle(this.#outcomeOf(call, error));
  }

  callEnded(call: ClientCall, _status: number, error: Error | undefined): void {
    if (error === undefined) return;
    if (this.#outcome === undefined) this.failed(call, error);
    else if (this.#outcome === 'success' && this.#outcomeOf(call, error) === 'failure') this.#settle('failure');
  }

  #outcomeOf(call: ClientCall, error: unknown): Outcome {
    if (call.cancelled) return 'neutral';
    // This process was busy with something else when the time was over.
    if (call.stalled && error instanceof MeshError && error.status === 504) return 'neutral';
    // A try that was delayed on purpose may be late because of that.
    if (call.flag.includes('DI') && error instanceof MeshError && error.code === 'ERR_MESH_TRY_TIMEOUT')
      return 'neutral';
    return this.#judge.ofError(error);
  }

  #settle(outcome: Outcome): void {
    this.#outcome = outcome;
    this.#breaker.settle(this.#ticket, outcome);
  }
}
