import fc from 'fast-check';
import t, { type Test } from 'tap';
import type { Dispatcher } from 'undici';
import { seededRandom } from '../../src/lib/random.ts';
import { xxHash64Big } from '../../src/lib/xxhash64.ts';
import type { Cluster, Endpoint, LocalityBalance } from '../../src/model/cluster.ts';
import type { Callers } from '../../src/model/snapshot.ts';
import { EndpointState } from '../../src/runtime/endpoint.ts';
import { createLoadBalancer } from '../../src/runtime/load-balancer.ts';
import type { Series } from '../../src/telemetry/metrics.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { cluster, endpoint } from '../support/snapshot.ts';

const hooks = { open: () => ({}) as Dispatcher, series: () => ({}) as Series };

/** `a:3` is three endpoints of locality a, `a1:2*5` two of priority 1 with weight 5. */
function read(text: string): readonly Endpoint[] {
  return text.split(' ').flatMap((part, group) => {
    const [, name = '', priority = '', count = '', weight = '1'] =
      /^([a-z/]*)(\d?):(\d+)(?:\*(\d+))?$/.exec(part) ?? [];
    return Array.from({ length: Number(count) }, (_, i) =>
      endpoint(80, {
        address: `10.0.${group}.${i}`,
        locality: name,
        weight: Number(weight),
        ...(priority === '' || priority === '0' ? {} : { priority: Number(priority) }),
      }),
    );
  });
}

function setup(text: string, changes: Partial<Cluster> = {}, callers?: Callers) {
  const endpoints = read(text).map((each) => new EndpointState(each, hooks));
  const policy = cluster('a', [], { balance: 'RANDOM', ...changes });
  const balancer = createLoadBalancer({ clock: fakeClock(), random: seededRandom(7), callers: () => callers });
  balancer.rebuild(policy, endpoints);
  const eject = (...numbers: readonly number[]): void => {
    for (const number of numbers) (endpoints[number] as EndpointState).outlier.ejectedUntil = Number.POSITIVE_INFINITY;
    balancer.rebuild(policy, endpoints);
  };
  const groupOf = ({ endpoint: { locality, priority = 0 } }: EndpointState): string => `${locality}${priority || ''}`;
  /** What each locality and priority got, in percent. */
  const shares = (pick = () => balancer.pick(undefined, undefined), times = 100_000): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (let i = 0; i < times; i++) {
      const found = pick();
      const name = found === undefined ? 'none' : groupOf(found);
      counts[name] = (counts[name] ?? 0) + 100 / times;
    }
    return counts;
  };
  return { balancer, eject, endpoints, policy, shares };
}

function close(t: Test, found: Record<string, number>, expected: Record<string, number>, what: string): void {
  const names = new Set([...Object.keys(found), ...Object.keys(expected)]);
  const off = [...names].filter((name) => Math.abs((found[name] ?? 0) - (expected[name] ?? 0)) > 0.5);
  t.same(off, [], `${what}: ${JSON.stringify(found)} is ${JSON.stringify(expected)}`);
}

const weights = (
  ...given: readonly (readonly [locality: string, weight: number, priority?: number])[]
): LocalityBalance => ({
  kind: 'weighted',
  weights: given.map(([locality, weight, priority = 0]) => ({ locality, weight, priority })),
});
const zones: LocalityBalance = { kind: 'zones', own: 'a', minClusterSize: 6 };

