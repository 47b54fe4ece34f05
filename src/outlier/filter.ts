import { MeshError } from '../errors.ts';
import type { CallEndpoint, ClientCall, Reply, TryWatcher } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';

const localFailures: ReadonlySet<string> = new Set([
  'ERR_MESH_CONNECT_FAILED',
  'ERR_MESH_TLS_FAILED',
  'ERR_MESH_PEER_IDENTITY',
  'ERR_MESH_UPSTREAM_RESET',
  'ERR_MESH_TRY_TIMEOUT',
]);

/** Tells the outlier detector how each try ended: its status, or 0 when the endpoint failed. */
export function outlierFilter(report: (endpoint: CallEndpoint, status: number) => void): Filter<ClientCall, Reply> {
  const watcher: TryWatcher = {
    tryReplied(call, status) {
      if (call.endpoint !== undefined) report(call.endpoint, status);
    },
    tryEnded(call, error) {
      if (error === undefined || call.endpoint === undefined) return;
      // What the application did (abort, bad header) says nothing about the endpoint.
      if (error instanceof MeshError && localFailures.has(error.code)) report(call.endpoint, 0);
    },
  };
  return (call, next) => {
    call.watchTry(watcher);
    return next(call);
  };
}
