import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { createDeadlines } from '../../src/lib/deadlines.ts';
import { fakeClock } from '../support/fake-clock.ts';

const setup = () => {
  const clock = fakeClock();
  const expired: string[] = [];
  const owner = (name: string) => ({ deadlineExpired: () => void expired.push(name) });
  /** Moves time and lets the turn of the event loop pass that answers still have. */
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    await nextTurn();
  };
  return { clock, expired, owner, pass, deadlines: createDeadlines(clock) };
};

t.test('a deadline expires once, at its time', async (t) => {
  const { deadlines, expired, owner, pass } = setup();
  deadlines(100).start(owner('a'));
  await pass(99);
  t.same(expired, []);
  await pass(1);
  t.same(expired, ['a']);
  await pass(1_000);
  t.same(expired, ['a']);
});

t.test('deadlines of one length expire in the order in which they began', async (t) => {
  const { deadlines, expired, owner, pass } = setup();
  const tenth = deadlines(100);
  tenth.start(owner('a'));
  await pass(30);
  tenth.start(owner('b'));
  tenth.start(owner('c'));
  await pass(70);
  t.same(expired, ['a']);
  await pass(30);
  t.same(expired, ['a', 'b', 'c']);
});

t.test('a cancelled deadline never expires, wherever it stands in the list', async (t) => {
  for (const cancelled of [0, 1, 2]) {
    const { deadlines, expired, owner, pass } = setup();
    const running = ['a', 'b', 'c'].map((name) => deadlines(100).start(owner(name)));
    running[cancelled]?.cancel();
    running[cancelled]?.cancel();
    await pass(100);
    t.same(
      expired,
      ['a', 'b', 'c'].filter((_, i) => i !== cancelled),
    );
  }
});

t.test('all may be cancelled, and the class goes on', async (t) => {
  const { deadlines, expired, owner, pass } = setup();
  const first = deadlines(100).start(owner('a'));
  await pass(50);
  first.cancel();
  await pass(60);
  deadlines(100).start(owner('b'));
  await pass(99);
  t.same(expired, []);
  await pass(1);
  t.same(expired, ['b']);
});

t.test('one timer serves all deadlines of one length', async (t) => {
  const { clock, deadlines, owner } = setup();
  for (let i = 0; i < 1_000; i++) deadlines(100).start(owner('x'));
  t.equal(clock.pending(), 1);
  deadlines(200).start(owner('y'));
  t.equal(clock.pending(), 2, 'another length has its own');
});

t.test('cancelled in the very turn in which it would expire: the answer that was waiting wins', async (t) => {
  const { clock, deadlines, expired, owner } = setup();
  const running = deadlines(100).start(owner('a'));
  clock.advance(100);
  running.cancel();
  await nextTurn();
  t.same(expired, []);
});

t.test('an owner may start the next deadline while one expires', async (t) => {
  const { deadlines, expired, owner, pass } = setup();
  deadlines(100).start({
    deadlineExpired: () => {
      expired.push('a');
      deadlines(100).start(owner('b'));
    },
  });
  await pass(100);
  t.same(expired, ['a']);
  await pass(100);
  t.same(expired, ['a', 'b']);
});

t.test('after a stall of the process every late deadline expires, each once', async (t) => {
  const { deadlines, expired, owner, pass } = setup();
  for (let i = 0; i < 100; i++) deadlines(100).start(owner(String(i)));
  await pass(5_000);
  t.equal(expired.length, 100);
  await pass(5_000);
  t.equal(expired.length, 100);
});
