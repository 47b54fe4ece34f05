import fc from 'fast-check';
import t from 'tap';
import { defaultConnectionLimits } from '../../src/model/cluster.ts';
import {
  createRetryLimit,
  defaultRetryBudget,
  type RetryLimitPolicy,
  retryLimitPolicy,
} from '../../src/retry/limit.ts';
import { fakeClock } from '../support/fake-clock.ts';

const budget = (percent: number, minRetryConcurrency = 3, intervalMs = 0): RetryLimitPolicy => ({
  kind: 'budget',
  percent,
  minRetryConcurrency,
  intervalMs,
  reserve: 0,
});
/** How many retries may begin now. */
function places(policy: RetryLimitPolicy, underWay: number): number {
  const limit = createRetryLimit(policy, fakeClock(), () => underWay);
  let count = 0;
  while (count < 10_000 && limit.enter(true)) count++;
  return count;
}

t.test('which limit a cluster has', async (t) => {
  const limits = defaultConnectionLimits;
  const own = { percent: 50, intervalMs: 0, minRetryConcurrency: 1 };
  const few = { ...limits, maxRetries: 2 };
  t.same(retryLimitPolicy({ limits }, defaultRetryBudget), { kind: 'budget', ...defaultRetryBudget, reserve: 20 });
  t.same(retryLimitPolicy({ limits: few }, defaultRetryBudget), { kind: 'fixed', max: 2 });
  t.same(retryLimitPolicy({ limits: few, retryBudget: own }, defaultRetryBudget), {
    kind: 'budget',
    ...own,
    reserve: 0,
  });
  t.same(retryLimitPolicy({ limits }, 'unlimited'), { kind: 'fixed', max: Number.POSITIVE_INFINITY });
  t.same(retryLimitPolicy({ limits: few }, 'unlimited'), { kind: 'fixed', max: 2 });
});

t.test('a share of what is under way, rounded down, and never less than the floor', async (t) => {
  for (const [percent, min, underWay, wanted] of [
    [20, 3, 0, 3],
    [20, 3, 15, 3],
    [20, 3, 19, 3],
    [20, 3, 20, 4],
    [20, 3, 100, 20],
    [29, 1, 100, 29],
    [0, 3, 1_000, 3],
    [100, 0, 7, 7],
    [0.5, 1, 1_000, 5],
  ] as const) {
    t.equal(places(budget(percent, min), underWay), wanted, `${percent} % of ${underWay}, at least ${min}`);
  }
  t.equal(places({ kind: 'fixed', max: 4 }, 1_000), 4);
  t.equal(places({ kind: 'fixed', max: 0 }, 1_000), 0);
  t.equal(places({ kind: 'fixed', max: Number.POSITIVE_INFINITY }, 0), 10_000);
});

t.test('retries that were sent are under way, but are no reason for more of them', async (t) => {
  for (const [percent, most] of [
    [20, 4],
    [50, 10],
    [90, 18],
  ] as const) {
    let underWay = 20;
    const limit = createRetryLimit(budget(percent), fakeClock(), () => underWay);
    let begun = 0;
    for (; limit.enter(true) === 'counted' && begun < 100; begun++) {
      limit.sent();
      underWay++;
    }
    t.equal(begun, most, `${percent} % of 20, and not of ${underWay}`);
    limit.leave('counted');
    underWay--;
    t.equal(limit.enter(true), 'counted');
  }
});

t.test('a retry that waits has a place, and gives it back when its call ends', async (t) => {
  const limit = createRetryLimit({ kind: 'fixed', max: 1 }, fakeClock(), () => 0);
  t.equal(limit.enter(true), 'counted');
  t.equal(limit.enter(true), undefined);
  t.equal(limit.active, 1);
  limit.withdraw('counted');
  t.equal(limit.enter(true), 'counted');
  limit.sent();
  t.equal(limit.active, 1);
  limit.leave('counted');
  t.equal(limit.active, 0);
});

t.test('the default: good answers pay for retries beyond the share, one each, up to 20', async (t) => {
  const limits = defaultConnectionLimits;
  const limit = createRetryLimit(retryLimitPolicy({ limits }, defaultRetryBudget), fakeClock(), () => 0);
  const enter = (): string[] => {
    const places: string[] = [];
    for (let place = limit.enter(true); place !== undefined; place = limit.enter(true)) places.push(place);
    return places;
  };
  t.same(enter(), [...Array(3).fill('counted'), ...Array(20).fill('free')]);
  limit.good();
  limit.good();
  t.same(enter(), ['free', 'free']);
  for (let i = 0; i < 100; i++) limit.good();
  t.equal(enter().length, 20);
  t.equal(limit.active, 45);
  for (let i = 0; i < 45; i++) limit.withdraw(i < 3 ? 'counted' : 'free');
  t.equal(limit.active, 0);
  t.same(enter(), ['counted', 'counted', 'counted'], 'what was spent is spent');
});

