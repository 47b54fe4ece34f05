import { formatLoadReport } from '../../src/lib/load-report.ts';
import type { Random } from '../../src/lib/random.ts';

/** How a server of the laboratory is. */
export interface ServerKind {
  /** Mean time of its processor for one request, milliseconds. */
  readonly serviceMs: number;
  /** Answers 429 to everything at once. */
  readonly refuses?: boolean;
}

/** Spread of the time for one request: the standard deviation of its logarithm. */
const sigma = 0.6;
/** There and back. */
const networkMs = 1;
/** A process that has just begun is so many times as slow, and less and less for so long. */
const coldFactor = 4;
const coldMs = 10_000;
const windowSeconds = 5;

/**
 * A process of Node: one thread, which works on one request after the other. Time for each is drawn
 * from a lognormal distribution. It works on what it has begun, even if nobody waits any longer.
 */
export class SimulatedServer {
  readonly name: string;
  readonly kind: ServerKind;
  alive: boolean;
  /** Requests that arrived, in the part of the time that is measured. */
  load: number;
  connections: number;
  /** What it would say in `endpoint-load-metrics`; '' in the first seconds. */
  report: string;
  #random: Random;
  #freeAt: number;
  #startedAt: number;
  #assigned: number;
  #requests: number;
  /** When requests will have been answered, in order; negative: when nobody waits any longer. */
  readonly #ends: number[];
  #ended: number;
  #errors: number;
  readonly #samples: { readonly busy: number; readonly requests: number; readonly errors: number }[];

  constructor(name: string, kind: ServerKind, random: Random) {
    this.name = name;
    this.kind = kind;
    this.alive = true;
    this.load = 0;
    this.connections = 0;
    this.report = '';
    this.#random = random;
    this.#freeAt = 0;
    this.#startedAt = Number.NEGATIVE_INFINITY;
    this.#assigned = 0;
    this.#requests = 0;
    this.#ends = [];
    this.#ended = 0;
    this.#errors = 0;
    this.#samples = [];
  }

  /** A request arrives, whose caller waits until then; when its response is back. */
  serve(now: number, waitsUntil: number): number {
    const age = now - this.#startedAt;
    const cold = age >= coldMs ? 1 : coldFactor - ((coldFactor - 1) * age) / coldMs;
    const service = this.kind.serviceMs * cold * lognormal(this.#random);
    this.#freeAt = Math.max(now, this.#freeAt) + service;
    this.#assigned += service;
    const at = this.#freeAt + networkMs;
    this.#ends.push(at <= waitsUntil ? this.#freeAt : -this.#freeAt);
    return at;
  }

  /** A request arrives, and is sent away; when the response is back. */
  refuse(now: number): number {
    this.#requests++;
    this.#errors++;
    return now + networkMs;
  }

  /** Its process is gone. */
  die(): void {
    this.alive = false;
    this.report = '';
  }

  /** It begins anew, cold. */
  start(now: number): void {
    this.alive = true;
    this.#freeAt = now;
    this.#startedAt = now;
    this.#assigned = 0;
    this.#samples.length = 0;
    this.#ends.length = 0;
    this.#ended = 0;
  }

  /** A second has passed: what it reports from now on. */
  sample(now: number): void {
    if (!this.alive) return;
    this.#count(now);
    const backlog = Math.max(0, this.#freeAt - now);
    const sample = { busy: this.#assigned - backlog, requests: this.#requests, errors: this.#errors };
    this.#samples.push(sample);
    if (this.#samples.length > windowSeconds + 1) this.#samples.shift();
    const [first] = this.#samples;
    const seconds = this.#samples.length - 1;
    if (first === undefined || seconds === 0) return;
    const load = {
      utilization: (sample.busy - first.busy) / (seconds * 1_000),
      rps: (sample.requests - first.requests) / seconds,
      eps: (sample.errors - first.errors) / seconds,
    };
    this.report = formatLoadReport(load, 'TEXT');
  }

  /** Counts what has been answered by now. */
  #count(now: number): void {
    let end = this.#ends[this.#ended];
    while (end !== undefined && Math.abs(end) <= now) {
      this.#requests++;
      if (end < 0) this.#errors++;
      end = this.#ends[++this.#ended];
    }
    if (this.#ended < 1_000) return;
    this.#ends.splice(0, this.#ended);
    this.#ended = 0;
  }
}

/** A factor with a mean of 1. Marsaglia's polar method: no sine, which engines compute differently. */
function lognormal(random: Random): number {
  for (;;) {
    const x = 2 * random() - 1;
    const y = 2 * random() - 1;
    const square = x * x + y * y;
    if (square >= 1 || square === 0) continue;
    const normal = x * Math.sqrt((-2 * Math.log(square)) / square);
    return Math.exp(sigma * normal - (sigma * sigma) / 2);
  }
}
