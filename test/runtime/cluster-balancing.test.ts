import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import { xxHash64Big } from '../../src/lib/xxhash64.ts';
import type { Cluster, ConsistentHash, Endpoint } from '../../src/model/cluster.ts';
import { ClusterState } from '../../src/runtime/cluster.ts';
import type { EndpointState } from '../../src/runtime/endpoint.ts';
import { createNameResolver } from '../../src/runtime/resolver.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { idleHooks } from '../support/idle-endpoints.ts';
import { cluster, endpoint } from '../support/snapshot.ts';

function setUp(first: Cluster) {
  const clock = fakeClock();
  const hooks = idleHooks();
  const state = new ClusterState(first, {
    clock,
    random: seededRandom(1),
    names: createNameResolver({ ask: async () => ({ addresses: [] }), clock, random: () => 0.5 }),
    hooks: () => hooks,
    healthChanged: () => {},
  });
  return { clock, state };
}
const at = (last: number, changes: Partial<Endpoint> = {}): Endpoint =>
  endpoint(80, { address: `10.0.0.${last}`, ...changes });
const of = (endpoints: readonly Endpoint[], changes: Partial<Cluster> = {}): Cluster =>
  cluster('a', endpoints, changes);

const ring: ConsistentHash = {
  key: { kind: 'header', name: 'x' },
  algorithm: { kind: 'ringHash', minimumRingSize: 1_024 },
};
const maglev: ConsistentHash = { ...ring, algorithm: { kind: 'maglev', tableSize: 65_537 } };
const keys = Array.from({ length: 500 }, (_, i) => xxHash64Big(`key ${i}`));
const outlier = {
  consecutive5xx: 1,
  consecutiveGatewayErrors: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};

for (const [name, hash] of Object.entries({ ring, maglev })) {
  t.test(`${name}: an ejected endpoint leaves, its keys go elsewhere, and come back with it`, async (t) => {
    const { clock, state } = setUp(of([at(1), at(2), at(3), at(4)], { hash, outlier }));
    const all = (): readonly (string | undefined)[] => keys.map((key) => state.pick(undefined, key)?.name);
    const before = all();
    const [bad] = state.endpoints as [EndpointState];
    state.report(bad, 503);
    const during = all();
    t.notOk(during.includes(bad.name));
    const own = before.filter((name) => name === bad.name).length;
    const others = before.filter((name, i) => name !== bad.name && name !== during[i]).length;
    t.ok(own > 80 && own < 170, `${own} of 500`);
    t.ok(others < own, `${others} keys of others moved`);
    clock.advance(60_000);
    t.same(all(), before);
    await state.close();
  });

  t.test(`${name}: a key keeps its endpoint while others of the configuration change`, async (t) => {
    const { state } = setUp(of([at(1), at(2), at(3)], { hash }));
    const before = keys.map((key) => state.pick(undefined, key)?.name);
    state.update(of([at(3), at(1), at(2)], { hash: structuredClone(hash), tls: 'disable' }));
    t.same(
      keys.map((key) => state.pick(undefined, key)?.name),
      before,
    );
    state.update(of([at(1), at(2), at(3)]));
    const plain = new Set(Array.from({ length: 100 }, () => state.pick(undefined, keys[0])?.name));
    t.equal(plain.size, 3, 'without a hash the key means nothing');
    await state.close();
  });

  t.test(`${name}: where an endpoint is to be avoided, the next of the same key takes over`, async (t) => {
    const { state } = setUp(of([at(1), at(2), at(3)], { hash }));
    for (const key of keys) {
      const first = state.pick(undefined, key) as EndpointState;
      const second = state.pick([first], key) as EndpointState;
      t.not(second, first);
      t.equal(state.pick([first], key), second);
      const third = state.pick([first, second], key) as EndpointState;
      t.notOk([first, second].includes(third));
      t.ok(state.pick([first, second, third], key), 'all have failed: any');
    }
    await state.close();
  });
}

t.test('without a key the least loaded is picked', async (t) => {
  const { state } = setUp(of([at(1), at(2)], { hash: ring }));
  const [busy, idle] = state.endpoints as [EndpointState, EndpointState];
  busy.inFlight = 5;
  for (let i = 0; i < 50; i++) t.equal(state.pick(undefined), idle);
  await state.close();
});

t.test('another algorithm counts from the next call on', async (t) => {
  const { state } = setUp(of([at(1), at(2), at(3), at(4)], { hash: ring }));
  const before = keys.map((key) => state.pick(undefined, key)?.name);
  state.update(of([at(1), at(2), at(3), at(4)], { hash: maglev }));
  t.notSame(
    keys.map((key) => state.pick(undefined, key)?.name),
    before,
  );
  await state.close();
});

