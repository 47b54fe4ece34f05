import fc from 'fast-check';
import t from 'tap';
import { createAttempts } from '../../src/jwt/attempts.ts';
import { boundedVerify, maxConcurrent, maxWaiting, type VerifyInTurn } from '../../src/jwt/bounded-verify.ts';
import { jwtFailure } from '../../src/jwt/failure.ts';
import { createKeyScans, newScan } from '../../src/jwt/key-scans.ts';
import { fixedKeys, type KeySet, keySetOf } from '../../src/jwt/keys.ts';
import type { LiveRule } from '../../src/jwt/rules.ts';
import { cacheKey, createTokenCache } from '../../src/jwt/token-cache.ts';
import { costOf } from '../../src/jwt/verification-cost.ts';
import { type VerifiedToken, verifyToken } from '../../src/jwt/verify.ts';
import { jwksOf, makeToken, makeTokenKey, tokenRule } from '../support/tokens.ts';
import { until } from '../support/upstream.ts';

interface TestSource {
  live: LiveRule;
  keys: KeySet;
}

function source(): TestSource {
  const made: { keys: KeySet } = { keys: keySetOf([]) };
  const live: LiveRule = {
    rule: tokenRule(''),
    source: { current: () => made.keys, refresh: async () => made.keys },
  };
  return Object.assign(made, { live });
}

function verified({ keys, live }: TestSource, more: Partial<VerifiedToken> = {}): VerifiedToken {
  const claims = { sub: 'ann' };
  return {
    live,
    keys,
    claims,
    policyClaims: claims,
    principal: 'a/b',
    headers: [],
    expiresAt: undefined,
    notBefore: undefined,
    ...more,
  };
}

t.test('a token is found by its rule, with its keys, in its time', async (t) => {
  const own = source();
  const other = source();
  const cache = createTokenCache();
  const token = verified(own, { expiresAt: 1_000, notBefore: 500 });
  cache.keep('a', token, 800);
  const at = (seconds: number, rules = [own.live]): unknown => cache.find('a', rules, seconds * 1_000);
  t.equal(at(700), token);
  t.equal(at(700, [other.live, own.live]), token);
  t.equal(at(700, [other.live]), undefined, 'another rule');
  t.equal(cache.find('b', [own.live], 700_000), undefined, 'another token');
  t.equal(at(1_060), token, 'CERT-09 60 s of leeway');
  t.equal(at(439), undefined, 'a clock that was set back');
  cache.keep('a', token, 800);
  t.equal(at(1_061), undefined);
  t.equal(cache.size, 0, 'what has ended takes no room');
  cache.keep('a', token, 800);
  own.keys = keySetOf([]);
  t.equal(at(700), undefined, 'JWT-085 other keys');
  t.equal(cache.size, 0);
});

t.test('never more than there is room for, and what was just put there stays', async () => {
  const own = source();
  const steps = fc.array(
    fc.record({
      key: fc.integer({ min: 0, max: 40 }).map(String),
      length: fc.integer({ min: 1, max: 2_000 }),
      find: fc.boolean(),
    }),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(
      steps,
      fc.integer({ min: 2, max: 20 }),
      fc.integer({ min: 9_000, max: 60_000 }),
      (list, maxEntries, maxBytes) => {
        const cache = createTokenCache({ maxEntries, maxBytes });
        const lengths = new Map<string, number>();
        for (const { find, key, length } of list) {
          if (find) cache.find(key, [own.live], 0);
          else {
            cache.keep(key, verified(own), length);
            lengths.set(key, length);
            if ((512 + length * 4) * 2 <= maxBytes && cache.find(key, [own.live], 0) === undefined) return false;
          }
          const kept = [...lengths].filter(([each]) => cache.find(each, [own.live], 0) !== undefined);
          const bytes = kept.reduce((sum, [, each]) => sum + 512 + each * 4, 0);
          if (cache.size > maxEntries || bytes > maxBytes) return false;
        }
        return true;
      },
    ),
    { seed: 7, numRuns: 300 },
  );
});

t.test('what is asked for outlives what is not', async (t) => {
  const own = source();
  const cache = createTokenCache({ maxEntries: 100 });
  cache.keep('used', verified(own), 1);
  for (let i = 0; i < 10_000; i++) {
    cache.keep(`once ${i}`, verified(own), 1);
    if (i % 10 === 0 && cache.find('used', [own.live], 0) === undefined) t.fail(`forgotten after ${i}`);
  }
  t.ok(cache.find('used', [own.live], 0));
  t.ok(cache.size <= 100);
});

t.test('a cache has no tokens in it', async (t) => {
  t.match(cacheKey('aaa.bbb.ccc'), /^[\w-]{43}$/);
  t.not(cacheKey('aaa.bbb.ccc'), cacheKey('aaa.bbb.ccd'));
});

