import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { createHealthChecker, newHealthStats } from '../../src/health/checker.ts';
import { createGate } from '../../src/health/gate.ts';
import { type HealthHost, type HealthResult, uncheckedHost } from '../../src/health/host.ts';
import { seededRandom } from '../../src/lib/random.ts';
import type { HealthCheckPolicy } from '../../src/model/health-check.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { healthPolicy } from '../support/health-policy.ts';

interface Subject {
  readonly name: string;
  health: HealthHost;
}
const pass: HealthResult = { kind: 'pass' };
const reset: HealthResult = { kind: 'fail', reason: 'network', problem: 'reset' };

/** Questions stay open until the test answers them. */
function setup(changes: Partial<HealthCheckPolicy> = {}, places = 100) {
  const clock = fakeClock();
  const policy = healthPolicy(changes);
  const open = new Map<string, (result: HealthResult) => void>();
  const log: string[] = [];
  const stats = newHealthStats();
  let most = 0;
  const asked: (() => void)[] = [];
  const checker = createHealthChecker<Subject>({
    policy,
    clock,
    random: seededRandom(1),
    gate: createGate(places),
    stats,
    probe: ({ name }) => ({
      ask(done) {
        if (open.has(name)) throw new Error(`${name} is asked twice at once`);
        open.set(name, done);
        for (const each of asked) each();
        most = Math.max(most, open.size);
        return () => {
          if (open.delete(name)) log.push(`stop ${name}`);
        };
      },
      renew: () => void log.push(`renew ${name}`),
      close: () => void log.push(`close ${name}`),
    }),
    settled: ({ name, health }, passed, changed) => {
      if (changed) log.push(`${name} ${health.healthy ? 'in' : 'out'}`);
      else log.push(`${name} ${passed ? 'pass' : 'fail'}`);
    },
  });
  const add = (name: string): Subject => {
    const subject: Subject = { name, health: uncheckedHost(policy) };
    checker.add(subject);
    return subject;
  };
  const answer = (name: string, result: HealthResult = pass): void => {
    const done = open.get(name);
    open.delete(name);
    done?.(result);
  };
  const take = (): string[] => log.splice(0);
  return { add, answer, asked, checker, clock, most: () => most, open, stats, take };
}

t.test('the first check is at once, the next an interval after the result', async (t) => {
  const { add, answer, clock, open, stats, take } = setup();
  add('a');
  t.ok(open.has('a'));
  clock.advance(500);
  answer('a');
  t.same(take(), ['a in']);
  clock.advance(999);
  t.notOk(open.has('a'));
  clock.advance(1);
  t.ok(open.has('a'));
  answer('a', reset);
  t.same(take(), ['a out']);
  t.match(stats, { attempt: 2, success: 1, failure: 1, networkFailure: 1, passiveFailure: 0 });
});

t.test('no answer in time is silence; the question is taken back', async (t) => {
  const { add, answer, clock, stats, take } = setup({ timeoutMs: 200 });
  add('a');
  answer('a');
  take();
  clock.advance(1_200);
  await nextTurn();
  t.same(take(), ['stop a', 'a out']);
  t.equal(stats.networkFailure, 1);
  answer('a');
  t.same(take(), [], 'an answer that is too late is none');
});

t.test('an answer that arrived in time counts, however late the process looks', async (t) => {
  const { add, answer, clock, take } = setup({ timeoutMs: 200 });
  add('a');
  clock.advance(1_000);
  answer('a');
  await nextTurn();
  t.same(take(), ['a in']);
});

t.test('an endpoint that is removed is asked no more, and its place is free', async (t) => {
  const { add, answer, checker, clock, open, take } = setup({}, 1);
  const a = add('a');
  add('b');
  t.same([...open.keys()], ['a'], 'one at a time');
  t.equal(checker.unchecked, 2);
  checker.remove(a);
  t.same(take(), ['stop a', 'close a']);
  t.same([...open.keys()], ['b']);
  t.equal(checker.unchecked, 1);
  answer('b');
  t.equal(checker.unchecked, 0);
  checker.remove(a);
  checker.close();
  t.same(take(), ['b in', 'close b']);
  t.equal(clock.pending(), 0);
});

t.test('one that waits in line can be removed', async (t) => {
  const { add, answer, checker, open } = setup({}, 1);
  add('a');
  const b = add('b');
  add('c');
  checker.remove(b);
  answer('a');
  t.same([...open.keys()], ['c']);
});

t.test('a thousand endpoints: never more at once than there are places, and spread later on', async (t) => {
  const { add, answer, clock, most, open } = setup({ intervalMs: 10_000, intervalJitterPercent: 50 }, 64);
  for (let i = 0; i < 1_000; i++) add(`e${i}`);
  t.equal(open.size, 64);
  while (open.size > 0) answer([...open.keys()][0] as string);
  let busiest = 0;
  for (let ms = 0; ms < 20_000; ms += 100) {
    clock.advance(100);
    busiest = Math.max(busiest, open.size);
    for (const name of [...open.keys()]) answer(name);
  }
  t.equal(most(), 64);
  t.ok(busiest < 64, `${busiest} of a thousand in 100 ms`);
});

t.test('an initial jitter spreads the first checks', async (t) => {
  const { add, clock, open } = setup({ initialJitterMs: 1_000 });
  for (let i = 0; i < 50; i++) add(`e${i}`);
  t.equal(open.size, 0);
  clock.advance(500);
  t.ok(open.size > 10 && open.size < 40, String(open.size));
  clock.advance(500);
  t.equal(open.size, 50);
});

t.test('an endpoint can say itself that it is out; its checks go on', async (t) => {
  const { add, answer, checker, clock, stats, take } = setup({ unhealthyThreshold: 5 });
  const a = add('a');
  answer('a');
  take();
  checker.failNow(a);
  checker.failNow(a);
  t.same(take(), ['a out', 'a fail']);
  t.match(a.health, { healthy: false, excluded: true });
  t.equal(stats.passiveFailure, 2);
  clock.advance(1_000);
  answer('a');
  t.same(take(), ['a in']);
  t.match(a.health, { healthy: true, excluded: false });
  checker.remove(a);
  checker.failNow(a);
  t.equal(stats.passiveFailure, 2, 'a stranger');
});

t.test('connections can be made anew', async (t) => {
  const { add, checker, take } = setup();
  add('a');
  add('b');
  checker.renew();
  t.same(take(), ['renew a', 'renew b']);
});

t.test('checks are nobody’s doing: not of the call that was the first', async (t) => {
  const storage = new AsyncLocalStorage<string>();
  const { add, answer, asked, clock } = setup();
  const seen: (string | undefined)[] = [];
  asked.push(() => seen.push(storage.getStore()));
  storage.run('the first call', () => add('a'));
  answer('a');
  clock.advance(1_000);
  t.same(seen, [undefined, undefined]);
});
