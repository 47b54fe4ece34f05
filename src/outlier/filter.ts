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
    tryEnded(call, error, status) {
      if (error === undefined || call.endpoint === undefined || call.cancelled) return;
      // What the application did (abort, bad header) says nothing about the endpoint.
      if (!(error instanceof MeshError)) return;
      // Envoy: whoever lets the time of the route pass without an answer has failed. What is left
      // of a caller's time is not held against the endpoint: it may have been next to nothing.
      const silent = error.code === 'ERR_MESH_TIMEOUT' && status === 0;
      if (silent || localFailures.has(error.code)) report(call.endpoint, 0);
    },
  };
  return (call, next) => {
    call.watchTry(watcher);
    return next(call);
  };
}
