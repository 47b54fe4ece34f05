import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../lib/clock.ts';
import { createDeadlines, type DeadlineClass, type Deadlines } from '../lib/deadlines.ts';
import { outside } from '../lib/outside.ts';
import type { Random } from '../lib/random.ts';
import type { ConcurrencyPolicy, OverloadPolicy } from '../model/overload.ts';
import { Gate } from './gate.ts';
import { GradientController } from './gradient.ts';
import { Shedder } from './shedder.ts';

/** Why a request was turned away. */
export type Refusal = 'full' | 'share' | 'timeout' | 'displaced' | 'event-loop';

/** The delay of the event loop is looked at so often, in milliseconds. */
const sampleMs = 100;

const noLimit: ConcurrencyPolicy = {
  maxRequests: Number.POSITIVE_INFINITY,
  maxQueue: 0,
  queueTimeoutMs: 100,
  maxSharePercent: 100,
};

/** How a server protects itself, at one moment. */
export interface OverloadStatus {
  /** Requests that may be under way at once; infinite where only the event loop is watched. */
  readonly limit: number;
  /** Requests under way, and those that wait for a place. */
  readonly active: number;
  readonly waiting: number;
  /** Requests that were turned away so far, by reason. */
  readonly refusals: Readonly<Record<Refusal, number>>;
  /** Names follow Envoy's statistics of the gradient controller. */
  readonly adaptive?: {
    readonly measuring: boolean;
    readonly minRttMs: number;
    readonly sampleRttMs: number;
    readonly gradient: number;
  };
  /** How late the event loop was last, and the share of requests that is turned away, 0 to 1. */
  readonly eventLoop?: { readonly delayMs: number; readonly share: number };
}

/** What a server remembers for its protection; kept when the configuration changes. */
export class Protection {
  policy: OverloadPolicy;
  readonly gate: Gate;
  readonly refusals: Record<Refusal, number>;
  adaptive: GradientController | undefined;
  shedder: Shedder | undefined;
  /** How long somebody may wait. */
  queueDeadline: DeadlineClass;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #deadlines: Deadlines;
  #cancelSample: (() => void) | undefined;

  constructor(policy: OverloadPolicy, clock: Clock, random: Random) {
    this.policy = policy;
    this.gate = new Gate(policy.concurrency ?? noLimit);
    this.refusals = { full: 0, share: 0, timeout: 0, displaced: 0, 'event-loop': 0 };
    this.#clock = clock;
    this.#random = random;
    this.#deadlines = createDeadlines(clock);
    this.#cancelSample = undefined;
    this.adaptive = undefined;
    this.shedder = undefined;
    this.queueDeadline = this.#deadlines((policy.concurrency ?? noLimit).queueTimeoutMs);
    this.#build();
  }

  /** Places at this moment. */
  limit(): number {
    const fixed = this.policy.concurrency?.maxRequests ?? Number.POSITIVE_INFINITY;
    return this.adaptive === undefined ? fixed : Math.min(fixed, this.adaptive.limit(this.#clock.now()));
  }

  get status(): OverloadStatus {
    const { active, waiting } = this.gate;
    const { adaptive, shedder } = this;
    return {
      limit: this.limit(),
      active,
      waiting,
      refusals: { ...this.refusals },
      ...(adaptive === undefined ? {} : { adaptive: adaptive.state }),
      ...(shedder === undefined ? {} : { eventLoop: shedder.state }),
    };
  }

  /** Goes on under a changed policy, with what is known. */
  adopt(policy: OverloadPolicy): void {
    if (isDeepStrictEqual(policy, this.policy)) return;
    this.policy = policy;
    this.gate.adopt(policy.concurrency ?? noLimit);
    this.queueDeadline = this.#deadlines((policy.concurrency ?? noLimit).queueTimeoutMs);
    this.#build();
    this.gate.moveUp(this.limit());
  }

  /** Nobody is held up any more, and nothing runs in the background. */
  close(): void {
    this.#cancelSample?.();
    this.#cancelSample = undefined;
    this.adaptive = undefined;
    this.shedder = undefined;
    this.policy = { priority: this.policy.priority, exemptPaths: [] };
    this.gate.moveUp(Number.POSITIVE_INFINITY);
    this.#deadlines.rest();
  }

  #build(): void {
    const { adaptive, eventLoop } = this.policy;
    if (adaptive === undefined) this.adaptive = undefined;
    else if (this.adaptive === undefined) {
      this.adaptive = new GradientController(adaptive, this.#random, this.#clock.now());
    } else this.adaptive.adopt(adaptive);
    if (eventLoop === undefined) {
      this.shedder = undefined;
      this.#cancelSample?.();
      this.#cancelSample = undefined;
    } else if (this.shedder === undefined) {
      this.shedder = new Shedder(eventLoop, this.#random);
      // It goes on for ever, and not for the request that came first.
      outside(() => this.#sample());
    } else this.shedder.adopt(eventLoop);
  }

  /** A timer that fires late tells how late the event loop is. */
  #sample(): void {
    const due = this.#clock.now() + sampleMs;
    this.#cancelSample = this.#clock.after(sampleMs, () => {
      this.shedder?.sample(Math.max(0, this.#clock.now() - due));
      this.#sample();
    });
  }
}

/** The protection of a server under this policy: the one that there was goes on. */
export function reconcileProtection(
  current: Protection | undefined,
  policy: OverloadPolicy | undefined,
  make: (policy: OverloadPolicy) => Protection,
): Protection | undefined {
  if (policy === undefined) {
    current?.close();
    return undefined;
  }
  if (current === undefined) return make(policy);
  current.adopt(policy);
  return current;
}
