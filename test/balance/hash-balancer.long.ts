import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { createHashBalancer, type HashBalancer } from '../../src/balance/hash-balancer.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { xxHash64Big } from '../../src/lib/xxhash64.ts';
import type { ConsistentHash } from '../../src/model/cluster.ts';
import { balancerSuite, error, type Host, hosts } from '../suites/balancer.ts';
import { fakeClock } from '../support/fake-clock.ts';

type Algorithm = ConsistentHash['algorithm'];
const ring = (minimumRingSize = 1_024): Algorithm => ({ kind: 'ringHash', minimumRingSize });
const maglev = (tableSize = 65_537): Algorithm => ({ kind: 'maglev', tableSize });

function balancerOf(
  all: readonly Host[],
  algorithm: Algorithm,
  balanceFactor?: number,
  clock: Clock = fakeClock(),
): HashBalancer<Host> {
  const balancer = createHashBalancer<Host>(
    { algorithm, ...(balanceFactor === undefined ? {} : { balanceFactor }) },
    clock,
  );
  balancer.use(all);
  return balancer;
}

const keys = Array.from({ length: 20_000 }, (_, i) => xxHash64Big(`key ${i}`));

/** Share of the keys that each host gets. */
function keyShares({ pick }: HashBalancer<Host>, all: readonly Host[]): readonly number[] {
  const counts = new Map<Host | undefined, number>();
  for (const key of keys) counts.set(pick(key), (counts.get(pick(key)) ?? 0) + 1);
  return all.map((host) => (counts.get(host) ?? 0) / keys.length);
}

for (const [name, precise, usual, balanceFactor] of [
  ['ring hash', ring(100_000), ring(), undefined],
  ['Maglev', maglev(), maglev(2_053), undefined],
  ['ring hash with bounded load', ring(100_000), ring(), 125],
] as const) {
  balancerSuite(t, {
    name,
    keyed: true,
    create(all, _, exact) {
      const { pick } = balancerOf(all, exact ? precise : usual, balanceFactor);
      return (hash = 0n, attempt) => pick(hash, attempt);
    },
  });
}

interface Vectors {
  readonly sets: readonly {
    readonly endpoints: string;
    readonly weights: string;
    readonly inFlight: string;
    readonly cases: readonly {
      readonly kind: string;
      readonly size: number;
      readonly attempt: number;
      readonly factor: number;
      readonly picks: string;
    }[];
  }[];
}
const vectors = JSON.parse(readFileSync(new URL('../fixtures/hash-vectors.json', import.meta.url), 'utf8')) as Vectors;

t.test('chooses the endpoints that Envoy chooses', async (t) => {
  for (const { endpoints, weights, inFlight, cases } of vectors.sets) {
    const numbers = (text: string): readonly number[] => text.split(' ').map(Number);
    for (const { kind, size, attempt, factor, picks } of cases) {
      const all = endpoints.split(' ').map((name, i) => ({
        name,
        weight: numbers(weights)[i] as number,
        inFlight: factor === 0 ? 0 : (numbers(inFlight)[i] as number),
      }));
      const { pick } = balancerOf(all, kind === 'maglev' ? maglev(size) : ring(size), factor || undefined);
      const found = [...picks].map((_, i) => all.indexOf(pick(xxHash64Big(`user-${i}`), attempt) as Host).toString(36));
      t.equal(found.join(''), picks, `${endpoints} ${kind} ${size} attempt ${attempt} factor ${factor}`);
    }
  }
});

t.test('the order of endpoints does not matter', async (t) => {
  for (const algorithm of [ring(), maglev()]) {
    const all = hosts(...Array.from({ length: 20 }, () => 1));
    const one = balancerOf(all, algorithm);
    const other = balancerOf([...all].reverse(), algorithm);
    t.ok(keys.every((key) => one.pick(key) === other.pick(key)));
  }
});

t.test('with its usual size a ring gives shares that are roughly right, a Maglev table exactly', async (t) => {
  for (const weights of [[1, 1, 1], [1, 2, 5], Array.from({ length: 30 }, (_, i) => (i % 3) + 1)]) {
    const all = hosts(...weights);
    t.ok(error(keyShares(balancerOf(all, ring()), all), all) < 0.06, `ring of ${weights}`);
    t.ok(error(keyShares(balancerOf(all, maglev()), all), all) < 0.012, `Maglev of ${weights}`);
  }
});

/** Keys that have another endpoint than before, as shares of all keys: those that were or are at `host`, and the others. */
function moved(before: HashBalancer<Host>, after: HashBalancer<Host>, host: Host) {
  let own = 0;
  let others = 0;
  for (const key of keys) {
    const [from, to] = [before.pick(key), after.pick(key)];
    if (from === to) continue;
    if (from === host || to === host) own++;
    else others++;
  }
  return { own: own / keys.length, others: others / keys.length };
}

