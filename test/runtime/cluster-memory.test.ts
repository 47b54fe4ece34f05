import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import { defaultBreakerPolicy } from '../../src/model/breaker.ts';
import type { Cluster, OutlierPolicy } from '../../src/model/cluster.ts';
import { type ClusterDependencies, ClusterState } from '../../src/runtime/cluster.ts';
import { createClusters } from '../../src/runtime/clusters.ts';
import type { EndpointState } from '../../src/runtime/endpoint.ts';
import { createNameResolver } from '../../src/runtime/resolver.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { idleHooks } from '../support/idle-endpoints.ts';
import { cluster, endpoint, snapshot } from '../support/snapshot.ts';

const outlier: OutlierPolicy = {
  consecutive5xx: 2,
  consecutiveGatewayErrors: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};

function setup() {
  const clock = fakeClock();
  const random = seededRandom(1);
  const log: string[] = [];
  const hooks = idleHooks();
  const dependencies: ClusterDependencies = {
    clock,
    random,
    names: createNameResolver({ ask: async () => ({ addresses: [] }), clock, random }),
    hooks: () => hooks,
    healthChanged: (_, { available, name }) => void log.push(`${name} ${available ? 'in' : 'out'}`),
  };
  return { clock, dependencies, log };
}
const of = (hosts: readonly number[], changes: Partial<Cluster> = {}): Cluster =>
  cluster(
    'a',
    hosts.map((last) => endpoint(80, { address: `10.0.0.${last}` })),
    { outlier, ...changes },
  );
const named = (state: ClusterState, last: number): EndpointState =>
  state.endpoints.find(({ name }) => name === `10.0.0.${last}:80`) as EndpointState;
const fail = (state: ClusterState, last: number, times = 2): void => {
  const endpoint_ = named(state, last);
  for (let i = 0; i < times; i++) state.report(endpoint_, 503);
};
const out = (state: ClusterState): string[] =>
  state.endpoints.filter(({ available }) => !available).map(({ name }) => name);

t.test('an endpoint that was ejected, leaves, and is back within a minute, is still ejected', async (t) => {
  const { clock, dependencies, log } = setup();
  const state = new ClusterState(of([1, 2]), dependencies);
  fail(state, 1);
  clock.advance(5_000);
  state.update(of([2]));
  clock.advance(15_000);
  state.update(of([1, 2]));
  t.same(out(state), ['10.0.0.1:80']);
  t.equal(state.pick(undefined)?.name, '10.0.0.2:80');
  clock.advance(10_000);
  t.same(log, ['10.0.0.1:80 out', '10.0.0.1:80 in'], 'and comes back at its time');
  await state.close();
  t.equal(clock.pending(), 0);
});

t.test('one whose time passed while it was away may be chosen, but was ejected once', async (t) => {
  const { clock, dependencies } = setup();
  const state = new ClusterState(of([1, 2]), dependencies);
  fail(state, 1);
  state.update(of([2]));
  clock.advance(40_000);
  state.update(of([1, 2]));
  t.same(out(state), []);
  fail(state, 1);
  t.equal(named(state, 1).outlier.ejectedUntil - clock.now(), 60_000, 'twice the time');
  await state.close();
});

t.test('one whose time passed while it was away comes back with a clean sheet, and is forgiven later', async (t) => {
  const { clock, dependencies } = setup();
  const policy = { ...outlier, consecutive5xx: 5, consecutiveGatewayErrors: 3 };
  const state = new ClusterState(of([1, 2], { outlier: policy }), dependencies);
  fail(state, 1, 3);
  t.same(out(state), ['10.0.0.1:80']);
  state.update(of([2], { outlier: policy }));
  clock.advance(20_000);
  // Somebody else is out: each interval it is looked at who is.
  fail(state, 2, 3);
  clock.advance(24_000);
  state.update(of([1, 2], { outlier: policy }));
  for (let i = 0; i < 2; i++) state.report(named(state, 1), 500);
  t.same(out(state), ['10.0.0.2:80'], 'two errors in a row, and not five');
  clock.advance(6_000);
  t.equal(named(state, 1).outlier.ejectionCount, 1, 'an interval after it came back, and no earlier');
  clock.advance(10_000);
  t.equal(named(state, 1).outlier.ejectionCount, 0);
  await state.close();
});

