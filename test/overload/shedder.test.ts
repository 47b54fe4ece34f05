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
    t.same([101, 200, 1_000].map(after), [0.101, 0.301, 0.501]);
    t.same([100, 75, 50].map(after), [0.501, 0.501, 0.501], 'hysteresis');
    t.same([49, 0].map(after), [0.451, 0.401]);
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
      samples(1_000);
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
  samples(1_000, 1_000);
  const { 0: urgent = 0 } = shares({ 0: 10_000 });
  t.ok(urgent < 1, 'the most urgent are not turned away altogether');
});

t.test('a changed policy holds at once', async (t) => {
  const { samples, shedder } = made();
  samples(1_000, 1_000, 1_000);
  shedder.adopt({ ...policy, maxShedPercent: 10 });
  t.equal(shedder.state.share, 0.1);
});
