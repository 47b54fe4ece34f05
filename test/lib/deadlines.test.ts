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

t.test('at rest: timers that nobody waits for are gone, the others stay, and all goes on', async (t) => {
  const { clock, deadlines, expired, owner, pass } = setup();
  deadlines(100).start(owner('a')).cancel();
  deadlines(200).start(owner('b'));
  t.equal(clock.pending(), 2);
  deadlines.rest();
  t.equal(clock.pending(), 1);
  deadlines(100).start(owner('c'));
  await pass(100);
  t.same(expired, ['c']);
  await pass(100);
  t.same(expired, ['c', 'b']);
});

t.test('any number of lengths: beyond some hundreds each deadline has a timer of its own', async (t) => {
  const { clock, deadlines, expired, owner, pass } = setup();
  const all = Array.from({ length: 1_000 }, (_, i) => deadlines(1_000 + i).start(owner(String(i))));
  const first = deadlines(1_000);
  t.equal(first, deadlines(1_000), 'the first lengths are shared');
  t.equal(clock.pending(), 1_000);
  for (const each of all.slice(0, -1)) each.cancel();
  deadlines.rest();
  t.equal(clock.pending(), 1);
  await pass(1_998);
  t.same(expired, []);
  await pass(1);
  t.same(expired, ['999']);
  all.at(-1)?.cancel();
  const late = deadlines(1_999).start(owner('late'));
  clock.advance(1_999);
  late.cancel();
  await nextTurn();
  t.same(expired, ['999'], 'an answer that arrived in the same turn wins');
});
