import t from 'tap';
import { type Candidate, createPicker, type Picker } from '../../src/balance/picker.ts';
import { seededRandom } from '../../src/lib/random.ts';
import type { BalancePolicy } from '../../src/model/cluster.ts';

interface Host extends Candidate {
  readonly name: string;
}
const hosts = (...weights: readonly number[]): Host[] =>
  weights.map((weight, i) => ({ name: String.fromCharCode(97 + i), weight, inFlight: 0 }));
const policies: readonly BalancePolicy[] = ['LEAST_REQUEST', 'ROUND_ROBIN', 'RANDOM'];

/** Share of each host in `times` picks. */
function shares(pick: Picker<Host>, all: readonly Host[], times: number): readonly number[] {
  const counts = new Map<Host | undefined, number>();
  for (let i = 0; i < times; i++) {
    const host = pick();
    counts.set(host, (counts.get(host) ?? 0) + 1);
  }
  return all.map((host) => (counts.get(host) ?? 0) / times);
}
const near = (actual: readonly number[], wanted: readonly number[], tolerance: number): boolean =>
  actual.every((share, i) => Math.abs(share - (wanted[i] as number)) <= tolerance);

for (const policy of policies) {
  t.test(`${policy}: nobody, one, and everybody in turn`, async (t) => {
    const random = seededRandom(1);
    t.equal(createPicker<Host>(policy, [], random)(), undefined);
    const [only] = hosts(7);
    t.equal(createPicker(policy, [only as Host], random)(), only);
    for (const weights of [
      [1, 1],
      [1, 1, 1, 1, 1],
      [3, 1],
      [5, 1, 2],
    ]) {
      const all = hosts(...weights);
      const pick = createPicker(policy, all, random);
      const seen = new Set(Array.from({ length: 200 }, pick));
      t.equal(seen.size, all.length, `weights ${weights}`);
    }
  });

  t.test(`${policy}: equal weights share equally`, async (t) => {
    for (const weight of [1, 100]) {
      const all = hosts(weight, weight, weight, weight);
      const got = shares(createPicker(policy, all, seededRandom(2)), all, 40_000);
      t.ok(near(got, [0.25, 0.25, 0.25, 0.25], 0.01), String(got));
    }
  });

  t.test(`${policy}: weights are honoured`, async (t) => {
    const all = hosts(1, 2, 5);
    const pick = createPicker(policy, all, seededRandom(3));
    if (policy === 'LEAST_REQUEST') {
      // Under load: each pick stays under way until 16 others have been made.
      const running: Host[] = [];
      const got = shares(
        () => {
          const host = pick() as Host;
          host.inFlight++;
          running.push(host);
          if (running.length > 16) (running.shift() as Host).inFlight--;
          return host;
        },
        all,
        80_000,
      );
      t.ok(near(got, [1 / 8, 2 / 8, 5 / 8], 0.03), `loaded: ${got}`);
      for (const host of all) host.inFlight = 0;
    }
    const got = shares(pick, all, 80_000);
    t.ok(near(got, [1 / 8, 2 / 8, 5 / 8], 0.01), `idle: ${got}`);
  });

  t.test(`${policy}: the same seed gives the same picks`, async (t) => {
    const all = hosts(1, 2, 3);
    const run = (): string =>
      Array.from({ length: 50 }, createPicker(policy, all, seededRandom(9)))
        .map((host) => host?.name)
        .join('');
    t.equal(run(), run());
  });
}

t.test('ROUND_ROBIN goes round exactly, from anywhere', async (t) => {
  const starts = new Set<string>();
  for (let seed = 0; seed < 50; seed++) {
    const all = hosts(1, 1, 1);
    const pick = createPicker('ROUND_ROBIN', all, seededRandom(seed));
    const order = Array.from({ length: 6 }, () => pick()?.name).join('');
    t.ok(['abcabc', 'bcabca', 'cabcab'].includes(order), order);
    starts.add(order);
  }
  t.equal(starts.size, 3);
});

t.test('ROUND_ROBIN with weights is exact over each round, and evenly spaced', async (t) => {
  const all = hosts(2, 1);
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
  t.ok(
    near(
      got,
      weights.map((weight) => weight / total),
      0.001,
    ),
  );
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

t.test('LEAST_REQUEST with weights counts the load for its weight', async (t) => {
  const all = hosts(4, 1);
  (all[0] as Host).inFlight = 2;
  (all[1] as Host).inFlight = 1;
  const got = shares(createPicker('LEAST_REQUEST', all, seededRandom(4)), all, 10_000);
  t.ok((got[0] as number) > 0.95, `2 / 4 is less than 1 / 1: ${got}`);
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

t.test('RANDOM with weights reaches both ends of the range', async (t) => {
  const all = hosts(1, 2, 3);
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
  t.throws(() => createPicker('MAGLEV' as BalancePolicy, hosts(1, 1), seededRandom(1)), { message: /MAGLEV/ });
});
