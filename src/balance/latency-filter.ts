import { endpointFailures, MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { CallEndpoint, ClientCall, Reply, TryWatcher } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { LatencyMemory } from './peak-ewma.ts';

/**
 * Tells Peak-EWMA how long the response headers of each try take, and which tries fail: no response,
 * a server error, or 429. Inside of balance, which has chosen the endpoint.
 */
export function latencyFilter(
  clock: Clock,
  memoryOf: (endpoint: CallEndpoint) => LatencyMemory | undefined,
): Filter<ClientCall, Reply> {
  return (call, next) => {
    const memory = call.endpoint && memoryOf(call.endpoint);
    if (memory !== undefined) call.watchTry(new Stopwatch(memory, clock));
    return next(call);
  };
}

/** One for each try, since tries of one call may overlap. */
class Stopwatch implements TryWatcher {
  readonly #memory: LatencyMemory;
  readonly #clock: Clock;
  readonly #startedAt: number;
  #replied: boolean;

  constructor(memory: LatencyMemory, clock: Clock) {
    this.#memory = memory;
    this.#clock = clock;
    this.#startedAt = clock.now();
    this.#replied = false;
  }

  tryReplied(_call: ClientCall, status: number): void {
    this.#replied = true;
    const now = this.#clock.now();
    if (status >= 500 || status === 429) this.#memory.failed(now - this.#startedAt, now);
    else this.#memory.answered(now - this.#startedAt, now);
  }

  tryEnded(call: ClientCall, error: Error | undefined): void {
    if (error === undefined) return;
    // This process was busy with something else when the time was over: it says nothing about anybody.
    if (call.stalled && error instanceof MeshError && error.status === 504) return;
    const now = this.#clock.now();
    const elapsedMs = now - this.#startedAt;
    if (!call.cancelled && error instanceof MeshError && this.#isFailure(error)) this.#memory.failed(elapsedMs, now);
    // Who did not wait any longer says nothing against the endpoint, but for the time that went by.
    else if (!this.#replied) this.#memory.abandoned(elapsedMs, now);
  }

  #isFailure({ code }: MeshError): boolean {
    return (
      endpointFailures.has(code) || code === 'ERR_MESH_TRY_TIMEOUT' || (code === 'ERR_MESH_TIMEOUT' && !this.#replied)
    );
  }
}
