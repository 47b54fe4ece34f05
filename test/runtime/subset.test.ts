import t from 'tap';
import type { Dispatcher } from 'undici';
import { seededRandom } from '../../src/lib/random.ts';
import type { Cluster } from '../../src/model/cluster.ts';
import { EndpointState } from '../../src/runtime/endpoint.ts';
import { createLoadBalancer } from '../../src/runtime/load-balancer.ts';
import type { Series } from '../../src/telemetry/metrics.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { cluster, endpoint } from '../support/snapshot.ts';

const hooks = { open: () => ({}) as Dispatcher, series: () => ({}) as Series };

/** Names of the endpoints that a process calls, of `count` in each locality. */
function setup(changes: Partial<Cluster>, { instance = 'web-1', count = 50, localities = [''] } = {}) {
  const endpoints = localities.flatMap((locality, group) =>
    Array.from(
      { length: count },
      (_, i) => new EndpointState(endpoint(80, { address: `10.${group}.0.${i}`, locality }), hooks),
    ),
  );
  const policy = cluster('a', [], changes);
  const balancer = createLoadBalancer({
    clock: fakeClock(),
    random: seededRandom(7),
    callers: () => undefined,
    instance,
  });
  balancer.rebuild(policy, endpoints);
  const called = (avoid?: readonly object[]): ReadonlySet<EndpointState> =>
    new Set(Array.from({ length: 3_000 }, () => balancer.pick(avoid, undefined) as EndpointState));
  return { balancer, called, endpoints, policy };
}
const names = (all: Iterable<EndpointState>): readonly string[] => [...all].map(({ name }) => name).sort();

t.test('a process calls its own subset, whatever the balancer, and another process another', async (t) => {
  for (const balance of ['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM', 'PEAK_EWMA', 'UTILIZATION'] as const) {
    const mine = names(setup({ balance, subsetSize: 10 }).called());
    t.equal(mine.length, 10, balance);
    t.same(names(setup({ balance, subsetSize: 10 }).called()), mine, 'again the same');
    t.notSame(names(setup({ balance, subsetSize: 10 }, { instance: 'web-2' }).called()), mine);
  }
  t.equal(setup({}).called().size, 50, 'without a size all are called');
  t.equal(setup({ subsetSize: 100 }).called().size, 50);
});

t.test('whoever is ejected leaves its place to another, and comes back to it', async (t) => {
  const { balancer, called, endpoints, policy } = setup({ subsetSize: 10 });
  const before = called();
  const [first, second] = [...before] as [EndpointState, EndpointState];
  for (const host of [first, second]) host.outlier.ejectedUntil = Number.POSITIVE_INFINITY;
  balancer.rebuild(policy, endpoints);
  const during = called();
  t.equal(during.size, 10);
  t.equal([...during].filter((host) => before.has(host)).length, 8);
  for (const host of [first, second]) host.outlier.ejectedUntil = 0;
  balancer.rebuild(policy, endpoints);
  t.same(names(called()), names(before));
});

t.test('a new size holds at once, a new policy of the same size moves nobody', async (t) => {
  const { balancer, called, endpoints, policy } = setup({ subsetSize: 10 });
  const ten = names(called());
  balancer.rebuild({ ...policy, subsetSize: 20 }, endpoints);
  const twenty = names(called());
  t.equal(twenty.length, 20);
  t.same(
    ten.filter((name) => !twenty.includes(name)),
    [],
    'the larger one holds the smaller one',
  );
  balancer.rebuild({ ...policy, balance: 'RANDOM', subsetSize: 10 }, endpoints);
  t.same(names(called()), ten);
  balancer.rebuild({ ...policy, subsetSize: undefined as never }, endpoints);
  t.equal(called().size, 50);
});

t.test('a retry finds another endpoint, beyond the subset if need be', async (t) => {
  const { called } = setup({ subsetSize: 3 });
  const mine = [...called()];
  t.same(names(called(mine.slice(0, 2))), names(mine.slice(2)));
  const [other] = called(mine);
  t.notOk(mine.includes(other as EndpointState));
});

t.test('each locality that is balanced by itself has a subset of its own', async (t) => {
  const weights = ['a', 'b'].map((locality) => ({ locality, priority: 0, weight: 1 }));
  const { called } = setup({ subsetSize: 5, localities: { kind: 'weighted', weights } }, { localities: ['a', 'b'] });
  const found = [...called()].map((host) => host.endpoint.locality);
  t.equal(found.filter((locality) => locality === 'a').length, 5);
  t.equal(found.filter((locality) => locality === 'b').length, 5);
});

t.test('where the key decides there are no subsets', async (t) => {
  const hash = { algorithm: { kind: 'maglev', tableSize: 101 } } as const;
  t.equal(setup({ subsetSize: 5, hash }).called().size, 50);
});
