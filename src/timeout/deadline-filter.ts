import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { type DeadlineClass, type DeadlineOwner, stallMs } from '../lib/deadlines.ts';
import { grpcTimeoutMs } from '../lib/grpc-timeout.ts';
import { headerValue, setHeader } from '../lib/header-list.ts';
import type { CallWatcher, ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import { grpcHeader, isGrpc, remainingHeader, stampRemaining } from './remaining-time.ts';

export { remainingHeader } from './remaining-time.ts';

/** What is kept of the caller's time so that our answer still reaches it. */
export const marginMs = 5;

/**
 * The total time of a call, all tries, waits and the body included: the route's timeout, what the
 * caller of this service has left, and what the request itself says (`grpc-timeout`), whichever is
 * least (Istio `timeout`; Envoy `max_grpc_timeout`; gRPC deadline propagation). The next hop is told.
 */
export function deadlineFilter(options: {
  readonly timeoutMs: number | undefined;
  /** Time for one try, for what the next hop is told. */
  readonly perTryMs: number | undefined;
  /** Calls may have waited before they get here, and that is not counted (a delay that was injected). */
  readonly startsLate?: boolean;
  /** Calls may be those of gRPC. Default no. */
  readonly grpc?: boolean;
  readonly clock: Clock;
  readonly deadlines: (timeoutMs: number) => DeadlineClass;
}): Filter<ClientCall, Reply> {
  const { timeoutMs, perTryMs, startsLate = false, grpc = false, clock } = options;
  const routeClass = timeoutMs === undefined ? undefined : options.deadlines(timeoutMs);
  const told = Math.min(timeoutMs ?? Number.POSITIVE_INFINITY, perTryMs ?? Number.POSITIVE_INFINITY);
  const routeHeader = Number.isFinite(told) ? String(Math.max(1, Math.ceil(told))) : undefined;

  return (call, next) => {
    const callerDeadline = call.scope?.deadline;
    const spoken = call.request.grpc !== undefined || (grpc && isGrpc(call));
    const askedMs = spoken ? grpcTimeoutMs(headerValue(call.request.headers, grpcHeader)) : Infinity;
    if (callerDeadline === undefined && askedMs === Infinity) {
      if (routeHeader !== undefined) setHeader(call.request.headers, remainingHeader, routeHeader);
      if (routeClass === undefined) return next(call);
      call.deadline = (startsLate ? clock.now() : call.startedAt) + (timeoutMs as number);
      if (grpc || spoken) stampRemaining(call, clock, perTryMs, true);
      const expiry = new Expiry(call, timeoutMs as number, 'ERR_MESH_TIMEOUT');
      expiry.running = routeClass.start(expiry);
      call.watch(expiry);
      return next(call);
    }
    const remaining = callerDeadline === undefined ? Infinity : callerDeadline - clock.now() - marginMs;
    if (remaining <= 0) {
      const message = 'the deadline of the request that causes this call has passed';
      return Promise.reject(new MeshError('ERR_MESH_DEADLINE_EXPIRED', message, { route: call.route }));
    }
    const own = Math.min(timeoutMs ?? Infinity, askedMs);
    const total = Math.min(own, remaining);
    call.deadline = clock.now() + total;
    stampRemaining(call, clock, perTryMs, grpc || spoken);
    const code = total === own ? 'ERR_MESH_TIMEOUT' : 'ERR_MESH_DEADLINE_EXPIRED';
    const expiry = new Expiry(call, total, code);
    // Every value is different here, so a shared list of one length would not help.
    const cancel = clock.after(total, () => clock.afterIo(() => expiry.deadlineExpired(clock.now() - call.deadline)));
    expiry.running = { cancel };
    call.watch(expiry);
    return next(call);
  };
}

class Expiry implements DeadlineOwner, CallWatcher {
  running: { cancel(): void } | undefined;
  #done: boolean;
  readonly #call: ClientCall;
  readonly #totalMs: number;
  readonly #code: 'ERR_MESH_TIMEOUT' | 'ERR_MESH_DEADLINE_EXPIRED';

  constructor(call: ClientCall, totalMs: number, code: 'ERR_MESH_TIMEOUT' | 'ERR_MESH_DEADLINE_EXPIRED') {
    this.running = undefined;
    this.#done = false;
    this.#call = call;
    this.#totalMs = totalMs;
    this.#code = code;
  }

  deadlineExpired(lateMs: number): void {
    if (this.#done) return;
    this.#call.stalled = lateMs > stallMs;
    const { route, cluster, endpoint } = this.#call;
    const message = `no complete answer within ${Math.round(this.#totalMs)} ms`;
    this.#call.expire(new MeshError(this.#code, message, { route, cluster, endpoint: endpoint?.name ?? '' }));
  }

  callEnded(): void {
    this.#done = true;
    this.running?.cancel();
  }
}
