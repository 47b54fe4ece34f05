import t from 'tap';
import { createPicker } from '../../src/balance/picker.ts';
import { seededRandom } from '../../src/lib/random.ts';
import type { IstioBalancePolicy } from '../../src/model/cluster.ts';
import { balancerSuite, error, type Host, hosts, shares } from '../suites/balancer.ts';

/** Named a, b, c … */
const lettered = (...weights: readonly number[]): Host[] =>
  hosts(...weights).map((host, i) => ({ ...host, name: String.fromCharCode(97 + i) }));

for (const policy of ['LEAST_REQUEST', 'ROUND_ROBIN'] as const) {
  balancerSuite(t, {
    name: `${policy} while endpoints warm up`,
    create: (all, random) => createPicker(policy, all, random, () => 0.3),
  });
}

for (const policy of ['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM'] as const) {
  balancerSuite(t, { name: policy, create: (all, random) => createPicker(policy, all, random) });
}

t.test('ROUND_ROBIN goes round exactly, from anywhere', async (t) => {
  const starts = new Set<string>();
  for (let seed = 0; seed < 50; seed++) {
    const all = lettered(1, 1, 1);
    const pick = createPicker('ROUND_ROBIN', all, seededRandom(seed));
    const order = Array.from({ length: 6 }, () => pick()?.name).join('');
    t.ok(['abcabc', 'bcabca', 'cabcab'].includes(order), order);
    starts.add(order);
  }
  t.equal(starts.size, 3);
});

t.test('ROUND_ROBIN with weights is exact over each round, and evenly spaced', async (t) => {
  const all = lettered(2, 1);
  const pick = createPicker('ROUND_ROBIN', all, seededRandom(5));
  const order = Array.from({ length: 3_000 }, () => pick()?.name).join('');
  t.equal(order.split('a').length - 1, 2_000);
  t.notMatch(order, /aaa|bb/);
});

t.test('ROUND_ROBIN with many weights stays a heap', async (t) => {
  const weights = Array.from({ length: 50 }, (_, i) => (i % 7) + 1);
  const all = hosts(...weights);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const got = shares(createPicker('ROUND_ROBIN', all, seededRandom(6)), all, total * 200);
  t.ok(error(got, all) <= 0.001);
});

t.test('LEAST_REQUEST takes the less loaded of two', async (t) => {
  const all = hosts(1, 1);
  (all[0] as Host).inFlight = 3;
  const pick = createPicker('LEAST_REQUEST', all, seededRandom(4));
  for (let i = 0; i < 20; i++) t.equal(pick(), all[1]);
});

t.test('LEAST_REQUEST never compares a host with itself', async (t) => {
  const all = hosts(1, 1, 1);
  (all[2] as Host).inFlight = 1;
  const got = shares(createPicker('LEAST_REQUEST', all, seededRandom(4)), all, 30_000);
  t.equal(got[2], 0, 'of any two different hosts one is less loaded');
});

t.test('LEAST_REQUEST with weights divides a weight by the load', async (t) => {
  for (const [weights, loads, wanted] of [
    [
      [4, 1],
      [2, 1],
      [4 / 3 / (4 / 3 + 1 / 2), 1 / 2 / (4 / 3 + 1 / 2)],
    ],
    [
      [2, 1],
      [0, 9],
      [2 / 2.1, 0.1 / 2.1],
    ],
    [
      [1, 3],
      [0, 2],
      [0.5, 0.5],
    ],
  ] as const) {
    const all = hosts(...weights);
    loads.forEach((load, i) => {
      (all[i] as Host).inFlight = load;
    });
    const got = shares(createPicker('LEAST_REQUEST', all, seededRandom(4)), all, 100_000);
    got.forEach((share, i) => void t.ok(Math.abs(share - (wanted[i] as number)) < 0.005, `${weights}: ${got}`));
  }
});

t.test('LEAST_REQUEST with weights sees a load when the endpoint had its turn', async (t) => {
  const all = hosts(2, 1);
  const [heavy, light] = all as [Host, Host];
  const pick = createPicker('LEAST_REQUEST', all, seededRandom(4));
  heavy.inFlight = 1_000_000;
  // One turn more that was planned before; then it waits for half a million turns of the other.
  const picks = Array.from({ length: 1_000 }, pick);
  t.ok(picks.filter((host) => host === heavy).length <= 1);
  t.equal(picks.at(-1), light);
});

t.test('LEAST_REQUEST shifts load away from a slow endpoint (EP-18)', async (t) => {
  const all = hosts(1, 1, 1);
  const slow = all[0] as Host;
  const pick = createPicker('LEAST_REQUEST', all, seededRandom(8));
  const queue: { readonly host: Host; readonly until: number }[] = [];
  let toSlow = 0;
  for (let now = 0; now < 20_000; now++) {
    for (let i = queue.length - 1; i >= 0; i--) {
      const entry = queue[i] as (typeof queue)[number];
      if (entry.until <= now) {
        entry.host.inFlight--;
        queue.splice(i, 1);
      }
    }
    const host = pick() as Host;
    host.inFlight++;
    if (host === slow) toSlow++;
    queue.push({ host, until: now + (host === slow ? 200 : 2) });
  }
  t.ok(toSlow / 20_000 < 0.03, `${toSlow} of 20,000`);
});

t.test('LEAST_REQUEST with weights shifts load away from a slow endpoint, as far as Envoy does (EP-18)', async (t) => {
  const all = hosts(1, 2, 3) as [Host, Host, Host];
  const pick = createPicker('LEAST_REQUEST', all, seededRandom(8));
  const queue: { readonly host: Host; readonly until: number }[] = [];
  let toSlow = 0;
  for (let now = 0; now < 20_000; now++) {
    while (queue.length > 0 && (queue[0] as (typeof queue)[number]).until <= now) {
      const [done] = queue.splice(0, 1);
      (done as (typeof queue)[number]).host.inFlight--;
    }
    const host = pick() as Host;
    host.inFlight++;
    if (host === all[1]) toSlow++;
    queue.push({ host, until: now + (host === all[1] ? 200 : 2) });
    queue.sort((a, b) => a.until - b.until);
  }
  t.ok(toSlow / 20_000 < 0.07, `${toSlow} of 20,000, instead of a third`);
  t.ok(toSlow > 0);
});

t.test('RANDOM with weights reaches both ends of the range', async (t) => {
  const all = lettered(1, 2, 3);
  for (const [value, name] of [
    [0, 'a'],
    [0.166, 'a'],
    [0.167, 'b'],
    [0.499, 'b'],
    [0.5, 'c'],
    [0.999_999, 'c'],
  ] as const) {
    t.equal(createPicker('RANDOM', all, () => value)()?.name, name, String(value));
  }
});

t.test('a policy from the future is refused', async (t) => {
  t.throws(() => createPicker('MAGLEV' as IstioBalancePolicy, hosts(1, 1), seededRandom(1)), { message: /MAGLEV/ });
});
