import t from 'tap';
import { seededRandom } from '../../src/lib/random.ts';
import type { AdaptivePolicy } from '../../src/model/overload.ts';
import { GradientController } from '../../src/overload/gradient.ts';
import { LatencyHistogram } from '../../src/overload/latency-histogram.ts';

const policy: AdaptivePolicy = {
  samplePercentile: 50,
  updateIntervalMs: 100,
  maxLimit: 1_000,
  minRttIntervalMs: 60_000,
  minRttRequests: 50,
  jitterPercent: 0,
  minConcurrency: 3,
  bufferPercent: 25,
};

function made(own: Partial<AdaptivePolicy> = {}, random = () => 0) {
  let now = 1_000;
  const controller = new GradientController({ ...policy, ...own }, random, now);
  /** So many answers, each after `latencyMs`, at the same moment. */
  const answers = (count: number, latencyMs: number): void => {
    now += latencyMs;
    for (let i = 0; i < count; i++) controller.record(now - latencyMs, now);
  };
  const window = (count: number, latencyMs: number): number => {
    answers(count, latencyMs);
    now += 100;
    return controller.limit(now);
  };
  return { controller, answers, window, at: () => now, pass: (ms: number) => (now += ms) };
}

/** Steps of 4.4 %. */
const near = (value: number, wanted: number): boolean => Math.abs(value - wanted) <= wanted * 0.045;

t.test('it begins by measuring, with few requests at once, until it has seen enough', async (t) => {
  const { answers, at, controller } = made();
  t.equal(controller.limit(at()), 3);
  answers(49, 10);
  t.ok(controller.state.measuring);
  answers(1, 10);
  t.notOk(controller.state.measuring);
  t.ok(near(controller.state.minRttMs, 10), `${controller.state.minRttMs}`);
});

t.test('while latency stays as without load the limit grows by the root of itself', async (t) => {
  const { answers, window } = made({ bufferPercent: 0 });
  answers(50, 10);
  const limits = Array.from({ length: 5 }, () => window(10, 10));
  // 3 → 3 + √3 → …
  t.same(limits, [4, 6, 8, 10, 13]);
});

t.test('up to the buffer a higher latency is as good; above it the limit shrinks in proportion', async (t) => {
  const { answers, controller, window } = made();
  answers(50, 10);
  while (window(10, 10) < 1_000);
  t.equal(window(10, 12), 1_000, 'grows still, up to the highest limit');
  const shrunk = window(10, 25);
  // gradient 12.5 / 25 = 0.5: 500 + √500
  t.ok(near(shrunk, 522), `${shrunk}`);
  t.ok(near(controller.state.gradient, 0.5));
});

t.test('one window never changes it by more than half, or double, and the root', async (t) => {
  const { answers, window } = made({ maxLimit: 1_000_000 });
  answers(50, 10);
  let before = 3;
  for (let i = 0; i < 12; i++) {
    const limit = window(10, 1);
    t.ok(limit <= before * 2 + Math.sqrt(before * 2), `${before} → ${limit}`);
    before = limit;
  }
  const after = window(10, 1_000);
  t.ok(after >= before * 0.5, `${before} → ${after}`);
});

t.test('it never leaves the two limits', async (t) => {
  const { answers, window } = made({ maxLimit: 20 });
  answers(50, 10);
  for (let i = 0; i < 20; i++) t.ok(window(10, 5) <= 20);
  for (let i = 0; i < 4; i++) t.ok(window(10, 1_000) >= 3);
});

t.test('a window without answers changes nothing', async (t) => {
  const { answers, at, controller, pass, window } = made();
  answers(50, 10);
  const limit = window(10, 10);
  pass(5_000);
  t.equal(controller.limit(at()), limit);
});

t.test('it measures again after the interval, with few requests at once, and goes on from where it was', async (t) => {
  const { answers, at, controller, pass, window } = made();
  answers(50, 10);
  for (let i = 0; i < 10; i++) window(10, 10);
  const limit = controller.limit(at());
  pass(60_000);
  t.equal(controller.limit(at()), 3);
  answers(50, 20);
  t.ok(near(controller.state.minRttMs, 20));
  t.equal(controller.limit(at()), limit);
});

t.test('answers to requests from before a measurement are no part of it', async (t) => {
  const { at, controller, answers, pass } = made();
  answers(50, 10);
  pass(60_000);
  const before = at();
  pass(1);
  controller.limit(at());
  pass(500);
  for (let i = 0; i < 100; i++) controller.record(before, at());
  t.ok(controller.state.measuring);
  t.ok(near(controller.state.minRttMs, 10));
});

