import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Deadline, DeadlineOwner } from '../lib/deadlines.ts';
import { compileStringMatch } from '../model/string-match.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { isResponseClosed } from '../pipeline/response-closed.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import type { Guest } from './gate.ts';
import { goLater } from './go-later.ts';
import type { Protection, Refusal } from './protection.ts';
import { createUrgency, defaultUrgency } from './urgency.ts';

/**
 * Turns requests away that are more than this server can do, before any work is done for them. Inside
 * of authorization: who is not allowed in takes no place from others.
 */
export function overloadFilter(protection: Protection, clock: Clock): Filter<ServerCall, void> {
  const { policy } = protection;
  const exempt = policy.exemptPaths.map((each) => compileStringMatch(each));
  const urgencyOf = createUrgency(policy.priority);
  const counts = policy.concurrency !== undefined || policy.adaptive !== undefined;
  // Without a choice between requests nobody needs to know how urgent they are.
  const ranks = policy.eventLoop !== undefined || (policy.concurrency?.maxQueue ?? 0) > 0;

  return (call, next) => {
    for (const matches of exempt) if (matches(call.path)) return next(call);
    const urgency = ranks ? urgencyOf(call) : defaultUrgency;
    if (protection.shedder?.sheds(urgency) === true) throw refusal(protection, 'event-loop');
    if (!counts) return next(call);
    const visit = new Visit(protection, clock, call, urgency);
    const entrance = protection.gate.enter(visit, protection.limit());
    switch (entrance) {
      case 'admitted':
        visit.begin();
        return next(call);
      case 'waiting':
        return visit.wait(next);
      default:
        throw refusal(protection, entrance);
    }
  };
}

function refusal({ refusals }: Protection, why: Refusal): MeshError {
  refusals[why]++;
  return errors[why];
}

const full = (message: string): MeshError => new MeshError('ERR_MESH_CONCURRENCY_LIMIT', message);

/** Made once: an error takes a picture of the stack, and a server that turns requests away has other things to do. */
const errors: Readonly<Record<Refusal, MeshError>> = {
  full: full('this server has as many requests under way as it may'),
  share: full('this caller has as many requests under way as one caller may'),
  timeout: full('no place came free in time'),
  displaced: full('a request that is more urgent has taken the place in the queue'),
  'event-loop': new MeshError('ERR_MESH_OVERLOADED', 'the event loop is late; requests are turned away'),
};

/** One request, while it has a place or waits for one. */
class Visit implements Guest, DeadlineOwner {
  readonly caller: string;
  readonly urgency: number;
  readonly #protection: Protection;
  readonly #clock: Clock;
  readonly #call: ServerCall;
  #beganAt: number;
  #ended: boolean;
  #deadline: Deadline | undefined;
  #go: (() => void) | undefined;
  #refuse: ((error: MeshError) => void) | undefined;

  constructor(protection: Protection, clock: Clock, call: ServerCall, urgency: number) {
    this.caller = call.peer?.spiffeId ?? '';
    this.urgency = urgency;
    this.#protection = protection;
    this.#clock = clock;
    this.#call = call;
    this.#beganAt = 0;
    this.#ended = false;
    this.#deadline = undefined;
    this.#go = undefined;
    this.#refuse = undefined;
  }

  /** It has a place until its response is complete, or its connection gone. */
  begin(): void {
    this.#beganAt = this.#clock.now();
    const { response } = this.#call;
    if (isResponseClosed(response)) this.#end();
    else response.on('close', () => this.#end());
  }

  wait(next: Service<ServerCall, void>): Promise<void> {
    const { response } = this.#call;
    const gone = (): void => {
      if (!this.#protection.gate.giveUp(this)) return;
      this.#deadline?.cancel();
      this.#refuse?.(new MeshError('ERR_MESH_CLIENT_GONE', 'the caller went away while it waited for a place'));
    };
    response.once('close', gone);
    this.#deadline = this.#protection.queueDeadline.start(this);
    return new Promise<void>((resolve, reject) => {
      this.#refuse = reject;
      const begin = (): void => {
        response.off('close', gone);
        this.begin();
      };
      this.#go = goLater({ call: this.#call, next, begin, resolve, reject });
    });
  }

  admitted(): void {
    this.#deadline?.cancel();
    this.#go?.();
  }

  displaced(): void {
    this.#deadline?.cancel();
    this.#refuse?.(refusal(this.#protection, 'displaced'));
  }

  deadlineExpired(): void {
    if (this.#protection.gate.giveUp(this)) this.#refuse?.(refusal(this.#protection, 'timeout'));
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const { adaptive, gate } = this.#protection;
    // Who went away early says nothing about how long an answer takes.
    if (this.#call.response.writableFinished) adaptive?.record(this.#beganAt, this.#clock.now());
    gate.leave(this, this.#protection.limit());
  }
}
