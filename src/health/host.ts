import type { HealthCheckPolicy } from '../model/health-check.ts';

/** What active health checks know of one endpoint, across reloads of the configuration. */
export interface HealthHost {
  healthy: boolean;
  /** No check has had a result yet. */
  first: boolean;
  /** Does not count when panic is worked out: it asked for it, or was never checked. */
  excluded: boolean;
  failures: number;
  passes: number;
  /** Why the last check failed; nothing after one that passed. */
  problem: string | undefined;
}

/** Of an endpoint that nobody checks. */
export function newHealthHost(): HealthHost {
  return { healthy: true, first: true, excluded: false, failures: 0, passes: 0, problem: undefined };
}

/** Of an endpoint that is to be checked before it is used. */
export function uncheckedHost({ ignoreNew }: HealthCheckPolicy): HealthHost {
  return { healthy: false, first: true, excluded: ignoreNew, failures: 0, passes: 0, problem: undefined };
}

/** What a check, or the endpoint itself, has said. */
export type HealthResult =
  | { readonly kind: 'pass' }
  | {
      readonly kind: 'fail';
      /** For people: `status 503`. */
      readonly problem: string;
      /** `network`: there was no answer, which may be chance. `answer`: it said so, which counts at once. */
      readonly reason: 'network' | 'answer';
      /** An answer that counts towards the threshold only. */
      readonly retriable?: boolean;
      /** The endpoint wants to be left alone (`x-envoy-immediate-health-check-fail`). */
      readonly excluded?: boolean;
    };

/** `changed`: balancing has to know. `pending`: the same will have to be said again before it changes. */
export type HealthTransition = 'changed' | 'pending' | 'unchanged';

/** Takes a result in, as Envoy's `ActiveHealthCheckSession` does. */
export function takeResult(host: HealthHost, result: HealthResult, policy: HealthCheckPolicy): HealthTransition {
  const { excluded, healthy } = host;
  const pending = result.kind === 'pass' ? pass(host, policy) : fail(host, result, policy);
  host.first = false;
  if (host.healthy !== healthy || host.excluded !== excluded) return 'changed';
  return pending ? 'pending' : 'unchanged';
}

/** @returns is it on its way to another state? */
function pass(host: HealthHost, { healthyThreshold }: HealthCheckPolicy): boolean {
  host.failures = 0;
  host.problem = undefined;
  if (host.first) host.excluded = false;
  if (host.healthy) return false;
  // The first result decides: this makes starting fast.
  if (!host.first && ++host.passes < healthyThreshold) return true;
  host.passes = 0;
  host.healthy = true;
  host.excluded = false;
  return false;
}

function fail(
  host: HealthHost,
  result: HealthResult & { readonly kind: 'fail' },
  { unhealthyThreshold }: HealthCheckPolicy,
): boolean {
  host.passes = 0;
  host.problem = result.problem;
  if (result.excluded === true) host.excluded = true;
  else if (host.first) host.excluded = false;
  if (!host.healthy) return false;
  const atOnce = result.reason === 'answer' && result.retriable !== true;
  if (!atOnce && ++host.failures < unhealthyThreshold) return true;
  host.failures = 0;
  host.healthy = false;
  return false;
}

/** How long to wait for the next check, milliseconds. */
export function nextCheckMs(
  passed: boolean,
  transition: HealthTransition,
  policy: HealthCheckPolicy,
  random: () => number,
): number {
  const edge = transition === 'pending';
  const base = passed
    ? edge
      ? policy.healthyEdgeIntervalMs
      : policy.intervalMs
    : edge
      ? policy.unhealthyEdgeIntervalMs
      : policy.unhealthyIntervalMs;
  return withJitter(base, policy.intervalJitterMs, policy.intervalJitterPercent, random);
}

export function withJitter(baseMs: number, upToMs: number, percent: number, random: () => number): number {
  let wait = baseMs;
  if (percent > 0) wait += (random() * baseMs * percent) / 100;
  if (upToMs > 0) wait += random() * upToMs;
  return Math.max(1, wait);
}
