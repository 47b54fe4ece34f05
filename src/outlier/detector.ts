import type { Clock } from '../lib/clock.ts';
import type { OutlierPolicy } from '../model/cluster.ts';

/** What outlier detection remembers of one endpoint. */
export interface OutlierHost {
  consecutive5xx: number;
  consecutiveGateway: number;
  /** Monotonic time until which it is out; 0 when it is in. */
  ejectedUntil: number;
  /** Multiplies the time of the next ejection; falls by one for each interval without trouble. */
  ejectionCount: number;
}

export function newOutlierHost(): OutlierHost {
  return { consecutive5xx: 0, consecutiveGateway: 0, ejectedUntil: 0, ejectionCount: 0 };
}

/** Ejections never last longer than this (Envoy `max_ejection_time`), or the base if that is longer. */
const maxEjectionMs = 300_000;

export interface OutlierDetector<H extends OutlierHost> {
  /** A response with this status. `status` 0: the endpoint could not be reached or broke off. */
  report(host: H, status: number): void;
  close(): void;
}

/**
 * Consecutive-error outlier detection as Envoy runs it for Istio's settings: an endpoint that
 * fails so often in a row is ejected for `baseEjectionMs` times the number of its ejections, as
 * long as not more than `maxEjectionPercent` of the endpoints are out: of nine endpoints and with
 * Istio's default of 10 nobody ever goes, as in Envoy. A sweep each `intervalMs` lets endpoints back
 * in and forgives.
 */
export function createOutlierDetector<H extends OutlierHost>(options: {
  readonly policy: OutlierPolicy;
  readonly clock: Clock;
  /** All endpoints of the cluster at this moment. */
  hosts(): readonly H[];
  /** An endpoint went out or came back. */
  changed(host: H): void;
}): OutlierDetector<H> {
  const { policy, clock, hosts, changed } = options;
  let cancelSweep: (() => void) | undefined;
  let closed = false;

  const sweep = (): void => {
    cancelSweep = undefined;
    if (closed) return;
    const now = clock.now();
    let more = false;
    for (const host of hosts()) {
      if (host.ejectedUntil !== 0) {
        if (host.ejectedUntil <= now) {
          host.ejectedUntil = 0;
          // What was still on its way when it went out must not send it out again.
          host.consecutive5xx = 0;
          host.consecutiveGateway = 0;
          changed(host);
        }
      } else if (host.ejectionCount > 0) host.ejectionCount--;
      more ||= host.ejectedUntil !== 0 || host.ejectionCount > 0;
    }
    if (more) scheduleSweep();
  };
  // The sweep runs only while somebody is out or not yet forgiven.
  const scheduleSweep = (): void => {
    cancelSweep ??= clock.after(policy.intervalMs, sweep);
  };
  // Who was sent out under an earlier policy comes back under this one.
  if (hosts().some((host) => host.ejectedUntil !== 0 || host.ejectionCount > 0)) scheduleSweep();

  const eject = (host: H): void => {
    if (host.ejectedUntil !== 0 || closed) return;
    const all = hosts();
    // It may have left the cluster while its answer was on the way.
    if (!all.includes(host)) return;
    const out = all.reduce((count, other) => count + (other.ejectedUntil === 0 ? 0 : 1), 0);
    if ((100 * (out + 1)) / all.length > policy.maxEjectionPercent) return;
    const longest = Math.max(maxEjectionMs, policy.baseEjectionMs);
    // Beyond the longest time more ejections add nothing, and would have to be forgiven one by one.
    if (policy.baseEjectionMs * host.ejectionCount < longest) host.ejectionCount++;
    host.ejectedUntil = clock.now() + Math.min(policy.baseEjectionMs * host.ejectionCount, longest);
    changed(host);
    scheduleSweep();
  };

  return {
    report(host, status) {
      if (status !== 0 && status < 500) {
        host.consecutive5xx = 0;
        host.consecutiveGateway = 0;
        return;
      }
      host.consecutive5xx++;
      // A failure to connect counts as a gateway error, as Envoy maps it to a 503.
      const gateway = status === 0 || (status >= 502 && status <= 504);
      host.consecutiveGateway = gateway ? host.consecutiveGateway + 1 : 0;
      const by5xx = policy.consecutive5xx > 0 && host.consecutive5xx >= policy.consecutive5xx;
      const byGateway =
        policy.consecutiveGatewayErrors > 0 && host.consecutiveGateway >= policy.consecutiveGatewayErrors;
      if (by5xx) host.consecutive5xx = 0;
      if (byGateway) host.consecutiveGateway = 0;
      if (by5xx || byGateway) eject(host);
    },
    close() {
      closed = true;
      cancelSweep?.();
    },
  };
}
