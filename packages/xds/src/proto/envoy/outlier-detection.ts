import { bool, duration, uint32, wrapped } from '../kinds.ts';
import { type Schema, schema, single } from '../schema.ts';

/** `envoy.config.cluster.v3.OutlierDetection`. */
export interface OutlierDetection {
  readonly consecutive_5xx: number | undefined;
  readonly interval: number | undefined;
  readonly base_ejection_time: number | undefined;
  readonly max_ejection_percent: number | undefined;
  readonly enforcing_consecutive_5xx: number | undefined;
  readonly enforcing_success_rate: number | undefined;
  readonly success_rate_minimum_hosts: number | undefined;
  readonly success_rate_request_volume: number | undefined;
  readonly success_rate_stdev_factor: number | undefined;
  readonly consecutive_gateway_failure: number | undefined;
  readonly enforcing_consecutive_gateway_failure: number | undefined;
  readonly split_external_local_origin_errors: boolean;
  readonly consecutive_local_origin_failure: number | undefined;
  readonly enforcing_consecutive_local_origin_failure: number | undefined;
  readonly enforcing_local_origin_success_rate: number | undefined;
  readonly failure_percentage_threshold: number | undefined;
  readonly enforcing_failure_percentage: number | undefined;
  readonly enforcing_failure_percentage_local_origin: number | undefined;
  readonly failure_percentage_minimum_hosts: number | undefined;
  readonly failure_percentage_request_volume: number | undefined;
  readonly max_ejection_time: number | undefined;
  readonly max_ejection_time_jitter: number | undefined;
  readonly successful_active_health_check_uneject_host: boolean | undefined;
  readonly always_eject_one_host: boolean | undefined;
}

export const outlierDetectionSchema: Schema<OutlierDetection> = schema<OutlierDetection>(
  'envoy.config.cluster.v3.OutlierDetection',
  {
    fields: {
      consecutive_5xx: single(1, wrapped(uint32)),
      interval: single(2, duration),
      base_ejection_time: single(3, duration),
      max_ejection_percent: single(4, wrapped(uint32)),
      enforcing_consecutive_5xx: single(5, wrapped(uint32)),
      enforcing_success_rate: single(6, wrapped(uint32)),
      success_rate_minimum_hosts: single(7, wrapped(uint32)),
      success_rate_request_volume: single(8, wrapped(uint32)),
      success_rate_stdev_factor: single(9, wrapped(uint32)),
      consecutive_gateway_failure: single(10, wrapped(uint32)),
      enforcing_consecutive_gateway_failure: single(11, wrapped(uint32)),
      split_external_local_origin_errors: single(12, bool),
      consecutive_local_origin_failure: single(13, wrapped(uint32)),
      enforcing_consecutive_local_origin_failure: single(14, wrapped(uint32)),
      enforcing_local_origin_success_rate: single(15, wrapped(uint32)),
      failure_percentage_threshold: single(16, wrapped(uint32)),
      enforcing_failure_percentage: single(17, wrapped(uint32)),
      enforcing_failure_percentage_local_origin: single(18, wrapped(uint32)),
      failure_percentage_minimum_hosts: single(19, wrapped(uint32)),
      failure_percentage_request_volume: single(20, wrapped(uint32)),
      max_ejection_time: single(21, duration),
      max_ejection_time_jitter: single(22, duration),
      successful_active_health_check_uneject_host: single(23, wrapped(bool)),
      always_eject_one_host: single(25, wrapped(bool)),
    },
    ignored: { 24: 'monitors' },
  },
);
