import type { Clock } from '../lib/clock.ts';
import { setHeader } from '../lib/header-list.ts';
import type { Random } from '../lib/random.ts';
import { isReplayable } from '../lib/replayable.ts';
import type { RetryPolicy } from '../model/route.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import { backoffMs } from './backoff.ts';
import { compileRetryDecision, lowestRetriedStatus, neverSent } from './decide.ts';

/** Limits how many retries are under way at once (Istio `maxRetries`). */
export interface RetryLimiter {
  enter(): boolean;
  leave(): void;
}

/** Tries again as the policy says, elsewhere if possible, until the call's time or tries are used up. */
export function retryFilter(options: {
  readonly policy: RetryPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly limiter: RetryLimiter;
  /** Called before each retry, to bring up to date what its request says. */
  prepare?(call: ClientCall): void;
}): Filter<ClientCall, Reply> {
  const { policy, clock, random, limiter } = options;
  const decide = compileRetryDecision(policy);
  const lowest = lowestRetriedStatus(policy);

  const mayRetry = (call: ClientCall): boolean =>
    call.tries <= policy.attempts && call.reason === null && !call.request.upgrade;

  const again = async (call: ClientCall, next: Service<ClientCall, Reply>): Promise<Reply> => {
    if (call.endpoint !== undefined) {
      if (call.failedEndpoints === undefined) call.failedEndpoints = [call.endpoint];
      else call.failedEndpoints.push(call.endpoint);
    }
    const waitMs = backoffMs(call.tries, policy.backoffBaseMs, random);
    let cancel = (): void => {};
    try {
      // Between two tries there may be nothing else that keeps the process waiting for the call.
      await call.until(new Promise<void>((resolve) => (cancel = clock.after(waitMs, resolve, true))));
    } catch (error) {
      cancel();
      limiter.leave();
      throw error;
    }
    options.prepare?.(call);
    return attempt(call, next, true);
  };

  const attempt = (call: ClientCall, next: Service<ClientCall, Reply>, isRetry: boolean): Promise<Reply> => {
    call.tries++;
    // 1 for the first try; Istio's sidecars send it.
    setHeader(call.request.headers, 'x-envoy-attempt-count', String(call.tries));
    return next(call).then(
      (reply) => {
        if (isRetry) limiter.leave();
        if (reply.status < lowest && reply.headers['grpc-status'] === undefined) return reply;
        const grpcStatus = reply.headers['grpc-status'];
        const wanted = decide({
          kind: 'response',
          status: reply.status,
          ...(typeof grpcStatus === 'string' ? { grpcStatus } : {}),
          rateLimited: reply.headers['x-envoy-ratelimited'] !== undefined,
        });
        if (!wanted) return reply;
        // What has been sent must be sendable again; then, and only then, is this answer given up.
        if (!mayRetry(call) || !isReplayable(call.request.body)) {
          if (call.tries > policy.attempts) call.flag = addFlag(call.flag, 'URX');
          return reply;
        }
        if (!limiter.enter()) {
          call.flag = addFlag(call.flag, 'UO');
          return reply;
        }
        reply.discard();
        return again(call, next);
      },
      (error: unknown) => {
        if (isRetry) limiter.leave();
        const untouched = isReplayable(call.request.body) || neverSent(error);
        if (!mayRetry(call) || !untouched || !decide({ kind: 'error', error }) || !limiter.enter()) throw error;
        return again(call, next);
      },
    );
  };
  return (call, next) => attempt(call, next, false);
}
