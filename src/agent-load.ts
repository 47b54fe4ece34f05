import { ReportMemory } from './balance/utilization.ts';
import { endpointFailures, MeshError } from './errors.ts';
import type { AgentRequest, AgentTarget } from './host/agent.ts';
import type { Clock } from './lib/clock.ts';
import type { HeaderChanges } from './lib/header-edit.ts';
import { loadFormatHeader, loadReportHeader } from './lib/load-report.ts';
import type { ClusterState } from './runtime/cluster.ts';
import type { EndpointState } from './runtime/endpoint.ts';

/**
 * For balancers that go by what is seen of the endpoints: the target of a `node:http` request that
 * notes it, as the filters of `src/balance/` do for other calls. For others the target as it is.
 */
export function notingLoad(
  clock: Clock,
  { cluster }: ClusterState,
  endpoint: EndpointState,
  request: AgentRequest,
  target: AgentTarget,
): AgentTarget {
  if (cluster.hash !== undefined) return target;
  if (cluster.balance === 'PEAK_EWMA') return noteLatency(clock, endpoint, target);
  if (cluster.balance === 'UTILIZATION') return noteReports(clock, endpoint, request, target);
  return target;
}

function noteLatency(clock: Clock, { latency }: EndpointState, target: AgentTarget): AgentTarget {
  const startedAt = clock.now();
  const done: AgentTarget['done'] = (status, error, stalled) => {
    const now = clock.now();
    const elapsedMs = now - startedAt;
    if (status >= 500 || status === 429) latency.failed(elapsedMs, now);
    else if (status !== 0) latency.answered(elapsedMs, now);
    else if (stalled !== true && isFailure(error)) latency.failed(elapsedMs, now);
    else latency.abandoned(elapsedMs, now);
    target.done(status, error, stalled);
  };
  return { ...target, done };
}

/** As `latencyFilter` has it for calls. */
function isFailure(error: Error | undefined): boolean {
  return error instanceof MeshError && (endpointFailures.has(error.code) || late.has(error.code));
}

const late: ReadonlySet<string> = new Set(['ERR_MESH_TRY_TIMEOUT', 'ERR_MESH_TIMEOUT']);

/** The report was for the mesh, if it was the mesh that asked. */
const consumed: HeaderChanges = { remove: [loadReportHeader], set: [], add: [] };

function noteReports(clock: Clock, endpoint: EndpointState, request: AgentRequest, target: AgentTarget): AgentTarget {
  const hide = request.header(loadFormatHeader) === undefined;
  const response: AgentTarget['response'] = (status, raw) => {
    const changes = target.response?.(status, raw) ?? [];
    const report = rawValue(raw, loadReportHeader);
    if (report === undefined) return changes;
    (endpoint.reports ??= new ReportMemory()).heard(report, clock.now());
    return hide ? [consumed, ...changes] : changes;
  };
  const done: AgentTarget['done'] = (status, error, stalled) => {
    if (error instanceof MeshError && error.code === 'ERR_MESH_CONNECT_FAILED') endpoint.reports?.lost();
    target.done(status, error, stalled);
  };
  return { ...target, headers: [...target.headers, loadFormatHeader, 'TEXT'], response, done };
}

function rawValue(raw: readonly string[], name: string): string | undefined {
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]?.length === name.length && raw[i]?.toLowerCase() === name) return raw[i + 1];
  }
  return undefined;
}
