import type { Clock } from '../lib/clock.ts';
import type { Deadline, DeadlineClass, DeadlineOwner } from '../lib/deadlines.ts';
import { setHeader } from '../lib/header-list.ts';
import type { Random } from '../lib/random.ts';
import type { ClientCall, Reply, ResponseHeaders, RunningTry } from '../pipeline/client-call.ts';
import type { Service } from '../pipeline/filter.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import { retriesSpentHeader } from '../pipeline/retries-spent.ts';
import { TwinCall } from '../pipeline/twin-call.ts';
import { backoffMs } from './backoff.ts';
import type { RetryDecision } from './decide.ts';
import type { RetryLimit, RetryPlace } from './limit.ts';
import { pushbackOf } from './pushback.ts';

/** What tries that run at the same time need to know; the same for all calls of a route. */
export interface HedgeRules {
  readonly clock: Clock;
  readonly random: Random;
  readonly limit: RetryLimit;
  /** One try. */
  readonly service: Service<ClientCall, Reply>;
  readonly decide: RetryDecision;
  /** Are answers retried of services that have spent retries of their own? */
  readonly nested: boolean;
  /** Tries after one that failed. */
  readonly attempts: number;
  /** Tries beside others. */
  readonly hedges: number;
  readonly backoffBaseMs: number;
  /** Time after which another try starts beside those that run; nothing: not this time. */
  delay(): DeadlineClass | undefined;
  /** A try was answered, or cut off, after so many milliseconds. */
  answered(ms: number): void;
  prepare(call: ClientCall): void;
}

/** One try among several. */
interface Runner {
  readonly twin: TwinCall;
  readonly startedAt: number;
  readonly place: RetryPlace | undefined;
}

/**
 * The tries of one call: another starts when those under way take long, and when the last of them
 * has failed. The first good answer is the call's; the others are cut off.
 */
export class HedgedCall implements RunningTry, DeadlineOwner {
  readonly #call: ClientCall;
  readonly #rules: HedgeRules;
  readonly #running: Set<Runner>;
  #winner: TwinCall | undefined;
  #resolve: (reply: Reply) => void;
  #reject: (error: unknown) => void;
  #settled: boolean;
  /** An answer that is not good, for want of a better one. */
  #fallback: { readonly reply: Reply; readonly twin: TwinCall } | undefined;
  #timer: Deadline | undefined;
  #cancelWait: (() => void) | undefined;
  #hedges: number;

  constructor(call: ClientCall, rules: HedgeRules) {
    this.#call = call;
    this.#rules = rules;
    this.#running = new Set();
    this.#winner = undefined;
    this.#resolve = () => {};
    this.#reject = () => {};
    this.#settled = false;
    this.#fallback = undefined;
    this.#timer = undefined;
    this.#cancelWait = undefined;
    this.#hedges = 0;
  }

