import t from 'tap';
import type { Dispatcher } from 'undici';
import { type Random, seededRandom } from '../../src/lib/random.ts';
import type { Cluster, Endpoint, OutlierPolicy } from '../../src/model/cluster.ts';
import { type ClusterDependencies, ClusterState } from '../../src/runtime/cluster.ts';
import type { EndpointState } from '../../src/runtime/endpoint.ts';
import { createNameResolver, type DnsAnswer } from '../../src/runtime/resolver.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { cluster, endpoint } from '../support/snapshot.ts';

const outlier: OutlierPolicy = {
  consecutive5xx: 2,
  consecutiveGatewayErrors: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
  minHealthPercent: 0,
};

/** A cluster whose connections are only written down: `open 10.0.0.1:80 auto`, `close 10.0.0.1:80`. */
function setup(
  first: Cluster,
  {
    random = seededRandom(1),
    resolve = async () => [],
  }: { random?: Random; resolve?: (name: string) => Promise<readonly string[]> } = {},
) {
  const log: string[] = [];
  const clock = fakeClock();
  const ask = async (name: string): Promise<DnsAnswer> => ({ addresses: await resolve(name) });
  const metrics = createMetrics();
  const dependencies: ClusterDependencies = {
    clock,
    random,
    names: createNameResolver({ ask, clock, random: () => 0.5 }),
    hooks: ({ tls }) => ({
      open: ({ address, port }, host) => {
        log.push(`open ${address}:${port} ${tls} ${host}`);
        return { close: async () => void log.push(`close ${address}:${port}`) } as unknown as Dispatcher;
      },
      series: ({ workload }) =>
        metrics.series({
          reporter: 'source',
          sourceWorkload: '',
          sourcePrincipal: '',
          destinationService: '',
          destinationWorkload: workload,
          destinationVersion: '',
        }),
    }),
    healthChanged: (_, { available, name }) => void log.push(`${name} ${available ? 'in' : 'out'}`),
  };
  const state = new ClusterState(first, dependencies);
  const take = (): string[] => log.splice(0);
  const fail = (host: EndpointState, times = 2): void => {
    for (let i = 0; i < times; i++) state.report(host, 503);
  };
  return { clock, fail, state, take };
}
const at = (last: number, changes: Partial<Endpoint> = {}): Endpoint =>
  endpoint(80, { address: `10.0.0.${last}`, ...changes });
const of = (endpoints: readonly Endpoint[], changes: Partial<Cluster> = {}): Cluster =>
  cluster('a', endpoints, changes);
const picks = (state: ClusterState, avoid?: readonly object[], times = 200): Set<string | undefined> =>
  new Set(Array.from({ length: times }, () => state.pick(avoid)?.name));

t.test('without endpoints there is nothing to pick', async (t) => {
  const { state } = setup(of([]));
  t.equal(state.pick(undefined), undefined);
  t.equal(state.pick([{}]), undefined);
  t.equal(state.warming(), undefined);
});

