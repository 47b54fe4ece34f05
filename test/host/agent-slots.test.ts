import t from 'tap';
import { Slots } from '../../src/host/agent-slots.ts';
import type { AgentLimit } from '../../src/host/agent-target.ts';

const limit = (atOnce: number, waiting = 10): AgentLimit => ({
  key: 'a',
  atOnce,
  waiting,
  full: () => new Error('full'),
});

t.test('requests go in the order in which they came, as others end', async (t) => {
  const slots = new Slots();
  const gone: number[] = [];
  for (let i = 0; i < 4; i++) slots.enter(limit(2), () => void gone.push(i));
  t.same(gone, [0, 1]);
  slots.release('a');
  t.same(gone, [0, 1, 2]);
  slots.release('a');
  slots.release('a');
  t.same(gone, [0, 1, 2, 3]);
});

t.test('those that wait go when there is more room than there was', async (t) => {
  const slots = new Slots();
  const gone: number[] = [];
  const enter = (i: number, atOnce: number) => slots.enter(limit(atOnce), () => void gone.push(i));
  for (let i = 0; i < 4; i++) enter(i, 1);
  t.same(gone, [0]);
  enter(4, 3);
  t.same(gone, [0, 1, 2], 'the new one waits behind those that came before it');
  slots.release('a');
  t.same(gone, [0, 1, 2, 3]);
});

t.test('no more go than there is room for when there is less than there was', async (t) => {
  const slots = new Slots();
  const gone: number[] = [];
  const enter = (i: number, atOnce: number) => slots.enter(limit(atOnce), () => void gone.push(i));
  for (let i = 0; i < 3; i++) enter(i, 3);
  enter(3, 1);
  slots.release('a');
  slots.release('a');
  t.same(gone, [0, 1, 2]);
  slots.release('a');
  t.same(gone, [0, 1, 2, 3]);
});

t.test('who leaves the queue does not go, and a full queue refuses', async (t) => {
  const slots = new Slots();
  const gone: number[] = [];
  slots.enter(limit(1, 1), () => void gone.push(0));
  const leave = slots.enter(limit(1, 1), () => void gone.push(1));
  t.throws(() => slots.enter(limit(1, 1), () => void gone.push(2)), { message: 'full' });
  leave?.();
  slots.enter(limit(1, 1), () => void gone.push(3));
  slots.release('a');
  t.same(gone, [0, 3]);
});
