import type { LocalRateLimit, Provenance } from 'inmesh/model';
import type { RuntimeFractionalPercent } from '../proto/envoy/base.ts';
import type { LocalRateLimit as Filter } from '../proto/envoy/local-ratelimit.ts';
import { below, cannot, type Place, wrong } from './inbound-unpack.ts';

/** Callers are not told apart: one bucket. */
const oneKey = 1;

/**
 * Envoy's local_ratelimit filter; nothing where it limits nothing, which is what it does until `filter_enabled` says
 * otherwise. A share of requests is read as all of them.
 */
export function localRateLimit(
  config: Filter,
  ports: readonly number[] | undefined,
  provenance: Provenance,
  place: Place,
): LocalRateLimit | undefined {
  const { descriptors, filter_enabled: enabled, filter_enforced: enforced, token_bucket: bucket } = config;
  if (descriptors.length > 0) throw cannot(place, 'descriptors', 'expected one bucket for all requests');
  if (shareOf(enabled) === 0) {
    place.note('');
    return undefined;
  }
  if (bucket === undefined) throw wrong(place, 'token_bucket', 'expected a bucket');
  const { fill_interval: fillIntervalMs = 0, max_tokens: maxTokens, tokens_per_fill: tokensPerFill = 1 } = bucket;
  const at = below(place, 'token_bucket');
  if (!(maxTokens > 0)) throw wrong(at, 'max_tokens', 'expected at least one', maxTokens);
  if (!(fillIntervalMs >= 50)) throw wrong(at, 'fill_interval', 'expected at least 50 ms', `${fillIntervalMs}ms`);
  if (!(tokensPerFill > 0)) throw wrong(at, 'tokens_per_fill', 'expected at least one', tokensPerFill);
  for (const field of ['filter_enabled', 'filter_enforced'] as const) {
    const share = shareOf(config[field]);
    if (share > 0 && share < 100) place.note(field);
  }
  if (config.status !== undefined && config.status.code !== 'TooManyRequests') place.note('status');
  if (config.local_rate_limit_per_downstream_connection) place.note('local_rate_limit_per_downstream_connection');
  return {
    name: config.stat_prefix === '' ? 'local_ratelimit' : config.stat_prefix,
    rules: ports === undefined ? [] : [{ from: [], to: [{ ports }] }],
    by: [],
    bucket: { maxTokens, tokensPerFill, fillIntervalMs },
    maxKeys: oneKey,
    shadow: shareOf(enforced) === 0,
    headers: config.enable_x_ratelimit_headers === 'DRAFT_VERSION_03' ? 'ALWAYS' : 'NEVER',
    provenance,
  };
}

/** 0 to 100. Absent ones are 0, as in Envoy. */
function shareOf(share: RuntimeFractionalPercent | undefined): number {
  const { denominator, numerator = 0 } = share?.default_value ?? {};
  const of = denominator === 'MILLION' ? 1_000_000 : denominator === 'TEN_THOUSAND' ? 10_000 : 100;
  return Math.min(100, (numerator / of) * 100);
}
