import { MeshError } from '../errors.ts';
import { type Deadline, type DeadlineClass, type DeadlineOwner, stallMs } from '../lib/deadlines.ts';
import type { ClientCall, Reply, TryWatcher } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';

/**
 * The time of one try, connection included, up to its response headers (Istio `perTryTimeout`).
 * Once an answer has begun only the total time bounds it, as in Envoy.
 */
export function tryTimeoutFilter(timeoutMs: number, deadlines: DeadlineClass): Filter<ClientCall, Reply> {
  return (call, next) => {
    call.stalled = false;
    call.watchTry(new TryExpiry(call, timeoutMs, deadlines));
    return next(call);
  };
}

class TryExpiry implements DeadlineOwner, TryWatcher {
  readonly #call: ClientCall;
  readonly #timeoutMs: number;
  readonly #deadline: Deadline;

  constructor(call: ClientCall, timeoutMs: number, deadlines: DeadlineClass) {
    this.#call = call;
    this.#timeoutMs = timeoutMs;
    this.#deadline = deadlines.start(this);
  }

  deadlineExpired(lateMs: number): void {
    this.#call.stalled = lateMs > stallMs;
    const { route, cluster } = this.#call;
    const endpoint = this.#call.endpoint?.name ?? 'the endpoint';
    const message = `no answer from ${endpoint} within ${this.#timeoutMs} ms`;
    this.#call.running?.abort(new MeshError('ERR_MESH_TRY_TIMEOUT', message, { route, cluster, endpoint }));
  }

  tryReplied(): void {
    this.#deadline.cancel();
  }

  tryEnded(): void {
    this.#deadline.cancel();
  }
}
