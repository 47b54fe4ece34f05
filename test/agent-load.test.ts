import t from 'tap';
import type { Dispatcher } from 'undici';
import { notingLoad } from '../src/agent-load.ts';
import { utilizationDefaults } from '../src/balance/utilization.ts';
import { MeshError } from '../src/errors.ts';
import type { AgentRequest, AgentTarget } from '../src/host/agent.ts';
import type { HeaderChanges } from '../src/lib/header-edit.ts';
import type { Cluster } from '../src/model/cluster.ts';
import type { ClusterState } from '../src/runtime/cluster.ts';
import { EndpointState } from '../src/runtime/endpoint.ts';
import type { Series } from '../src/telemetry/metrics.ts';
import { fakeClock } from './support/fake-clock.ts';
import { cluster, endpoint } from './support/snapshot.ts';

const header = 'endpoint-load-metrics';

/** A node:http request to one endpoint of a cluster. */
function setup(changes: Partial<Cluster>, { asks = false } = {}) {
  const clock = fakeClock();
  const state = new EndpointState(endpoint(80), { open: () => ({}) as Dispatcher, series: () => ({}) as Series });
  const told: string[] = [];
  const ofRoute: HeaderChanges = { remove: [], set: ['x', '1'], add: [] };
  const plain: AgentTarget = {
    key: 'k',
    path: '/',
    headers: ['traceparent', '00'],
    response: () => [ofRoute],
    connect: () => Promise.reject(new Error('no')),
    done: (status, error) => void told.push(`${status} ${error?.message ?? ''}`.trim()),
  };
  const request = { header: () => (asks ? 'TEXT' : undefined) } as unknown as AgentRequest;
  const target = notingLoad(clock, { cluster: cluster('a', [], changes) } as ClusterState, state, request, plain);
  return { clock, ofRoute, plain, state, target, told };
}

t.test('other balancers note nothing', async (t) => {
  for (const balance of ['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM'] as const) {
    const { plain, target } = setup({ balance });
    t.equal(target, plain, balance);
  }
  const hash = { algorithm: { kind: 'maglev', tableSize: 101 } } as const;
  const { plain, target } = setup({ balance: 'PEAK_EWMA', hash });
  t.equal(target, plain);
});

t.test('PEAK_EWMA hears how long each request took, and which failed', async (t) => {
  const cost = (status: number, error?: Error): number => {
    const { clock, state, target, told } = setup({ balance: 'PEAK_EWMA' });
    state.latency.answered(10, clock.now());
    clock.advance(40);
    target.done(status, error);
    t.equal(told.length, 1);
    return Math.round(state.latency.cost(0, clock.now()));
  };
  t.equal(cost(200), 40);
  t.equal(cost(404), 40);
  const failure = cost(503);
  t.ok(failure > 50, `${failure}`);
  t.equal(cost(429), failure);
  t.equal(cost(0, new MeshError('ERR_MESH_UPSTREAM_RESET', 'reset')), failure);
  t.equal(cost(0, new Error('enough')), 40, 'the application waited so long, and no longer');
});

t.test('UTILIZATION asks, hears the report, and keeps it from the application', async (t) => {
  const { clock, ofRoute, state, target } = setup({ balance: 'UTILIZATION' });
  t.same(target.headers, ['traceparent', '00', 'endpoint-load-metrics-format', 'TEXT']);
  const report = 'TEXT application_utilization=0.5,rps_fractional=100,eps=0';
  const changes = target.response?.(200, ['X', 'y', 'Endpoint-Load-Metrics', report]);
  t.same(changes, [{ remove: [header], set: [], add: [] }, ofRoute]);
  t.equal(state.reports?.weight(clock.now() + utilizationDefaults.blackoutMs), 200);
  target.done(0, new MeshError('ERR_MESH_CONNECT_FAILED', 'refused'));
  t.equal(state.reports?.weight(clock.now() + utilizationDefaults.blackoutMs), 0);
});

t.test('an application that asks itself gets the report, a response without one is as it is', async (t) => {
  const { ofRoute, state, target } = setup({ balance: 'UTILIZATION' }, { asks: true });
  t.same(target.response?.(200, ['x', 'y']), [ofRoute]);
  t.equal(state.reports, undefined);
  t.same(target.response?.(200, [header, 'TEXT cpu_utilization=1,rps_fractional=1']), [ofRoute]);
});
