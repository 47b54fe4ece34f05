import t from 'tap';
import { createGate } from '../../src/health/gate.ts';
import { seededRandom } from '../../src/lib/random.ts';
import type { Cluster, Endpoint } from '../../src/model/cluster.ts';
import type { HealthCheckPolicy, ProbeAnswer } from '../../src/model/health-check.ts';
import { type ClusterDependencies, ClusterState } from '../../src/runtime/cluster.ts';
import { createClusters } from '../../src/runtime/clusters.ts';
import type { EndpointState } from '../../src/runtime/endpoint.ts';
import { createNameResolver } from '../../src/runtime/resolver.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { healthPolicy } from '../support/health-policy.ts';
import { idleHooks } from '../support/idle-endpoints.ts';
import { cluster, endpoint, snapshot } from '../support/snapshot.ts';

const fine: ProbeAnswer = { kind: 'http', status: 200, wantsOut: false };
const broken: ProbeAnswer = { kind: 'http', status: 500, wantsOut: false };
const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

function setup(resolve: () => Promise<readonly string[]> = async () => ['10.0.0.9']) {
  const clock = fakeClock();
  const random = seededRandom(1);
  const log: string[] = [];
  const open = new Map<string, (answer: ProbeAnswer) => void>();
  const closed: string[] = [];
  const hooks = idleHooks();
  const dependencies: ClusterDependencies = {
    clock,
    random,
    names: createNameResolver({ ask: async () => ({ addresses: await resolve() }), clock, random }),
    hooks: () => hooks,
    checks: {
      gate: createGate(100),
      prober: (_, { name }) => ({
        ask(done) {
          open.set(name, done);
          return () => void open.delete(name);
        },
        renew: () => void log.push(`renew ${name}`),
        close: () => void closed.push(name),
      }),
    },
    healthChanged: (_, { available, name }) => void log.push(`${name} ${available ? 'in' : 'out'}`),
  };
  const answer = (last: number, what: ProbeAnswer = fine): void => {
    const name = `10.0.0.${last}:80`;
    const done = open.get(name);
    if (done === undefined) throw new Error(`${name} is not asked`);
    open.delete(name);
    done(what);
  };
  const take = (): string[] => log.splice(0);
  return { answer, clock, closed, dependencies, open, take };
}
const at = (last: number, changes: Partial<Endpoint> = {}): Endpoint =>
  endpoint(80, { address: `10.0.0.${last}`, ...changes });
const of = (hosts: readonly number[], changes: Partial<HealthCheckPolicy> = {}, more: Partial<Cluster> = {}): Cluster =>
  cluster(
    'a',
    hosts.map((last) => at(last)),
    { healthCheck: healthPolicy(changes), ...more },
  );
const available = (state: ClusterState): string[] =>
  state.endpoints.filter((each) => each.available).map(({ name }) => name);
const named = (state: ClusterState, last: number): EndpointState =>
  state.endpoints.find(({ name }) => name === `10.0.0.${last}:80`) as EndpointState;

t.test('the first call waits until all endpoints have been checked once', async (t) => {
  const { answer, dependencies, take } = setup();
  const state = new ClusterState(of([1, 2]), dependencies);
  t.equal(state.pick(undefined), undefined);
  let warm = false;
  void state.warming()?.then(() => (warm = true));
  answer(1);
  await settle();
  t.notOk(warm);
  t.equal(state.warming(), undefined, 'those that come now need not wait');
  answer(2, broken);
  await settle();
  t.ok(warm);
  t.same(available(state), ['10.0.0.1:80']);
  t.equal(state.pick(undefined)?.name, '10.0.0.1:80');
  t.same(take(), ['10.0.0.2:80 out'], 'that a new one is fine is no news');
  await state.close();
});

t.test('nobody waits longer than a check may take, nor when all are known to be bad', async (t) => {
  const { answer, clock, dependencies } = setup();
  const state = new ClusterState(of([1, 2], { timeoutMs: 300 }), dependencies);
  let warm = false;
  void state.warming()?.then(() => (warm = true));
  await clock.advanceAsync(300);
  t.ok(warm);
  await state.close();
  const bad = new ClusterState(of([1]), dependencies);
  answer(1, broken);
  t.equal(bad.warming(), undefined);
  t.equal(bad.pick(undefined), undefined);
  await bad.close();
  t.equal(clock.pending(), 0);
});

