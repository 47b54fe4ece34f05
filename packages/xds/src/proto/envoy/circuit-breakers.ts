import { enumOf, message, uint32, wrapped } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type Percent, percentSchema } from './ranges.ts';

/** `envoy.config.core.v3.RoutingPriority`. */
export type RoutingPriority = 'DEFAULT' | 'HIGH';

const routingPriorityKind = enumOf('DEFAULT', 'HIGH');

/** `envoy.config.cluster.v3.CircuitBreakers`. */
export interface CircuitBreakers {
  readonly thresholds: readonly Thresholds[];
}

export const circuitBreakersSchema: Schema<CircuitBreakers> = schema<CircuitBreakers>(
  'envoy.config.cluster.v3.CircuitBreakers',
  {
    fields: {
      thresholds: repeated(
        1,
        message(() => thresholdsSchema),
      ),
    },
    ignored: { 2: 'per_host_thresholds' },
  },
);

/** `envoy.config.cluster.v3.CircuitBreakers.Thresholds`. */
export interface Thresholds {
  readonly priority: RoutingPriority | number;
  readonly max_connections: number | undefined;
  readonly max_pending_requests: number | undefined;
  readonly max_requests: number | undefined;
  readonly max_retries: number | undefined;
  readonly retry_budget: ThresholdsRetryBudget | undefined;
}

export const thresholdsSchema: Schema<Thresholds> = schema<Thresholds>(
  'envoy.config.cluster.v3.CircuitBreakers.Thresholds',
  {
    fields: {
      priority: single(1, routingPriorityKind),
      max_connections: single(2, wrapped(uint32)),
      max_pending_requests: single(3, wrapped(uint32)),
      max_requests: single(4, wrapped(uint32)),
      max_retries: single(5, wrapped(uint32)),
      retry_budget: single(
        8,
        message(() => thresholdsRetryBudgetSchema),
      ),
    },
    ignored: { 6: 'track_remaining', 7: 'max_connection_pools' },
  },
);

/** `envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget`. */
export interface ThresholdsRetryBudget {
  readonly budget_percent: Percent | undefined;
  readonly min_retry_concurrency: number | undefined;
}

export const thresholdsRetryBudgetSchema: Schema<ThresholdsRetryBudget> = schema<ThresholdsRetryBudget>(
  'envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget',
  {
    fields: {
      budget_percent: single(
        1,
        message(() => percentSchema),
      ),
      min_retry_concurrency: single(2, wrapped(uint32)),
    },
  },
);
