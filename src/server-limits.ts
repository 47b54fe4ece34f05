import { compileApplies } from './authz/applies.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import type { InboundPolicy } from './model/inbound.ts';
import type { Filter } from './pipeline/filter.ts';
import type { ServerCall } from './pipeline/server-call.ts';
import { createRateLimitMemory } from './ratelimit/buckets.ts';
import { globalRateLimitFilter } from './ratelimit/global-filter.ts';
import { localRateLimitFilter } from './ratelimit/local-filter.ts';
import type { RateLimitService } from './ratelimit/service.ts';

/** How often a rate limit has refused a request so far. */
export interface RateLimitStatus {
  /** `<namespace>/<name> <name of the limit>`. */
  readonly name: string;
  /** Requests that were refused, or would have been (`shadow`). */
  readonly limited: number;
}

/** The rate limits of a process. */
export interface ServerLimits {
  /** What a request passes, in order; nothing where nothing is limited. */
  filtersFor(policy: InboundPolicy): readonly Filter<ServerCall, void>[];
  status(): readonly RateLimitStatus[];
}

export function createServerLimits(dependencies: {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rateLimitService?: RateLimitService | undefined;
}): ServerLimits {
  const { clock, logger, rateLimitService: service } = dependencies;
  const memory = createRateLimitMemory();
  const counts = new Map<string, number>();
  const counter = (name: string): (() => void) => {
    counts.set(name, counts.get(name) ?? 0);
    return () => counts.set(name, (counts.get(name) ?? 0) + 1);
  };
  return {
    filtersFor({ globalRateLimits = [], localRateLimits = [] }) {
      const filters: Filter<ServerCall, void>[] = [];
      memory.keep(localRateLimits);
      const names = new Set([...localRateLimits, ...globalRateLimits].map(({ name }) => name));
      for (const name of counts.keys()) if (!names.has(name)) counts.delete(name);
      if (localRateLimits.length > 0) {
        const now = clock.now();
        const live = localRateLimits.map((limit) => ({
          limit,
          buckets: memory.of(limit, now),
          applies: compileApplies(limit.rules),
          refused: counter(limit.name),
        }));
        filters.push(localRateLimitFilter(live, clock));
      }
      for (const limit of globalRateLimits) {
        const descriptors = limit.descriptors.map((descriptor) => ({
          descriptor,
          applies: compileApplies(descriptor.rules),
        }));
        filters.push(
          globalRateLimitFilter({ limit, descriptors, service, clock, logger, refused: counter(limit.name) }),
        );
      }
      return filters;
    },
    status: () => [...counts].map(([name, limited]) => ({ name, limited })),
  };
}
