import t from 'tap';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { createRateLimiter } from '../src/rate-limit.ts';

t.test('lets a burst through, then so many a second, for each caller alone', async (t) => {
  const clock = fakeClock();
  const limiter = createRateLimiter(10, 5, clock);
  const taken = (caller: string, tries: number) =>
    Array.from({ length: tries }, () => limiter.take(caller)).filter(Boolean).length;
  t.equal(taken('a', 20), 5);
  t.equal(taken('b', 20), 5);
  clock.advance(300);
  t.equal(taken('a', 20), 3);
  clock.advance(60_000);
  t.equal(taken('a', 20), 5, 'never more than the burst');
});

t.test('remembers a bounded number of callers', async (t) => {
  const clock = fakeClock();
  const limiter = createRateLimiter(1, 1, clock);
  for (let i = 0; i < 25_000; i++) limiter.take(`caller ${i}`);
  t.equal(limiter.take('caller 24999'), false, 'the newest are remembered');
  t.equal(limiter.take('caller 0'), true, 'the oldest are not');
  clock.advance(10_000);
  for (let i = 0; i < 10_001; i++) limiter.take(`other ${i}`);
  t.equal(limiter.take('other 10000'), false);
});