t.test('after more than a minute it is a new one', async (t) => {
  const { clock, dependencies } = setup();
  const state = new ClusterState(of([1, 2], { outlier: { ...outlier, baseEjectionMs: 100_000 } }), dependencies);
  fail(state, 1);
  state.update(of([2], { outlier: { ...outlier, baseEjectionMs: 100_000 } }));
  clock.advance(60_001);
  state.update(of([1, 2], { outlier: { ...outlier, baseEjectionMs: 100_000 } }));
  t.same(out(state), []);
  t.equal(named(state, 1).outlier.ejections, 0);
  await state.close();
});

t.test('errors in a row are remembered too; what was blank is not kept', async (t) => {
  const { dependencies } = setup();
  const state = new ClusterState(of([1, 2]), dependencies);
  fail(state, 1, 1);
  state.update(of([]));
  state.update(of([1, 2]));
  fail(state, 1, 1);
  t.same(out(state), ['10.0.0.1:80']);
  await state.close();
});

t.test('without the policy nothing is taken up again', async (t) => {
  const { dependencies } = setup();
  const state = new ClusterState(of([1, 2]), dependencies);
  fail(state, 1);
  state.update(of([2]));
  const { outlier: _, ...without } = of([1, 2]);
  state.update(without);
  t.same(out(state), []);
  await state.close();
});

t.test('a cluster that is gone for a moment remembers its endpoints', async (t) => {
  const { clock, dependencies } = setup();
  const clusters = createClusters(() => dependencies);
  const with_ = (...all: readonly Cluster[]) => snapshot({}, all);
  clusters.reconcile(with_(of([1, 2])));
  fail(clusters.get(of([]).name) as ClusterState, 1);
  clusters.reconcile(with_());
  clock.advance(1_000);
  clusters.reconcile(with_(of([1, 2])));
  t.same(out(clusters.get(of([]).name) as ClusterState), ['10.0.0.1:80']);
  clusters.reconcile(with_());
  clock.advance(60_001);
  clusters.reconcile(with_(of([1, 2])));
  t.same(out(clusters.get(of([]).name) as ClusterState), []);
  await clusters.close();
  t.equal(clock.pending(), 0);
});

t.test('new limits keep the count of what is under way', async (t) => {
  const { dependencies } = setup();
  const first = of([1]);
  const limits = { ...first.limits, maxRequests: 5, maxRetries: 3 };
  const state = new ClusterState(of([1], { limits }), dependencies);
  const { requests, retries } = state;
  for (let i = 0; i < 4; i++) requests.enter();
  retries.enter(true);
  state.update(of([1], { limits: { ...limits, maxRequests: 4, maxRetries: 1 } }));
  t.match(state.requests, { limit: 4, active: 4 });
  t.notOk(state.requests.enter());
  t.notOk(state.retries.enter(true));
  requests.leave();
  t.ok(state.requests.enter(), 'calls from before give their place back');
  await state.close();
});

t.test('a breaker that is open stays open when its cluster is gone for a moment', async (t) => {
  const { clock, dependencies } = setup();
  const clusters = createClusters(() => dependencies);
  const with_ = (...all: readonly Cluster[]) => snapshot({}, all);
  const broken = of([1], { breaker: { ...defaultBreakerPolicy, volumeThreshold: 2, resetTimeoutMs: 30_000 } });
  const breaker = () => clusters.get(broken.name)?.breaker;
  clusters.reconcile(with_(broken));
  for (let i = 0; i < 2; i++) breaker()?.settle(breaker()?.admit() ?? 0, 'failure');
  t.equal(breaker()?.state, 'open');
  t.equal(breaker()?.admit(), 0);
  clusters.reconcile(with_());
  clock.advance(29_000);
  clusters.reconcile(with_(broken));
  t.match(breaker(), { state: 'open', openings: 1, refusals: 1 });
  clock.advance(999);
  t.equal(breaker()?.state, 'open', 'its time goes on from where it was');
  clock.advance(1);
  t.equal(breaker()?.state, 'halfOpen');
  t.ok(breaker()?.admit(), 'a trial');
  clusters.reconcile(with_());
  clock.advance(60_001);
  clusters.reconcile(with_(broken));
  t.equal(breaker()?.state, 'closed', 'after a minute it is another cluster');
  await clusters.close();
  t.equal(clock.pending(), 0);
});
