import { MeshError } from '../errors.ts';
import type { DeadlineClass, DeadlineOwner } from '../lib/deadlines.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';

/**
 * The time of one try, connection included, up to its response headers (Istio `perTryTimeout`).
 * Once an answer has begun only the total time bounds it, as in Envoy.
 */
export function tryTimeoutFilter(timeoutMs: number, deadlines: DeadlineClass): Filter<ClientCall, Reply> {
  return (call, next) => {
    const owner: DeadlineOwner = {
      deadlineExpired() {
        const { route, cluster, endpoint } = call;
        const message = `no answer from ${endpoint?.name ?? 'the endpoint'} within ${timeoutMs} ms`;
        call.running?.abort(
          new MeshError('ERR_MESH_TRY_TIMEOUT', message, { route, cluster, endpoint: endpoint?.name ?? '' }),
        );
      },
    };
    const deadline = deadlines.start(owner);
    return next(call).then(
      (reply) => {
        deadline.cancel();
        return reply;
      },
      (error: unknown) => {
        deadline.cancel();
        throw error;
      },
    );
  };
}
