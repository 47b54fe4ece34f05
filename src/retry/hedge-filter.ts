import { isReplayable } from '../lib/replayable.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import { HedgedCall, type HedgeRules } from './hedged-call.ts';

const idempotentMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/**
 * Starts another try beside one that takes long, for requests that may arrive twice and whose body,
 * if any, is in memory. All others go the usual way.
 */
export function hedgeFilter(rules: HedgeRules): Filter<ClientCall, Reply> {
  return (call, next) => {
    const { body, idempotent, method, upgrade } = call.request;
    if (upgrade || !(idempotent ?? idempotentMethods.has(method)) || !isReplayable(body)) return next(call);
    return new HedgedCall(call, rules).run();
  };
}