t.test('the default: what no server has seen is tried again whatever the budget says', async (t) => {
  const limits = defaultConnectionLimits;
  const limit = createRetryLimit(retryLimitPolicy({ limits }, defaultRetryBudget), fakeClock(), () => 0);
  for (let i = 0; i < 1_000; i++) t.equal(limit.enter(false), 'free');
  t.equal(limit.enter(true), 'counted');
});

t.test('a budget or a number of the configuration is strict', async (t) => {
  for (const policy of [budget(20), { kind: 'fixed', max: 3 }] as const) {
    const limit = createRetryLimit(policy, fakeClock(), () => 0);
    for (let i = 0; i < 10; i++) limit.good();
    for (let i = 0; i < 3; i++) t.equal(limit.enter(false), 'counted');
    t.equal(limit.enter(false), undefined);
    t.equal(limit.enter(true), undefined);
  }
});

t.test('another policy: what is under way still counts', async (t) => {
  const limit = createRetryLimit({ kind: 'fixed', max: 5 }, fakeClock(), () => 0);
  for (let i = 0; i < 5; i++) limit.enter(true);
  limit.adopt(budget(20));
  t.equal(limit.active, 5);
  t.equal(limit.enter(true), undefined);
  limit.withdraw('counted');
  limit.withdraw('counted');
  t.equal(limit.enter(true), undefined);
  limit.withdraw('counted');
  t.equal(limit.enter(true), 'counted');
});

t.test('an interval: calls of the last while count, too', async (t) => {
  const clock = fakeClock();
  const limit = createRetryLimit(budget(20, 1, 10_000), clock, () => 0);
  t.ok(limit.counts);
  for (let i = 0; i < 50; i++) limit.began();
  for (let i = 0; i < 10; i++) t.equal(limit.enter(true), 'counted');
  t.equal(limit.enter(true), undefined);
  clock.advance(5_000);
  for (let i = 0; i < 50; i++) limit.began();
  for (let i = 0; i < 10; i++) t.equal(limit.enter(true), 'counted');
  t.equal(limit.enter(true), undefined);
  clock.advance(5_000);
  for (let i = 0; i < 20; i++) limit.withdraw('counted');
  for (let i = 0; i < 10; i++) t.equal(limit.enter(true), 'counted', 'the first half is forgotten');
  t.equal(limit.enter(true), undefined);
  clock.advance(1_000_000);
  for (let i = 0; i < 10; i++) limit.withdraw('counted');
  t.equal(limit.enter(true), 'counted');
  t.equal(limit.enter(true), undefined, 'all is forgotten');
  limit.adopt(budget(20));
  t.notOk(limit.counts);
});

t.test('property: never more retries than the floor or the share, and none is lost', async (t) => {
  const step = fc.constantFrom('call', 'end', 'enter', 'sent', 'leave', 'withdraw' as const);
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 100, noNaN: true }),
        fc.nat(5),
        fc.array(step, { maxLength: 400 }),
        (percent, floor, steps) => {
          let calls = 0;
          let waiting = 0;
          let sent = 0;
          const limit = createRetryLimit(budget(percent, floor), fakeClock(), () => calls + sent);
          for (const what of steps) {
            if (what === 'call') calls++;
            else if (what === 'end') calls = Math.max(0, calls - 1);
            else if (what === 'enter') {
              const most = Math.max(floor, Math.floor((percent * calls) / 100));
              const entered = limit.enter(true) === 'counted';
              if (entered !== waiting + sent < most) return false;
              if (entered) waiting++;
            } else if (what === 'sent' && waiting > 0) {
              limit.sent();
              waiting--;
              sent++;
            } else if (what === 'leave' && sent > 0) {
              limit.leave('counted');
              sent--;
            } else if (what === 'withdraw' && waiting > 0) {
              limit.withdraw('counted');
              waiting--;
            }
            if (limit.active !== waiting + sent) return false;
          }
          return true;
        },
      ),
      { seed: 7, numRuns: 500 },
    ),
  );
});

t.test('property: in a lasting outage no more than 1.2 times the calls arrive, whatever the load', async (t) => {
  t.doesNotThrow(() =>
    fc.assert(
      // Enough load that the share and not the floor counts; every try takes one step and fails.
      fc.property(fc.integer({ min: 100, max: 400 }), fc.integer({ min: 1, max: 5 }), (perStep, attempts) => {
        let underWay = 0;
        const limit = createRetryLimit(budget(20), fakeClock(), () => underWay);
        let first = 0;
        let retries = 0;
        let running: { tries: number }[] = [];
        for (let step = 0; step < 200; step++) {
          const next: { tries: number }[] = Array.from({ length: perStep }, () => ({ tries: 1 }));
          first += perStep;
          for (const call of running) {
            if (call.tries > 1) limit.leave('counted');
            if (call.tries <= attempts && limit.enter(true)) {
              limit.sent();
              retries++;
              next.push({ tries: call.tries + 1 });
              underWay++;
            }
            underWay--;
          }
          underWay += perStep;
          running = next;
        }
        return (first + retries) / first <= 1.2;
      }),
      { seed: 7, numRuns: 100 },
    ),
  );
});
