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

t.test('a network of IPv6 is one caller, an address of IPv4 is one', async (t) => {
  const limiter = createRateLimiter(1, 1, fakeClock());
  const cases: readonly (readonly [string, boolean])[] = [
    ['2001:db8:0:1::1', true],
    ['2001:db8:0:1:ffff::2', false],
    ['2001:db8:0:2::1', true],
    ['::ffff:192.0.2.1', true],
    ['::ffff:192.0.2.2', true],
    ['192.0.2.1', true],
    ['192.0.2.2', true],
    ['fe80::1%eth0', true],
    ['fe80::2%eth0', true],
    ['unknown', true],
  ];
  for (const [address, expected] of cases) t.equal(limiter.take(address), expected, address);
});