t.test('a retry goes elsewhere as long as there is an elsewhere', async (t) => {
  const { state } = setup(of([at(1), at(2), at(3)]));
  const [a, b, c] = state.endpoints as [EndpointState, EndpointState, EndpointState];
  t.same([...picks(state)].sort(), ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80']);
  t.same([...picks(state, [a])].sort(), ['10.0.0.2:80', '10.0.0.3:80']);
  t.same([...picks(state, [a, c])], ['10.0.0.2:80']);
  t.equal(picks(state, [a, b, c]).size, 3, 'all have failed: any');
});

t.test('the elsewhere is found even if the dice never show it', async (t) => {
  const { state } = setup(of([at(1, { weight: 1_000_000 }), at(2)], { balance: 'RANDOM' }), { random: () => 0 });
  t.equal(state.pick([state.endpoints[0] as object])?.name, '10.0.0.2:80');
});

t.test('an ejected endpoint is not picked until it is back', async (t) => {
  const { clock, fail, state, take } = setup(of([at(1), at(2)], { outlier }));
  fail(state.endpoints[0] as EndpointState);
  t.same(take(), ['10.0.0.1:80 out']);
  t.same([...picks(state)], ['10.0.0.2:80']);
  t.same([...picks(state, [state.endpoints[1] as object])], ['10.0.0.2:80'], 'not even as the elsewhere');
  clock.advance(30_000);
  t.same(take(), ['10.0.0.1:80 in']);
  t.equal(picks(state).size, 2);
});

t.test('all ejected: nothing, unless panic says otherwise (EP-17)', async (t) => {
  for (const [minHealthPercent, left] of [
    [0, 0],
    [50, 2],
    [100, 2],
  ] as const) {
    const { fail, state } = setup(of([at(1), at(2)], { outlier: { ...outlier, minHealthPercent } }));
    for (const each of state.endpoints) fail(each);
    const got = picks(state);
    t.equal(got.has(undefined) ? 0 : got.size, left, `minHealthPercent ${minHealthPercent}`);
  }
});

t.test('panic begins below the share of healthy endpoints, not at it', async (t) => {
  const { fail, state } = setup(of([at(1), at(2), at(3), at(4)], { outlier: { ...outlier, minHealthPercent: 50 } }));
  const [a, b, c] = state.endpoints as [EndpointState, EndpointState, EndpointState];
  fail(a);
  fail(b);
  t.equal(picks(state).size, 2);
  fail(c);
  t.equal(picks(state).size, 4);
});

t.test('without an outlier policy, and for strangers, a report is nothing', async (t) => {
  const { fail, state, take } = setup(of([at(1)]));
  fail(state.endpoints[0] as EndpointState, 100);
  state.report({}, 500);
  t.same(take(), []);
});

t.test('connections are made at the first use and kept', async (t) => {
  const { state, take } = setup(of([at(1)]));
  t.same(take(), []);
  const [only] = state.endpoints as [EndpointState];
  t.equal(only.dispatcher('reviews'), only.dispatcher('other'));
  t.same(take(), ['open 10.0.0.1:80 auto reviews']);
  t.equal(only.host, 'reviews');
});

t.test('an endpoint that stays keeps its connections and its memory', async (t) => {
  const { state, take } = setup(of([at(1), at(2)]));
  const [first] = state.endpoints as [EndpointState];
  first.dispatcher('');
  first.outlier.consecutive5xx = 3;
  first.inFlight = 2;
  take();
  state.update(of([at(3), at(1, { weight: 5, workload: 'renamed' })]));
  t.same(take(), []);
  t.equal(state.endpoints[1], first);
  t.match(first, { outlier: { consecutive5xx: 3 }, inFlight: 2, weight: 5 });
  t.equal(first.series.labels.destinationWorkload, 'renamed');
});

t.test('an endpoint that leaves is closed, after its last request', async (t) => {
  const { state, take } = setup(of([at(1), at(2)]));
  const [gone] = state.endpoints as [EndpointState];
  gone.dispatcher('');
  gone.inFlight = 1;
  take();
  state.update(of([at(2)]));
  t.same(take(), ['close 10.0.0.1:80'], 'undici lets run what runs');
  // a call that chose it before still comes
  gone.dispatcher('');
  t.same(take(), ['open 10.0.0.1:80 auto 10.0.0.1:80']);
  gone.tryEnded();
  t.same(take(), ['close 10.0.0.1:80']);
});

t.test('what changes how connections are made replaces them, in the new way', async (t) => {
  const base = of([at(1)]);
  const { limits } = base;
  const changes: Readonly<Record<string, Partial<Cluster>>> = {
    tls: { tls: 'mutual' },
    'server identities': { serverIdentities: ['spiffe://td/a'] },
    'trust domains': { trustDomains: ['td'] },
    limits: { limits: { ...limits, connectTimeoutMs: 5 } },
  };
  for (const [name, change] of Object.entries(changes)) {
    const { state, take } = setup(base);
    const [only] = state.endpoints as [EndpointState];
    only.dispatcher('');
    take();
    state.update({ ...base, ...change });
    t.same(take(), ['close 10.0.0.1:80'], name);
    only.dispatcher('');
    t.same(take(), [`open 10.0.0.1:80 ${change.tls ?? 'auto'} 10.0.0.1:80`], name);
  }
});

t.test('what does not, does not', async (t) => {
  const { state, take } = setup(of([at(1)]));
  (state.endpoints[0] as EndpointState).dispatcher('');
  take();
  const { revision } = state;
  state.update(of([at(1)], { balance: 'RANDOM', outlier }));
  t.same(take(), []);
  t.equal(state.revision, revision + 1, 'pipelines are made anew');
});

t.test('an endpoint that begins to speak mTLS, or changes its identity, gets new connections', async (t) => {
  for (const change of [{ speaksMtls: true }, { spiffeId: 'spiffe://td/a' }]) {
    const { state, take } = setup(of([at(1)]));
    (state.endpoints[0] as EndpointState).dispatcher('');
    take();
    state.update(of([at(1, change)]));
    t.same(take(), ['close 10.0.0.1:80']);
  }
});

t.test('new limits count from now on, unchanged ones go on counting', async (t) => {
  const { state } = setup(of([at(1)]));
  const { requests } = state;
  state.update(of([at(1)], { balance: 'RANDOM' }));
  t.equal(state.requests, requests);
  state.update(of([at(1)], { limits: { ...state.cluster.limits, maxRequests: 3, maxRetries: 1 } }));
  t.equal(state.requests.limit, 3);
  t.same(state.retries.policy, { kind: 'fixed', max: 1 });
});

t.test('retries under way count whatever the configuration says meanwhile', async (t) => {
  const { state } = setup(of([at(1)]));
  t.same(state.retries.policy, { kind: 'budget', percent: 20, intervalMs: 0, minRetryConcurrency: 3, reserve: 20 });
  const retryBudget = { percent: 20, intervalMs: 0, minRetryConcurrency: 3 };
  state.update(of([at(1)], { retryBudget }));
  for (let i = 0; i < 3; i++) t.ok(state.retries.enter(true));
  state.update(of([at(1), at(2)], { balance: 'RANDOM', retryBudget }));
  t.notOk(state.retries.enter(true), 'the floor is reached');
  for (const endpoint of state.endpoints) endpoint.inFlight = 10;
  t.ok(state.retries.enter(true), '20 % of all that is under way');
  t.notOk(state.retries.enter(true));
  state.update(of([at(1)], { retryBudget: { percent: 100, intervalMs: 0, minRetryConcurrency: 1 } }));
  t.equal(state.retries.active, 4);
  t.ok(state.retries.enter(true));
});

t.test('without the policy that ejected them endpoints come back at once', async (t) => {
  const { fail, state, take } = setup(of([at(1), at(2)], { outlier }));
  fail(state.endpoints[0] as EndpointState);
  take();
  state.update(of([at(1), at(2)]));
  t.same(take(), ['10.0.0.1:80 in']);
  t.equal(picks(state).size, 2);
  state.update(of([at(1), at(2)], { outlier }));
  fail(state.endpoints[0] as EndpointState, 1);
  t.same(take(), [], 'a clean sheet');
});

t.test('under another policy they come back at their time', async (t) => {
  const { clock, fail, state, take } = setup(of([at(1), at(2)], { outlier }));
  fail(state.endpoints[0] as EndpointState);
  state.update(of([at(1), at(2)], { outlier: { ...outlier, consecutive5xx: 9 } }));
  t.same([...picks(state)], ['10.0.0.2:80']);
  take();
  clock.advance(30_000);
  t.same(take(), ['10.0.0.1:80 in']);
  t.equal(picks(state).size, 2);
});

t.test('another balancer or another panic threshold works at once', async (t) => {
  const { fail, state } = setup(of([at(1), at(2)], { outlier }));
  for (const each of state.endpoints) fail(each);
  t.equal(state.pick(undefined), undefined);
  state.update(of([at(1), at(2)], { outlier: { ...outlier, minHealthPercent: 60 } }));
  t.equal(picks(state).size, 2);
});

t.test('recycling replaces all connections within the time', async (t) => {
  const { clock, state, take } = setup(of([at(1), at(2)]));
  for (const each of state.endpoints) each.dispatcher('');
  take();
  const generations = state.endpoints.map(({ generation }) => generation);
  state.recycle(1_000);
  t.same(take(), []);
  clock.advance(1_000);
  t.same(take().sort(), ['close 10.0.0.1:80', 'close 10.0.0.2:80']);
  t.same(
    state.endpoints.map(({ generation }) => generation),
    generations.map((generation) => generation + 1),
  );
});

t.test('closing closes what is open, once, and stops all timers', async (t) => {
  const { clock, fail, state, take } = setup(of([at(1), at(2)], { outlier }));
  const [a, b] = state.endpoints as [EndpointState, EndpointState];
  a.dispatcher('');
  fail(b);
  take();
  await state.close();
  t.same(take(), ['close 10.0.0.1:80']);
  t.equal(clock.pending(), 0);
});

t.test('names: calls wait for the first answer only', async (t) => {
  const answers: Record<string, readonly string[]> = { svc: ['10.0.0.1', '10.0.0.2'] };
  const resolve = async (name: string): Promise<readonly string[]> => answers[name] ?? [];
  const dns = (address: string): Partial<Cluster> => ({
    discovery: { kind: 'dns', endpoints: [endpoint(80, { address })] },
  });
  const { clock, state, take } = setup(of([], dns('svc')), { resolve });
  t.equal(state.pick(undefined), undefined);
  await state.warming();
  t.equal(state.warming(), undefined);
  t.equal(picks(state).size, 2);
  (state.endpoints[0] as EndpointState).dispatcher('');
  take();

  t.test('an update that leaves the names alone does not ask again', async (t) => {
    state.update(of([], { ...dns('svc'), balance: 'RANDOM' }));
    t.equal(state.warming(), undefined);
    t.equal(picks(state).size, 2);
    t.equal(clock.pending(), 1);
  });

  t.test('another name: the old endpoints serve until it is resolved', async (t) => {
    answers['new'] = ['10.0.0.2', '10.0.0.3'];
    state.update(of([], dns('new')));
    t.equal(state.warming(), undefined);
    t.equal(picks(state).size, 2);
    await clock.advanceAsync(0);
    t.same([...picks(state)].sort(), ['10.0.0.2:80', '10.0.0.3:80']);
    t.same(take(), ['close 10.0.0.1:80']);
  });

  t.test('no names any more: nothing is asked', async (t) => {
    state.update(of([at(7)]));
    t.same([...picks(state)], ['10.0.0.7:80']);
    t.equal(clock.pending(), 0);
    state.update(of([], { discovery: { kind: 'original' } }));
    t.equal(state.endpoints.length, 0);
  });
});

t.test('names that cannot be resolved: nobody there, but nobody waits for ever', async (t) => {
  const nowhere = of([], { discovery: { kind: 'dns', endpoints: [endpoint(80, { address: 'nowhere' })] } });
  const { state } = setup(nowhere, {
    resolve: async () => {
      throw new Error('ENOTFOUND');
    },
  });
  await state.warming();
  t.equal(state.warming(), undefined);
  t.equal(state.pick(undefined), undefined);
  await state.close();
});

t.test('IPv6 endpoints are named as in a URL', async (t) => {
  const { state } = setup(of([endpoint(80, { address: '::1' })]));
  t.equal(state.endpoints[0]?.name, '[::1]:80');
});

t.test('a name of which only the first address counts: one endpoint, which keeps its connections', async (t) => {
  let answer = ['10.0.0.1', '10.0.0.2'];
  let address: () => string = () => '';
  const first = { discovery: { kind: 'dns', use: 'first', endpoints: [endpoint(80, { address: 'svc' })] } } as const;
  const { clock, state, take } = setup(of([], first), { resolve: async () => answer });
  await state.warming();
  const [only] = state.endpoints as [EndpointState];
  t.same([...picks(state)], ['10.0.0.1:80']);
  only.adopt(only.endpoint, {
    series: () => only.series,
    open: (_, __, current) => {
      address = () => current().address;
      return { close: async () => {} } as unknown as Dispatcher;
    },
  });
  only.dispatcher('');
  take();
  answer = ['10.0.0.3', '10.0.0.1'];
  await clock.advanceAsync(60_000);
  t.same([...picks(state)], ['10.0.0.3:80'], 'the newest answer counts');
  t.equal(state.endpoints[0], only, 'with the same memory');
  t.same(take(), [], 'nothing is closed');
  t.equal(address(), '10.0.0.3', 'new connections go to the new address');
  await state.close();
});
