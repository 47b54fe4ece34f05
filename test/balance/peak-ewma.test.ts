import t from 'tap';
import {
  assumedLatencyMs,
  failurePenaltyMs,
  LatencyMemory,
  latencyDecayMs,
  peakEwma,
} from '../../src/balance/peak-ewma.ts';
import { type Random, seededRandom } from '../../src/lib/random.ts';
import { balancerSuite, type Host, hosts, shares } from '../suites/balancer.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';

/** Memories are the endpoints' own, and appear when they are asked for. */
function memories(): (host: Host) => LatencyMemory {
  const all = new Map<string, LatencyMemory>();
  return ({ name }) => {
    let memory = all.get(name);
    if (memory === undefined) all.set(name, (memory = new LatencyMemory()));
    return memory;
  };
}

balancerSuite(t, {
  name: 'PEAK_EWMA',
  create: (all, random) => peakEwma(all, { random, clock: fakeClock(), latencyOf: memories() }),
});

balancerSuite(t, {
  name: 'PEAK_EWMA with latencies that are all the same',
  create(all, random) {
    const clock = fakeClock();
    const latencyOf = memories();
    for (const host of all) latencyOf(host).answered(20, clock.now());
    return peakEwma(all, { random, clock, latencyOf });
  },
});

/** Time at which the memory of these tests begins. */
const start = 1_000;
const near = (a: number, b: number): boolean => Math.abs(a - b) < 1e-6 * Math.max(1, Math.abs(b));

t.test('what one try costs', async (t) => {
  const e = Math.exp(-1);
  const later = start + latencyDecayMs;
  const cases: readonly (readonly [
    name: string,
    tell: (memory: LatencyMemory) => void,
    inFlight: number,
    now: number,
    cost: number,
  ])[] = [
    ['unknown and idle: to be tried', () => {}, 0, start, 0],
    ['unknown and under way: not by a crowd', () => {}, 1, start, 2 * assumedLatencyMs],
    ['known', (m) => m.answered(20, start), 0, start, 20],
    ['tries under way multiply', (m) => m.answered(20, start), 3, start, 80],
    ['idle: time makes it attractive', (m) => m.answered(20, start), 0, later, 20 * e],
    ['under way: time changes nothing', (m) => m.answered(20, start), 1, later, 40],
    [
      'a peak counts at once',
      (m) => {
        m.answered(20, start);
        m.answered(500, start + 1);
      },
      0,
      start + 1,
      500,
    ],
    [
      'fast answers count little by little',
      (m) => {
        m.answered(500, start);
        m.answered(20, later);
      },
      0,
      later,
      500 * e + 20 * (1 - e),
    ],
    ['the first answer replaces what was assumed', (m) => m.answered(3_000, start), 1, start, 6_000],
    ['a first failure', (m) => m.failed(1, start), 0, start, assumedLatencyMs + failurePenaltyMs],
    [
      'a fast failure makes nothing faster',
      (m) => {
        m.answered(20, start);
        m.failed(1, start);
      },
      0,
      start,
      20,
    ],
    [
      'failures count by their share of the time',
      (m) => {
        m.answered(20, start);
        m.failed(1, later);
      },
      0,
      later,
      20 + (1 - e) * failurePenaltyMs,
    ],
    [
      'a slow failure is a peak too',
      (m) => {
        m.answered(20, start);
        m.failed(900, start);
      },
      0,
      start,
      900,
    ],
    [
      'answers end the bad name of an endpoint little by little',
      (m) => {
        m.failed(1, start);
        m.answered(20, later);
      },
      1,
      later,
      2 * (20 + e * failurePenaltyMs),
    ],
    [
      'who gave up has waited at least so long',
      (m) => {
        m.answered(20, start);
        m.abandoned(300, start);
      },
      0,
      start,
      300,
    ],
    [
      'who gave up early says nothing',
      (m) => {
        m.answered(20, start);
        m.abandoned(1, later);
      },
      1,
      later,
      40,
    ],
    ['giving up early on an unknown one says nothing', (m) => m.abandoned(1, start), 0, start, 0],
  ];
  for (const [name, tell, inFlight, now, cost] of cases) {
    const memory = new LatencyMemory();
    tell(memory);
    t.ok(near(memory.cost(inFlight, now), cost), `${name}: ${memory.cost(inFlight, now)}, wanted ${cost}`);
  }
});

t.test('the cheaper of two is taken', async (t) => {
  const clock = fakeClock();
  const latencyOf = memories();
  const [fast, slow] = hosts(1, 1) as [Host, Host];
  latencyOf(fast).answered(10, clock.now());
  latencyOf(slow).answered(30, clock.now());
  const pick = peakEwma([fast, slow], { random: seededRandom(1), clock, latencyOf });
  for (let i = 0; i < 20; i++) t.equal(pick(), fast);
  fast.inFlight = 3;
  for (let i = 0; i < 20; i++) t.equal(pick(), slow, 'four times 10 ms are more than once 30 ms');
});

