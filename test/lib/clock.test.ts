import t from 'tap';
import { systemClock } from '../../src/lib/clock.ts';

t.test('monotonic time does not go back, wall time is that of the system', async (t) => {
  const before = systemClock.now();
  t.ok(systemClock.now() >= before);
  t.ok(Math.abs(systemClock.wallNow() - Date.now()) < 10_000);
});

t.test('a timer runs once, later', async (t) => {
  let runs = 0;
  await new Promise<void>((resolve) => {
    systemClock.after(1, () => {
      runs++;
      resolve();
    });
    t.equal(runs, 0);
    // Its own timers do not keep the process alive: something else has to while it waits.
    const alive = setInterval(() => {}, 1_000);
    t.teardown(() => clearInterval(alive));
  });
  t.equal(runs, 1);
});

t.test('a cancelled timer does not run; cancelling twice is harmless', async (t) => {
  let runs = 0;
  const cancel = systemClock.after(0, () => runs++);
  cancel();
  cancel();
  await new Promise<void>((resolve) => void setTimeout(resolve, 2));
  t.equal(runs, 0);
});

t.test('a delay beyond what setTimeout knows waits, instead of firing at once', async (t) => {
  let runs = 0;
  const cancel = systemClock.after(Number.POSITIVE_INFINITY, () => runs++);
  await new Promise<void>((resolve) => void setTimeout(resolve, 2));
  t.equal(runs, 0);
  cancel();
});

t.test('afterIo runs after what is already waiting', async (t) => {
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    systemClock.afterIo(() => {
      order.push('afterIo');
      resolve();
    });
    queueMicrotask(() => order.push('microtask'));
    process.nextTick(() => order.push('tick'));
  });
  t.equal(order.at(-1), 'afterIo');
  t.equal(order.length, 3);
});
