import { MeshError } from '../errors.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import type { RequestLimiter } from './limiter.ts';

/** Admits a try, or answers at once that the cluster has enough to do. */
export function limitFilter(cluster: string, limiter: RequestLimiter): Filter<ClientCall, Reply> {
  return (call, next) => {
    if (!limiter.enter()) {
      const message = `cluster ${cluster} is at its limit of ${limiter.limit} requests`;
      return Promise.reject(new MeshError('ERR_MESH_OVERFLOW', message, { cluster, route: call.route }));
    }
    return next(call).then(
      (reply) => {
        reply.whenEnded(limiter);
        return reply;
      },
      (error: unknown) => {
        limiter.leave();
        throw error;
      },
    );
  };
}
