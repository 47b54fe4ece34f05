import { MeshError } from './errors.ts';
import type { AgentLimit, AgentTime } from './host/agent-target.ts';
import type { Clock } from './lib/clock.ts';
import type { ConnectionLimits } from './model/cluster.ts';
import type { Scope } from './pipeline/scope.ts';
import type { Known } from './select.ts';
import { marginMs } from './timeout/deadline-filter.ts';

/** How many requests of `mesh.agent` a cluster gets at once: each of them needs a connection. */
export function agentLimit(cluster: string, limits: ConnectionLimits): AgentLimit | undefined {
  const { maxConnections, maxPendingRequests } = limits;
  if (!Number.isFinite(maxConnections)) return undefined;
  return {
    key: cluster,
    atOnce: Math.max(1, maxConnections),
    waiting: maxPendingRequests,
    full: () => overflow(cluster, `${maxPendingRequests} requests that wait for a connection`),
  };
}

/** A limit of a cluster is reached. */
export function overflow(cluster: string, limit: string): MeshError {
  return new MeshError('ERR_MESH_OVERFLOW', `cluster ${cluster} is at its limit of ${limit}`, { cluster });
}

/**
 * What bounds the time of a request of `mesh.agent`: the route's timeout, or what the caller of this
 * service has left, and the time for the one try that there is.
 *
 * @throws MeshError `ERR_MESH_DEADLINE_EXPIRED` when nothing is left.
 */
export function agentTimes(
  { route, state }: Known,
  scope: Scope | undefined,
  endpoint: string,
  clock: Clock,
): readonly AgentTime[] {
  const { retry, timeoutMs = Number.POSITIVE_INFINITY } = route;
  const perTryMs = retry?.perTryTimeoutMs ?? Number.POSITIVE_INFINITY;
  const leftMs = scope?.deadline === undefined ? Number.POSITIVE_INFINITY : scope.deadline - clock.now() - marginMs;
  const details = { route: route.name, cluster: state.cluster.name, endpoint };
  if (leftMs <= 0) {
    const message = 'the deadline of the request that causes this call has passed';
    throw new MeshError('ERR_MESH_DEADLINE_EXPIRED', message, details);
  }
  const wholeMs = Math.min(timeoutMs, leftMs);
  const times: AgentTime[] = [];
  if (perTryMs < wholeMs) {
    const message = `no answer from ${endpoint} within ${perTryMs} ms`;
    times.push({
      ms: perTryMs,
      until: 'response',
      error: () => new MeshError('ERR_MESH_TRY_TIMEOUT', message, details),
    });
  }
  if (Number.isFinite(wholeMs)) {
    const code = wholeMs === timeoutMs ? 'ERR_MESH_TIMEOUT' : 'ERR_MESH_DEADLINE_EXPIRED';
    const message = `no complete answer within ${Math.round(wholeMs)} ms`;
    times.push({ ms: wholeMs, until: 'end', error: () => new MeshError(code, message, details) });
  }
  return times;
}
