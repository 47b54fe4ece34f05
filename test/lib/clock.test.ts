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
    const action = (): void => {
      runs++;
      resolve();
    };
    systemClock.after(1, action, true);
    t.equal(runs, 0);
  });
  t.equal(runs, 1);
});

t.test('only a timer that somebody waits for keeps the process alive', async (t) => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  const background = systemClock.after(60_000, () => {});
  t.equal(timers(), before);
  const awaited = systemClock.after(60_000, () => {}, true);
  t.equal(timers(), before + 1);
  background();
  awaited();
  t.equal(timers(), before);
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
