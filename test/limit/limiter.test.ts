import t from 'tap';
import { createRequestLimiter } from '../../src/limit/limiter.ts';

t.test('admits up to the limit, and again when one has left', async (t) => {
  const limiter = createRequestLimiter(2);
  t.same([limiter.enter(), limiter.enter(), limiter.enter()], [true, true, false]);
  t.equal(limiter.active, 2);
  limiter.leave();
  t.equal(limiter.active, 1);
  t.same([limiter.enter(), limiter.enter()], [true, false]);
});

t.test('a refusal takes no place', async (t) => {
  const limiter = createRequestLimiter(1);
  limiter.enter();
  for (let i = 0; i < 100; i++) limiter.enter();
  limiter.leave();
  t.equal(limiter.active, 0);
});

t.test('no limit still counts', async (t) => {
  const limiter = createRequestLimiter(Number.POSITIVE_INFINITY);
  for (let i = 0; i < 1_000; i++) t.ok(limiter.enter());
  t.equal(limiter.active, 1_000);
});

t.test('a limit of 0 admits nobody', async (t) => {
  t.notOk(createRequestLimiter(0).enter());
});