const cases: readonly (readonly [
  what: string,
  endpoints: string,
  options: { out?: readonly number[]; localities?: LocalityBalance; callers?: Callers },
  expected: Record<string, number>,
])[] = [
  ['all to the first priority', 'a:2 b1:8', {}, { a: 100 }],
  ['the first one overflows', 'a:4 b1:2', { out: [0, 1] }, { a: 70, b1: 30 }],
  ['nobody left there', 'a:2 b1:2 c2:2', { out: [0, 1, 2] }, { b1: 70, c2: 30 }],
  ['priorities without endpoints are passed over', 'a3:2', {}, { a3: 100 }],
  ['localities alike: by the number of endpoints', 'a:3 b:1', {}, { a: 75, b: 25 }],
  ['localities alike: by the weight of endpoints', 'a:3 b:1*9', {}, { a: 25, b: 75 }],
  ['localities by weight', 'a:3 b:1', { localities: weights(['a', 80], ['b', 20]) }, { a: 80, b: 20 }],
  [
    'a locality loses weight with what it cannot carry',
    'a:2 b:2',
    { out: [0], localities: weights(['a', 50], ['b', 50]) },
    { a: (100 * 0.7) / 1.7, b: 100 / 1.7 },
  ],
  [
    'as long as it can, it does not',
    'a:4 b:2',
    { out: [0], localities: weights(['a', 50], ['b', 50]) },
    { a: 50, b: 50 },
  ],
  ['a locality with nobody left', 'a:2 b:2', { out: [0, 1], localities: weights(['a', 90], ['b', 10]) }, { b: 100 }],
  ['a locality without weight', 'a:2 b:2', { localities: weights(['a', 90]) }, { a: 100 }],
  ['no weights at all: alike', 'a:3 b:1', { localities: weights() }, { a: 75, b: 25 }],
  [
    'weights are those of the priority',
    'a:2 a1:1 b1:1',
    { out: [0, 1], localities: weights(['a', 1], ['a', 80, 1], ['b', 20, 1]) },
    { a1: 80, b1: 20 },
  ],
  ['zones: all stay', 'a:4 b:4', { localities: zones, callers: { a: 1, b: 1 } }, { a: 100 }],
  ['zones: half stays', 'a:2 b:4 c:2', { localities: zones, callers: { a: 4, b: 2, c: 2 } }, { a: 50, b: 50 }],
  ['zones: none here', 'b:6 c:2', { localities: zones, callers: { a: 1, b: 1 } }, { b: 50, c: 50 }],
  ['zones: none here is available', 'a:2 b:6', { out: [0, 1], localities: zones, callers: { a: 1, b: 1 } }, { b: 100 }],
  [
    'zones: by rounding no room anywhere else, so anywhere',
    'a:2 b:2 c:2',
    { localities: zones, callers: { a: 3_334, b: 3_333, c: 3_333 } },
    { a: 99.98, b: 0.01, c: 0.01 },
  ],
  ['zones: nobody knows the callers', 'a:4 b:4', { localities: zones }, { a: 50, b: 50 }],
  ['zones: too few endpoints', 'a:3 b:2', { localities: zones, callers: { a: 1, b: 1 } }, { a: 60, b: 40 }],
  [
    'zones: too few of them available',
    'a:3 b:3',
    { out: [5], localities: zones, callers: { a: 1, b: 1 } },
    { a: 60, b: 40 },
  ],
  [
    'zones: what is available counts',
    'a:4 b:4',
    { out: [0, 1], localities: zones, callers: { a: 1, b: 1 } },
    { a: 66.66, b: 33.34 },
  ],
  [
    'zones: only in the first priority',
    'a1:4 b1:4',
    { localities: zones, callers: { a: 1, b: 1 } },
    { a1: 50, b1: 50 },
  ],
];

t.test('priorities and localities get their shares', async (t) => {
  for (const [what, text, { out = [], localities, callers }, expected] of cases) {
    const { eject, shares } = setup(text, localities === undefined ? {} : { localities }, callers);
    eject(...out);
    close(t, shares(), expected, what);
  }
});

t.test('within a priority or locality the policy of the cluster decides', async (t) => {
  for (const localities of [undefined, weights(['a', 1], ['b', 1])]) {
    const { balancer, endpoints } = setup('a:2 b:2', { balance: 'LEAST_REQUEST', ...(localities && { localities }) });
    for (const index of [1, 3]) (endpoints[index] as EndpointState).inFlight = 100;
    const busy = new Set(Array.from({ length: 500 }, () => balancer.pick(undefined, undefined)?.inFlight));
    t.ok(busy.has(0));
    t.equal(busy.has(100), localities === undefined ? busy.has(100) : false, 'two of one locality are compared');
  }
});

const outlier = {
  consecutive5xx: 5,
  consecutiveGatewayErrors: 0,
  intervalMs: 10_000,
  baseEjectionMs: 30_000,
  maxEjectionPercent: 100,
};

t.test('a priority in panic calls all its endpoints, available or not', async (t) => {
  for (const [minHealthPercent, text, out, expected] of [
    [0, 'a:4', [0, 1, 2], { a: 1 }],
    [0, 'a:4', [0, 1, 2, 3], { none: 1 }],
    [50, 'a:4', [0, 1], { a: 2 }],
    [50, 'a:4', [0, 1, 2], { a: 4 }],
    [50, 'a:4', [0, 1, 2, 3], { a: 4 }],
    [undefined, 'a:4', [0, 1, 2], { a: 4 }],
    [50, 'a:4 b1:3', [0, 1, 2], { a: 1, b1: 3 }],
    [50, 'a:4 b1:4', [0, 1, 2, 4, 5], { a: 1, b1: 2 }],
    [50, 'a:8 b1:8', [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11], { a: 8, b1: 4 }],
    [50, 'a:4 b1:4', [0, 1, 2, 4, 5, 6], { a: 4, b1: 4 }],
  ] as const) {
    const policy = minHealthPercent === undefined ? {} : { outlier: { ...outlier, minHealthPercent } };
    const { balancer, eject } = setup(text, policy);
    eject(...out);
    const found = new Set(Array.from({ length: 1_000 }, () => balancer.pick(undefined, undefined)));
    const counts: Record<string, number> = {};
    for (const each of found) {
      const name = each === undefined ? 'none' : `${each.endpoint.locality}${each.endpoint.priority ?? ''}`;
      counts[name] = (counts[name] ?? 0) + 1;
    }
    t.same(counts, expected, `threshold ${minHealthPercent}, ${text}, out ${out.join(' ')}`);
  }
});

