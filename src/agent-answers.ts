import type { AgentRequest, AgentTarget } from './host/agent.ts';
import { LocalSocket } from './host/local-socket.ts';
import type { LocalAnswer } from './pipeline/local-answer.ts';
import { addFlag } from './pipeline/response-flags.ts';

/** How a request of node:http began, for its record. */
export interface AgentStart {
  readonly startedAt: number;
  /** `DI` when it was delayed. */
  readonly flag: string;
}

/** Counts a request that reached no endpoint. */
export type AgentCount = (
  service: string,
  request: AgentRequest,
  start: Pick<AgentStart, 'startedAt'>,
  status: number,
  flag: string,
) => void;

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
export function agentAnswers(count: AgentCount): AgentAnswer {
  let answered = 0;
  return (request, answer, service, start, edits) => {
    const { method, path } = request;
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
        count(service, request, start, status, flag);
      },
    };
  };
}
