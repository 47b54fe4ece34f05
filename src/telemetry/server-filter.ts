import type { Clock } from '../lib/clock.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { Peer } from '../pipeline/scope.ts';
import type { ServerCall } from '../pipeline/server-call.ts';
import type { Metrics, Series, SeriesLabels } from './metrics.ts';

/** Labels of the serving side that do not depend on who calls. */
export type ServerLabels = Pick<SeriesLabels, 'destinationService' | 'destinationWorkload' | 'destinationVersion'>;

/** Callers beyond this many share one series: a label must not grow with what strangers send. */
const maxCallers = 1_000;

/**
 * The series of each caller, looked up by a reference that its connection keeps. Labels come from
 * certificates and configuration, never from the request.
 */
export function serverSeries(metrics: Metrics, labels: ServerLabels): (peer: Peer | undefined) => Series {
  const make = (sourcePrincipal: string): Series =>
    metrics.series({ reporter: 'destination', sourceWorkload: 'unknown', sourcePrincipal, ...labels });
  let unknown: Series | undefined;
  const byPrincipal = new Map<string, Series>();
  return (peer) => {
    if (peer === undefined) return (unknown ??= make('unknown'));
    let series = byPrincipal.get(peer.spiffeId);
    if (series === undefined) {
      if (byPrincipal.size >= maxCallers) return make('other');
      byPrincipal.set(peer.spiffeId, (series = make(peer.spiffeId)));
    }
    return series;
  };
}

/**
 * Counts each request once: when its response is complete, or when the connection dies first
 * (flag DC; status 0 if no response had begun). Refusals of the filters inside count as well.
 */
export function serverMetricsFilter(
  clock: Clock,
  seriesOf: (peer: Peer | undefined) => Series,
): Filter<ServerCall, void> {
  return (call, next) => {
    call.observed = true;
    call.response.on('close', () => {
      const { response } = call;
      const status = response.headersSent ? response.statusCode : 0;
      const flag = response.writableFinished ? call.flag : 'DC';
      seriesOf(call.peer).record(status, flag, clock.now() - call.startedAt);
    });
    return next(call);
  };
}
