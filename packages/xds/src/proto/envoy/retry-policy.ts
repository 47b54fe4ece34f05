import { type Any, any } from '../any.ts';
import { duration, message, string, uint32, wrapped } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type HeaderMatcher, headerMatcherSchema } from './route-match.ts';

/** `envoy.config.route.v3.RetryPolicy`. */
export interface RetryPolicy {
  readonly retry_on: string;
  readonly num_retries: number | undefined;
  readonly per_try_timeout: number | undefined;
  readonly per_try_idle_timeout: number | undefined;
  readonly retry_priority: RetryPriority | undefined;
  readonly retry_host_predicate: readonly RetryHostPredicate[];
  readonly retriable_status_codes: readonly number[];
  readonly retry_back_off: RetryBackOff | undefined;
  readonly retriable_headers: readonly HeaderMatcher[];
  readonly retriable_request_headers: readonly HeaderMatcher[];
}

export const retryPolicySchema: Schema<RetryPolicy> = schema<RetryPolicy>('envoy.config.route.v3.RetryPolicy', {
  fields: {
    retry_on: single(1, string),
    num_retries: single(2, wrapped(uint32)),
    per_try_timeout: single(3, duration),
    per_try_idle_timeout: single(13, duration),
    retry_priority: single(
      4,
      message(() => retryPrioritySchema),
    ),
    retry_host_predicate: repeated(
      5,
      message(() => retryHostPredicateSchema),
    ),
    retriable_status_codes: repeated(7, uint32),
    retry_back_off: single(
      8,
      message(() => retryBackOffSchema),
    ),
    retriable_headers: repeated(
      9,
      message(() => headerMatcherSchema),
    ),
    retriable_request_headers: repeated(
      10,
      message(() => headerMatcherSchema),
    ),
  },
  ignored: {
    6: 'host_selection_retry_max_attempts',
    11: 'rate_limited_retry_back_off',
    12: 'retry_options_predicates',
  },
});

/** `envoy.config.route.v3.RetryPolicy.RetryPriority`. */
export interface RetryPriority {
  readonly name: string;
  readonly typed_config: Any | undefined;
}

export const retryPrioritySchema: Schema<RetryPriority> = schema<RetryPriority>(
  'envoy.config.route.v3.RetryPolicy.RetryPriority',
  {
    fields: {
      name: single(1, string),
      typed_config: single(3, any),
    },
  },
);

/** `envoy.config.route.v3.RetryPolicy.RetryHostPredicate`. */
export interface RetryHostPredicate {
  readonly name: string;
  readonly typed_config: Any | undefined;
}

export const retryHostPredicateSchema: Schema<RetryHostPredicate> = schema<RetryHostPredicate>(
  'envoy.config.route.v3.RetryPolicy.RetryHostPredicate',
  {
    fields: {
      name: single(1, string),
      typed_config: single(3, any),
    },
  },
);

/** `envoy.config.route.v3.RetryPolicy.RetryBackOff`. */
export interface RetryBackOff {
  readonly base_interval: number | undefined;
  readonly max_interval: number | undefined;
}

export const retryBackOffSchema: Schema<RetryBackOff> = schema<RetryBackOff>(
  'envoy.config.route.v3.RetryPolicy.RetryBackOff',
  {
    fields: {
      base_interval: single(1, duration),
      max_interval: single(2, duration),
    },
  },
);