  run(): Promise<Reply> {
    const { limit } = this.#rules;
    if (limit.counts) limit.began();
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#call.running = this;
      this.#launch(undefined);
    });
  }

  /** Those under way have taken long enough: one more beside them. */
  deadlineExpired(): void {
    if (this.#settled || this.#running.size === 0) return;
    const place = this.#rules.limit.enter(true);
    if (place === undefined) return;
    this.#hedges++;
    this.#rules.limit.sent();
    this.#launch(place);
  }

  // ---- the call's side

  get headers(): ResponseHeaders | undefined {
    return this.#winner?.localHeaders ?? this.#winner?.running?.headers;
  }

  abort(reason: Error): void {
    if (this.#winner !== undefined) {
      stop(this.#winner, this.#call, reason);
      return;
    }
    if (this.#settled) return;
    if (!this.#call.cancelled && this.#call.tries > 1) this.#call.scope?.retriesSpent?.();
    this.#finish(reason);
    this.#reject(reason);
  }

  pause(): void {
    this.#winner?.pause();
  }

  resume(): void {
    this.#winner?.resume();
  }

  abandon(): void {
    // There is nothing after this.
  }

  // ---- the tries' side

  #launch(place: RetryPlace | undefined): void {
    const call = this.#call;
    const { clock, prepare, service } = this.#rules;
    const twin = new TwinCall(call, clock.now());
    // Somewhere else than where this call has been, failed or not.
    for (const { twin: other } of this.#running) avoid(twin, other);
    call.tries++;
    twin.tries = call.tries;
    setHeader(twin.request.headers, 'x-envoy-attempt-count', String(call.tries));
    prepare(twin);
    const runner: Runner = { twin, place, startedAt: clock.now() };
    this.#running.add(runner);
    this.#timer?.cancel();
    this.#timer = this.#hedges >= this.#rules.hedges ? undefined : this.#rules.delay()?.start(this);
    service(twin).then(
      (reply) => this.#replied(runner, reply),
      (error: unknown) => this.#failed(runner, error),
    );
  }

  #replied(runner: Runner, reply: Reply): void {
    if (!this.#leave(runner)) {
      reply.discard();
      return;
    }
    const { twin } = runner;
    this.#rules.answered(this.#rules.clock.now() - runner.startedAt);
    const { headers, status } = reply;
    if (!this.#rules.decide({ kind: 'response', status, headers })) {
      this.#rules.limit.good();
      this.#win(twin, reply);
      return;
    }
    this.#dropFallback();
    this.#fallback = { reply, twin };
    // It may never be wanted, and its body may be long, or have no end: what is read of it is kept.
    twin.pause();
    avoid(this.#call, twin);
    const spent = !this.#rules.nested && headers[retriesSpentHeader] !== undefined;
    if (spent) this.#call.scope?.retriesSpent?.();
    // An answer that says when to come back is not for tries that cannot wait.
    if (spent || pushbackOf(headers, this.#rules.clock.wallNow()) !== undefined) {
      this.#timer?.cancel();
      this.#giveUp(undefined);
    } else this.#another(true, undefined);
  }

  #failed(runner: Runner, error: unknown): void {
    if (!this.#leave(runner)) return;
    const { twin } = runner;
    twin.ended(0, error as Error);
    avoid(this.#call, twin);
    this.#call.endpoint = twin.endpoint;
    const wanted = this.#rules.decide({ kind: 'error', error, sent: twin.sent });
    if (wanted) this.#another(twin.sent, error);
    else this.#giveUp(error);
  }

  /** A try has ended without a good answer: wait for the others, or try again. */
  #another(sent: boolean, error: unknown): void {
    if (this.#running.size > 0) return;
    const call = this.#call;
    const { attempts, backoffBaseMs, clock, limit, random } = this.#rules;
    this.#timer?.cancel();
    const used = call.tries - this.#hedges > attempts;
    const place = used ? undefined : limit.enter(sent);
    if (place === undefined) {
      call.flag = addFlag(call.flag, used ? 'URX' : 'UO');
      call.scope?.retriesSpent?.();
      this.#giveUp(error);
      return;
    }
    const wait = clock.after(
      backoffMs(call.tries, backoffBaseMs, random),
      () => {
        this.#cancelWait = undefined;
        limit.sent();
        this.#launch(place);
      },
      true,
    );
    this.#cancelWait = () => {
      wait();
      limit.withdraw(place);
    };
  }

  /** No more tries: what is still under way may bring an answer, else the last failure counts. */
  #giveUp(error: unknown): void {
    if (this.#running.size > 0) return;
    const fallback = this.#fallback;
    if (fallback === undefined) {
      this.#finish();
      this.#reject(error);
      return;
    }
    this.#fallback = undefined;
    fallback.twin.resume();
    this.#win(fallback.twin, fallback.reply);
  }

  #win(twin: TwinCall, reply: Reply): void {
    this.#winner = twin;
    this.#finish();
    this.#resolve(new AdoptedReply(twin, reply));
  }

  /** Has the race been on until now? Its place in it is free in any case. */
  #leave(runner: Runner): boolean {
    if (!this.#running.delete(runner)) return false;
    if (runner.place !== undefined) this.#rules.limit.leave(runner.place);
    return true;
  }

  #finish(reason: Error = overtaken): void {
    this.#settled = true;
    this.#timer?.cancel();
    this.#cancelWait?.();
    this.#cancelWait = undefined;
    this.#dropFallback();
    const now = this.#rules.clock.now();
    for (const runner of [...this.#running]) {
      this.#leave(runner);
      // How long it would have taken nobody knows; it was no less than this.
      if (this.#winner !== undefined) this.#rules.answered(now - runner.startedAt);
      runner.twin.expire(reason);
      // Nobody else will tell those who follow it, such as who counts the faults under way.
      runner.twin.ended(0, reason);
    }
  }

  #dropFallback(): void {
    const fallback = this.#fallback;
    this.#fallback = undefined;
    fallback?.reply.discard();
    fallback?.twin.ended(0, undefined);
  }
}

/** The answer of one of the tries, as that of the call. */
class AdoptedReply implements Reply {
  readonly status: number;
  readonly headers: Reply['headers'];
  readonly #twin: TwinCall;
  readonly #reply: Reply;

  constructor(twin: TwinCall, reply: Reply) {
    this.status = reply.status;
    this.headers = reply.headers;
    this.#twin = twin;
    this.#reply = reply;
  }

  deliver(): void {
    this.#twin.adopt();
    this.#reply.deliver(this.#twin);
  }

  discard(): void {
    this.#reply.discard();
    this.#twin.ended(0, undefined);
  }
}

function avoid(call: ClientCall, { endpoint }: ClientCall): void {
  if (endpoint === undefined) return;
  if (call.failedEndpoints === undefined) call.failedEndpoints = [endpoint];
  else if (!call.failedEndpoints.includes(endpoint)) call.failedEndpoints.push(endpoint);
}

function stop(twin: TwinCall, call: ClientCall, reason: Error): void {
  if (call.cancelled) twin.abort(reason);
  else twin.expire(reason);
}

const overtaken = new Error('another try of the call was faster');