/** Verifications that end when the test says so. */
function held(): {
  readonly verify: VerifyInTurn;
  readonly started: string[];
  end(result?: VerifiedToken): Promise<void>;
} {
  const waiting: ((result: Awaited<ReturnType<VerifyInTurn>>) => void)[] = [];
  const started: string[] = [];
  return {
    started,
    verify: (text) => {
      started.push(text);
      return new Promise((resolve) => void waiting.push(resolve));
    },
    async end(result) {
      for (const resolve of waiting.splice(0)) resolve(result ?? jwtFailure('verification-failed'));
      for (let i = 0; i < 10; i++) await Promise.resolve();
    },
  };
}

t.test('JWT-086 a token that many present at once is verified once, and then remembered', async (t) => {
  const own = source();
  const cache = createTokenCache();
  const { end, started, verify } = held();
  const bounded = boundedVerify(verify, cache);
  const rules = [own.live];
  const all = Array.from({ length: 10_000 }, () => bounded('a.b.c', rules));
  t.equal(started.length, 1);
  await end(verified(own));
  t.equal(new Set(await Promise.all(all)).size, 1);
  t.ok(cache.find(cacheKey('a.b.c'), rules, 0));
  const again = bounded('a.b.c', [own.live]);
  t.equal(started.length, 2, 'other rules ask anew');
  await end();
  t.match(await again, { reason: 'verification-failed' });
});

t.test('JWT-087 bad tokens are not remembered, and only so many are verified at a time', async (t) => {
  const own = source();
  const cache = createTokenCache();
  const { end, started, verify } = held();
  const bounded = boundedVerify(verify, cache);
  const rules = [own.live];
  const flood = Array.from({ length: maxConcurrent + maxWaiting + 10 }, (_, i) => bounded(`${i}.b.c`, rules));
  t.equal(started.length, maxConcurrent);
  t.match(await flood.at(-1), { reason: 'busy' });
  while (started.length < maxConcurrent + maxWaiting) await end();
  await end();
  const reasons = Map.groupBy(await Promise.all(flood), (result) => ('reason' in result ? result.reason : ''));
  t.same(
    [...reasons].map(([reason, { length }]) => [reason, length]),
    [
      ['verification-failed', maxConcurrent + maxWaiting],
      ['busy', 10],
    ],
  );
  t.equal(cache.size, 0);
  const later = bounded('x.b.c', rules);
  t.equal(started.at(-1), 'x.b.c', 'there is room again');
  await end();
  await later;
});

t.test('a verification that throws gives its turn back', async (t) => {
  const own = source();
  let fail = true;
  const bounded = boundedVerify(async () => {
    if (fail) throw new Error('broken');
    return verified(own);
  }, createTokenCache());
  for (let i = 0; i < maxConcurrent * 2; i++) await t.rejects(bounded('a.b.c', [own.live]), /broken/);
  fail = false;
  t.match(await bounded('a.b.c', [own.live]), { principal: 'a/b' });
});

t.test('long tokens that wait for an issuer that does not answer take no turn from others', async (t) => {
  const cache = createTokenCache();
  const scans = createKeyScans(
    createAttempts(() => 0),
    costOf,
    () => 0,
  );
  const bounded = boundedVerify(
    (text, rules, wait, caller = '') => verifyToken(text, rules, 0, {}, wait, { scans, scan: newScan(caller) }),
    cache,
  );
  const { promise: answer, resolve } = Promise.withResolvers<undefined>();
  const silent: LiveRule = {
    rule: tokenRule('', { issuer: 'silent' }),
    source: { current: () => undefined, refresh: () => answer },
  };
  const key = makeTokenKey('ES256', { kid: 'k1' });
  const jwks = jwksOf(key);
  const good: LiveRule = { rule: tokenRule(jwks), source: fixedKeys(jwks) };
  const long = 'x'.repeat(11_000);
  const flood = Array.from({ length: 300 }, (_, i) =>
    bounded(makeToken({ alg: 'ES256', key, claims: { iss: 'silent', i, long } }), [silent], 'stranger'),
  );
  const token = makeToken({ alg: 'ES256', key, claims: { iss: 'https://issuer.example', sub: 'ann' } });
  const verdict = bounded(token, [good], 'friend');
  let settled = false;
  void verdict.then(() => {
    settled = true;
  });
  await until(() => settled, 'the verdict for who needs nothing of that issuer');
  resolve(undefined);
  const reasons = new Set((await Promise.all(flood)).map((result) => ('reason' in result ? result.reason : '')));
  t.same(reasons, new Set(['no-keys', 'busy']), 'all have an answer');
  t.match(await verdict, { principal: 'https://issuer.example/ann' });
  t.match(
    await bounded(token, [good], 'stranger'),
    { principal: 'https://issuer.example/ann' },
    'and all turns are back',
  );
});
