import type { CallEndpoint, ClientCall, Reply, TryWatcher } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';

/** With any value it says: send me nothing more until a health check passes (Envoy). */
export const failHeader = 'x-envoy-immediate-health-check-fail';

/** Hears endpoints that ask, on an answer, to be left alone. For clusters with health checks only, as in Envoy. */
export function healthFilter(failNow: (endpoint: CallEndpoint) => void): Filter<ClientCall, Reply> {
  const watcher: TryWatcher = {
    tryReplied(call, _status, headers) {
      if (headers[failHeader] !== undefined && call.endpoint !== undefined) failNow(call.endpoint);
    },
    tryEnded() {
      // only the headers count
    },
  };
  return (call, next) => {
    call.watchTry(watcher);
    return next(call);
  };
}
