import t from 'tap';
import { watchExpiry } from '../../src/identity/expiry-watch.ts';
import { fakeClock } from '../support/fake-clock.ts';

const hour = 3_600_000;

const setUp = (lifeMs: number) => {
  const clock = fakeClock();
  const told: number[] = [];
  const stop = watchExpiry(clock, clock.wallNow() + lifeMs, (share) => told.push(share));
  return { clock, told, stop };
};

t.test('tells of half, a quarter, a tenth and the end, each when it is due and once', (t) => {
  const { clock, told } = setUp(10 * hour);
  const steps: readonly (readonly [number, readonly number[]])[] = [
    [5 * hour - 1, []],
    [1, [0.5]],
    [2.5 * hour - 1, [0.5]],
    [1, [0.5, 0.25]],
    [1.5 * hour, [0.5, 0.25, 0.1]],
    [hour - 1, [0.5, 0.25, 0.1]],
    [1, [0.5, 0.25, 0.1, 0]],
    [100 * hour, [0.5, 0.25, 0.1, 0]],
  ];
  for (const [ms, expected] of steps) {
    clock.advance(ms);
    t.same(told, expected);
  }
  t.equal(clock.pending(), 0, 'nothing is left to wait for');
  t.end();
});

t.test('notices within a minute that the wall clock jumped, and tells the last of what it jumped over', (t) => {
  const { clock, told } = setUp(10 * hour);
  clock.jump(8 * hour);
  t.same(told, []);
  clock.advance(60_000);
  t.same(told, [0.25], 'not half as well');
  clock.jump(-8 * hour);
  clock.advance(8 * hour);
  t.same(told, [0.25], 'what was told is not told again');
  clock.jump(24 * hour);
  clock.advance(60_000);
  t.same(told, [0.25, 0]);
  t.end();
});

t.test('of what has expired already it tells at once', (t) => {
  const { clock, told } = setUp(-1);
  clock.advance(0);
  t.same(told, [0]);
  t.end();
});

t.test('stops', (t) => {
  const { clock, told, stop } = setUp(hour);
  clock.advance(0.6 * hour);
  stop();
  t.equal(clock.pending(), 0);
  clock.advance(hour);
  t.same(told, [0.5]);
  t.end();
});