t.test('a locality of which nobody counts has no share', async (t) => {
  const { balancer, endpoints, policy, shares } = setup('a:2 b:2', { localities: weights(['a', 50], ['b', 50]) });
  for (const each of endpoints.slice(0, 2)) each.health = { ...each.health, healthy: false, excluded: true };
  balancer.rebuild(policy, endpoints);
  close(t, shares(), { b: 100 }, 'all to the other one');
});

t.test('in panic localities have no weights', async (t) => {
  const { eject, shares } = setup('a:1 b:3', {
    outlier: { ...outlier, minHealthPercent: 50 },
    localities: weights(['a', 99], ['b', 1]),
  });
  eject(0, 1, 2);
  close(t, shares(), { a: 25, b: 75 }, 'alike');
});

t.test('a try avoids what failed, within the priorities that have a load', async (t) => {
  const { balancer, endpoints } = setup('a:2 b1:2');
  const [first, second] = endpoints as [EndpointState, EndpointState];
  for (let i = 0; i < 100; i++) {
    t.equal(balancer.pick([first], undefined), second);
    t.equal(balancer.pick([first, second], undefined)?.endpoint.priority, undefined, 'no other one has a load');
  }
  const shared = setup('a:2 b1:2');
  shared.eject(0);
  t.equal(shared.balancer.pick([shared.endpoints[1] as object], undefined)?.endpoint.priority, 1);
  const local = setup('a:1 b:1', { localities: weights(['a', 10_000], ['b', 1]) });
  for (let i = 0; i < 20; i++)
    t.equal(local.balancer.pick([local.endpoints[0] as object], undefined), local.endpoints[1]);
});

t.test('who is left for a try is drawn by weight, and not of localities that get nothing', async (t) => {
  const heavy = setup('a:1*1000000 b:1*3 c:1');
  const [first] = heavy.endpoints as [EndpointState];
  const left = heavy.shares(() => heavy.balancer.pick([first], undefined), 20_000);
  t.same(Object.keys(left).sort(), ['b', 'c'], 'not all of it on one');
  t.ok((left['b'] ?? 0) > 70 && (left['b'] ?? 0) < 80, JSON.stringify(left));

  for (const changes of [
    {},
    { hash: { key: { kind: 'sourceIp' }, algorithm: { kind: 'ringHash', minimumRingSize: 64 } } },
  ] as const) {
    const closed = setup('a:2 b:2', { localities: weights(['a', 1], ['b', 0]), ...changes });
    const [one, two] = closed.endpoints as [EndpointState, EndpointState];
    for (let i = 0; i < 100; i++) {
      const hash = 'hash' in changes ? xxHash64Big(String(i)) : undefined;
      t.equal(closed.balancer.pick([one], hash), two);
      t.equal(closed.balancer.pick([one, two], hash)?.endpoint.locality, 'a', 'rather one that has failed');
    }
  }
});

t.test('retryRemoteLocalities leads to other priorities after two tries', async (t) => {
  const { balancer, endpoints, shares } = setup('a:2 b1:2 c2:2');
  const [a, , b, , c] = endpoints as EndpointState[];
  const after = (...tried: readonly (EndpointState | undefined)[]) =>
    shares(() => balancer.pick(undefined, undefined, tried as object[]), 1_000);
  t.same(Object.keys(after()), ['a']);
  t.same(Object.keys(after(a)), ['a']);
  t.same(Object.keys(after(a, a)), ['b1']);
  t.same(Object.keys(after(a, a, b)), ['b1']);
  t.same(Object.keys(after(a, a, b, b)), ['c2']);
  t.same(Object.keys(after(a, b)), ['c2']);
  t.same(Object.keys(after(a, a, b, b, c, c)), ['a'], 'all tried: all are in again');
  t.equal(balancer.pick([a as object], undefined, [a as object])?.endpoint.priority, undefined);
  t.not(balancer.pick([a as object], undefined, [a as object]), a, 'and avoids what failed as ever');
});

