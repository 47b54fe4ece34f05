import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { Series } from './metrics.ts';

/** Counts each call once, when its last byte arrived or it failed, with the time of all its tries. */
export function clientMetricsFilter(clock: Clock, seriesOf: (call: ClientCall) => Series): Filter<ClientCall, Reply> {
  return (call, next) =>
    next(call).then(
      (reply) => {
        reply.whenEnded({
          replyEnded(ended, error) {
            const flag = error === undefined ? call.flag : flagOf(error, call);
            seriesOf(call).record(ended.status, flag, clock.now() - call.startedAt);
          },
        });
        return reply;
      },
      (error: unknown) => {
        const status = error instanceof MeshError ? error.status : 0;
        seriesOf(call).record(status, flagOf(error, call), clock.now() - call.startedAt);
        throw error;
      },
    );
}

function flagOf(error: unknown, call: ClientCall): string {
  if (error instanceof MeshError) return error.flag;
  // The application went away: Envoy's "downstream connection termination".
  return error === call.reason ? 'DC' : 'UC';
}
