import type { SeriesLabels } from './labels.ts';
import { notCounted, notGrpc, Outcome, type OutcomeSnapshot } from './outcome.ts';

/** One series, bound once; recording is a few array writes. */
export interface Series {
  readonly labels: SeriesLabels;
  /**
   * A call has ended. `status` 0 means that no response came. `flag` is Envoy's response flag or ''.
   * Bytes that nobody counted are left out (-1, the default); `grpcStatus` -1 (default): not gRPC.
   */
  record(
    status: number,
    flag: string,
    durationMs: number,
    requestBytes?: number,
    responseBytes?: number,
    grpcStatus?: number,
  ): void;
  /** Messages of a gRPC call, those since the last time. */
  countMessages(requests: number, responses: number): void;
}

/** Everything recorded so far for one series. Counters only grow. */
export interface SeriesSnapshot {
  readonly labels: SeriesLabels;
  readonly requests: number;
  /** By status code. */
  readonly statuses: Readonly<Record<string, number>>;
  /** By response flag, without ''. */
  readonly flags: Readonly<Record<string, number>>;
  /** Counts per bucket of `bucketBoundsMs`; one more at the end for larger ones. */
  readonly buckets: readonly number[];
  readonly sumMs: number;
  /** The same by how calls ended: status, flags and gRPC status together. */
  readonly outcomes: readonly OutcomeSnapshot[];
  /** Messages of gRPC calls. */
  readonly requestMessages: number;
  readonly responseMessages: number;
}

/** More outcomes than this share one: servers choose the status, and could choose any. */
const maxOutcomes = 64;

const maxGrpcStatus = 16;
const grpcUnknown = 2;

/** A {@link Series} as its owner sees it. */
export class BoundSeries implements Series {
  readonly labels: SeriesLabels;
  /** Not in the list of its owner any more: the next call brings it back. */
  evicted: boolean;
  requests: number;
  readonly #revive: (series: BoundSeries) => BoundSeries;
  /** Once evicted: the one that counts in its place, or itself. */
  #instead: BoundSeries | undefined;
  #outcomes: Outcome[];
  /** Mostly the next call ends like the one before. */
  #last: Outcome;
  #overflow: Outcome | undefined;
  #requestMessages: number;
  #responseMessages: number;

  constructor(labels: SeriesLabels, revive: (series: BoundSeries) => BoundSeries) {
    this.labels = labels;
    this.evicted = false;
    this.requests = 0;
    this.#revive = revive;
    this.#instead = undefined;
    this.#outcomes = [];
    this.#last = nothing;
    this.#overflow = undefined;
    this.#requestMessages = 0;
    this.#responseMessages = 0;
  }

  record(
    status: number,
    flag: string,
    durationMs: number,
    requestBytes: number = notCounted,
    responseBytes: number = notCounted,
    grpcStatus: number = notGrpc,
  ): void {
    if (this.evicted) {
      const instead = this.#place();
      if (instead !== this) {
        instead.record(status, flag, durationMs, requestBytes, responseBytes, grpcStatus);
        return;
      }
    }
    this.requests++;
    let outcome = this.#last;
    if (outcome.status !== status || outcome.flag !== flag || outcome.grpcStatus !== grpcStatus) {
      this.#last = outcome = this.#find(status, flag, grpcStatus);
    }
    outcome.add(durationMs, requestBytes, responseBytes);
  }

  countMessages(requests: number, responses: number): void {
    if (this.evicted) {
      const instead = this.#place();
      if (instead !== this) {
        instead.countMessages(requests, responses);
        return;
      }
    }
    this.#requestMessages += requests;
    this.#responseMessages += responses;
  }

  /** Takes over what another has counted, and what it would count from now on: nothing is left of it. */
  absorb(other: BoundSeries): void {
    this.requests += other.requests;
    for (const outcome of other.#outcomes) {
      this.#find(outcome.status, outcome.flag, outcome.grpcStatus).absorb(outcome);
    }
    if (other.#overflow !== undefined) this.#beyond().absorb(other.#overflow);
    this.countMessages(other.#requestMessages, other.#responseMessages);
    other.requests = 0;
    other.#outcomes = [];
    other.#last = nothing;
    other.#overflow = undefined;
    other.#requestMessages = 0;
    other.#responseMessages = 0;
    other.evicted = true;
    other.#instead = this;
  }

  snapshot(): SeriesSnapshot {
    const outcomes = [...this.#outcomes, ...(this.#overflow === undefined ? [] : [this.#overflow])].map((each) =>
      each.snapshot(),
    );
    const statuses = new Map<string, number>();
    const flags = new Map<string, number>();
    const add = (counts: Map<string, number>, key: string, requests: number): void =>
      void counts.set(key, (counts.get(key) ?? 0) + requests);
    let buckets: readonly number[] = new Outcome(0, '', notGrpc).snapshot().buckets;
    let sumMs = 0;
    for (const outcome of outcomes) {
      add(statuses, String(outcome.status), outcome.requests);
      if (outcome.flag !== '') add(flags, outcome.flag, outcome.requests);
      buckets = buckets.map((count, at) => count + (outcome.buckets[at] as number));
      sumMs += outcome.sumMs;
    }
    return {
      labels: this.labels,
      requests: this.requests,
      statuses: Object.fromEntries(statuses),
      flags: Object.fromEntries(flags),
      buckets,
      sumMs,
      outcomes,
      requestMessages: this.#requestMessages,
      responseMessages: this.#responseMessages,
    };
  }

  #place(): BoundSeries {
    if (this.#instead === undefined || this.#instead.evicted) this.#instead = this.#revive(this);
    return this.#instead;
  }

  #find(given: number, flag: string, givenGrpc: number): Outcome {
    const status = given >= 0 && given < 600 ? given : 0;
    const grpcStatus = givenGrpc >= notGrpc && givenGrpc <= maxGrpcStatus ? givenGrpc : grpcUnknown;
    for (const outcome of this.#outcomes) {
      if (outcome.status === status && outcome.flag === flag && outcome.grpcStatus === grpcStatus) return outcome;
    }
    if (this.#outcomes.length >= maxOutcomes) return this.#beyond();
    const outcome = new Outcome(status, flag, grpcStatus);
    this.#outcomes.push(outcome);
    return outcome;
  }

  #beyond(): Outcome {
    this.#overflow ??= new Outcome(0, '', notGrpc, true);
    return this.#overflow;
  }
}

/** No call ends like this. */
const nothing = new Outcome(Number.NaN, '', notGrpc);
