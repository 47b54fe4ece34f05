import type { AgentAnswer, AgentCount, AgentStart } from './agent-answers.ts';
import { ActiveFaults } from './fault/active.ts';
import { abortAnswer } from './fault/answer.ts';
import { planByHeaders } from './fault/by-headers.ts';
import { type FaultPlan, isAborted, isDelayed, mayAskForFaults, planFault } from './fault/decide.ts';
import type { AgentRequest, AgentTarget, RoutedLater } from './host/agent.ts';
import type { Clock } from './lib/clock.ts';
import { isGrpc } from './lib/grpc-answer.ts';
import type { Random } from './lib/random.ts';
import type { Route } from './model/route.ts';
import { currentScope } from './pipeline/scope.ts';

/** A request of node:http that its route may injure. */
export interface AgentCase {
  readonly request: AgentRequest;
  readonly route: Route;
  /** Whose series an injected answer counts in. */
  readonly service: string;
  /** Header edits of the route for responses: an injected one has them too, as in Envoy. */
  edits(): AgentTarget['response'];
}

type Decision = ReturnType<(request: AgentRequest) => AgentTarget | 'direct' | RoutedLater>;

/**
 * Faults for `mesh.agent`. There is one try, so a fault of tries is the same as one of calls. An
 * abort is answered by a connection to nobody: the library above sees an ordinary response.
 */
export function agentFaults(options: {
  readonly clock: Clock;
  readonly random: Random;
  readonly answering: AgentAnswer;
  /** Faults under way in this process. Default: those of this agent alone. */
  readonly faults?: ActiveFaults;
  readonly count: AgentCount;
}): (of: AgentCase, go: (start: AgentStart) => Decision) => Decision {
  const { answering, clock, count, faults = new ActiveFaults(), random } = options;
  const plans = new WeakMap<Route, FaultPlan | 'none'>();

  const planOf = (route: Route): FaultPlan | 'none' => {
    let plan = plans.get(route);
    if (plan === undefined) plans.set(route, (plan = planFault(route.fault) ?? 'none'));
    return plan;
  };

  const abortOf = (plan: FaultPlan, { edits, request, service }: AgentCase, start: AgentStart) => {
    if (plan.abort === undefined || !isAborted(plan, random())) return undefined;
    const answer = abortAnswer(plan.abort, isGrpc(request.header('content-type')));
    faults.begin(request, 'abort');
    return untilDone(answering(request, answer, service, start, edits()), request);
  };

  /** What the route has, or what the request asks for in place of it. */
  const ownPlan = (plan: FaultPlan, request: AgentRequest): FaultPlan =>
    plan.byHeaders === undefined || !mayAskForFaults(currentScope())
      ? plan
      : planByHeaders(plan, plan.byHeaders, (name) => request.header(name));

  /** A fault is under way until its request has ended. */
  const untilDone = (target: AgentTarget, request: AgentRequest): AgentTarget => {
    const { done } = target;
    return {
      ...target,
      done(status, error, stalled) {
        faults.end(request);
        done.call(target, status, error, stalled);
      },
    };
  };

  return (of, go) => {
    const startedAt = clock.now();
    const { route, service } = of;
    const configured = route.fault === undefined ? 'none' : planOf(route);
    const start = { startedAt, flag: '' };
    if (configured === 'none' || !faults.admits(configured.maxActive)) return go(start);
    const plan = ownPlan(configured, of.request);
    if (plan.delayShare === 0 || !isDelayed(plan, random())) return abortOf(plan, of, start) ?? go(start);
    const delayed = { startedAt, flag: 'DI' };
    faults.begin(of.request, 'delay');
    let cancel = (): void => {};
    // The request has no socket yet that would keep the process waiting for it.
    const delay = new Promise<void>((resolve) => (cancel = clock.after(plan.delayMs, resolve, true)));
    const goOn = async (after: AgentStart): Promise<AgentTarget | 'direct'> => {
      try {
        const target = await go(after);
        if (target !== 'direct') return untilDone(target, of.request);
        // The mesh does not see the end of it.
        faults.end(of.request);
        return target;
      } catch (error) {
        faults.end(of.request);
        throw error;
      }
    };
    let over = false;
    const later: RoutedLater = delay.then(() => {
      over = true;
      const aborted = abortOf(plan, of, delayed);
      return aborted ?? goOn(delayed);
    });
    later.giveUp = () => {
      // What follows the delay reports its end itself.
      if (over) return;
      cancel();
      faults.end(of.request);
      count(service, of.request, start, 0, 'DI,DC');
    };
    return later;
  };
}
