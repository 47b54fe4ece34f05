import { MeshError } from '../errors.ts';
import { type Deadline, type DeadlineClass, type DeadlineOwner, stallMs } from '../lib/deadlines.ts';
import type { ClientCall, Reply, TryActivity, TryWatcher } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';

/**
 * How long a try may go without a byte of body in either direction, or a response (Envoy
 * `per_try_idle_timeout`): finds endpoints that stop, or drip, in the middle of an answer. A pause
 * that the application makes does not count.
 */
export function tryIdleFilter(timeoutMs: number, deadlines: DeadlineClass): Filter<ClientCall, Reply> {
  return (call, next) => {
    call.stalled = false;
    const idle = new TryIdle(call, timeoutMs, deadlines);
    call.watchTry(idle);
    call.activity = idle;
    return next(call);
  };
}

class TryIdle implements DeadlineOwner, TryActivity, TryWatcher {
  readonly #call: ClientCall;
  readonly #timeoutMs: number;
  readonly #deadlines: DeadlineClass;
  #deadline: Deadline;
  #ended: boolean;

  constructor(call: ClientCall, timeoutMs: number, deadlines: DeadlineClass) {
    this.#call = call;
    this.#timeoutMs = timeoutMs;
    this.#deadlines = deadlines;
    this.#deadline = deadlines.start(this);
    this.#ended = false;
  }

  tryActive(): void {
    if (this.#ended) return;
    this.#deadline.cancel();
    this.#deadline = this.#deadlines.start(this);
  }

  deadlineExpired(lateMs: number): void {
    if (this.#call.paused) {
      this.#deadline = this.#deadlines.start(this);
      return;
    }
    this.#call.stalled = lateMs > stallMs;
    const { route, cluster } = this.#call;
    const endpoint = this.#call.endpoint?.name ?? 'the endpoint';
    const message = `nothing came from ${endpoint} for ${this.#timeoutMs} ms`;
    this.#call.running?.abort(new MeshError('ERR_MESH_TRY_TIMEOUT', message, { route, cluster, endpoint }));
  }

  tryReplied(): void {
    this.tryActive();
  }

  tryEnded(): void {
    this.#ended = true;
    this.#deadline.cancel();
  }
}
