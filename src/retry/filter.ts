import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { setHeader } from '../lib/header-list.ts';
import type { Random } from '../lib/random.ts';
import { isReplayable } from '../lib/replayable.ts';
import type { RetryPolicy } from '../model/route.ts';
import type { ClientCall, GrpcRetry, Reply, ResponseHeaders } from '../pipeline/client-call.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import { retriesSpentHeader } from '../pipeline/retries-spent.ts';
import { backoffMs } from './backoff.ts';
import { keepBody, mayRepeatSent } from './body.ts';
import { compileRetryDecision, lowestRetriedStatus, type RetryDecision } from './decide.ts';
import { grpcBackoffMs, grpcRetryDecision } from './grpc-retry.ts';
import type { RetryLimit, RetryPlace } from './limit.ts';
import { pushbackMs, pushbackOf } from './pushback.ts';

/** Tries again as the policy says, elsewhere if possible, until the call's time or tries are used up. */
export function retryFilter(options: {
  readonly policy: RetryPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly limit: RetryLimit;
  /** May a retry go where the call has failed already? `reached`: where the server had got the request. Default no. */
  readonly anywhere?: boolean | 'reached';
  /** Retry answers of services that have spent retries of their own, as sidecars do? Default no. */
  readonly nested?: boolean;
  /** A stream is kept up to this size, so that it can be sent again. Default: none is. */
  readonly replayBytes?: number;
  /** What a gRPC client's service config says, in place of the conditions and the back-off of `policy`. */
  readonly grpc?: GrpcRetry | undefined;
  /** Called before each retry, to bring up to date what its request says. */
  prepare?(call: ClientCall): void;
}): Filter<ClientCall, Reply> {
  const { policy, clock, random, limit, anywhere = false, nested = false, grpc } = options;
  const asked = grpc === undefined ? compileRetryDecision(policy) : grpcRetryDecision(grpc);
  const throttle = grpc?.throttle;
  // What is not to be retried costs no token; all else does, the last try included (gRFC A6).
  const decide: RetryDecision = throttle === undefined ? asked : (outcome) => asked(outcome) && throttle.failed();
  const lowest = grpc === undefined ? lowestRetriedStatus(policy) : 300;
  const keeps = grpc !== undefined || mayRepeatSent(policy);
  /** @param paced tries until the last for which a server named the wait: with those, gRPC's back-off begins anew. */
  const usualWaitMs = ({ tries }: ClientCall, paced: number): number =>
    grpc === undefined ? backoffMs(tries, policy.backoffBaseMs, random) : grpcBackoffMs(tries - paced, grpc, random);

  /** Is there another try in it? If not, says why in the flags of the call. Takes a place for it. */
  const admitted = (call: ClientCall, sent: boolean): RetryPlace | undefined => {
    if (call.reason !== null || call.request.upgrade) return undefined;
    const used = call.tries > policy.attempts;
    const place = used ? undefined : limit.enter(sent);
    if (place !== undefined) return place;
    call.flag = addFlag(call.flag, used ? 'URX' : 'UO');
    call.scope?.retriesSpent?.();
    return undefined;
  };

  /** The wait that an answer asks for, if it does; never, if it is longer than the call can wait. */
  const waitFor = (call: ClientCall, headers: ResponseHeaders): number | 'never' | undefined => {
    const pushback = pushbackOf(headers, clock.wallNow());
    if (pushback === undefined) return undefined;
    if (pushback === 'final') return 'never';
    return pushbackMs(pushback, call.deadline - clock.now(), random) ?? 'never';
  };

  const again = async (
    call: ClientCall,
    next: Service<ClientCall, Reply>,
    place: RetryPlace,
    paced: number,
    askedMs?: number,
  ): Promise<Reply> => {
    if (call.endpoint !== undefined && (anywhere === false || (anywhere === 'reached' && !call.sent))) {
      if (call.failedEndpoints === undefined) call.failedEndpoints = [call.endpoint];
      else call.failedEndpoints.push(call.endpoint);
    }
    // What no server has seen is no load that could be too much: the next endpoint is asked at once.
    const atOnce = !call.sent && call.tries === 1 && call.failedEndpoints !== undefined;
    const waitMs = askedMs ?? usualWaitMs(call, paced);
    if (!atOnce || askedMs !== undefined) {
      let cancel = (): void => {};
      try {
        // Between two tries there may be nothing else that keeps the process waiting for the call.
        await call.until(new Promise<void>((resolve) => (cancel = clock.after(waitMs, resolve, true))));
      } catch (error) {
        cancel();
        limit.withdraw(place);
        outOfTime(call);
        throw error;
      }
    }
    limit.sent();
    options.prepare?.(call);
    return attempt(call, next, place, askedMs === undefined ? paced : call.tries);
  };

  const attempt = (
    call: ClientCall,
    next: Service<ClientCall, Reply>,
    retry: RetryPlace | undefined,
    paced: number,
  ): Promise<Reply> => {
    call.tries++;
    call.sent = false;
    // 1 for the first try; Istio's sidecars send it.
    setHeader(call.request.headers, 'x-envoy-attempt-count', String(call.tries));
    // gRFC A6: there is none with the first try.
    if (call.tries > 1 && call.request.grpc !== undefined) {
      setHeader(call.request.headers, 'grpc-previous-rpc-attempts', String(call.tries - 1));
    }
    return next(call).then(
      (reply) => {
        if (retry !== undefined) limit.leave(retry);
        const { headers, status } = reply;
        if (status < lowest && headers['grpc-status'] === undefined) {
          limit.good();
          return reply;
        }
        if (!decide({ kind: 'response', status, headers })) return reply;
        if (!nested && headers[retriesSpentHeader] !== undefined) {
          call.scope?.retriesSpent?.();
          return reply;
        }
        // What has been sent must be sendable again; then, and only then, is this answer given up.
        const askedMs = waitFor(call, headers);
        const final = askedMs === 'never' || !isReplayable(call.request.body);
        const place = final ? undefined : admitted(call, true);
        if (place === undefined) return reply;
        reply.discard();
        return again(call, next, place, paced, askedMs as number | undefined);
      },
      (error: unknown) => {
        if (retry !== undefined) {
          limit.leave(retry);
          outOfTime(call);
        }
        // Nobody else was left to ask.
        if (error === call.impostors?.error) throw error;
        noteImpostor(call, error);
        // What has not left is still whole, whatever it is.
        const { sent } = call;
        const whole = !sent || isReplayable(call.request.body);
        const place = whole && decide({ kind: 'error', error, sent }) ? admitted(call, sent) : undefined;
        if (place === undefined) throw error;
        return again(call, next, place, paced);
      },
    );
  };
  return (call, next) => {
    if (limit.counts) limit.began();
    const { body } = call.request;
    if (keeps && typeof body === 'object' && body !== null) keepBody(call, options.replayBytes ?? 0);
    return attempt(call, next, undefined, 0);
  };
}

/** Who is not who it must be will not be so the next time. */
function noteImpostor(call: ClientCall, error: unknown): void {
  if (!(error instanceof MeshError) || error.code !== 'ERR_MESH_PEER_IDENTITY' || call.endpoint === undefined) return;
  call.impostors = { endpoints: [...(call.impostors?.endpoints ?? []), call.endpoint], error };
}

/** A call whose time ended among its retries has spent them, too. */
function outOfTime(call: ClientCall): void {
  if (call.reason !== null && !call.cancelled) call.scope?.retriesSpent?.();
}
