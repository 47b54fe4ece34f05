import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter, Service } from '../pipeline/filter.ts';
import { applyOverrides, type TryPolicies, takeOverrides } from './overrides.ts';

/** Combinations of headers whose pipelines are kept for each route; what comes after that is composed each time. */
const keptPipelines = 64;

/**
 * Obeys Envoy's headers about timeouts and retries (`x-envoy-retry-on` and others): a call that has
 * some gets a pipeline that is composed for them, all others go the usual way.
 */
export function overridesFilter(
  base: TryPolicies,
  composeFor: (policies: TryPolicies) => Service<ClientCall, Reply>,
): Filter<ClientCall, Reply> {
  const composed = new Map<string, Service<ClientCall, Reply>>();
  return (call, next) => {
    const overrides = takeOverrides(call.request.headers);
    if (overrides === undefined) return next(call);
    const key = overrides.join('\n');
    const known = composed.get(key);
    if (known !== undefined) return known(call);
    const service = composeFor(applyOverrides(base, overrides));
    if (composed.size < keptPipelines) composed.set(key, service);
    return service(call);
  };
}
