import type { Clock } from '../lib/clock.ts';
import { isGrpc } from '../lib/grpc-answer.ts';
import type { Random } from '../lib/random.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { isResponseClosed } from '../pipeline/response-closed.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import { passed, type ServerCall } from '../pipeline/server-call.ts';
import type { ActiveFaults } from './active.ts';
import { abortAnswer } from './answer.ts';
import { planByHeaders } from './by-headers.ts';
import { type FaultPlan, isAborted, isDelayed } from './decide.ts';

/**
 * Faults of requests that are served, as Envoy's fault filter has them: a delay, then perhaps an answer in place of the
 * application's. Inside of authorization: strangers are told nothing and do not wait here.
 *
 * @param planFor what is for a request; callers ask for faults by headers only when they have proven who they are
 */
export function inboundFaultFilter(options: {
  readonly planFor: (call: ServerCall) => FaultPlan | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly active: ActiveFaults;
}): Filter<ServerCall, void> {
  const { active, clock, planFor, random } = options;
  const begin = (call: ServerCall, kind: 'delay' | 'abort'): void => {
    if (active.begin(call, kind)) call.response.once('close', () => active.end(call));
  };

  const go = (call: ServerCall, { abort, ...plan }: FaultPlan, next: Service<ServerCall, void>): Promise<void> => {
    if (abort === undefined || !isAborted({ abort, ...plan }, random())) return next(call);
    begin(call, 'abort');
    const { request, response } = call;
    const answer = abortAnswer(abort, isGrpc(request.headers['content-type']));
    call.flag = addFlag(call.flag, answer.flag);
    response.statusCode = answer.status;
    for (const [name, value] of Object.entries(answer.headers))
      if (value !== undefined) response.setHeader(name, value);
    // RFC 9110 section 8.6: none with 204, and with 304 that of a body which nobody knows.
    if (answer.status === 204 || answer.status === 304) response.removeHeader('content-length');
    response.end(request.method === 'HEAD' ? undefined : answer.body);
    // What nobody reads would hold up the connection.
    request.resume();
    return passed;
  };

  const delay = async (call: ServerCall, plan: FaultPlan, next: Service<ServerCall, void>): Promise<void> => {
    begin(call, 'delay');
    call.flag = addFlag(call.flag, 'DI');
    const { response } = call;
    const gone = await new Promise<boolean>((resolve) => {
      const cancel = clock.after(plan.delayMs, () => resolve(false));
      response.once('close', () => {
        cancel();
        resolve(true);
      });
    });
    // Nobody waits for the rest.
    if (!gone) await go(call, plan, next);
  };

  return (call, next) => {
    const plan = planFor(call);
    // Of a caller who is gone nothing tells the end any more.
    if (plan === undefined || isResponseClosed(call.response) || !active.admits(plan.maxActive)) return next(call);
    const own =
      plan.byHeaders === undefined || call.peer === undefined
        ? plan
        : planByHeaders(plan, plan.byHeaders, (name) => {
            const value = call.request.headers[name];
            return Array.isArray(value) ? value.join(',') : value;
          });
    return own.delayShare > 0 && isDelayed(own, random()) ? delay(call, own, next) : go(call, own, next);
  };
}
