import { MeshError } from '../errors.ts';
import { isGrpc } from '../lib/grpc-answer.ts';
import { headerValue } from '../lib/header-list.ts';
import type { Random } from '../lib/random.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import type { Filter } from '../pipeline/filter.ts';
import { LocalReply } from '../pipeline/local-answer.ts';
import { addFlag } from '../pipeline/response-flags.ts';
import { type DropPlan, isDropped } from './drop.ts';

/** Answers the share of calls that a control plane says are too many (Envoy `drop_overloads`). They are not retried. */
export function dropFilter(plan: DropPlan, cluster: string, random: Random): Filter<ClientCall, Reply> {
  return (call, next) => {
    if (!isDropped(plan, random)) return next(call);
    const { headers, method, upgrade } = call.request;
    if (upgrade || method === 'CONNECT') {
      // Whoever wants a connection and not a response can only be told of an error.
      call.flag = addFlag(call.flag, plan.plain.flag);
      const message = `cluster ${cluster} is overloaded, says the control plane: no connection`;
      return Promise.reject(new MeshError('ERR_MESH_OVERFLOW', message, { cluster, route: call.route }));
    }
    return Promise.resolve(new LocalReply(isGrpc(headerValue(headers, 'content-type')) ? plan.grpc : plan.plain));
  };
}