t.test('the measurement begins later by up to the jitter', async (t) => {
  for (const [random, at] of [
    [0, 60_000],
    [0.5, 63_000],
    [0.999_999, 66_000],
  ] as const) {
    const { answers, at: now, controller, pass } = made({ jitterPercent: 10 }, () => random);
    answers(50, 10);
    pass(at - 10);
    controller.limit(now());
    t.notOk(controller.state.measuring, `${random}: not before`);
    pass(10);
    controller.limit(now());
    t.ok(controller.state.measuring, `${random}: after ${at} ms`);
  }
});

t.test('five windows at the lowest limit: what was measured may be wrong, and is measured again', async (t) => {
  const { answers, controller, window } = made();
  answers(50, 1);
  // gradient 0.5: 3 · 0.5 + √1.5 is less than 3
  for (let i = 0; i < 4; i++) {
    window(10, 100);
    t.notOk(controller.state.measuring, `window ${i + 1}`);
  }
  window(10, 100);
  t.ok(controller.state.measuring);
  answers(50, 100);
  t.ok(near(controller.state.minRttMs, 100));
});

t.test('with a lowest limit of its own it is not lowered to measure', async (t) => {
  const { answers, at, controller, pass, window } = made({ minLimit: 25, minConcurrency: 50 });
  t.equal(controller.limit(at()), 50);
  answers(50, 10);
  for (let i = 0; i < 10; i++) window(10, 10);
  const limit = controller.limit(at());
  pass(60_000);
  t.equal(controller.limit(at()), limit);
  t.ok(controller.state.measuring);
  answers(50, 10);
  for (let i = 0; i < 20; i++) window(10, 1_000);
  t.ok(controller.limit(at()) >= 25);
});

t.test('the percentile decides what a window is', async (t) => {
  for (const [samplePercentile, expected] of [
    [50, 10],
    [90, 100],
  ] as const) {
    const { controller, answers } = made({ samplePercentile, minRttRequests: 100 });
    answers(80, 10);
    answers(20, 100);
    t.ok(near(controller.state.minRttMs, expected), `p${samplePercentile}: ${controller.state.minRttMs}`);
  }
});

t.test('a changed policy goes on from the limit that there is', async (t) => {
  const { answers, at, controller, window } = made();
  answers(50, 10);
  for (let i = 0; i < 20; i++) window(10, 10);
  t.ok(controller.limit(at()) > 40);
  controller.adopt({ ...policy, maxLimit: 40 });
  t.equal(controller.limit(at()), 40);
});

t.test('percentiles of latencies: within a step of the exact ones', async (t) => {
  const random = seededRandom(3);
  const histogram = new LatencyHistogram();
  t.equal(histogram.percentile(50), 0);
  const all = Array.from({ length: 10_000 }, () => 10 ** (random() * 5 - 2)).sort((a, b) => a - b);
  for (const each of all) histogram.record(each);
  for (const percent of [1, 10, 50, 90, 99, 99.9]) {
    const exact = all[Math.ceil((percent / 100) * all.length) - 1] as number;
    t.ok(near(histogram.percentile(percent), exact), `p${percent}: ${histogram.percentile(percent)} for ${exact}`);
  }
  histogram.record(0);
  histogram.record(1e12);
  t.equal(histogram.total, 10_002);
  histogram.clear();
  t.same([histogram.total, histogram.percentile(99)], [0, 0]);
});

/** A server that answers in 10 ms up to 40 requests at once, and in proportion later above that. */
t.test('against a server with a capacity of 40 it settles near that capacity', async (t) => {
  const { controller, answers, at, pass } = made({ minRttIntervalMs: 1e9 });
  answers(50, 10);
  const limits: number[] = [];
  for (let round = 0; round < 200; round++) {
    const limit = controller.limit(at());
    const latency = 10 * Math.max(1, limit / 40);
    pass(latency);
    for (let i = 0; i < limit; i++) controller.record(at() - latency, at());
    pass(100);
    if (round >= 100) limits.push(limit);
  }
  // The buffer of 25 % lets it go above, and the root of the limit a little further.
  t.ok(Math.min(...limits) >= 40, `${Math.min(...limits)}`);
  t.ok(Math.max(...limits) <= 70, `${Math.max(...limits)}`);
});
