import type { Clock } from '../lib/clock.ts';
import { type LoadReport, parseLoadReport } from '../lib/load-report.ts';
import type { Random } from '../lib/random.ts';
import { type Candidate, type Picker, weighted } from './candidate.ts';
import { earliestDeadlineFirst } from './edf.ts';

/** Defaults of gRFC A58 (`weighted_round_robin`) and of Envoy's `client_side_weighted_round_robin`. */
export const utilizationDefaults = {
  /** An endpoint must have reported for so long before its weight is used. */
  blackoutMs: 10_000,
  /** Without a report for so long the weight is forgotten, and the blackout begins anew. */
  expirationMs: 180_000,
  /** How often weights are taken over. */
  updateMs: 1_000,
  /** What a share of failures of 1 adds to the utilization. */
  errorPenalty: 1,
} as const;

/**
 * A weight is at most so many times the middle one: reports come from servers, and one that lies must
 * not get all the calls. And it is at least such a part of it: who gets nothing reports nothing new.
 */
const bounds = { most: 10, least: 1 / 100 } as const;

/** What utilization-weighted balancing remembers of one endpoint. */
export class ReportMemory {
  /** Header of the last report: servers send the same one again and again. */
  #last: string;
  #weight: number;
  /** When reports began to come, and when the last one came. */
  #since: number;
  #at: number;

  constructor() {
    this.#last = '';
    this.#weight = 0;
    this.#since = Number.POSITIVE_INFINITY;
    this.#at = Number.NEGATIVE_INFINITY;
  }

  /** A response had this header. What is no report is passed over. */
  heard(header: string, now: number): void {
    if (header !== this.#last) {
      const report = parseLoadReport(header);
      if (report === undefined) return;
      this.#weight = weightOf(report);
      this.#last = header;
    }
    if (now - this.#at >= utilizationDefaults.expirationMs) this.#since = now;
    this.#since = Math.min(this.#since, now);
    this.#at = now;
  }

  /** It is to be connected to anew: who knows what answers there now. */
  lost(): void {
    this.#since = Number.POSITIVE_INFINITY;
  }

  /** The weight by reports, or 0: there is none to be used. */
  weight(now: number): number {
    const { blackoutMs, expirationMs } = utilizationDefaults;
    return now - this.#at < expirationMs && now - this.#since >= blackoutMs ? this.#weight : 0;
  }
}

/** Requests that the endpoint serves for what it is busy, failures counted as business. */
function weightOf({ rps, utilization, eps }: LoadReport): number {
  return rps / (utilization + (eps / rps) * utilizationDefaults.errorPenalty);
}

/** What utilization-weighted balancing goes by, and what it needs. */
export interface UtilizationOptions<E> {
  readonly clock: Clock;
  readonly random: Random;
  /** Nothing: it has never reported. */
  reportsOf(endpoint: E): ReportMemory | undefined;
  /** Above 0 to 1: an endpoint that starts slowly takes this share of the tries that it would get. */
  readonly factorOf?: (endpoint: E) => number;
}

/**
 * In turn, each as often as its weight says, which is what it serves for its utilization. An
 * endpoint without a usable report has the middle weight. As long as fewer than two have one,
 * the weights of the configuration count: this is ROUND_ROBIN then.
 */
export function byUtilization<E extends Candidate>(
  candidates: readonly E[],
  { clock, random, reportsOf, factorOf }: UtilizationOptions<E>,
): Picker<E> {
  const all = weighted(candidates).map((endpoint) => new Weighed(endpoint));
  if (all.length < 2) return () => all[0]?.endpoint;
  const usable = new Float64Array(all.length);
  let updatedAt = Number.NEGATIVE_INFINITY;
  const update = (now: number): void => {
    updatedAt = now;
    let count = 0;
    for (const each of all) {
      each.weight = reportsOf(each.endpoint)?.weight(now) ?? 0;
      if (each.weight > 0) usable[count++] = each.weight;
    }
    if (count < 2) {
      for (const each of all) each.weight = each.endpoint.weight || 1;
      return;
    }
    const middle = usable.subarray(0, count).sort()[count >> 1] as number;
    for (const each of all) {
      const relative = (each.weight || middle) / middle;
      each.weight = Math.min(Math.max(relative, bounds.least), bounds.most);
    }
  };
  update(clock.now());
  const next = earliestDeadlineFirst(all, random, ({ endpoint, weight }) =>
    factorOf === undefined ? weight : weight * factorOf(endpoint),
  );
  return () => {
    const now = clock.now();
    if (now - updatedAt >= utilizationDefaults.updateMs) update(now);
    return next().endpoint;
  };
}

/** An endpoint with the weight that it has at the moment. */
class Weighed<E> implements Candidate {
  readonly endpoint: E;
  weight: number;
  inFlight: number;

  constructor(endpoint: E) {
    this.endpoint = endpoint;
    this.weight = 1;
    this.inFlight = 0;
  }
}
