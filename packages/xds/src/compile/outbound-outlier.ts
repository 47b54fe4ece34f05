import type { EjectionCause, OutlierPolicy } from 'inmesh/model';
import type { OutlierDetection } from '../proto/envoy/outlier-detection.ts';
import { ResourceError } from '../resources.ts';

/** Envoy's defaults for what a message leaves out; `enforcing_…` of 0 turns a cause off. */
export function outlierOf(message: OutlierDetection, minHealthPercent: number): OutlierPolicy {
  const enforcing: Partial<Record<EjectionCause, number>> = {};
  const enforced = (field: keyof OutlierDetection, cause: EjectionCause, byDefault: number): boolean => {
    const percent = (message[field] as number | undefined) ?? byDefault;
    if (percent > 100)
      throw new ResourceError(`outlier_detection.${field}`, 'expected at most 100', { value: percent });
    if (percent > 0 && percent < 100) enforcing[cause] = percent;
    return percent > 0;
  };
  const split = message.split_external_local_origin_errors;
  const consecutive = enforced('enforcing_consecutive_5xx', 'consecutive_5xx', 100);
  const gateway = enforced('enforcing_consecutive_gateway_failure', 'consecutive_gateway_failure', 0);
  const local =
    enforced('enforcing_consecutive_local_origin_failure', 'consecutive_local_origin_failure', 100) && split;
  const success = enforced('enforcing_success_rate', 'success_rate', 100);
  const localSuccess = enforced('enforcing_local_origin_success_rate', 'local_origin_success_rate', 100) && split;
  const failure = enforced('enforcing_failure_percentage', 'failure_percentage', 0);
  const localFailure =
    enforced('enforcing_failure_percentage_local_origin', 'local_origin_failure_percentage', 0) && split;
  const rates = success || localSuccess;
  const failures = failure || localFailure;
  // Present policies judge both kinds of failures; the one that is off never ejects.
  if (rates && !success) enforcing.success_rate = 0;
  if (rates && split && !localSuccess) enforcing.local_origin_success_rate = 0;
  if (failures && !failure) enforcing.failure_percentage = 0;
  if (failures && split && !localFailure) enforcing.local_origin_failure_percentage = 0;
  if (split && !local) enforcing.consecutive_local_origin_failure = 0;
  const { base_ejection_time: base, interval, max_ejection_percent: most, max_ejection_time: longest } = message;
  for (const [field, value] of Object.entries({ base_ejection_time: base, interval, max_ejection_time: longest })) {
    if (value !== undefined && value <= 0) {
      throw new ResourceError(`outlier_detection.${field}`, 'expected a time above 0', { value });
    }
  }
  if (most !== undefined && most > 100) {
    throw new ResourceError('outlier_detection.max_ejection_percent', 'expected at most 100', { value: most });
  }
  const { max_ejection_time_jitter: jitter, successful_active_health_check_uneject_host: returns } = message;
  return {
    consecutive5xx: consecutive ? (message.consecutive_5xx ?? 5) : 0,
    consecutiveGatewayErrors: gateway ? (message.consecutive_gateway_failure ?? 5) : 0,
    ...(split ? { consecutiveLocalOriginFailures: message.consecutive_local_origin_failure ?? 5 } : {}),
    intervalMs: interval ?? 10_000,
    baseEjectionMs: base ?? 30_000,
    ...(longest === undefined ? {} : { maxEjectionMs: longest }),
    ...(jitter === undefined || jitter <= 0 ? {} : { ejectionJitterMs: jitter }),
    maxEjectionPercent: most ?? 10,
    ...(message.always_eject_one_host === true ? { alwaysEjectOne: true } : {}),
    minHealthPercent,
    ...(Object.keys(enforcing).length === 0 ? {} : { enforcing }),
    ...(rates
      ? {
          successRate: {
            minimumHosts: message.success_rate_minimum_hosts ?? 5,
            requestVolume: message.success_rate_request_volume ?? 100,
            stdevFactor: message.success_rate_stdev_factor ?? 1_900,
          },
        }
      : {}),
    ...(failures
      ? {
          failurePercentage: {
            threshold: message.failure_percentage_threshold ?? 85,
            minimumHosts: message.failure_percentage_minimum_hosts ?? 5,
            requestVolume: message.failure_percentage_request_volume ?? 50,
          },
        }
      : {}),
    ...(returns === false ? { healthCheckReturns: false } : {}),
  };
}
