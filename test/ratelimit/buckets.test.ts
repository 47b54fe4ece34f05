import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import type { LocalRateLimit, TokenBucket } from '../../src/model/rate-limit.ts';
import { Buckets, createRateLimitMemory } from '../../src/ratelimit/buckets.ts';
import { BucketState, refill, timeUntil } from '../../src/ratelimit/token-bucket.ts';

const provenance = { kind: 'RateLimit', namespace: 'shop', name: 'r' };
const limit = (bucket: TokenBucket, more: Partial<LocalRateLimit> = {}): LocalRateLimit => ({
  name: 'shop/r all',
  rules: [],
  by: [{ kind: 'principal' }],
  bucket,
  maxKeys: 3,
  shadow: false,
  headers: 'LIMITED',
  provenance,
  ...more,
});
const five: TokenBucket = { maxTokens: 5, tokensPerFill: 5, fillIntervalMs: 1_000 };

function take(buckets: Buckets, key: string, now: number): boolean {
  const state = buckets.of(key, now);
  if (state.tokens < 1) return false;
  state.tokens--;
  return true;
}

t.test('never more than what the bucket holds and what came in, at whatever moments (ABUSE-008)', async (t) => {
  const bucket = fc.record({
    maxTokens: fc.integer({ min: 1, max: 50 }),
    tokensPerFill: fc.integer({ min: 1, max: 50 }),
    fillIntervalMs: fc.integer({ min: 1, max: 5_000 }),
  });
  const waits = fc.array(fc.double({ min: 0, max: 300, noNaN: true }), { minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(bucket, waits, (policy, steps) => {
      const buckets = new Buckets(limit(policy));
      const taken: number[] = [];
      let now = 0;
      for (const step of steps) {
        now += step;
        if (take(buckets, 'a', now)) taken.push(now);
      }
      // In any window, not only in those that begin with the first request.
      for (let from = 0; from < taken.length; from++) {
        for (let to = from; to < taken.length; to++) {
          const came =
            (((taken[to] as number) - (taken[from] as number)) * policy.tokensPerFill) / policy.fillIntervalMs;
          if (to - from + 1 > policy.maxTokens + came + 1e-6) return false;
        }
      }
      return true;
    }),
  );
  t.pass('in 100 schedules');
});

t.test('five before the edge of a second and five behind it are not ten', async (t) => {
  const buckets = new Buckets(limit(five));
  let passed = 0;
  for (const now of [990, 1_010]) for (let i = 0; i < 5; i++) if (take(buckets, 'a', now)) passed++;
  t.equal(passed, 5);
});

t.test('a clock that goes back gives nothing, and takes nothing (ABUSE-009)', async (t) => {
  const state = new BucketState(2, 10_000);
  refill(state, five, 10_000 - 3_600_000);
  t.same([state.tokens, state.at], [2, 10_000]);
  refill(state, five, 10_200);
  t.equal(state.tokens, 3);
});

t.test('how long it takes until there are so many tokens', async (t) => {
  const state = new BucketState(0.5, 0);
  t.equal(timeUntil(state, 1, five), 100);
  t.equal(timeUntil(state, 5, five), 900);
  t.equal(timeUntil(state, 0.5, five), 0);
});

t.test(
  'a flood of keys takes no memory and frees nobody: newcomers share a bucket, known ones keep theirs',
  async (t) => {
    const buckets = new Buckets(limit(five));
    while (take(buckets, 'known', 0));
    for (const key of ['b', 'c']) take(buckets, key, 0);
    let passed = 0;
    for (let i = 0; i < 1_000; i++) if (take(buckets, `made up ${i}`, 1)) passed++;
    t.equal(passed, 5);
    t.equal(buckets.size, 3);
    t.notOk(take(buckets, 'known', 1));
    t.ok(take(buckets, 'b', 1));
  },
);

t.test('long keys are told apart to their ends, and take no more memory than short ones', async (t) => {
  // As it comes from a socket: not put together of parts that all of them share.
  const long = (i: number): string => Buffer.from(`${'x'.repeat(8_000)}${i}${'y'.repeat(8_000)}`).toString('latin1');
  const buckets = new Buckets(limit(five, { maxKeys: 2_000 }));
  while (take(buckets, long(1), 0));
  t.notOk(take(buckets, long(1), 0), 'the same key, the same bucket');
  t.ok(take(buckets, long(2), 0));
  t.ok(take(buckets, `${long(1)}z`, 0));
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const used = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = used();
  for (let i = 0; i < 1_900; i++) take(buckets, long(i), 0);
  t.ok(used() - before < 5_000_000, 'and not the 30 MB that were sent');
  t.ok(buckets.size > 1_900);
});

t.test('a full table makes room by forgetting what is full again, and only that', async (t) => {
  const buckets = new Buckets(limit({ ...five, fillIntervalMs: 10_000 }));
  while (take(buckets, 'greedy', 0));
  take(buckets, 'modest', 0);
  take(buckets, 'also', 0);
  t.ok(take(buckets, 'fourth', 4_000));
  t.equal(buckets.size, 2, 'the two that are full again are gone');
  t.equal(buckets.of('greedy', 4_000).tokens, 2);
});

t.test('a table that stays full is not looked through for every request', async (t) => {
  const buckets = new Buckets(limit({ maxTokens: 2, tokensPerFill: 1, fillIntervalMs: 1_000 }));
  for (const key of ['a', 'b', 'c']) take(buckets, key, 0);
  buckets.of('d', 500);
  t.equal(buckets.size, 3);
  buckets.of('d', 1_400);
  t.equal(buckets.size, 3, 'all are full again, and the last look is less than a second ago');
  buckets.of('d', 1_500);
  t.equal(buckets.size, 1);
});

t.test('what is used up stays used up when a limit changes, and is forgotten when it goes', async (t) => {
  const memory = createRateLimitMemory();
  const before = limit(five);
  const buckets = memory.of(before, 0);
  for (let i = 0; i < 4; i++) take(buckets, 'a', 0);
  t.equal(memory.of(before, 0), buckets);
  const wider = limit({ maxTokens: 10, tokensPerFill: 1, fillIntervalMs: 1_000 });
  t.equal(memory.of(wider, 0), buckets);
  t.equal(buckets.of('a', 0).tokens, 6);
  memory.of(limit({ maxTokens: 2, tokensPerFill: 1, fillIntervalMs: 1_000 }), 0);
  t.equal(buckets.of('a', 0).tokens, 0, 'never less than none');
  t.not(memory.of(limit(five, { by: [{ kind: 'host' }] }), 0), buckets, 'other keys are other buckets');
  memory.keep([]);
  t.equal(memory.of(before, 0).size, 0);
});
