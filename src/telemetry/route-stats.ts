import type { CallWatcher, ClientCall } from '../pipeline/client-call.ts';
import { failureFlag } from '../pipeline/failure-flag.ts';

/** What came of the calls that met a `match` with a `statPrefix`. Names are those of Envoy's route statistics. */
export interface RouteStatus {
  /** Host and port of the virtual host: `reviews.shop.svc.cluster.local:9080`. */
  readonly virtualHost: string;
  readonly statPrefix: string;
  /** Tries that were made. */
  readonly requests: number;
  /** Of these, tries after the first of their call. */
  readonly retries: number;
  /** Calls that were given up for lack of time. */
  readonly timeouts: number;
  /** Calls by the class of the status that the application got: `2` for 2xx. */
  readonly classes: Readonly<Record<string, number>>;
}

/** The statistics of one virtual host and prefix. */
export class RouteCounts implements CallWatcher {
  readonly virtualHost: string;
  readonly statPrefix: string;
  requests: number;
  retries: number;
  timeouts: number;
  readonly classes: Record<string, number>;

  constructor(virtualHost: string, statPrefix: string) {
    this.virtualHost = virtualHost;
    this.statPrefix = statPrefix;
    this.requests = 0;
    this.retries = 0;
    this.timeouts = 0;
    this.classes = {};
  }

  callEnded(call: ClientCall, status: number, error: Error | undefined): void {
    const flag = error === undefined ? call.flag : failureFlag(error, call);
    this.ended(call.tries, status, flag.includes('UT'));
  }

  /** What was answered before it was sent (a fault, an open breaker) is none of the route's requests, as in Envoy. */
  ended(tries: number, status: number, timedOut: boolean): void {
    if (tries === 0) return;
    this.requests += tries;
    this.retries += tries - 1;
    if (timedOut) this.timeouts++;
    if (status === 0) return;
    const of = String(Math.floor(status / 100));
    this.classes[of] = (this.classes[of] ?? 0) + 1;
  }
}

/** Statistics by virtual host and prefix; as many as the configuration names. */
export class RouteStats {
  readonly #byHost: Map<string, Map<string, RouteCounts>>;

  constructor() {
    this.#byHost = new Map();
  }

  of(virtualHost: string, statPrefix: string): RouteCounts {
    let ofHost = this.#byHost.get(virtualHost);
    if (ofHost === undefined) this.#byHost.set(virtualHost, (ofHost = new Map()));
    let counts = ofHost.get(statPrefix);
    if (counts === undefined) ofHost.set(statPrefix, (counts = new RouteCounts(virtualHost, statPrefix)));
    return counts;
  }

  get status(): readonly RouteStatus[] {
    return [...this.#byHost.values()].flatMap((ofHost) =>
      [...ofHost.values()].map(({ virtualHost, statPrefix, requests, retries, timeouts, classes }) => ({
        virtualHost,
        statPrefix,
        requests,
        retries,
        timeouts,
        classes: { ...classes },
      })),
    );
  }
}
