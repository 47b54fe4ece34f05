import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { LocalRateLimit } from '../model/rate-limit.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import type { Buckets } from './buckets.ts';
import { compileKey, type KeyFacts } from './key.ts';
import { refusalHeaders, stateHeaders } from './response-headers.ts';
import { type BucketState, timeUntil } from './token-bucket.ts';

/** Is a limit for this request? */
export type AppliesTo = (call: ServerCall) => boolean;

/** One limit with what it remembers. */
export interface LiveLimit {
  readonly limit: LocalRateLimit;
  readonly buckets: Buckets;
  readonly applies: AppliesTo;
  /** Told of each request that was, or would have been, refused. */
  refused(): void;
}

interface CompiledLimit extends LiveLimit {
  readonly keyOf: (facts: KeyFacts) => string;
}

/**
 * Inside of authorization: strangers use up nobody's tokens. A request takes a token of each limit
 * that is for it, or of none when one of them has none left.
 */
export function localRateLimitFilter(limits: readonly LiveLimit[], clock: Clock): Filter<ServerCall, void> {
  const all: readonly CompiledLimit[] = limits.map((each) => ({ ...each, keyOf: compileKey(each.limit.by) }));
  // Nothing between asking and taking is asynchronous, so one list serves all requests.
  const states: (BucketState | undefined)[] = all.map(() => undefined);
  return (call, next) => {
    const now = clock.now();
    for (let i = 0; i < all.length; i++) {
      const { applies, buckets, keyOf, limit, refused } = all[i] as CompiledLimit;
      states[i] = undefined;
      if (!applies(call)) continue;
      const state = buckets.of(keyOf(call), now);
      if (state.tokens < 1) {
        refused();
        if (!limit.shadow) throw refusal(call, limit, state);
      } else states[i] = state;
    }
    let told: number | undefined;
    for (let i = 0; i < all.length; i++) {
      const state = states[i];
      if (state === undefined) continue;
      state.tokens--;
      if ((all[i] as CompiledLimit).limit.headers !== 'ALWAYS') continue;
      if (told === undefined || state.tokens < (states[told] as BucketState).tokens) told = i;
    }
    if (told !== undefined) tell(call, (all[told] as CompiledLimit).limit, states[told] as BucketState);
    return next(call);
  };
}

function tell({ response }: ServerCall, { bucket }: LocalRateLimit, state: BucketState): void {
  const resetMs = timeUntil(state, bucket.maxTokens, bucket);
  for (const [name, value] of stateHeaders({ limit: bucket.maxTokens, remaining: state.tokens, resetMs })) {
    response.setHeader(name, value);
  }
}

function refusal(call: ServerCall, { bucket, headers, name }: LocalRateLimit, bucketState: BucketState): MeshError {
  const resetMs = timeUntil(bucketState, bucket.maxTokens, bucket);
  const state = headers === 'NEVER' ? undefined : { limit: bucket.maxTokens, remaining: 0, resetMs };
  const answerHeaders = refusalHeaders(state, timeUntil(bucketState, 1, bucket));
  const who = call.peer?.spiffeId ?? 'a caller without identity';
  const message = `${call.method} ${call.path} by ${who}: rate limit ${name} is used up`;
  return new MeshError('ERR_MESH_RATE_LIMITED', message, { answerHeaders });
}