t.test('the same key leads to the same priority, in the proportion of the loads', async (t) => {
  const { balancer, eject } = setup('a:4 b1:2');
  eject(0, 1);
  const counts = [0, 0];
  for (let key = 0n; key < 10_000n; key++) {
    const priority = balancer.pick(undefined, key)?.endpoint.priority ?? 0;
    counts[priority] = (counts[priority] ?? 0) + 1;
    t.equal(balancer.pick(undefined, key)?.endpoint.priority ?? 0, priority);
  }
  t.same(counts, [7_000, 3_000]);
});

for (const algorithm of [
  { kind: 'ringHash', minimumRingSize: 16_384 },
  { kind: 'maglev', tableSize: 65_537 },
] as const) {
  t.test(`${algorithm.kind}: localities have their weights, keys their endpoint`, async (t) => {
    const hash = { key: { kind: 'sourceIp' }, algorithm } as const;
    const localities = weights(['a', 80], ['b', 20], ['c', 50, 1]);
    const { balancer, eject, shares } = setup('a:4 b:1*3 b:1 c1:2 d:3', { hash, localities });
    let number = 0n;
    const byKey = () => balancer.pick(undefined, xxHash64Big(`key ${number++}`));
    const roughly = (found: Record<string, number>, expected: Record<string, number>, what: string): void => {
      for (const name of new Set([...Object.keys(found), ...Object.keys(expected)])) {
        // Points of a ring are not spread evenly.
        const off = Math.abs((found[name] ?? 0) - (expected[name] ?? 0));
        t.ok(off < 4, `${what}: ${name} ${found[name]}`);
      }
    };
    roughly(shares(byKey, 20_000), { a: 80, b: 20 }, 'd has no weight');
    const before = Array.from({ length: 500 }, (_, i) => balancer.pick(undefined, BigInt(i) * 7_919n ** 5n));
    t.same(
      Array.from({ length: 500 }, (_, i) => balancer.pick(undefined, BigInt(i) * 7_919n ** 5n)?.name),
      before.map((each) => each?.name),
    );
    eject(0, 1);
    roughly(shares(byKey, 20_000), { a: 80, b: 20 }, 'health takes nothing from a locality that is left');
    eject(2, 3, 4, 5);
    roughly(shares(byKey, 20_000), { d: 46, c1: 54 }, 'nobody with a weight is left in the first priority');
  });
}

t.test('changes take effect at the next pick, however many there were', async (t) => {
  const { balancer, endpoints, policy } = setup('a:3');
  balancer.rebuild(policy, endpoints.slice(0, 1));
  balancer.rebuild(policy, endpoints.slice(1, 2));
  t.equal(balancer.pick(undefined, undefined), endpoints[1]);
  balancer.rebuild(policy, []);
  t.equal(balancer.pick(undefined, undefined), undefined);
});

t.test(
  'whatever the priorities, localities and health, nobody is called who is not available, except in panic',
  async () => {
    const place = fc.record({
      locality: fc.constantFrom('a', 'b', 'c'),
      priority: fc.nat(3),
      out: fc.boolean(),
      weight: fc.integer({ min: 1, max: 9 }),
    });
    const balance = fc.constantFrom<LocalityBalance | undefined>(
      undefined,
      zones,
      weights(['a', 3], ['b', 1], ['a', 2, 1], ['c', 5, 2]),
    );
    fc.assert(
      fc.property(fc.array(place, { maxLength: 20 }), balance, fc.nat(100), (places, localities, minHealthPercent) => {
        const policy = cluster('a', [], {
          outlier: { ...outlier, minHealthPercent },
          ...(localities && { localities }),
        });
        const endpoints = places.map(({ locality, out, priority, weight }, i) => {
          const state = new EndpointState(endpoint(80, { address: `10.0.0.${i}`, locality, priority, weight }), hooks);
          if (out) state.outlier.ejectedUntil = 1;
          return state;
        });
        const balancer = createLoadBalancer({
          clock: fakeClock(),
          random: seededRandom(1),
          callers: () => ({ a: 1, b: 2 }),
        });
        balancer.rebuild(policy, endpoints);
        const available = endpoints.filter((each) => each.available).length;
        for (let i = 0; i < 50; i++) {
          const found = balancer.pick(
            i % 2 === 0 ? undefined : endpoints.slice(0, 2),
            undefined,
            endpoints.slice(0, i % 5),
          );
          if (found === undefined) {
            if (available > 0) return false;
          } else if (!found.available) {
            const level = endpoints.filter((each) => each.endpoint.priority === found.endpoint.priority);
            const share = (100 * level.filter((each) => each.available).length) / level.length;
            if (share >= minHealthPercent) return false;
          }
        }
        return true;
      }),
      { numRuns: 300 },
    );
  },
);