t.test('with names, the first answer of DNS and the first checks are waited for', async (t) => {
  const { answer, dependencies } = setup();
  const state = new ClusterState(
    of([], {}, { discovery: { kind: 'dns', endpoints: [endpoint(80, { address: 'svc' })] } }),
    dependencies,
  );
  let warm = false;
  void state.warming()?.then(() => (warm = true));
  await settle();
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(warm);
  answer(9);
  await settle();
  t.ok(warm);
  t.equal(state.pick(undefined)?.name, '10.0.0.9:80');
  await state.close();
});

t.test('an endpoint goes out and comes back by its checks', async (t) => {
  const { answer, clock, dependencies, take } = setup();
  const state = new ClusterState(of([1, 2]), dependencies);
  answer(1);
  answer(2);
  clock.advance(1_000);
  answer(1, broken);
  t.same(available(state), ['10.0.0.2:80']);
  t.match(named(state, 1).health, { healthy: false, problem: 'status 500' });
  clock.advance(1_000);
  answer(1);
  t.same(take(), ['10.0.0.1:80 out', '10.0.0.1:80 in']);
  await state.close();
  t.equal(clock.pending(), 0);
});

t.test('a new endpoint is not used before it has passed, and is asked no more when it leaves', async (t) => {
  const { answer, closed, dependencies, open } = setup();
  const state = new ClusterState(of([1]), dependencies);
  answer(1);
  state.update(of([1, 2]));
  t.same(available(state), ['10.0.0.1:80']);
  t.ok(named(state, 2).excluded, 'and does not count when panic is worked out');
  t.equal(state.warming(), undefined);
  state.update(of([1]));
  t.notOk(open.has('10.0.0.2:80'));
  t.same(closed, ['10.0.0.2:80']);
  await state.close();
});

t.test('one that comes back within a minute is what it was', async (t) => {
  const { answer, clock, dependencies, take } = setup();
  const state = new ClusterState(of([1, 2]), dependencies);
  answer(1);
  answer(2, broken);
  take();
  state.update(of([]));
  clock.advance(30_000);
  state.update(of([1, 2]));
  t.same(available(state), ['10.0.0.1:80']);
  t.equal(state.warming(), undefined);
  answer(2);
  t.same(take(), ['10.0.0.2:80 in']);
  await state.close();
});

t.test('checks that begin while calls are under way take nobody out unasked', async (t) => {
  const { answer, dependencies, take } = setup();
  const { healthCheck: _, ...without } = of([1, 2]);
  const state = new ClusterState(without, dependencies);
  t.equal(state.warming(), undefined);
  state.update(of([1, 2], { unhealthyThreshold: 1 }));
  t.same(available(state).length, 2);
  t.equal(state.warming(), undefined);
  answer(1, broken);
  t.same(available(state), ['10.0.0.2:80']);
  t.same(take(), ['10.0.0.1:80 out']);
  state.update(without);
  t.same(available(state).length, 2, 'without checks all may be used');
  t.same(take(), ['10.0.0.1:80 in']);
  await state.close();
});

t.test('a changed policy asks anew, and remembers', async (t) => {
  const { answer, closed, dependencies, open } = setup();
  const state = new ClusterState(of([1, 2]), dependencies);
  answer(1);
  answer(2, broken);
  state.update(of([1, 2], { intervalMs: 5_000 }));
  t.same(closed.sort(), ['10.0.0.1:80', '10.0.0.2:80']);
  t.equal(open.size, 2);
  t.same(available(state), ['10.0.0.1:80']);
  state.update(of([1, 2], { intervalMs: 5_000 }, { balance: 'RANDOM' }));
  t.equal(closed.length, 2, 'other changes leave the checks alone');
  await state.close();
});

t.test('an endpoint that asks to be left alone is, if it is checked', async (t) => {
  const { answer, clock, dependencies, take } = setup();
  const state = new ClusterState(of([1, 2]), dependencies);
  answer(1);
  answer(2);
  state.failNow(named(state, 1));
  state.failNow({});
  t.same(take(), ['10.0.0.1:80 out']);
  t.ok(named(state, 1).excluded);
  t.match(state.health.checkStats, { passiveFailure: 1, failure: 1 });
  clock.advance(1_000);
  answer(1);
  t.same(take(), ['10.0.0.1:80 in']);
  const { healthCheck: _, ...without } = of([1, 2]);
  state.update(without);
  state.failNow(named(state, 1));
  t.same(take(), [], 'without checks it would never come back');
  await state.close();
});

