import t from 'tap';
import { createPicker } from '../../src/balance/picker.ts';
import { createSlowStart, slowStartFactor } from '../../src/balance/slow-start.ts';
import { seededRandom } from '../../src/lib/random.ts';
import type { WarmupPolicy } from '../../src/model/cluster.ts';
import { type Host, hosts, shares } from '../suites/balancer.ts';
import { fakeClock } from '../support/fake-clock.ts';

const policy = (changes: Partial<WarmupPolicy> = {}): WarmupPolicy => ({
  durationMs: 100_000,
  minimumPercent: 10,
  aggression: 1,
  ...changes,
});

for (const [changes, ageMs, wanted] of [
  [{}, 0, 0.1],
  [{}, 5_000, 0.1],
  [{}, 10_000, 0.1],
  [{}, 50_000, 0.5],
  [{}, 99_999, 0.99999],
  [{}, 100_000, 1],
  [{}, 1e9, 1],
  [{ minimumPercent: 0 }, 0, 0.00001],
  [{ minimumPercent: 100 }, 0, 1],
  [{ minimumPercent: 30 }, 20_000, 0.3],
  [{ aggression: 2 }, 25_000, 0.5],
  [{ aggression: 2 }, 81_000, 0.9],
  [{ aggression: 0.5 }, 50_000, 0.25],
  [{ durationMs: 1 }, 0, 1],
] as const) {
  t.test(`${JSON.stringify(changes)} after ${ageMs} ms: ${wanted} of the weight`, async (t) => {
    t.equal(slowStartFactor(policy(changes), ageMs).toFixed(9), wanted.toFixed(9));
  });
}

function setUp(changes: Partial<WarmupPolicy> = {}) {
  const clock = fakeClock();
  let warm = 0;
  const slowStart = createSlowStart<Host>(policy(changes), clock, () => warm++);
  return { clock, slowStart, warm: () => warm };
}

t.test('endpoints that begin together are alike: nothing to do, no timer', async (t) => {
  const { clock, slowStart } = setUp();
  t.equal(slowStart.update(hosts(1, 1, 1)), undefined);
  t.equal(slowStart.update([]), undefined);
  t.equal(clock.pending(), 0);
});

t.test('one that is added later grows step by step, then all is as before', async (t) => {
  const { clock, slowStart, warm } = setUp();
  const all = hosts(1, 1, 1) as [Host, Host, Host];
  slowStart.update(all.slice(0, 2));
  clock.advance(1_000_000);
  const factorOf = slowStart.update(all);
  const factors = (): readonly string[] => all.map((host) => factorOf?.(host).toFixed(2) ?? '-');
  t.same(factors(), ['1.00', '1.00', '0.10']);
  clock.advance(50_000);
  t.same(factors(), ['1.00', '1.00', '0.50']);
  t.equal(clock.pending(), 1);
  clock.advance(49_000);
  t.same(factors(), ['1.00', '1.00', '0.99']);
  t.equal(warm(), 0);
  clock.advance(1_000);
  t.same(factors(), ['1.00', '1.00', '1.00']);
  t.equal(warm(), 1);
  t.equal(clock.pending(), 0);
  t.equal(slowStart.update(all), undefined);
});

t.test('a change in the middle does not begin anew for those that stay', async (t) => {
  const { clock, slowStart } = setUp();
  const all = hosts(1, 1, 1, 1) as [Host, Host, Host, Host];
  slowStart.update(all.slice(0, 1));
  clock.advance(200_000);
  slowStart.update(all.slice(0, 2));
  clock.advance(30_000);
  slowStart.update(all.slice(0, 3));
  clock.advance(20_000);
  const factorOf = slowStart.update(all.slice(1));
  t.same(
    all.slice(1).map((host) => factorOf?.(host)),
    [0.5, 0.2, 0.1],
  );
});

t.test('one that was out of service is new again (EP-20)', async (t) => {
  const { clock, slowStart } = setUp();
  const all = hosts(1, 1) as [Host, Host];
  slowStart.update(all);
  clock.advance(200_000);
  t.equal(slowStart.update(all.slice(0, 1)), undefined);
  clock.advance(30_000);
  const factorOf = slowStart.update(all);
  t.equal(factorOf?.(all[0]), 1);
  t.equal(factorOf?.(all[1]), 0.1);
});

t.test('when the new one leaves there is nothing to wait for', async (t) => {
  const { clock, slowStart, warm } = setUp();
  const all = hosts(1, 1) as [Host, Host];
  slowStart.update(all.slice(0, 1));
  clock.advance(200_000);
  slowStart.update(all);
  t.equal(clock.pending(), 1);
  slowStart.update(all.slice(0, 1));
  t.equal(clock.pending(), 0);
  t.equal(warm(), 0);
  slowStart.update(all);
  slowStart.close();
  t.equal(clock.pending(), 0);
});

for (const balance of ['LEAST_REQUEST', 'ROUND_ROBIN'] as const) {
  t.test(`${balance} gives a new endpoint its share little by little`, async (t) => {
    for (const weights of [
      [1, 1, 1],
      [2, 1, 3],
    ]) {
      const { clock, slowStart } = setUp();
      const all = hosts(...weights);
      const total = (factor: number): number =>
        (weights[0] as number) + (weights[1] as number) + (weights[2] as number) * factor;
      slowStart.update(all.slice(0, 2));
      clock.advance(200_000);
      const factorOf = slowStart.update(all);
      const pick = createPicker(balance, all, seededRandom(1), factorOf);
      for (const factor of [0.1, 0.35, 0.6, 0.85]) {
        const [, , last] = shares(pick, all, 50_000);
        const wanted = ((weights[2] as number) * factor) / total(factor);
        t.ok(Math.abs((last as number) - wanted) < 0.005, `${weights} at ${factor}: ${last} of ${wanted}`);
        clock.advance(factor === 0.1 ? 35_000 : 25_000);
      }
    }
  });
}

t.test('LEAST_REQUEST looks at the load of warming endpoints as well', async (t) => {
  const all = hosts(1, 1, 1) as [Host, Host, Host];
  const pick = createPicker('LEAST_REQUEST', all, seededRandom(1), (host) => (host === all[2] ? 0.5 : 1));
  all[0].inFlight = 3;
  // 1/4, 1 and 1/2
  const got = shares(pick, all, 70_000);
  [1 / 7, 4 / 7, 2 / 7].forEach((wanted, i) => void t.ok(Math.abs((got[i] as number) - wanted) < 0.005, String(got)));
});

t.test('RANDOM knows no slow start, as in Envoy', async (t) => {
  const all = hosts(1, 1) as [Host, Host];
  const got = shares(
    createPicker('RANDOM', all, seededRandom(1), (host) => (host === all[1] ? 0.1 : 1)),
    all,
    50_000,
  );
  t.ok(Math.abs((got[0] as number) - 0.5) < 0.01, String(got));
});
