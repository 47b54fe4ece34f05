import type { Duplex } from 'node:stream';
import { type AgentStart, agentFaults } from './agent-faults.ts';
import type { Selection } from './client-pipeline.ts';
import { MeshError } from './errors.ts';
import type { AgentRequest, AgentRouter, AgentTarget } from './host/agent.ts';
import type { Clock } from './lib/clock.ts';
import type { HeaderList } from './lib/header-list.ts';
import type { Random } from './lib/random.ts';
import { addFlag } from './pipeline/response-flags.ts';
import { currentScope } from './pipeline/scope.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { EndpointState } from './runtime/endpoint.ts';
import type { Series } from './telemetry/metrics.ts';
import { remainingHeader } from './timeout/deadline-filter.ts';
import { addOutboundHeaders } from './trace/outbound-headers.ts';

/**
 * Decides for `node:http` requests: the same routes, balancing, outlier detection and mTLS as for
 * fetch. Retries and timeouts belong to the library above (axios, got): the mesh does not hold
 * these requests and cannot send them again.
 */
export function agentRouter(options: {
  readonly clock: Clock;
  readonly random: Random;
  /** Series for requests that reached no endpoint. */
  series(service: string): Series;
  select(origin: string, path: string, headers: HeaderList): Selection;
  /** `tlsHost`: the application itself speaks TLS to this name. */
  connect(state: ClusterState, endpoint: EndpointState, tlsHost: string | undefined): Promise<Duplex>;
}): AgentRouter {
  const { clock, connect, select } = options;
  const faults = agentFaults(options);

  const choose = (
    request: AgentRequest,
    selection: Extract<Selection, { kind: 'inside' }>,
    { flag, startedAt }: AgentStart,
  ): AgentTarget => {
    const { route, state } = selection;
    const tlsHost = request.secure ? request.hostname : undefined;
    const endpoint = state.pick(undefined);
    if (endpoint === undefined) {
      const message = `cluster ${state.cluster.name} has no healthy endpoint`;
      throw new MeshError('ERR_MESH_NO_HEALTHY_ENDPOINT', message, { route: route.name, cluster: state.cluster.name });
    }
    const scope = currentScope();
    const headers: HeaderList = [];
    // Shown so that a trace of the application's own keeps ours out.
    const own = ['traceparent', 'b3'].find((name) => request.header(name) !== undefined);
    if (own !== undefined) headers.push(own, request.header(own) as string);
    addOutboundHeaders(headers, scope);
    if (scope?.deadline !== undefined) {
      headers.push(remainingHeader, String(Math.max(1, Math.ceil(scope.deadline - clock.now()))));
    }
    if (selection.path !== request.path) headers.push('x-envoy-original-path', request.path);
    endpoint.inFlight++;
    let done = false;
    return {
      // A new generation of connections has a new key, so that sockets of the old one are not reused.
      key: `${state.cluster.name}/${endpoint.name}/${endpoint.generation}/${tlsHost ?? ''}`,
      path: selection.path,
      ...(selection.authority === undefined ? {} : { authority: selection.authority }),
      headers: headers as string[],
      connect: () => connect(state, endpoint, tlsHost),
      done(status, error) {
        if (done) return;
        done = true;
        endpoint.inFlight--;
        const durationMs = clock.now() - startedAt;
        if (status !== 0 || error instanceof MeshError) {
          state.report(endpoint, status);
          endpoint.series.record(status, addFlag(flag, error instanceof MeshError ? error.flag : ''), durationMs);
          // The application gave the request up, which says nothing about the endpoint.
        } else endpoint.series.record(0, addFlag(flag, 'DC'), durationMs);
      },
    };
  };

  return (request) => {
    const headers: HeaderList = [];
    for (const [name, value] of request.headers()) headers.push(name, value);
    const selection = select(originOf(request), request.path, headers);
    const known = selection.kind === 'inside' ? selection : selection.known;
    if (known === undefined) return 'direct';
    return faults(request, known.route, known.state.cluster.host, (start) => {
      if (selection.kind === 'outside') return 'direct';
      const warming = selection.state.warming();
      return warming === undefined
        ? choose(request, selection, start)
        : warming.then(() => choose(request, selection, start));
    });
  };
}

function originOf({ hostname, port, secure }: AgentRequest): string {
  const host = hostname.includes(':') ? `[${hostname}]` : hostname;
  return `${secure ? 'https' : 'http'}://${host}:${port}`;
}
