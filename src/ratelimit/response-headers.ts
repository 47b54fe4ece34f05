/** What a caller may be told about its limit. */
export interface RateLimitState {
  /** Requests that the limit allows at once, or in its unit of time. */
  readonly limit: number;
  /** Requests that would still be let through now. */
  readonly remaining: number;
  /** Until everything is allowed again. */
  readonly resetMs: number;
}

/** `RateLimit-*` of the IETF draft on rate limit fields, version 03: what Envoy's `x-ratelimit-*` say, too. */
export function stateHeaders({ limit, remaining, resetMs }: RateLimitState): readonly (readonly [string, string])[] {
  return [
    ['ratelimit-limit', String(limit)],
    ['ratelimit-remaining', String(Math.max(0, Math.floor(remaining)))],
    ['ratelimit-reset', seconds(resetMs)],
  ];
}

/** Headers of a refusal: Envoy's mark, by which its clients do not retry, and when to come back. */
export function refusalHeaders(
  state: RateLimitState | undefined,
  retryAfterMs: number | undefined,
): readonly (readonly [string, string])[] {
  return [
    ['x-envoy-ratelimited', 'true'],
    ...(retryAfterMs === undefined ? [] : ([['retry-after', seconds(Math.max(1, retryAfterMs))]] as const)),
    ...(state === undefined ? [] : stateHeaders(state)),
  ];
}

function seconds(ms: number): string {
  return String(Math.ceil(ms / 1_000));
}
