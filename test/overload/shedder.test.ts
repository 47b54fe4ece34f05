import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import type { EventLoopPolicy } from '../../src/model/overload.ts';
import { Shedder } from '../../src/overload/shedder.ts';

const policy: EventLoopPolicy = { maxDelayMs: 100, resumeDelayMs: 50, maxShedPercent: 95 };

function made(own: Partial<EventLoopPolicy> = {}) {
  const shedder = new Shedder({ ...policy, ...own }, seededRandom(5));
  /** The share of 10,000 requests, by urgency, that is turned away. */
  const shares = (mix: Readonly<Record<number, number>>): Readonly<Record<number, number>> => {
    const result: Record<number, number> = {};
    for (const [urgency, count] of Object.entries(mix)) {
      let shed = 0;
      for (let i = 0; i < count; i++) if (shedder.sheds(Number(urgency))) shed++;
      result[Number(urgency)] = shed / count;
    }
    return result;
  };
  const samples = (...delays: number[]): void => {
    for (const each of delays) shedder.sample(each);
  };
  return { shedder, shares, samples };
}

t.test('nothing is turned away as long as the event loop is in time', async (t) => {
  const { samples, shares } = made();
  samples(0, 10, 99, 100);
  t.same(shares({ 3: 1_000, 7: 1_000 }), { 3: 0, 7: 0 });
});

t.test(
  'the share grows while it is late, stays between the two delays, and goes back below the lower one',
  async (t) => {
    const { samples, shedder } = made();
    const after = (delay: number): number => {
      samples(delay);
      return shedder.state.share;
    };
    t.same([101, 200, 300].map(after), [0.101, 0.301, 0.601], 'in proportion to the delay');
    t.same([100, 75, 50].map(after), [0.601, 0.601, 0.601], 'hysteresis');
    t.same([25, 0].map(after), [0.561, 0.481]);
    for (let i = 0; i < 20; i++) after(0);
    t.equal(shedder.state.share, 0);
  },
);

t.test('never more than the highest share', async (t) => {
  const { samples, shares, shedder } = made({ maxShedPercent: 60 });
  for (let i = 0; i < 50; i++) {
    shares({ 3: 100 });
    samples(5_000);
  }
  t.equal(shedder.state.share, 0.6);
  const { 3: share = 0 } = shares({ 3: 10_000 });
  t.ok(Math.abs(share - 0.6) < 0.02, `${share}`);
});

t.test('the share is that of all requests, from the least urgent on', async (t) => {
  const cases = [
    { name: 'all alike', share: 0.301, mix: { 3: 10_000 }, expected: { 3: 0.301 } },
    {
      name: 'the least urgent alone',
      share: 0.301,
      mix: { 1: 4_000, 3: 2_000, 7: 4_000 },
      expected: { 1: 0, 3: 0, 7: 0.7525 },
    },
    {
      name: 'the least urgent and a part of the next',
      share: 0.501,
      mix: { 1: 4_000, 3: 4_000, 7: 2_000 },
      expected: { 1: 0, 3: 0.7525, 7: 1 },
    },
    {
      name: 'in the end the urgent ones too',
      share: 0.901,
      mix: { 0: 5_000, 3: 5_000 },
      expected: { 0: 0.802, 3: 1 },
    },
  ];
  for (const { expected, mix, name, share } of cases) {
    const { samples, shares, shedder } = made();
    samples(101);
    while (shedder.state.share < share) {
      shares(mix);
      samples(200);
    }
    t.equal(shedder.state.share, share, name);
    const given = shares(mix);
    for (const [urgency, wanted] of Object.entries(expected)) {
      const got = given[Number(urgency)] as number;
      t.ok(Math.abs(got - wanted) < 0.03, `${name}, urgency ${urgency}: ${got} for ${wanted}`);
    }
  }
});

t.test('without requests in the last interval all are treated alike', async (t) => {
  const { samples, shares } = made();
  samples(300, 300);
  const { 0: urgent = 0 } = shares({ 0: 10_000 });
  t.ok(urgent < 1, 'the most urgent are not turned away altogether');
});

t.test('a changed policy holds at once', async (t) => {
  const { samples, shedder } = made();
  samples(1_000, 1_000, 1_000);
  shedder.adopt({ ...policy, maxShedPercent: 10 });
  t.equal(shedder.state.share, 0.1);
});

t.test('one long stall does not turn everybody away', async (t) => {
  const { samples, shedder } = made();
  samples(10_000);
  t.equal(shedder.state.share, 0.4);
});

/**
 * A process that does one thing at a time: requests that came while it was busy are taken together, and
 * timers fire between. Each takes 5 ms, one that is turned away 0.1 ms.
 */
function simulate(ratePerSecond: number, shedder: Shedder | undefined) {
  const random = seededRandom(1);
  const latencies: number[] = [];
  let [now, next, timerDue] = [0, 0, 100];
  const from = 5_000;
  const until = 35_000;
  while (now < until) {
    if (now >= timerDue) {
      shedder?.sample(now - timerDue);
      timerDue = now + 100;
    }
    const arrived: number[] = [];
    for (; next <= now; next += (-Math.log(1 - random()) * 1_000) / ratePerSecond) arrived.push(next);
    if (arrived.length === 0) now = Math.min(next, timerDue);
    for (const at of arrived) {
      if (shedder?.sheds(3) === true) now += 0.1;
      else {
        now += 5;
        if (at > from) latencies.push(now - at);
      }
    }
  }
  latencies.sort((a, b) => a - b);
  const good = latencies.filter((each) => each <= 1_000).length;
  return { good: good / ((until - from) / 1_000), p99: latencies[Math.floor(latencies.length * 0.99)] ?? 0 };
}

t.test('a process that can do 200 requests a second goes on doing nearly that under any load', async (t) => {
  const policyOf = { maxDelayMs: 50, resumeDelayMs: 25, maxShedPercent: 95 };
  t.ok(simulate(300, undefined).good < 5, 'without, nobody gets an answer within a second');
  for (const [rate, least] of [
    [150, 148],
    [220, 185],
    [300, 180],
    [600, 170],
    [1_200, 155],
  ] as const) {
    const { good, p99 } = simulate(rate, new Shedder(policyOf, seededRandom(2)));
    t.ok(good >= least, `${rate} a second: ${good.toFixed(0)} good answers`);
    t.ok(p99 < 300, `${rate} a second: p99 ${p99.toFixed(0)} ms`);
  }
});
