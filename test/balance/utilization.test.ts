import t, { type Test } from 'tap';
import { byUtilization, ReportMemory, utilizationDefaults } from '../../src/balance/utilization.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { balancerSuite, type Host, hosts, shares } from '../suites/balancer.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';

function memories(): (host: Host) => ReportMemory {
  const all = new Map<string, ReportMemory>();
  return ({ name }) => {
    let memory = all.get(name);
    if (memory === undefined) all.set(name, (memory = new ReportMemory()));
    return memory;
  };
}

balancerSuite(t, {
  name: 'UTILIZATION without reports',
  create: (all, random) => byUtilization(all, { random, clock: fakeClock(), reportsOf: memories() }),
});

const { blackoutMs, expirationMs, updateMs } = utilizationDefaults;
const header = (utilization: number, rps: number, eps = 0): string =>
  `TEXT application_utilization=${utilization},rps_fractional=${rps},eps=${eps}`;

t.test('the weight of an endpoint: what it serves for what it is busy', async (t) => {
  const cases: readonly (readonly [header: string, weight: number])[] = [
    [header(0.5, 100), 200],
    [header(1, 100), 100],
    [header(0.5, 100, 50), 100],
    [header(0.25, 100, 100), 80],
    ['garbage', 0],
    ['', 0],
  ];
  for (const [text, weight] of cases) {
    const memory = new ReportMemory();
    memory.heard(text, 0);
    t.equal(memory.weight(blackoutMs), weight, text);
  }
});

t.test('a weight is used after the blackout, until it expires; then the blackout begins anew', async (t) => {
  const memory = new ReportMemory();
  t.equal(memory.weight(0), 0, 'never heard of');
  memory.heard(header(0.5, 100), 1_000);
  t.equal(memory.weight(1_000), 0);
  t.equal(memory.weight(1_000 + blackoutMs - 1), 0);
  t.equal(memory.weight(1_000 + blackoutMs), 200);
  t.equal(memory.weight(1_000 + expirationMs - 1), 200);
  t.equal(memory.weight(1_000 + expirationMs), 0);
  const back = 1_000 + expirationMs + 5;
  memory.heard(header(0.5, 100), back);
  t.equal(memory.weight(back + blackoutMs - 1), 0, 'the same report, and the blackout again');
  t.equal(memory.weight(back + blackoutMs), 200);
});

t.test('reports that go on keep the weight, and the newest counts', async (t) => {
  const memory = new ReportMemory();
  for (let now = 0; now <= 10 * expirationMs; now += expirationMs / 2) memory.heard(header(0.5, 100), now);
  t.equal(memory.weight(10 * expirationMs), 200);
  memory.heard(header(1, 100), 10 * expirationMs);
  t.equal(memory.weight(10 * expirationMs), 100);
  memory.heard('TEXT nonsense', 10 * expirationMs);
  t.equal(memory.weight(10 * expirationMs), 100, 'what is no report changes nothing');
});

t.test('a connection that has to be made anew begins the blackout', async (t) => {
  const memory = new ReportMemory();
  memory.heard(header(0.5, 100), 0);
  memory.lost();
  t.equal(memory.weight(blackoutMs), 0);
  memory.heard(header(0.5, 100), blackoutMs);
  t.equal(memory.weight(2 * blackoutMs), 200);
});

/** Shares after every host with a header has reported it for longer than the blackout. */
function settled(clock: FakeClock, all: readonly Host[], headers: readonly (string | undefined)[]): readonly number[] {
  const reportsOf = memories();
  const pick = byUtilization(all, { random: seededRandom(1), clock, reportsOf });
  headers.forEach((text, i) => {
    if (text !== undefined) reportsOf(all[i] as Host).heard(text, clock.now());
  });
  clock.advance(blackoutMs);
  // What was scheduled by the old weights runs out.
  for (let i = 0; i < 1_000; i++) pick();
  return shares(pick, all, 30_000);
}
const near = (t: Test, got: readonly number[], wanted: readonly number[], message?: string): void => {
  t.ok(
    got.every((share, i) => Math.abs(share - (wanted[i] as number)) < 0.01),
    `${message ?? ''} ${got.map((share) => share.toFixed(3))}, wanted ${wanted}`,
  );
};

t.test('endpoints get tries by their weights', async (t) => {
  near(t, settled(fakeClock(), hosts(1, 1), [header(0.3, 90), header(0.9, 90)]), [0.75, 0.25]);
  near(t, settled(fakeClock(), hosts(1, 1, 1), [header(1, 100), header(1, 100), header(0.5, 100)]), [0.25, 0.25, 0.5]);
});

t.test(
  'configured weights do not count beside reports: a large server serves more for the same utilization',
  async (t) => {
    near(t, settled(fakeClock(), hosts(1, 7), [header(0.5, 100), header(0.5, 100)]), [0.5, 0.5]);
  },
);

t.test('who reports nothing has the middle weight', async (t) => {
  const got = settled(fakeClock(), hosts(1, 1, 1, 1), [header(1, 100), header(1, 200), header(1, 400), undefined]);
  near(t, got, [1 / 9, 2 / 9, 4 / 9, 2 / 9]);
});

t.test('with fewer than two reports the configured weights count', async (t) => {
  near(t, settled(fakeClock(), hosts(1, 3), [header(0.1, 100), undefined]), [0.25, 0.75]);
});

t.test('who praises itself beyond measure gets ten times the middle, and no more', async (t) => {
  const honest = Array.from({ length: 9 }, () => header(0.5, 100));
  const got = settled(fakeClock(), hosts(...Array.from({ length: 10 }, () => 1)), [header(1e-9, 1e7), ...honest]);
  near(t, got, [10 / 19, ...honest.map(() => 1 / 19)]);
});

t.test('weights are taken over once a second', async (t) => {
  const clock = fakeClock();
  const reportsOf = memories();
  let asked = 0;
  const all = hosts(1, 1);
  const counting = (host: Host): ReportMemory => {
    asked++;
    return reportsOf(host);
  };
  const pick = byUtilization(all, { random: seededRandom(1), clock, reportsOf: counting });
  asked = 0;
  for (let i = 0; i < 100; i++) pick();
  t.equal(asked, 0);
  clock.advance(updateMs);
  for (let i = 0; i < 100; i++) pick();
  t.equal(asked, 2);
});

t.test('an endpoint that starts slowly takes only its share', async (t) => {
  const all = hosts(1, 1);
  const factorOf = (host: Host): number => (host === all[0] ? 0.25 : 1);
  const pick = byUtilization(all, { random: seededRandom(1), clock: fakeClock(), reportsOf: memories(), factorOf });
  near(t, shares(pick, all, 10_000), [0.2, 0.8]);
});
