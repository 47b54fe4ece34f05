import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { Breaker, type BreakerState, reconcileBreaker, refused } from '../../src/breaker/breaker.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { type BreakerPolicy, defaultBreakerPolicy } from '../../src/model/breaker.ts';
import { fakeClock } from '../support/fake-clock.ts';

const policy: BreakerPolicy = {
  ...defaultBreakerPolicy,
  volumeThreshold: 10,
  resetTimeoutMs: 30_000,
  trialTimeoutMs: 5_000,
};

function made(own: Partial<BreakerPolicy> = {}) {
  const clock = fakeClock();
  const states: BreakerState[] = [];
  const breaker = new Breaker({ ...policy, ...own }, { clock, changed: ({ state }) => void states.push(state) });
  const call = (outcome: 'success' | 'failure' | 'neutral'): boolean => {
    const ticket = breaker.admit();
    breaker.settle(ticket, outcome);
    return ticket !== refused;
  };
  const calls = (successes: number, failures: number): void => {
    for (let i = 0; i < successes; i++) call('success');
    for (let i = 0; i < failures; i++) call('failure');
  };
  return { breaker, call, calls, clock, states };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

t.test('opens when more than the threshold of a window with enough calls has failed', async (t) => {
  const cases = [
    { name: 'fewer calls than the volume threshold', successes: 0, failures: 9, state: 'closed' },
    { name: 'as many calls as the volume threshold', successes: 0, failures: 10, state: 'open' },
    { name: 'just the threshold', successes: 10, failures: 10, state: 'closed' },
    { name: 'one above the threshold', successes: 10, failures: 11, state: 'open' },
    { name: 'a lower threshold', successes: 90, failures: 11, state: 'open', own: { errorThresholdPercentage: 10 } },
    {
      name: 'threshold 0: any failure',
      successes: 90,
      failures: 1,
      state: 'open',
      own: { errorThresholdPercentage: 0 },
    },
    {
      name: 'threshold 99: all failed',
      successes: 0,
      failures: 10,
      state: 'open',
      own: { errorThresholdPercentage: 99 },
    },
  ] as const;
  for (const { name, successes, failures, state, ...more } of cases) {
    const { breaker, calls } = made('own' in more ? more.own : {});
    calls(successes, failures);
    t.equal(breaker.state, state, name);
  }
});

t.test('a failure is needed to open: successes only never do', async (t) => {
  const { breaker, calls } = made({ volumeThreshold: 0 });
  calls(1_000, 0);
  t.equal(breaker.state, 'closed');
});

t.test('what is older than the window does not count', async (t) => {
  const { breaker, calls, clock } = made();
  calls(0, 9);
  clock.advance(10_000);
  calls(0, 9);
  t.equal(breaker.state, 'closed');
  t.same(breaker.counts(), { calls: 9, failures: 9 });
  clock.advance(5_000);
  calls(0, 1);
  t.equal(breaker.state, 'open', 'the rest of the window does');
});

t.test('neutral outcomes do not count at all', async (t) => {
  const { breaker, call, calls } = made();
  for (let i = 0; i < 100; i++) call('neutral');
  t.same(breaker.counts(), { calls: 0, failures: 0 });
  calls(0, 9);
  for (let i = 0; i < 100; i++) call('neutral');
  t.equal(breaker.state, 'closed');
});

t.test('open: refuses all, and counts them', async (t) => {
  const { breaker, call, calls, clock } = made();
  calls(0, 10);
  clock.advance(29_999);
  for (let i = 0; i < 5; i++) t.notOk(call('success'));
  t.equal(breaker.state, 'open');
  t.same([breaker.openings, breaker.refusals], [1, 5]);
});

t.test('tells of each change of state', async (t) => {
  const { call, calls, clock, states } = made();
  calls(0, 10);
  clock.advance(30_000);
  call('failure');
  clock.advance(30_000);
  call('success');
  t.same(states, ['open', 'halfOpen', 'open', 'halfOpen', 'closed']);
});

t.test('after a good trial it begins anew: what was before the opening is forgotten', async (t) => {
  const { breaker, call, calls, clock } = made({ rollingWindowMs: 600_000 });
  calls(0, 10);
  clock.advance(30_000);
  call('success');
  t.same(breaker.counts(), { calls: 1, failures: 0 });
  calls(8, 2);
  t.equal(breaker.state, 'closed');
});

t.test('half-open: exactly one trial of 1,000 concurrent calls, 1,000 times', async (t) => {
  const { breaker, calls, clock } = made();
  const random = seededRandom(7);
  calls(0, 10);
  let wrong = 0;
  let good = 0;
  for (let run = 0; run < 1_000; run++) {
    clock.advance(30_000);
    const tickets: number[] = [];
    for (let i = 0; i < 1_000; i++) tickets.push(breaker.admit());
    const trials = tickets.filter((ticket) => ticket !== refused);
    if (trials.length !== 1) wrong++;
    const succeeds = random() < 0.5;
    breaker.settle(trials[0] as number, succeeds ? 'success' : 'failure');
    if (breaker.state !== (succeeds ? 'closed' : 'open')) wrong++;
    if (succeeds) {
      good++;
      calls(0, 20);
    }
  }
  t.equal(wrong, 0);
  t.ok(good > 400 && good < 600, 'trials of both kinds');
  breaker.close();
});

t.test('only the trial decides', async (t) => {
  t.test('a slow success from before the opening does not close it', async (t) => {
    const { breaker, calls, clock } = made();
    const slow = breaker.admit();
    calls(0, 10);
    breaker.settle(slow, 'success');
    t.equal(breaker.state, 'open', 'nor while it is open');
    const slower = slow;
    clock.advance(30_000);
    breaker.settle(slower, 'success');
    t.equal(breaker.state, 'halfOpen', 'before there is a trial');
    const trial = breaker.admit();
    breaker.settle(slower, 'success');
    breaker.settle(slower, 'failure');
    t.equal(breaker.state, 'halfOpen', 'while the trial runs');
    breaker.settle(trial, 'success');
    t.equal(breaker.state, 'closed');
  });
  t.test('slow failures from before do not open it again', async (t) => {
    const { breaker, call, calls, clock } = made({ volumeThreshold: 1 });
    const slow = Array.from({ length: 100 }, () => breaker.admit());
    calls(0, 10);
    clock.advance(30_000);
    call('success');
    for (const ticket of slow) breaker.settle(ticket, 'failure');
    t.equal(breaker.state, 'closed');
    t.same(breaker.counts(), { calls: 1, failures: 0 });
  });
  t.test('a trial of an earlier half-open period decides nothing about the present one', async (t) => {
    const { breaker, calls, clock } = made();
    calls(0, 10);
    clock.advance(30_000);
    const first = breaker.admit();
    await clock.advanceAsync(5_000);
    await settled();
    t.equal(breaker.state, 'open', 'its time ran out');
    clock.advance(30_000);
    breaker.admit();
    breaker.settle(first, 'success');
    t.equal(breaker.state, 'halfOpen');
  });
  t.test('a trial that says nothing gives its place to the next call', async (t) => {
    const { breaker, call, calls, clock } = made();
    calls(0, 10);
    clock.advance(30_000);
    const given = breaker.admit();
    breaker.settle(given, 'neutral');
    t.equal(breaker.state, 'halfOpen');
    const trial = breaker.admit();
    t.not(trial, refused);
    breaker.settle(given, 'success');
    t.equal(breaker.state, 'halfOpen', 'and no longer decides');
    t.notOk(call('success'), 'one trial at a time');
    breaker.settle(trial, 'success');
    t.equal(breaker.state, 'closed');
  });
});

t.test('a trial that never ends fails after its own time, and the breaker recovers', async (t) => {
  const { breaker, call, calls, clock, states } = made();
  calls(0, 10);
  clock.advance(30_000);
  t.not(breaker.admit(), refused);
  clock.advance(4_999);
  await settled();
  t.equal(breaker.state, 'halfOpen');
  clock.advance(1);
  await settled();
  t.equal(breaker.state, 'open');
  clock.advance(30_000);
  t.ok(call('success'), 'the next trial comes after the reset timeout');
  t.equal(breaker.state, 'closed');
  t.same(states, ['open', 'halfOpen', 'open', 'halfOpen', 'closed']);
  t.equal(clock.pending(), 0);
});

t.test('one call that fails does nothing to those beside it', async (t) => {
  const { breaker } = made();
  const tickets = Array.from({ length: 1_000 }, () => breaker.admit());
  breaker.settle(tickets[500] as number, 'failure');
  t.equal(breaker.state, 'closed');
  for (const [i, ticket] of tickets.entries()) if (i !== 500) breaker.settle(ticket, 'success');
  t.same(breaker.counts(), { calls: 1_000, failures: 1 }, 'all of them count as what they were');
});

t.test('a timer that comes late does not keep it open', async (t) => {
  let now = 0;
  const clock = { ...fakeClock(), now: () => now };
  const breaker = new Breaker(policy, { clock, changed: () => {} });
  for (let i = 0; i < 10; i++) breaker.settle(breaker.admit(), 'failure');
  now += 30_000;
  t.not(breaker.admit(), refused);
  t.equal(breaker.state, 'halfOpen');
});

t.test('timers: none while closed, one while open or in a trial, none afterwards', async (t) => {
  const { breaker, calls, clock } = made();
  calls(5, 2);
  t.equal(clock.pending(), 0);
  calls(0, 10);
  t.equal(clock.pending(), 1);
  clock.advance(30_000);
  t.equal(clock.pending(), 0, 'half-open waits for a call');
  breaker.admit();
  t.equal(clock.pending(), 1);
  breaker.close();
  t.equal(clock.pending(), 0);
});

t.test('10,000 breakers that were made, opened and dropped leave no timer', async (t) => {
  const timers = (): number => process.getActiveResourcesInfo().filter((each) => each === 'Timeout').length;
  const before = timers();
  const all = Array.from({ length: 10_000 }, () => new Breaker(policy, { clock: systemClock, changed: () => {} }));
  t.equal(timers(), before, 'closed ones have none');
  for (const breaker of all) for (let i = 0; i < 10; i++) breaker.settle(breaker.admit(), 'failure');
  t.ok(all.every(({ state }) => state === 'open'));
  for (const breaker of all) breaker.close();
  t.equal(timers(), before);
});

t.test('a closed-down breaker holds nobody up', async (t) => {
  const { breaker, call, calls } = made();
  calls(0, 10);
  const late = breaker.admit();
  breaker.close();
  breaker.settle(late, 'failure');
  t.ok(call('failure'));
});

t.test('reconciling', async (t) => {
  t.test('the same policy: the same breaker, untouched', async (t) => {
    const { breaker, calls, clock } = made();
    calls(0, 10);
    const dependencies = { clock, changed: () => {} };
    t.equal(reconcileBreaker(breaker, structuredClone(breaker.policy), dependencies), breaker);
    t.equal(breaker.state, 'open');
  });
  t.test('a changed threshold holds for what is counted already', async (t) => {
    const { breaker, calls, clock } = made();
    calls(6, 4);
    reconcileBreaker(breaker, { ...breaker.policy, errorThresholdPercentage: 20 }, { clock, changed: () => {} });
    t.same(breaker.counts(), { calls: 10, failures: 4 });
    calls(0, 1);
    t.equal(breaker.state, 'open');
  });
  t.test('a changed reset timeout holds for an opening that was before', async (t) => {
    const { breaker, calls, clock } = made();
    calls(0, 10);
    clock.advance(10_000);
    breaker.adopt({ ...breaker.policy, resetTimeoutMs: 15_000 });
    clock.advance(4_999);
    t.equal(breaker.state, 'open');
    clock.advance(1);
    t.equal(breaker.state, 'halfOpen');
  });
  t.test('a trial under way goes on', async (t) => {
    const { breaker, calls, clock } = made();
    calls(0, 10);
    clock.advance(30_000);
    const trial = breaker.admit();
    breaker.adopt({ ...breaker.policy, volumeThreshold: 3 });
    t.equal(breaker.admit(), refused);
    breaker.settle(trial, 'success');
    t.equal(breaker.state, 'closed');
    t.same(breaker.counts(), { calls: 1, failures: 0 });
    calls(0, 2);
    t.equal(breaker.state, 'open', 'and the changed policy holds from then on');
  });
  t.test('no policy: no breaker, and no timer of it', async (t) => {
    const { breaker, calls, clock } = made();
    calls(0, 10);
    t.equal(reconcileBreaker(breaker, undefined, { clock, changed: () => {} }), undefined);
    t.equal(clock.pending(), 0);
  });
});

t.test('nothing is kept of a call: the heap does not grow with their number', async (t) => {
  const { breaker } = made({ rollingWindowMs: 3_600_000 });
  for (let i = 0; i < 10_000; i++) breaker.settle(breaker.admit(), i % 3 === 0 ? 'failure' : 'success');
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const measure = (): number => {
    gc();
    return process.memoryUsage().heapUsed;
  };
  const before = measure();
  for (let i = 0; i < 300_000; i++) {
    breaker.settle(breaker.admit(), i % 3 === 0 ? 'failure' : 'success');
    // What a failure leaves to a microtask is done before the next calls.
    if (i % 1_000 === 0) await settled();
  }
  const grown = measure() - before;
  t.equal(breaker.counts().calls, 310_000);
  t.ok(grown < 1_000_000, `a number for each call would be 2.4 MB; grown by ${grown} bytes`);
  breaker.close();
});
