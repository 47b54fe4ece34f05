import type { AgentAnswer, AgentStart } from './agent-answers.ts';
import { refused } from './breaker/breaker.ts';
import { circuitOpen } from './breaker/filter.ts';
import type { BreakerCase, Breakers } from './breakers.ts';
import type { AgentRequest, AgentRouter, AgentTarget } from './host/agent.ts';
import type { Known } from './select.ts';

/** Lets a request of node:http pass while the breaker of its cluster does, and tells it how that went. */
export function agentBreaker(options: {
  readonly answering: AgentAnswer;
  readonly breakers: Breakers | undefined;
}): (request: AgentRequest, known: Known, start: AgentStart, go: () => AgentTarget) => ReturnType<AgentRouter> {
  const { answering, breakers } = options;
  return (request, { route, state }, start, go) => {
    const found = breakers?.(state);
    if (found === undefined) return go();
    const { breaker, fallback } = found;
    const ticket = breaker.admit();
    if (ticket === refused) {
      const { host, name } = state.cluster;
      const { method, path } = request;
      if (fallback === undefined || method === 'CONNECT' || request.header('upgrade') !== undefined) {
        throw circuitOpen(name, route.name);
      }
      const answer = fallback({ service: host, method, path, header: (each) => request.header(each.toLowerCase()) });
      return 'then' in answer
        ? answer.then((made) => answering(request, made, host, start))
        : answering(request, answer, host, start);
    }
    return judged(go, found, ticket);
  };
}

function judged(go: () => AgentTarget, { breaker, judge }: BreakerCase, ticket: number): AgentTarget {
  try {
    const target = go();
    return {
      ...target,
      done(status, error, stalled) {
        const outcome = stalled === true ? 'neutral' : judge.ofError(error);
        breaker.settle(ticket, status === 0 ? outcome : judge.ofStatus(status));
        target.done(status, error, stalled);
      },
    };
  } catch (error) {
    breaker.settle(ticket, judge.ofError(error));
    throw error;
  }
}