t.test('an endpoint that comes or goes moves its share and hardly anything else', async (t) => {
  const sets = fc.record({
    weights: fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 3, maxLength: 30 }),
    index: fc.nat(),
  });
  for (const [name, algorithm, allowed] of [
    // A ring keeps its size: the others get the points of the one that goes, and take keys from each other by them.
    ['ring hash', ring(4_096), (share: number) => share * (1 - share) + 0.03],
    ['Maglev', maglev(), () => 0.12],
  ] as const) {
    fc.assert(
      fc.property(sets, ({ weights, index }) => {
        const all = hosts(...weights);
        const host = all[index % all.length] as Host;
        const share = host.weight / weights.reduce((sum, weight) => sum + weight, 0);
        const result = moved(
          balancerOf(all, algorithm),
          balancerOf(
            all.filter((each) => each !== host),
            algorithm,
          ),
          host,
        );
        return Math.abs(result.own - share) < 0.03 && result.others < allowed(share);
      }),
      { numRuns: 25, seed: 3 },
    );
    t.pass(name);
  }
});

t.test('a ring of equal endpoints moves nothing but the share of the one that goes', async (t) => {
  // 64 endpoints have 16 points each, and so have 63 of them with one more: only whole points leave.
  const all = hosts(...Array.from({ length: 64 }, () => 1));
  const host = all[40] as Host;
  const rest = all.filter((each) => each !== host);
  const result = moved(balancerOf(all, ring(1_009)), balancerOf(rest, ring(1_008)), host);
  t.equal(result.others, 0);
  t.ok(result.own > 0 && result.own < 0.04, String(result.own));
});

t.test('one that comes back has its keys again', async (t) => {
  for (const algorithm of [ring(), maglev()]) {
    const all = hosts(1, 2, 3, 1);
    const balancer = balancerOf(all, algorithm);
    const before = keys.map((key) => balancer.pick(key));
    balancer.use(all.slice(1));
    t.ok(keys.every((key) => balancer.pick(key) !== all[0]));
    balancer.use(all);
    t.same(keys.map((key) => balancer.pick(key)) as unknown[], before);
  }
});

t.test('weights that differ beyond all measure end in a ring of bounded size', async (t) => {
  const all = hosts(1, 1_000_000_000, 1_000_000_000);
  const shares = keyShares(balancerOf(all, ring()), all);
  t.ok(Math.abs((shares[1] as number) - 0.5) < 0.02, String(shares));
});

t.test('Maglev tables of every size that Istio takes', async (t) => {
  for (const size of [1, 2, 3, 5, 7, 251]) {
    const all = hosts(1, 2, 3);
    const picked = new Set(keys.map((key) => balancerOf(all, maglev(size)).pick(key)).slice(0, 50));
    t.ok(
      [...picked].every((host) => host !== undefined && all.includes(host)),
      String(size),
    );
  }
});

t.test('another attempt leads to others, in the same order each time', async (t) => {
  for (const algorithm of [ring(), maglev()]) {
    const { pick } = balancerOf(hosts(1, 1, 1, 1), algorithm);
    let different = 0;
    for (const key of keys.slice(0, 500)) {
      const tries = Array.from({ length: 12 }, (_, attempt) => pick(key, attempt));
      t.same(Array.from({ length: 12 }, (_, attempt) => pick(key, attempt)) as unknown[], tries);
      if (new Set(tries).size > 1) different++;
    }
    t.equal(different, 500);
  }
});

t.test('a flood of one key is bounded where that is asked for (ABUSE-017)', async (t) => {
  const key = xxHash64Big('the one');
  const flood = (balanceFactor: number | undefined, calls: number): readonly number[] => {
    const all = hosts(...Array.from({ length: 10 }, () => 1));
    const { pick } = balancerOf(all, ring(), balanceFactor);
    for (let i = 0; i < calls; i++) (pick(key) as Host).inFlight++;
    return all.map(({ inFlight }) => inFlight).sort((a, b) => b - a);
  };
  t.equal(flood(undefined, 1_000)[0], 1_000);
  for (const factor of [100, 125, 150, 200]) {
    const [most] = flood(factor, 1_000);
    // One more than its slots: the request that is being placed is not counted yet.
    t.ok((most as number) <= Math.ceil(Math.ceil((1_000 * factor) / 100) / 10) + 1, `${factor}: ${most}`);
  }
  const two = flood(500, 1_000).filter((inFlight) => inFlight > 0);
  t.equal(two.length, 2, 'half of the calls is what one may have of them, so two are enough');
});

