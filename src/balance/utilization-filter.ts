import { MeshError } from '../errors.ts';
import type { Clock } from '../lib/clock.ts';
import { changeRaw, type HeaderChanges } from '../lib/header-edit.ts';
import { headerValue } from '../lib/header-list.ts';
import { loadFormatHeader, loadReportHeader } from '../lib/load-report.ts';
import type { CallEndpoint, ClientCall, Reply, ResponseHeaders, TryWatcher } from '../pipeline/client-call.ts';
import { editResponse, type ResponseEditor } from '../pipeline/edit-response.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { ReportMemory } from './utilization.ts';

const removal: HeaderChanges = { remove: [loadReportHeader], set: [], add: [] };

/** The report was for the mesh: an application that hands responses on must not hand it on as its own. */
const consume: ResponseEditor = (call, _status, headers) => {
  if (headers[loadReportHeader] === undefined) return;
  delete headers[loadReportHeader];
  if (call.rawHeaders !== null) call.rawHeaders = changeRaw<string | Buffer>(call.rawHeaders, removal) as Buffer[];
};

/** Asks whoever answers for its load. Outside of retry: every try asks the same. */
export const askForLoad: Filter<ClientCall, Reply> = (call, next) => {
  const { headers } = call.request;
  // The application may ask by itself, and then it gets the answer.
  if (headerValue(headers, loadFormatHeader) === undefined) {
    headers.push(loadFormatHeader, 'TEXT');
    editResponse(call, consume);
  }
  return next(call);
};

/** Notes what the endpoint of each try says of its load. Inside of balance, which has chosen it. */
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
    call.watchTry(watcher);
    return next(call);
  };
}
