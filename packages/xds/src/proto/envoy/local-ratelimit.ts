import { bool, duration, enumOf, message, string, uint32, wrapped } from '../kinds.ts';
import { repeated, type Schema, schema, single } from '../schema.ts';
import { type RuntimeFractionalPercent, runtimeFractionalPercentSchema } from './base.ts';
import { type HttpStatus, httpStatusSchema } from './http-status.ts';

/** `XRateLimitHeadersRFCVersion`, by its names. */
export type XRateLimitHeadersRFCVersion = 'OFF' | 'DRAFT_VERSION_03';
const xRateLimitHeadersRFCVersionEnum = enumOf<XRateLimitHeadersRFCVersion>('OFF', 'DRAFT_VERSION_03');

/** `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`. */
export interface LocalRateLimit {
  readonly stat_prefix: string;
  readonly status: HttpStatus | undefined;
  readonly token_bucket: TokenBucket | undefined;
  readonly filter_enabled: RuntimeFractionalPercent | undefined;
  readonly filter_enforced: RuntimeFractionalPercent | undefined;
  readonly descriptors: readonly LocalRateLimitDescriptor[];
  readonly local_rate_limit_per_downstream_connection: boolean;
  readonly enable_x_ratelimit_headers: XRateLimitHeadersRFCVersion | number;
}

export const localRateLimitSchema: Schema<LocalRateLimit> = schema<LocalRateLimit>(
  'envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit',
  {
    fields: {
      stat_prefix: single(1, string),
      status: single(
        2,
        message(() => httpStatusSchema),
      ),
      token_bucket: single(
        3,
        message(() => tokenBucketSchema),
      ),
      filter_enabled: single(
        4,
        message(() => runtimeFractionalPercentSchema),
      ),
      filter_enforced: single(
        5,
        message(() => runtimeFractionalPercentSchema),
      ),
      descriptors: repeated(
        8,
        message(() => localRateLimitDescriptorSchema),
      ),
      local_rate_limit_per_downstream_connection: single(11, bool),
      enable_x_ratelimit_headers: single(12, xRateLimitHeadersRFCVersionEnum),
    },
    ignored: {
      6: 'response_headers_to_add',
      9: 'stage',
      10: 'request_headers_to_add_when_not_enforced',
      13: 'vh_rate_limits',
      14: 'always_consume_default_token_bucket',
      15: 'rate_limited_as_resource_exhausted',
      16: 'local_cluster_rate_limit',
    },
  },
);

/** `envoy.type.v3.TokenBucket`. */
export interface TokenBucket {
  readonly max_tokens: number;
  readonly tokens_per_fill: number | undefined;
  readonly fill_interval: number | undefined;
}

export const tokenBucketSchema: Schema<TokenBucket> = schema<TokenBucket>('envoy.type.v3.TokenBucket', {
  fields: {
    max_tokens: single(1, uint32),
    tokens_per_fill: single(2, wrapped(uint32)),
    fill_interval: single(3, duration),
  },
});

/** `envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor`. */
export interface LocalRateLimitDescriptor {
  readonly entries: readonly RateLimitEntry[];
  readonly token_bucket: TokenBucket | undefined;
}

export const localRateLimitDescriptorSchema: Schema<LocalRateLimitDescriptor> = schema<LocalRateLimitDescriptor>(
  'envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor',
  {
    fields: {
      entries: repeated(
        1,
        message(() => rateLimitEntrySchema),
      ),
      token_bucket: single(
        2,
        message(() => tokenBucketSchema),
      ),
    },
  },
);

/** `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry`. */
export interface RateLimitEntry {
  readonly key: string;
  readonly value: string;
}

export const rateLimitEntrySchema: Schema<RateLimitEntry> = schema<RateLimitEntry>(
  'envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry',
  {
    fields: {
      key: single(1, string),
      value: single(2, string),
    },
  },
);