t.test('bounds follow weights, and the same key overflows to the same endpoints', async (t) => {
  const run = (): readonly number[] => {
    const all = hosts(1, 3);
    const { pick } = balancerOf(all, ring(), 110);
    for (let i = 0; i < 400; i++) (pick(xxHash64Big('x')) as Host).inFlight++;
    return all.map(({ inFlight }) => inFlight);
  };
  const [light, heavy] = run() as [number, number];
  t.ok(light <= 111 && heavy <= 331, `${light} ${heavy}`);
  t.same(run(), [light, heavy]);
});

t.test('with low load bounds change nothing', async (t) => {
  const all = hosts(1, 1, 1);
  const bounded = balancerOf(all, ring(), 100);
  const plain = balancerOf(all, ring());
  for (const host of all) host.inFlight = 1;
  t.ok(keys.every((key) => bounded.pick(key) === plain.pick(key)));
});

t.test('tables are made on demand: a thousand changes between two picks cost one', async (t) => {
  let reads = 0;
  const named = hosts(1, 1, 1, 1).map((host) => ({
    ...host,
    get name() {
      reads++;
      return host.name;
    },
  }));
  const balancer = balancerOf(named, ring());
  for (let i = 0; i < 1_000; i++) balancer.use(named);
  t.equal(reads, 0);
  balancer.pick(1n);
  t.equal(reads, 4);
  balancer.pick(2n);
  t.equal(reads, 4);
});

/** A clock on which making a table takes a while: each time it is asked, 2 ms have passed. */
function slowClock(): { readonly clock: Clock; advance(ms: number): void } {
  const clock = fakeClock();
  return {
    clock: {
      ...clock,
      now() {
        clock.advance(2);
        return clock.now();
      },
    },
    advance: clock.advance,
  };
}

t.test('when endpoints change all the time, a table that was dear stays for a moment, without the dead', async (t) => {
  const { clock, advance } = slowClock();
  const all = hosts(1, 1, 1, 1, 1, 1);
  const balancer = balancerOf(all, maglev(), undefined, clock);
  const before = keys.map((key) => balancer.pick(key));
  const left = all.slice(2);
  balancer.use(left);
  // 2 ms to make it, so that it stays for 40 ms. (Each pick asks the clock: here that takes time.)
  const during = keys.slice(0, 10).map((key) => balancer.pick(key));
  during.forEach((host, i) => {
    t.ok(host !== undefined && left.includes(host));
    const was = before[i] as Host;
    if (left.includes(was)) t.equal(host, was);
  });
  const [newcomer] = hosts(1).map((host) => ({ ...host, name: '10.9.9.9:80' })) as [Host];
  const joined = [...left, newcomer];
  balancer.use(joined);
  t.ok(keys.slice(0, 3).every((key) => balancer.pick(key) !== newcomer));
  advance(60);
  const fresh = balancerOf(joined, maglev());
  t.ok(keys.every((key) => balancer.pick(key) === fresh.pick(key)));
});

t.test('when all endpoints of an old table have gone, those there are get the calls', async (t) => {
  const { clock } = slowClock();
  const balancer = balancerOf(hosts(1, 1, 1), ring(), undefined, clock);
  balancer.pick(1n);
  const others = hosts(1, 1).map((host, i) => ({ ...host, name: `10.7.0.${i}:80` }));
  balancer.use(others);
  for (const key of keys.slice(0, 5)) t.ok(others.includes(balancer.pick(key) as Host));
  const random = seededRandom(1);
  balancer.use([]);
  t.equal(balancer.pick(BigInt(Math.floor(random() * 1_000))), undefined);
});

t.test('after any changes a table is the one that is made of the set at once', async (t) => {
  const names = Array.from({ length: 12 }, (_, i) => `10.0.0.${i}:80`);
  const set = fc.dictionary(fc.constantFrom(...names), fc.integer({ min: 1, max: 9 }), { minKeys: 1 });
  fc.assert(
    fc.property(fc.array(set, { minLength: 1, maxLength: 6 }), fc.boolean(), (sets, isRing) => {
      const algorithm = isRing ? ring(512) : maglev(1_021);
      const balancer = balancerOf([], algorithm);
      let all: Host[] = [];
      for (const weights of sets) {
        all = Object.entries(weights).map(([name, weight]) => ({ name, weight, inFlight: 0 }));
        balancer.use(all);
        balancer.pick(1n);
      }
      const fresh = balancerOf(all, algorithm);
      return keys.slice(0, 200).every((key) => balancer.pick(key) === fresh.pick(key));
    }),
    { numRuns: 100, seed: 5 },
  );
  t.pass();
});
