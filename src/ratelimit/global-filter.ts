import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';
import type { GlobalRateLimit, RateLimitDescriptor } from '../model/rate-limit.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import { partOf } from './key.ts';
import type { AppliesTo } from './local-filter.ts';
import { refusalHeaders, stateHeaders } from './response-headers.ts';
import type { RateLimitService, RateLimitValue, RateLimitVerdict } from './service.ts';

/** A descriptor with its condition compiled. */
export interface LiveDescriptor {
  readonly descriptor: RateLimitDescriptor;
  readonly applies: AppliesTo;
}

/**
 * Asks a rate limit service, once for each request that a descriptor is for. Inside of the local
 * limits: what they refuse costs the service nothing.
 */
export function globalRateLimitFilter(options: {
  readonly limit: GlobalRateLimit;
  readonly descriptors: readonly LiveDescriptor[];
  /** Absent: the configuration names a service, and nobody was given to ask it. */
  readonly service: RateLimitService | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Told of each request that was, or would have been, refused. */
  refused(): void;
}): Filter<ServerCall, void> {
  const { clock, descriptors, limit, logger, refused, service } = options;
  let failing = false;

  const ask = async (asked: readonly (readonly RateLimitValue[])[]): Promise<RateLimitVerdict | undefined> => {
    try {
      if (service === undefined) throw new Error('the mesh has no rateLimitService (see @inmesh/ratelimit)');
      const { domain, timeoutMs } = limit;
      const question = { service: limit.service, domain, descriptors: asked, timeoutMs };
      const verdict = await inTime(service.shouldRateLimit(question), timeoutMs, clock);
      if (failing) logger.info({ limit: limit.name, service: limit.service }, 'the rate limit service answers again');
      failing = false;
      return verdict;
    } catch (error) {
      // Said once, and again only after it had answered: an outage is no reason to fill the log.
      if (!failing) {
        const what = limit.failOpen ? 'requests pass unlimited' : 'requests are refused';
        logger.warn(
          { limit: limit.name, service: limit.service, error },
          `the rate limit service does not answer: ${what}`,
        );
      }
      failing = true;
      return undefined;
    }
  };

  return async (call, next) => {
    const asked: (readonly RateLimitValue[])[] = [];
    for (const { applies, descriptor } of descriptors) {
      if (!applies(call)) continue;
      const values = valuesOf(descriptor, call);
      if (values !== undefined) asked.push(values);
    }
    if (asked.length === 0) return next(call);
    const verdict = await ask(asked);
    if (verdict === undefined) {
      if (limit.failOpen || limit.shadow) return next(call);
      const message = `rate limit ${limit.name}: the service ${limit.service} does not answer, and failureMode is DENY`;
      throw new MeshError('ERR_MESH_RATE_LIMIT_SERVICE', message);
    }
    if (verdict.limited) refused();
    if (verdict.limited && !limit.shadow) throw refusal(call, limit, verdict);
    const { requestHeaders = [], responseHeaders = [], state } = verdict;
    for (const [name, value] of requestHeaders) call.request.headers[name.toLowerCase()] = value;
    for (const [name, value] of responseHeaders) call.response.setHeader(name, value);
    if (state !== undefined && limit.headers === 'ALWAYS') {
      for (const [name, value] of stateHeaders(state)) call.response.setHeader(name, value);
    }
    return next(call);
  };
}

/** Nothing when a value is missing: such a descriptor is not sent, as in Envoy. */
function valuesOf({ entries }: RateLimitDescriptor, call: ServerCall): readonly RateLimitValue[] | undefined {
  const values: RateLimitValue[] = [];
  for (const { key, otherwise, value } of entries) {
    const text = typeof value === 'string' ? value : partOf(value, call);
    const found = text === undefined || text === '' ? otherwise : text;
    if (found === undefined) return undefined;
    values.push({ key, value: found });
  }
  return values;
}

function refusal(call: ServerCall, { headers, name }: GlobalRateLimit, verdict: RateLimitVerdict): MeshError {
  const { responseHeaders = [], state } = verdict;
  const told = refusalHeaders(headers === 'NEVER' ? undefined : state, state?.resetMs);
  const who = call.peer?.spiffeId ?? 'a caller without identity';
  const message = `${call.method} ${call.path} by ${who}: the service says that rate limit ${name} is used up`;
  return new MeshError('ERR_MESH_RATE_LIMITED', message, { answerHeaders: [...responseHeaders, ...told] });
}

/** A service that never answers must not hold requests, whatever it was told about the time. */
function inTime<T>(promise: Promise<T>, timeoutMs: number, clock: Clock): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    // An answer that came while the event loop stood still counts.
    const expire = (): void => reject(new Error(`no answer within ${timeoutMs} ms`));
    const cancel = clock.after(timeoutMs, () => clock.afterIo(expire), true);
    promise.then(resolve, reject).finally(cancel);
  });
}
