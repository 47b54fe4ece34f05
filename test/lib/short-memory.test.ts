import t from 'tap';
import { createShortMemory } from '../../src/lib/short-memory.ts';

function setup(maxEntries = 3) {
  let now = 0;
  const memory = createShortMemory<string>({ now: () => now, lifeMs: 60_000, maxEntries });
  return { memory, wait: (ms: number): void => void (now += ms) };
}

t.test('what is kept can be taken once, for as long as it lives', async (t) => {
  const { memory, wait } = setup();
  memory.keep('a', 'A');
  memory.keep('b', 'B');
  wait(60_000);
  t.equal(memory.take('a'), 'A');
  t.equal(memory.take('a'), undefined);
  t.equal(memory.take('x'), undefined);
  wait(1);
  t.equal(memory.take('b'), undefined);
  t.equal(memory.size, 0);
});

t.test('the oldest make room; keeping again makes young', async (t) => {
  const { memory } = setup();
  for (const key of ['a', 'b', 'c', 'a', 'd']) memory.keep(key, key);
  t.equal(memory.size, 3);
  t.equal(memory.take('b'), undefined);
  t.same(
    ['a', 'c', 'd'].map((key) => memory.take(key)),
    ['a', 'c', 'd'],
  );
});

t.test('what is too old is forgotten when something is kept', async (t) => {
  const { memory, wait } = setup();
  memory.keep('a', 'A');
  wait(30_000);
  memory.keep('b', 'B');
  wait(30_001);
  memory.keep('c', 'C');
  t.equal(memory.size, 2);
});
