import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { CallWatcher, ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { Series } from './metrics.ts';

/** Counts each call once, when its last byte arrived or it failed, with the time of all its tries. */
export function clientMetricsFilter(clock: Clock, seriesOf: (call: ClientCall) => Series): Filter<ClientCall, Reply> {
  const watcher: CallWatcher = {
    callEnded(call, status, error) {
      const flag = error === undefined ? call.flag : flagOf(error, call);
      seriesOf(call).record(status, flag, clock.now() - call.startedAt);
    },
  };
  return (call, next) => {
    call.watch(watcher);
    return next(call);
  };
}

function flagOf(error: Error, call: ClientCall): string {
  if (error instanceof MeshError) return error.flag;
  // The application went away: Envoy's "downstream connection termination".
  return error === call.reason ? 'DC' : 'UC';
}