t.test('a check that passes ends an ejection; one that fails keeps it out whatever its time', async (t) => {
  const outlier = {
    consecutive5xx: 1,
    consecutiveGatewayErrors: 0,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 100,
    minHealthPercent: 0,
  };
  const { answer, clock, dependencies, take } = setup();
  const state = new ClusterState(of([1, 2], {}, { outlier }), dependencies);
  answer(1);
  answer(2);
  state.report(named(state, 1), 500);
  t.same(take(), ['10.0.0.1:80 out']);
  clock.advance(1_000);
  answer(1);
  t.same(take(), ['10.0.0.1:80 in']);
  t.equal(state.health.ejected, 0);
  answer(2, broken);
  state.report(named(state, 2), 500);
  clock.advance(999);
  clock.advance(60_000);
  t.notOk(named(state, 2).available);
  t.equal(state.health.ejected, 0, 'its time is over, but it is still not healthy');
  t.same(take(), ['10.0.0.2:80 out'], 'it went out once');
  await state.close();
});

t.test('a new certificate, and a server that begins to speak mTLS, get new connections', async (t) => {
  const { answer, clock, dependencies, take } = setup();
  const state = new ClusterState(of([1]), dependencies);
  answer(1);
  state.recycle(100);
  clock.advance(100);
  t.same(take(), ['renew 10.0.0.1:80']);
  state.update(cluster('a', [at(1, { speaksMtls: true })], { healthCheck: healthPolicy() }));
  t.same(take(), ['renew 10.0.0.1:80']);
  await state.close();
});

t.test('of a name of which the first address counts, checks follow the address', async (t) => {
  let addresses = ['10.0.0.1'];
  const { answer, clock, dependencies, take } = setup(async () => addresses);
  const discovery = { kind: 'dns', use: 'first', endpoints: [endpoint(80, { address: 'svc' })] } as const;
  const state = new ClusterState(of([], {}, { discovery }), dependencies);
  await clock.advanceAsync(0);
  answer(1);
  addresses = ['10.0.0.2'];
  await clock.advanceAsync(60_000);
  t.same(
    state.endpoints.map(({ name }) => name),
    ['10.0.0.2:80'],
  );
  t.ok(take().includes('renew 10.0.0.1:80'), 'under the name that it had when its checks began');
  await state.close();
});

t.test('checks begin with the first use of a cluster and end with it', async (t) => {
  const { answer, clock, closed, dependencies, open } = setup();
  const clusters = createClusters(() => dependencies);
  clusters.reconcile(snapshot({}, [of([1])]));
  t.equal(open.size, 0);
  clusters.get(of([]).name);
  t.equal(open.size, 1);
  answer(1);
  clusters.reconcile(snapshot({}, []));
  t.same(closed, ['10.0.0.1:80']);
  t.equal(clock.pending(), 0);
});

t.test('where a process calls only some, it asks those and as many again', async (t) => {
  const { answer, clock, dependencies, open, take } = setup();
  const hosts = Array.from({ length: 20 }, (_, i) => i + 1);
  const state = new ClusterState(of(hosts, {}, { subsetSize: 3 }), dependencies);
  const asked = [...open.keys()];
  t.equal(asked.length, 6);
  const last = (name: string): number => Number(/\.(\d+):/.exec(name)?.[1]);
  for (const name of asked) answer(last(name));
  t.equal(available(state).length, 6);
  const picked = new Set(Array.from({ length: 200 }, () => state.pick(undefined)?.name));
  t.equal(picked.size, 3);
  t.ok([...picked].every((name) => asked.includes(name ?? '')));
  t.same(take(), []);

  t.test('one that fails is replaced by one that passes', async (t) => {
    clock.advance(1_000);
    const [failing] = picked as Set<string>;
    answer(last(failing as string), broken);
    const now = new Set(Array.from({ length: 200 }, () => state.pick(undefined)?.name));
    t.equal(now.size, 3);
    t.notOk(now.has(failing));
    t.same(take(), [`${failing} out`]);
  });

  t.test('one that leaves is replaced among those that are asked', async () => {
    const gone = last(asked[5] as string);
    state.update(
      of(
        hosts.filter((each) => each !== gone),
        {},
        { subsetSize: 3 },
      ),
    );
    t.equal(state.endpoints.filter(({ health }) => !health.first || !health.excluded).length, 5);
    t.equal([...open.keys()].filter((name) => !asked.includes(name)).length, 1);
  });

  t.test('without the limit all are asked', async (t) => {
    state.update(of(hosts));
    t.equal(state.endpoints.length, 20);
    t.ok(state.endpoints.every(({ name, health }) => open.has(name) || !health.first));
    await state.close();
    t.equal(open.size, 0);
    t.equal(clock.pending(), 0);
  });
});
