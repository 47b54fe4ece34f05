import t from 'tap';
import { createGate } from '../../src/health/gate.ts';
import { defaultBreakerPolicy } from '../../src/model/breaker.ts';
import type { Cluster } from '../../src/model/cluster.ts';
import { type ClusterDependencies, ClusterState } from '../../src/runtime/cluster.ts';
import type { EndpointState } from '../../src/runtime/endpoint.ts';
import { createNameResolver } from '../../src/runtime/resolver.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { healthPolicy } from '../support/health-policy.ts';
import { idleHooks } from '../support/idle-endpoints.ts';
import { cluster, endpoint } from '../support/snapshot.ts';

function setup(first: Cluster) {
  const clock = fakeClock();
  const random = (): number => 0.5;
  const hooks = idleHooks();
  const names = createNameResolver({ ask: async () => ({ addresses: ['10.0.0.9'] }), clock, random });
  const dependencies: ClusterDependencies = {
    clock,
    random,
    names,
    hooks: () => hooks,
    checks: {
      gate: createGate(10),
      prober: () => ({ ask: () => () => {}, renew: () => {}, close: () => {} }),
    },
    healthChanged: () => {},
  };
  return { clock, names, state: new ClusterState(first, dependencies) };
}
const addresses = (state: ClusterState): string => state.endpoints.map(({ name }) => name).join(' ');
const outlier = {
  consecutive5xx: 1,
  consecutiveGatewayErrors: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};

t.test('pipelines stay as they are when only endpoints come and go', async (t) => {
  const base = cluster('a', [endpoint(1)], { outlier });
  const other = (changes: Partial<Cluster>): Cluster => ({ ...structuredClone(base), ...changes });
  const { state } = setup(base);
  for (const [ports, expected] of [
    [[1, 2], '127.0.0.1:1 127.0.0.1:2'],
    [[2], '127.0.0.1:2'],
    [[], ''],
    [[3], '127.0.0.1:3'],
  ] as const) {
    const next = other({ discovery: { kind: 'static', endpoints: ports.map((port) => endpoint(port)) } });
    state.update(next);
    t.equal(addresses(state), expected);
    t.equal(state.revision, 0, expected);
    t.equal(state.cluster, next);
    t.ok(expected.split(' ').includes(state.pick(undefined)?.name ?? ''));
  }
  state.report(state.endpoints[0] as EndpointState, 500);
  t.equal(state.health.ejected, 1, 'outlier detection follows the new endpoints');
  await state.close();
});

t.test('they are made anew for everything else', async (t) => {
  const base = cluster('a', [endpoint(1)]);
  const changes: readonly Partial<Cluster>[] = [
    { outlier },
    { discovery: { kind: 'original' } },
    { discovery: { kind: 'dns', endpoints: [endpoint(1)] } },
    { discovery: { kind: 'static', endpoints: [endpoint(2)] }, balance: 'RANDOM' },
    { hash: { kind: 'ring', minimumSize: 1_024, key: { kind: 'sourceIp' } } as never },
    { serverIdentities: ['spiffe://td/a'] },
  ];
  for (const change of changes) {
    const { state } = setup(base);
    state.update({ ...base, ...change });
    t.equal(state.revision, 1, JSON.stringify(change));
  }
  const original = cluster('a', [], { discovery: { kind: 'original' } });
  const { state } = setup(original);
  state.update({ ...original, discovery: { kind: 'original', port: 81 } });
  t.equal(state.revision, 1, 'the port of original addresses');
});

t.test('connections are made anew where they lead elsewhere, or speak in another way', async (t) => {
  const base = cluster('a', [endpoint(1)]);
  const changes: readonly Partial<Cluster>[] = [
    { tls: 'mutual' },
    { serverName: 'a.test' },
    { http2: 'always' },
    { serverIdentities: ['spiffe://td/a'] },
    { trustDomains: ['td'] },
    { tunnel: { method: 'CONNECT', targetHost: 'far.test', targetPort: 443 } },
  ];
  for (const change of changes) {
    const { state } = setup(base);
    const [before] = state.endpoints as [EndpointState];
    const connections = before.dispatcher('');
    state.update({ ...base, ...change });
    t.equal(state.endpoints[0], before);
    t.not(before.dispatcher(''), connections, JSON.stringify(change));
    await state.close();
  }
});

t.test('calls that wait for names wait for those that a change brings, too', async (t) => {
  const waiting = new Map<string, (addresses: readonly string[]) => void>();
  const clock = fakeClock();
  const random = (): number => 0.5;
  const names = createNameResolver({
    ask: (name) => new Promise((resolve) => waiting.set(name, (addresses) => resolve({ addresses }))),
    clock,
    random,
  });
  const dns = (...addresses: string[]): Cluster =>
    cluster('a', [], {
      discovery: { kind: 'dns', endpoints: addresses.map((address) => endpoint(1, { address })) },
    });
  const hooks = idleHooks();
  const state = new ClusterState(dns('one.test'), {
    clock,
    random,
    names,
    hooks: () => hooks,
    healthChanged: () => {},
  });
  let told = false;
  const warm = state.warming()?.then(() => (told = true));
  state.update(dns('one.test', 'two.test'));
  waiting.get('one.test')?.(['10.0.0.1']);
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(told, false, 'the other name is not known yet, and no endpoint is');
  waiting.get('two.test')?.(['10.0.0.2']);
  await warm;
  t.equal(addresses(state), '10.0.0.1:1 10.0.0.2:1');
  await state.close();
  names.close();
});

t.test('a closed cluster holds no timer, whatever it did before', async (t) => {
  const policies: Readonly<Record<string, Partial<Cluster>>> = {
    'health checks': { healthCheck: healthPolicy() },
    'outlier detection': { outlier },
    breaker: { breaker: { ...defaultBreakerPolicy, volumeThreshold: 1 } },
    'warm-up': { warmup: { durationMs: 60_000, minimumPercent: 10, aggression: 1 } },
    'retry budget': { retryBudget: { percent: 20, intervalMs: 10_000, minRetryConcurrency: 3 } },
    names: { discovery: { kind: 'dns', endpoints: [endpoint(1, { address: 'a.example' })] } },
  };
  for (const [name, changes] of Object.entries({ ...policies, all: Object.assign({}, ...Object.values(policies)) })) {
    const { clock, names, state } = setup(cluster('a', [endpoint(1), endpoint(2)], changes));
    void state.warming();
    await new Promise((resolve) => setImmediate(resolve));
    void state.warming();
    const [one] = state.endpoints;
    if (one !== undefined) state.report(one, 500);
    if (state.breaker !== undefined) {
      state.breaker.settle(state.breaker.admit(), 'failure');
      t.equal(state.breaker.state, 'open');
    }
    state.update({ ...state.cluster, balance: 'RANDOM' });
    state.recycle(1_000);
    t.ok(clock.pending() > 0, `${name}: there are some`);
    await state.close();
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(clock.pending(), 0, `${name}: none`);
    // What is still on its way ends after that.
    if (one !== undefined) state.report(one, 500);
    state.breaker?.settle(state.breaker.admit(), 'failure');
    t.equal(clock.pending(), 0, `${name}: and none again`);
    names.close();
  }
});
