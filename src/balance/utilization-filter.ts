import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { setHeader } from '../lib/header-list.ts';
import { loadFormatHeader, loadReportHeader } from '../lib/load-report.ts';
import type { CallEndpoint, ClientCall, Reply, ResponseHeaders, TryWatcher } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { ReportMemory } from './utilization.ts';

/** Asks the endpoint of each try for its load, and notes what it answers. Inside of balance. */
export function utilizationFilter(
  clock: Clock,
  memoryOf: (endpoint: CallEndpoint) => ReportMemory | undefined,
): Filter<ClientCall, Reply> {
  const watcher: TryWatcher = {
    tryReplied({ endpoint }: ClientCall, _status: number, headers: ResponseHeaders) {
      const report = headers[loadReportHeader];
      if (typeof report === 'string' && endpoint !== undefined) memoryOf(endpoint)?.heard(report, clock.now());
    },
    tryEnded({ endpoint }: ClientCall, error: Error | undefined) {
      if (!(error instanceof MeshError) || error.code !== 'ERR_MESH_CONNECT_FAILED') return;
      if (endpoint !== undefined) memoryOf(endpoint)?.lost();
    },
  };
  return (call, next) => {
    setHeader(call.request.headers, loadFormatHeader, 'TEXT');
    call.watchTry(watcher);
    return next(call);
  };
}
