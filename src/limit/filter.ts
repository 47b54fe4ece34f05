import { MeshError } from '../errors.ts';
import type { ClientCall, Reply, TryWatcher } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { RequestLimiter } from './limiter.ts';

/** Admits a try, or answers at once that the cluster has enough to do. */
export function limitFilter(cluster: string, limiter: RequestLimiter): Filter<ClientCall, Reply> {
  const watcher: TryWatcher = { tryReplied: () => {}, tryEnded: () => limiter.leave() };
  return (call, next) => {
    if (!limiter.enter()) {
      const message = `cluster ${cluster} is at its limit of ${limiter.limit} requests`;
      return call.failTry(new MeshError('ERR_MESH_OVERFLOW', message, { cluster, route: call.route }));
    }
    call.watchTry(watcher);
    return next(call);
  };
}
