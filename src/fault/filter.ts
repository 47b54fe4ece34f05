import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { headerValue } from '../lib/header-list.ts';
import type { Random } from '../lib/random.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import { editResponse, type ResponseEditor } from '../pipeline/edit-response.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { type LocalAnswer, LocalReply } from '../pipeline/local-answer.ts';
import { pauseCall } from '../pipeline/pause.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import { abortAnswer, isGrpc } from './answer.ts';
import { type FaultPlan, isAborted, isDelayed } from './decide.ts';

/**
 * Faults of whole calls, as Envoy's fault filter has them: a delay, then perhaps an answer in place
 * of the service's. Neither the route's timeout nor its retries see anything of it.
 */
export function callFaultFilter(options: {
  readonly plan: FaultPlan;
  readonly clock: Clock;
  readonly random: Random;
  /** What is kept of the time of this call's cause, so that our answer still reaches it. */
  readonly marginMs: number;
  /** Header edits of the route for responses: an injected one has them too, as in Envoy. */
  readonly edit?: ResponseEditor | undefined;
}): Filter<ClientCall, Reply> {
  const { plan, clock, edit, marginMs, random } = options;
  const delays = plan.delayShare > 0;
  const abort = aborter(plan, random, edit);

  const delay = async (call: ClientCall, next: Service<ClientCall, Reply>): Promise<Reply> => {
    call.flag = addFlag(call.flag, 'DI');
    // Whoever causes this call does not wait longer than it said.
    const leftMs = (call.scope?.deadline ?? Number.POSITIVE_INFINITY) - marginMs - clock.now();
    await pauseCall(call, clock, Math.max(0, Math.min(plan.delayMs, leftMs)));
    if (leftMs < plan.delayMs) {
      const message = 'the deadline of the request that causes this call passed in a delay that was injected';
      throw new MeshError('ERR_MESH_DEADLINE_EXPIRED', message, { route: call.route, cluster: call.cluster });
    }
    return abort(call) ?? next(call);
  };
  return (call, next) => (delays && isDelayed(plan, random()) ? delay(call, next) : (abort(call) ?? next(call)));
}

/**
 * Faults of single tries (`inmesh.dev`): each try draws anew, and what happens to it is what the
 * retry policy sees. The time of a try runs during a delay.
 */
export function tryFaultFilter(options: {
  readonly plan: FaultPlan;
  readonly clock: Clock;
  readonly random: Random;
  readonly perTryMs: number | undefined;
  /** Takes the place of `next` after a delay: a try with what is then left of its time. */
  readonly delayed: Service<ClientCall, Reply>;
}): Filter<ClientCall, Reply> {
  const { plan, clock, delayed, perTryMs, random } = options;
  const delays = plan.delayShare > 0;
  const abort = aborter(plan, random);

  const delay = async (call: ClientCall): Promise<Reply> => {
    call.flag = addFlag(call.flag, 'DI');
    await pauseCall(call, clock, Math.min(plan.delayMs, perTryMs ?? Number.POSITIVE_INFINITY));
    if (perTryMs !== undefined && perTryMs <= plan.delayMs) {
      const message = `no answer within ${perTryMs} ms, because of a delay that was injected`;
      throw new MeshError('ERR_MESH_TRY_TIMEOUT', message, { route: call.route, cluster: call.cluster });
    }
    return abort(call) ?? delayed(call);
  };
  return (call, next) => {
    // The endpoint of a try before has nothing to do with what happens here.
    call.endpoint = undefined;
    return delays && isDelayed(plan, random()) ? delay(call) : (abort(call) ?? next(call));
  };
}

/** Draws, and returns the answer of an aborted call; nothing when the call goes on. */
function aborter(
  plan: FaultPlan,
  random: Random,
  edit?: ResponseEditor,
): (call: ClientCall) => Promise<Reply> | undefined {
  const { abort } = plan;
  if (abort === undefined || plan.abortShare === 0) return () => undefined;
  const answers: readonly [LocalAnswer, LocalAnswer] = [abortAnswer(abort, false), abortAnswer(abort, true)];
  return (call) => {
    if (!isAborted(plan, random())) return undefined;
    if (edit !== undefined) editResponse(call, edit);
    const { headers, method, upgrade } = call.request;
    if (upgrade || method === 'CONNECT') {
      // Whoever wants a connection and not a response can only be told of an error.
      const message = `a fault was injected: status ${abort.status} in place of a connection`;
      return Promise.reject(new MeshError('ERR_MESH_FAULT', message, { route: call.route, cluster: call.cluster }));
    }
    return Promise.resolve(new LocalReply(isGrpc(headerValue(headers, 'content-type')) ? answers[1] : answers[0]));
  };
}