t.test('weights count for tries under way: what a large one has is less for it', async (t) => {
  const clock = fakeClock();
  const latencyOf = memories();
  const all = hosts(4, 1) as [Host, Host];
  for (const host of all) latencyOf(host).answered(10, clock.now());
  all[0].inFlight = 3;
  all[1].inFlight = 1;
  const got = shares(peakEwma(all, { random: seededRandom(1), clock, latencyOf }), all, 1_000);
  t.ok((got[0] as number) > 0.9, String(got));
});

t.test('an endpoint that starts slowly takes only its share', async (t) => {
  const clock = fakeClock();
  const all = hosts(1, 1, 1, 1);
  const factorOf = (host: Host): number => (host === all[0] ? 0.2 : 1);
  const pick = peakEwma(all, { random: seededRandom(1), clock, latencyOf: memories(), factorOf });
  const got = shares(pick, all, 40_000);
  t.ok((got[0] as number) > 0.04 && (got[0] as number) < 0.1, String(got));
});

/** Tries at a fixed rate for a while; what each host does is up to `serve`. Returns the shares of the second half. */
function simulate(
  all: readonly Host[],
  options: {
    readonly random: Random;
    readonly clock: FakeClock;
    readonly latencyOf: (host: Host) => LatencyMemory;
    readonly everyMs: number;
    readonly tries: number;
    readonly serve: (host: Host) => { readonly ms: number; readonly failed?: boolean };
  },
): readonly number[] {
  const { clock, latencyOf, everyMs, tries, serve } = options;
  const pick = peakEwma(all, options);
  const counts = new Map<Host, number>();
  for (let i = 0; i < tries; i++) {
    const host = pick() as Host;
    if (i >= tries / 2) counts.set(host, (counts.get(host) ?? 0) + 1);
    host.inFlight++;
    const { ms, failed } = serve(host);
    clock.after(ms, () => {
      host.inFlight--;
      if (failed === true) latencyOf(host).failed(ms, clock.now());
      else latencyOf(host).answered(ms, clock.now());
    });
    clock.advance(everyMs);
  }
  return all.map((host) => (counts.get(host) ?? 0) / (tries / 2));
}

t.test('a slow endpoint gets next to nothing (EP-18)', async (t) => {
  const all = hosts(1, 1, 1);
  const serve = (host: Host) => ({ ms: host === all[0] ? 1_000 : 10 });
  const world = { random: seededRandom(3), clock: fakeClock(), latencyOf: memories(), everyMs: 5, tries: 8_000, serve };
  const got = simulate(all, world);
  t.ok((got[0] as number) < 0.01, String(got));
});

t.test('fast refusals attract nothing: the share of such an endpoint falls, not rises (EP-21)', async (t) => {
  for (const everyMs of [1, 20, 500]) {
    const all = hosts(1, 1, 1);
    const serve = (host: Host) => (host === all[0] ? { ms: 1, failed: true } : { ms: 10 });
    const world = { random: seededRandom(4), clock: fakeClock(), latencyOf: memories(), everyMs, tries: 4_000, serve };
    const got = simulate(all, world);
    t.ok((got[0] as number) < 0.02, `a try every ${everyMs} ms: ${got}`);
  }
});

t.test('where everybody fails now and then the load stays even', async (t) => {
  const all = hosts(1, 1, 1, 1);
  const random = seededRandom(5);
  const serve = () => ({ ms: 10, failed: random() < 0.02 });
  const world = { random, clock: fakeClock(), latencyOf: memories(), everyMs: 2, tries: 20_000, serve };
  const got = simulate(all, world);
  t.ok(
    got.every((share) => Math.abs(share - 0.25) < 0.05),
    String(got),
  );
});

t.test('an endpoint that got well is found again', async (t) => {
  const all = hosts(1, 1, 1);
  const clock = fakeClock();
  let ill = true;
  const serve = (host: Host) => (host === all[0] && ill ? { ms: 1, failed: true } : { ms: 10 });
  const world = { random: seededRandom(6), clock, latencyOf: memories(), everyMs: 5, serve };
  simulate(all, { ...world, tries: 2_000 });
  ill = false;
  const got = simulate(all, { ...world, tries: 60_000 });
  t.ok((got[0] as number) > 0.25, String(got));
});

t.test('after a long silence no endpoint gets the whole crowd', async (t) => {
  const all = hosts(1, 1, 1);
  const clock = fakeClock();
  const latencyOf = memories();
  for (const host of all) {
    latencyOf(host).answered(10, clock.now());
    clock.advance(30_000);
  }
  clock.advance(600_000);
  const pick = peakEwma(all, { random: seededRandom(7), clock, latencyOf });
  for (let i = 0; i < 90; i++) (pick() as Host).inFlight++;
  for (const { inFlight } of all) t.ok(inFlight >= 25 && inFlight <= 35, String(all.map((host) => host.inFlight)));
});
