import { failHeader } from './health/filter.ts';
import type { AgentTarget } from './host/agent.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { EndpointState } from './runtime/endpoint.ts';

/**
 * What a route makes of a response, where the cluster has health checks: hears the endpoint that asks to
 * be left alone, as `healthFilter` does for calls.
 */
export function hearing(
  state: ClusterState,
  endpoint: EndpointState,
  response: AgentTarget['response'],
): Pick<AgentTarget, 'response'> {
  if (state.cluster.healthCheck === undefined) return {};
  return {
    response(status, rawHeaders) {
      for (let i = 0; i < rawHeaders.length; i += 2) {
        if (rawHeaders[i]?.toLowerCase() === failHeader) state.failNow(endpoint);
      }
      return response?.(status, rawHeaders) ?? [];
    },
  };
}
