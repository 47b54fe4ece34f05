import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { isGrpc } from '../lib/grpc-answer.ts';
import { headerValue } from '../lib/header-list.ts';
import { isInShare } from '../lib/percent.ts';
import type { Random } from '../lib/random.ts';
import type { CallWatcher, ClientCall, Reply } from '../pipeline/client-call.ts';
import { editResponse, type ResponseEditor } from '../pipeline/edit-response.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { type LocalAnswer, LocalReply } from '../pipeline/local-answer.ts';
import { pauseCall } from '../pipeline/pause.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import type { ActiveFaults } from './active.ts';
import { abortAnswer } from './answer.ts';
import { planByHeaders } from './by-headers.ts';
import { type FaultPlan, isDelayed, mayAskForFaults } from './decide.ts';

/**
 * Faults of whole calls, as Envoy's fault filter has them: a delay, then perhaps an answer in place
 * of the service's. Neither the route's timeout nor its retries see anything of it.
 */
export function callFaultFilter(options: {
  readonly plan: FaultPlan;
  readonly clock: Clock;
  readonly random: Random;
  readonly active: ActiveFaults;
  /** What is kept of the time of this call's cause, so that our answer still reaches it. */
  readonly marginMs: number;
  /** Header edits of the route for responses: an injected one has them too, as in Envoy. */
  readonly edit?: ResponseEditor | undefined;
}): Filter<ClientCall, Reply> {
  const { active, plan, clock, edit, marginMs, random } = options;
  const injected = counter(active);
  const abort = aborter(plan, random, injected, edit);

  const delay = async (call: ClientCall, own: FaultPlan, next: Service<ClientCall, Reply>): Promise<Reply> => {
    injected(call, 'delay');
    call.flag = addFlag(call.flag, 'DI');
    // Whoever causes this call does not wait longer than it said.
    const leftMs = (call.scope?.deadline ?? Number.POSITIVE_INFINITY) - marginMs - clock.now();
    await pauseCall(call, clock, Math.max(0, Math.min(own.delayMs, leftMs)));
    if (leftMs < own.delayMs) {
      const message = 'the deadline of the request that causes this call passed in a delay that was injected';
      throw new MeshError('ERR_MESH_DEADLINE_EXPIRED', message, { route: call.route, cluster: call.cluster });
    }
    return abort(call, own) ?? next(call);
  };
  return (call, next) => {
    if (!active.admits(plan.maxActive)) return next(call);
    const own = planOf(call, plan);
    if (own.delayShare > 0 && isDelayed(own, random())) return delay(call, own, next);
    return abort(call, own) ?? next(call);
  };
}

/**
 * Faults of single tries (`inmesh.dev`): each try draws anew, and what happens to it is what the
 * retry policy sees. The time of a try runs during a delay.
 */
export function tryFaultFilter(options: {
  readonly plan: FaultPlan;
  readonly clock: Clock;
  readonly random: Random;
  readonly active: ActiveFaults;
  readonly perTryMs: number | undefined;
  /** Takes the place of `next` after a delay: a try with what is then left of its time. */
  readonly delayed: Service<ClientCall, Reply>;
}): Filter<ClientCall, Reply> {
  const { active, plan, clock, delayed, perTryMs, random } = options;
  const delays = plan.delayShare > 0;
  const injected = counter(active);
  const abort = aborter(plan, random, injected);

  const delay = async (call: ClientCall): Promise<Reply> => {
    injected(call, 'delay');
    call.flag = addFlag(call.flag, 'DI');
    await pauseCall(call, clock, Math.min(plan.delayMs, perTryMs ?? Number.POSITIVE_INFINITY));
    if (perTryMs !== undefined && perTryMs <= plan.delayMs) {
      const message = `no answer within ${perTryMs} ms, because of a delay that was injected`;
      throw new MeshError('ERR_MESH_TRY_TIMEOUT', message, { route: call.route, cluster: call.cluster });
    }
    return abort(call, plan) ?? delayed(call);
  };
  return (call, next) => {
    if (!active.admits(plan.maxActive)) return next(call);
    // The endpoint of a try before has nothing to do with what happens here.
    call.endpoint = undefined;
    return delays && isDelayed(plan, random()) ? delay(call) : (abort(call, plan) ?? next(call));
  };
}

/** What the route has, or what the call asks for in place of it. */
function planOf(call: ClientCall, plan: FaultPlan): FaultPlan {
  if (plan.byHeaders === undefined || !mayAskForFaults(call.scope)) return plan;
  return planByHeaders(plan, plan.byHeaders, (name) => headerValue(call.request.headers, name));
}

/** Counts a fault of a call, which is under way until the call has ended. */
function counter(active: ActiveFaults): (call: ClientCall, kind: 'delay' | 'abort') => void {
  const watcher: CallWatcher = { callEnded: (call) => active.end(call) };
  return (call, kind) => {
    if (active.begin(call, kind)) call.watch(watcher);
  };
}

/** Draws, and returns the answer of an aborted call; nothing when the call goes on. */
function aborter(
  plan: FaultPlan,
  random: Random,
  injected: (call: ClientCall, kind: 'abort') => void,
  edit?: ResponseEditor,
): (call: ClientCall, own: FaultPlan) => Promise<Reply> | undefined {
  const prepared = plan.abort && answersOf(plan.abort);
  return (call, { abort, abortShare }) => {
    if (abort === undefined || abortShare === 0 || !isInShare(abortShare, random())) return undefined;
    injected(call, 'abort');
    if (edit !== undefined) editResponse(call, edit);
    const { headers, method, upgrade } = call.request;
    if (upgrade || method === 'CONNECT') {
      // Whoever wants a connection and not a response can only be told of an error.
      const message = `a fault was injected: status ${abort.status} in place of a connection`;
      return Promise.reject(new MeshError('ERR_MESH_FAULT', message, { route: call.route, cluster: call.cluster }));
    }
    const answers = abort === plan.abort && prepared !== undefined ? prepared : answersOf(abort);
    return Promise.resolve(new LocalReply(isGrpc(headerValue(headers, 'content-type')) ? answers.grpc : answers.plain));
  };
}

function answersOf(abort: NonNullable<FaultPlan['abort']>): {
  readonly plain: LocalAnswer;
  readonly grpc: LocalAnswer;
} {
  return { plain: abortAnswer(abort, false), grpc: abortAnswer(abort, true) };
}
