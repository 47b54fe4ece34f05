import { type Cluster, defaultConnectionLimits } from '../model/cluster.ts';
import type { Route } from '../model/route.ts';
import type { ExplainedBreaker, ExplainedResilience } from './result.ts';

/** What protects the way to a cluster, and its callers from it; nothing where nothing is configured. */
export function explainResilience(cluster: Cluster, { hedge }: Route): ExplainedResilience | undefined {
  const { breaker, healthCheck, http2, outlier, retryBudget } = cluster;
  const limits = limitsOf(cluster);
  const said: ExplainedResilience = {
    ...(http2 === undefined ? {} : { http2 }),
    ...(hedge === undefined ? {} : { hedge }),
    ...(breaker === undefined ? {} : { breaker: breakerOf(breaker) }),
    ...(retryBudget === undefined ? {} : { retryBudget }),
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(outlier === undefined ? {} : { outlierDetection: true }),
    ...(healthCheck === undefined ? {} : { healthCheck: healthCheck.probe.kind }),
  };
  return Object.keys(said).length === 0 ? undefined : said;
}

/** Those that differ from what holds without `connectionPool`. */
function limitsOf({ limits }: Cluster): Readonly<Record<string, number>> {
  const usual: object = defaultConnectionLimits;
  return Object.fromEntries(
    Object.entries(limits).filter(
      ([name, value]) =>
        typeof value === 'number' && Number.isFinite(value) && !Object.is(value, Reflect.get(usual, name)),
    ),
  );
}

function breakerOf(policy: NonNullable<Cluster['breaker']>): ExplainedBreaker {
  const { errorThresholdPercentage, fallback, resetTimeoutMs, rollingWindowMs, volumeThreshold } = policy;
  return {
    errorThresholdPercentage,
    rollingWindowMs,
    volumeThreshold,
    resetTimeoutMs,
    ...(fallback === undefined ? {} : { fallbackStatus: fallback.status }),
  };
}
