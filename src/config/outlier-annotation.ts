import { suggest } from '../lib/suggest.ts';
import type { EjectionCause, OutlierPolicy } from '../model/cluster.ts';
import type { Resource } from './resource.ts';
import { parseDurationMs } from './values.ts';

/**
 * Fields of Envoy's `OutlierDetection` that Istio's API does not have, under their own names in lower
 * camel case, as the JSON of an annotation. They add to `outlierDetection` wherever the rule has it.
 */
export const outlierAnnotation = 'inmesh.dev/outlier-detection';

/** What is added to the policy of a cluster. */
export type OutlierExtension = Partial<OutlierPolicy>;

type Kind = 'percent' | 'count' | 'duration' | 'boolean';

const fields: Readonly<Record<string, Kind>> = {
  alwaysEjectOneHost: 'boolean',
  maxEjectionTime: 'duration',
  maxEjectionTimeJitter: 'duration',
  successRateMinimumHosts: 'count',
  successRateRequestVolume: 'count',
  successRateStdevFactor: 'count',
  enforcingSuccessRate: 'percent',
  enforcingLocalOriginSuccessRate: 'percent',
  failurePercentageThreshold: 'percent',
  failurePercentageMinimumHosts: 'count',
  failurePercentageRequestVolume: 'count',
  enforcingFailurePercentage: 'percent',
  enforcingFailurePercentageLocalOrigin: 'percent',
  enforcingConsecutive5xx: 'percent',
  enforcingConsecutiveGatewayFailure: 'percent',
  enforcingConsecutiveLocalOriginFailure: 'percent',
  successfulActiveHealthCheckUnejectHost: 'boolean',
};

/** Defaults are Envoy's; only that the annotation names a detection turns it on. */
const enforced: Readonly<Record<string, EjectionCause>> = {
  enforcingConsecutive5xx: 'consecutive_5xx',
  enforcingConsecutiveGatewayFailure: 'consecutive_gateway_failure',
  enforcingConsecutiveLocalOriginFailure: 'consecutive_local_origin_failure',
  enforcingSuccessRate: 'success_rate',
  enforcingLocalOriginSuccessRate: 'local_origin_success_rate',
  enforcingFailurePercentage: 'failure_percentage',
  enforcingFailurePercentageLocalOrigin: 'local_origin_failure_percentage',
};

/** What the value of the annotation says, or what is wrong with it. */
export function readOutlierAnnotation(text: string): OutlierExtension | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'must be JSON: {"alwaysEjectOneHost": true}';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'must be a JSON object';
  const numbers: Record<string, number> = {};
  const flags: Record<string, boolean> = {};
  for (const [name, each] of Object.entries(value)) {
    const kind = fields[name];
    if (kind === undefined) {
      const meant = suggest(name, Object.keys(fields));
      return `has the unknown field ${name}${meant === undefined ? '' : ` (did you mean ${meant}?)`}`;
    }
    if (kind === 'boolean') {
      if (typeof each !== 'boolean') return `must have true or false as ${name}`;
      flags[name] = each;
      continue;
    }
    const number = kind === 'duration' ? (parseDurationMs(String(each)) ?? Number.NaN) : each;
    const most = kind === 'percent' ? 100 : 4_294_967_295;
    if (typeof number !== 'number' || !(number >= 0 && number <= most) || !Number.isInteger(number)) {
      return `must have ${words[kind]} as ${name}`;
    }
    numbers[name] = number;
  }
  return extensionOf(numbers, flags);
}

const words: Readonly<Record<Exclude<Kind, 'boolean'>, string>> = {
  percent: 'a whole number from 0 to 100',
  count: 'a whole number',
  duration: 'a duration such as "30s"',
};

function extensionOf(
  numbers: Readonly<Record<string, number>>,
  flags: Readonly<Record<string, boolean>>,
): OutlierExtension {
  const names = (detection: string): boolean =>
    Object.keys(numbers).some((name) => name.toLowerCase().includes(detection.toLowerCase()));
  const enforcing: Partial<Record<EjectionCause, number>> = {};
  for (const [name, cause] of Object.entries(enforced)) {
    const percent = numbers[name];
    if (percent !== undefined) enforcing[cause] = percent;
  }
  return {
    ...(numbers['maxEjectionTime'] === undefined ? {} : { maxEjectionMs: numbers['maxEjectionTime'] }),
    ...(numbers['maxEjectionTimeJitter'] === undefined ? {} : { ejectionJitterMs: numbers['maxEjectionTimeJitter'] }),
    ...(flags['alwaysEjectOneHost'] === undefined ? {} : { alwaysEjectOne: flags['alwaysEjectOneHost'] }),
    ...(flags['successfulActiveHealthCheckUnejectHost'] === undefined
      ? {}
      : { healthCheckReturns: flags['successfulActiveHealthCheckUnejectHost'] }),
    ...(Object.keys(enforcing).length === 0 ? {} : { enforcing }),
    ...(names('successRate')
      ? {
          successRate: {
            minimumHosts: numbers['successRateMinimumHosts'] ?? 5,
            requestVolume: numbers['successRateRequestVolume'] ?? 100,
            stdevFactor: numbers['successRateStdevFactor'] ?? 1_900,
          },
        }
      : {}),
    ...(names('failurePercentage')
      ? {
          failurePercentage: {
            threshold: numbers['failurePercentageThreshold'] ?? 85,
            minimumHosts: numbers['failurePercentageMinimumHosts'] ?? 5,
            requestVolume: numbers['failurePercentageRequestVolume'] ?? 50,
          },
        }
      : {}),
  };
}

/** The policy with what the annotations of the rule's resources add; the first that has some counts. */
export function withOutlierAnnotation(policy: OutlierPolicy, resources: readonly Resource[]): OutlierPolicy {
  for (const { annotations } of resources) {
    const text = annotations[outlierAnnotation];
    if (text === undefined) continue;
    const extension = readOutlierAnnotation(text);
    return typeof extension === 'string' ? policy : { ...policy, ...extension };
  }
  return policy;
}