const warmup = { durationMs: 100_000, minimumPercent: 10, aggression: 1 };
const shareOf = (state: ClusterState, name: string): number => {
  const picked = Array.from({ length: 20_000 }, () => state.pick(undefined)?.name);
  return picked.filter((each) => each === name).length / 20_000;
};

for (const balance of ['ROUND_ROBIN', 'LEAST_REQUEST'] as const) {
  t.test(`${balance}: an endpoint that is added warms up, and reloads do not begin anew`, async (t) => {
    const { clock, state } = setUp(of([at(1), at(2)], { balance, warmup }));
    t.ok(Math.abs(shareOf(state, '10.0.0.1:80') - 0.5) < 0.02, 'those of the beginning are alike');
    t.equal(clock.pending(), 0);
    clock.advance(500_000);
    state.update(of([at(1), at(2), at(3)], { balance, warmup }));
    t.ok(Math.abs(shareOf(state, '10.0.0.3:80') - 0.1 / 2.1) < 0.01);
    clock.advance(50_000);
    state.update(of([at(1), at(2), at(3)], { balance, warmup, tls: 'disable' }));
    t.ok(Math.abs(shareOf(state, '10.0.0.3:80') - 0.5 / 2.5) < 0.01);
    clock.advance(50_000);
    t.ok(Math.abs(shareOf(state, '10.0.0.3:80') - 1 / 3) < 0.02);
    t.equal(clock.pending(), 0);
    await state.close();
  });

  t.test(`${balance}: one that comes back from ejection warms up (EP-20)`, async (t) => {
    const { clock, state } = setUp(of([at(1), at(2)], { balance, warmup, outlier }));
    clock.advance(500_000);
    state.report(state.endpoints[0] as EndpointState, 503);
    t.equal(shareOf(state, '10.0.0.1:80'), 0);
    for (let i = 0; i < 120 && !(state.endpoints[0] as EndpointState).available; i++) clock.advance(500);
    t.equal((state.endpoints[0] as EndpointState).available, true);
    const back = shareOf(state, '10.0.0.1:80');
    t.ok(Math.abs(back - 0.1 / 1.1) < 0.01, String(back));
    clock.advance(100_000);
    t.ok(Math.abs(shareOf(state, '10.0.0.1:80') - 0.5) < 0.02);
    await state.close();
  });
}

t.test('with the cluster its timers end', async (t) => {
  const { clock, state } = setUp(of([at(1)], { warmup }));
  state.pick(undefined);
  clock.advance(500_000);
  state.update(of([at(1), at(2)], { warmup }));
  state.pick(undefined);
  t.equal(clock.pending(), 1);
  await state.close();
  t.equal(clock.pending(), 0);
});

t.test('a warm-up that is taken back ends at once', async (t) => {
  const { clock, state } = setUp(of([at(1)], { warmup, balance: 'ROUND_ROBIN' }));
  clock.advance(500_000);
  state.update(of([at(1), at(2)], { warmup, balance: 'ROUND_ROBIN' }));
  t.ok(shareOf(state, '10.0.0.2:80') < 0.2);
  state.update(of([at(1), at(2)], { balance: 'ROUND_ROBIN' }));
  t.equal(shareOf(state, '10.0.0.2:80'), 0.5);
  t.equal(clock.pending(), 0);
  await state.close();
});

for (const [name, hash] of Object.entries({ ring, maglev })) {
  t.test(`${name}: localities have their weights, with a key and without one`, async (t) => {
    const localities = {
      kind: 'weighted',
      weights: [
        { priority: 0, locality: 'near', weight: 80 },
        { priority: 0, locality: 'far', weight: 20 },
      ],
    } as const;
    const endpoints = [
      at(1, { locality: 'near' }),
      ...[2, 3, 4].map((last) => at(last, { locality: 'far', weight: last === 2 ? 2 : 1 })),
      at(5, { locality: 'not named' }),
    ];
    const { state } = setUp(of(endpoints, { hash, localities }));
    const wanted: Record<string, number> = { 1: 0.8, 2: 0.1, 3: 0.05, 4: 0.05, 5: 0 };
    for (const keyOf of [(i: number) => xxHash64Big(`key ${i}`), () => undefined]) {
      const picked = Array.from({ length: 20_000 }, (_, i) => state.pick(undefined, keyOf(i))?.name);
      for (const [last, share] of Object.entries(wanted)) {
        const got = picked.filter((each) => each === `10.0.0.${last}:80`).length / 20_000;
        t.ok(Math.abs(got - share) < 0.03, `${last}: ${got}`);
      }
    }
    await state.close();
  });
}
