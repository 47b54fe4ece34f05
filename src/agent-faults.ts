import type { AgentAnswer, AgentStart } from './agent-answers.ts';
import { abortAnswer, isGrpc } from './fault/answer.ts';
import { type FaultPlan, isAborted, isDelayed, planFault } from './fault/decide.ts';
import type { AgentRequest, AgentTarget, RoutedLater } from './host/agent.ts';
import type { Clock } from './lib/clock.ts';
import type { Random } from './lib/random.ts';
import type { Route } from './model/route.ts';
import type { Series } from './telemetry/metrics.ts';

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
  series(service: string): Series;
}): (of: AgentCase, go: (start: AgentStart) => Decision) => Decision {
  const { answering, clock, random, series } = options;
  const plans = new WeakMap<Route, FaultPlan | 'none'>();

  const planOf = (route: Route): FaultPlan | 'none' => {
    let plan = plans.get(route);
    if (plan === undefined) plans.set(route, (plan = planFault(route.fault) ?? 'none'));
    return plan;
  };

  const abortOf = (plan: FaultPlan, { edits, request, service }: AgentCase, start: AgentStart) => {
    if (plan.abort === undefined || !isAborted(plan, random())) return undefined;
    const answer = abortAnswer(plan.abort, isGrpc(request.header('content-type')));
    return answering(request, answer, service, start, edits());
  };

  return (of, go) => {
    const startedAt = clock.now();
    const { route, service } = of;
    const plan = route.fault === undefined ? 'none' : planOf(route);
    const start = { startedAt, flag: '' };
    if (plan === 'none') return go(start);
    if (plan.delayShare === 0 || !isDelayed(plan, random())) return abortOf(plan, of, start) ?? go(start);
    const delayed = { startedAt, flag: 'DI' };
    let cancel = (): void => {};
    // The request has no socket yet that would keep the process waiting for it.
    const delay = new Promise<void>((resolve) => (cancel = clock.after(plan.delayMs, resolve, true)));
    let over = false;
    const later: RoutedLater = delay.then(() => {
      over = true;
      return abortOf(plan, of, delayed) ?? go(delayed);
    });
    later.giveUp = () => {
      // What follows the delay reports its end itself.
      if (over) return;
      cancel();
      series(service).record(0, 'DI,DC', clock.now() - startedAt);
    };
    return later;
  };
}
