import type { AgentRequest, AgentTarget } from './host/agent.ts';
import { LocalSocket } from './host/local-socket.ts';
import type { Clock } from './lib/clock.ts';
import type { LocalAnswer } from './pipeline/local-answer.ts';
import { addFlag } from './pipeline/response-flags.ts';
import type { Series } from './telemetry/metrics.ts';

/** How a request of node:http began, for its record. */
export interface AgentStart {
  readonly startedAt: number;
  /** `DI` when it was delayed. */
  readonly flag: string;
}

/** Where a request goes that has this answer; `service` is what the record says it was for. */
export type AgentAnswer = (
  request: AgentRequest,
  answer: LocalAnswer,
  service: string,
  start: AgentStart,
  /** Header edits for the answer. */
  edits?: AgentTarget['response'],
) => AgentTarget;

/**
 * Answers of the mesh's own to requests of node:http: by a connection to nobody, so that the library
 * above sees an ordinary response.
 */
export function agentAnswers(options: { readonly clock: Clock; series(service: string): Series }): AgentAnswer {
  const { clock, series } = options;
  let answered = 0;
  return ({ method, path }, answer, service, start, edits) => {
    let done = false;
    return {
      // Its connection serves nobody else.
      key: `answered/${++answered}`,
      path,
      flag: addFlag(start.flag, answer.flag),
      headers: [],
      ...(edits === undefined ? {} : { response: edits }),
      connect: async () => new LocalSocket(answer, method),
      done(status) {
        if (done) return;
        done = true;
        const flag = addFlag(start.flag, status === 0 ? 'DC' : answer.flag);
        series(service).record(status, flag, clock.now() - start.startedAt);
      },
    };
  };
}
