import type { HealthCheckPolicy } from '../../src/model/health-check.ts';

/** Every second, a second each, at once in both directions, no jitter. */
export function healthPolicy(changes: Partial<HealthCheckPolicy> = {}): HealthCheckPolicy {
  return {
    probe: {
      kind: 'http',
      method: 'GET',
      path: '/healthz',
      host: 'a',
      headers: [],
      expected: [{ from: 200, to: 200 }],
      retriable: [],
    },
    intervalMs: 1_000,
    timeoutMs: 1_000,
    unhealthyIntervalMs: 1_000,
    unhealthyEdgeIntervalMs: 1_000,
    healthyEdgeIntervalMs: 1_000,
    intervalJitterMs: 0,
    intervalJitterPercent: 0,
    initialJitterMs: 0,
    unhealthyThreshold: 1,
    healthyThreshold: 1,
    ignoreNew: true,
    minHealthPercent: 0,
    ...changes,
  };
}
