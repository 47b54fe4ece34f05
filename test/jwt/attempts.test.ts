import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { type Attempts, attemptsPerSecond, createAttempts, maxAttempts, places } from '../../src/jwt/attempts.ts';
import { createKeyScans, type KeyScans, maxFreeCost, newScan, provenMs } from '../../src/jwt/key-scans.ts';
import { tokenLimits } from '../../src/jwt/token.ts';
import { costOf, maxCost } from '../../src/jwt/verification-cost.ts';
import { parseJwks, type VerificationKey } from '../../src/lib/jwks.ts';
import { seededRandom } from '../../src/lib/random.ts';
import { makeTokenKey } from '../support/tokens.ts';

interface Allowance {
  readonly attempts: Attempts;
  time: number;
}

function allowance(): Allowance {
  const made = { time: 0 };
  const attempts = createAttempts(() => made.time, seededRandom(1));
  return Object.assign(made, { attempts });
}

/** What a caller can take one by one, all for tokens that are bad. */
async function drain({ attempts }: Allowance, caller: string, cost = 1): Promise<number> {
  let taken = 0;
  for (let got = await attempts.take(caller, cost, cost); got > 0; got = await attempts.take(caller, cost, cost)) {
    taken += got;
    attempts.settle(caller, got, 0);
  }
  return taken;
}

t.test('attempts: callers do not take those of others, and they come back in time', async (t) => {
  const bounded = allowance();
  bounded.time = 1_000;
  t.equal(await drain(bounded, '10.0.0.1'), maxAttempts);
  t.equal(await drain(bounded, '10.0.0.2'), maxAttempts);
  bounded.time = 500;
  t.equal(await drain(bounded, '10.0.0.1'), 0, 'a clock that goes back gives none');
  bounded.time = 2_500;
  t.equal(await drain(bounded, '10.0.0.1'), 2 * attemptsPerSecond);
  bounded.time = 9_000_000;
  t.equal(await drain(bounded, '10.0.0.1'), maxAttempts);
  bounded.time = 20_000_000;
  let all = 0;
  for (let i = 0; i < 10_000; i++) all += await drain(bounded, `10.1.${i >> 8}.${i & 255}`);
  t.equal(all, places * maxAttempts, 'whoever comes from everywhere has so many');
});

t.test('attempts: who could get some back from others waits for them, and for nothing else', async (t) => {
  const { attempts } = allowance();
  t.equal(attempts.take('a', 10, maxAttempts), maxAttempts);
  const waiting = [10, 10, 50].map((wanted) => Promise.resolve(attempts.take('a', 10, wanted)));
  attempts.settle('a', maxAttempts, 30);
  t.same(await Promise.all(waiting.slice(0, 2)), [10, 10], 'what came back');
  t.equal(attempts.take('a', 31, 31), 0, 'more than can come back');
  attempts.settle('a', 10, 0);
  attempts.settle('a', 10, 0);
  t.equal(await waiting[2], 10, 'not what was wanted, but enough');
  attempts.settle('a', 10, 0);
  t.equal(attempts.take('a', 1, 1), 0);
});

const ops = fc.array(
  fc.record({
    passed: fc.integer({ min: 0, max: 3_000 }),
    wanted: fc.integer({ min: 1, max: maxAttempts }),
    least: fc.integer({ min: 1, max: maxCost }),
    ends: fc.nat(20),
    good: fc.boolean(),
  }),
  { minLength: 1, maxLength: 120 },
);

for (const [name, allGood] of [
  ['bad tokens never cost more than was there and came back, and nobody waits for ever', false],
  ['good tokens alone always get all that they want, however many come at once', true],
] as const) {
  t.test(`attempts: ${name}`, async () => {
    await fc.assert(
      fc.asyncProperty(ops, async (list) => {
        const bounded = allowance();
        const { attempts } = bounded;
        const running: number[] = [];
        let pending = 0;
        let spent = 0;
        let short = false;
        const end = async (index: number, good: boolean): Promise<void> => {
          const [taken = 0] = running.splice(index % running.length, 1);
          if (!good) spent += taken;
          attempts.settle('a', taken, good ? taken : 0);
          await new Promise((resolve) => setImmediate(resolve));
        };
        for (const { ends, good, least, passed, wanted } of list) {
          bounded.time += passed;
          pending++;
          void Promise.resolve(attempts.take('a', Math.min(least, wanted), wanted)).then((taken) => {
            pending--;
            if (taken < wanted) short = true;
            if (taken > 0) running.push(taken);
          });
          await Promise.resolve();
          if (running.length > 0 && ends > 10) await end(ends, allGood || good);
          const most = maxAttempts + (bounded.time / 1_000) * attemptsPerSecond;
          if (spent + running.reduce((sum, each) => sum + each, 0) > most + 1e-6) return false;
        }
        while (running.length > 0) await end(0, allGood);
        return pending === 0 && !(allGood && short);
      }),
      { seed: 43, numRuns: 100 },
    );
  });
}

const one = (jwk: object): VerificationKey => parseJwks(JSON.stringify({ keys: [jwk] })).keys[0] as VerificationKey;
const rsa = (modulusLength: number, publicExponent = 65_537): object =>
  generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey.export({ format: 'jwk' });

t.test('what a verification costs by the type of its key', async (t) => {
  t.equal(costOf(one(rsa(2_048))), 1);
  for (const cheap of [rsa(4_096), makeTokenKey('ES256').jwk, makeTokenKey('EdDSA').jwk])
    t.equal(costOf(one(cheap)), 4);
  const [p384, p521] = [one(makeTokenKey('ES384').jwk), one(makeTokenKey('ES512').jwk)];
  for (const key of [p384, p521]) t.ok(costOf(key) > maxFreeCost && costOf(key) <= maxCost);
  const reading = newScan('a');
  const read: number[] = [];
  const attempts: Attempts = { take: (_, least) => read.push(least) && least, settle() {} };
  await createKeyScans(attempts, costOf, () => 0).mayRead(tokenLimits.maxLength, reading);
  t.ok(
    maxCost * 5 + (read[0] ?? 0) <= maxAttempts,
    'five keys of the longest token are never more than a caller can have',
  );
  // Of 8,192 bits without their making, which takes seconds: numbers that are odd will do.
  const n = Buffer.alloc(1_024, 0xff).toString('base64url');
  const large = (e: Buffer): VerificationKey => one({ kty: 'RSA', n, e: e.toString('base64url') });
  t.equal(costOf(large(Buffer.from([1, 0, 1]))), 16);
  t.equal(costOf(large(Buffer.from([1, 0xff, 0xff, 0xff, 0xff]))), 56, 'many bits in the exponent');
});

const key = (kid: string | undefined, cost = 4): VerificationKey & { readonly cost: number } => ({
  ...one(makeTokenKey('ES256').jwk),
  kid,
  cost,
});
type Key = ReturnType<typeof key>;

interface Scanner extends Allowance {
  readonly scans: KeyScans;
  /** Says how a token fares, and with which keys it was tried. */
  ask(
    keys: readonly Key[],
    token: { readonly by?: Key; readonly kid?: string; readonly caller?: string },
  ): Promise<readonly [string, readonly Key[]]>;
}

function scanner(): Scanner {
  const bounded = allowance();
  const scans = createKeyScans(
    bounded.attempts,
    (each) => (each as Key).cost,
    () => bounded.time,
  );
  return Object.assign(bounded, {
    scans,
    ask: async (keys: readonly Key[], { by, caller = 'a', kid }: Parameters<Scanner['ask']>[1]) => {
      const tried: Key[] = [];
      const found = await scans.tryKeys(keys, kid, newScan(caller), async (each) => {
        tried.push(each as Key);
        return each === by;
      });
      return [found, tried] as const;
    },
  });
}

t.test(
  'cheap keys: the first, the one that is named or the last that has verified a token costs no attempts',
  async (t) => {
    const keys = [key('a'), key('b'), key('c')] as const;
    const [a, b, c] = keys;
    const asked = scanner();
    const { ask } = asked;
    t.same(await ask(keys, {}), ['bad', [a, b, c]]);
    t.equal(await drain(asked, 'a'), maxAttempts - b.cost - c.cost, 'the first was free');
    t.same(await ask(keys, {}), ['busy', [a]]);
    t.same(await ask(keys, { by: c }), ['busy', [a]], 'nobody knows whether it is bad');
    t.same(await ask(keys, { by: c, caller: 'other' }), ['good', [a, b, c]]);
    t.equal(await drain(asked, 'other'), maxAttempts, 'a good token gives back');
    t.same(await ask(keys, { by: c }), ['good', [c]], 'it has verified one');
    asked.time += 1;
    t.same(await ask([b], { kid: 'b', by: b }), ['good', [b]], 'and that is named');
    t.same(await ask(keys, { by: c }), ['busy', [b]], 'the last one alone');
    asked.time += provenMs;
    await drain(asked, 'a');
    t.same(await ask(keys, { by: c }), ['busy', [a]], 'for ten minutes');
  },
);

t.test('five small keys that have verified tokens are free', async (t) => {
  const keys = Array.from({ length: 6 }, (_, i) => key(`k${i}`, 1));
  const asked = scanner();
  for (const each of keys) await asked.ask([each], { kid: each.kid ?? '', by: each });
  await drain(asked, 'a');
  t.same(await asked.ask(keys, {}), ['busy', keys.slice(0, maxFreeCost)]);
});

t.test('slow keys: every verification takes attempts, which good tokens give back', async (t) => {
  const slow = key('slow', 35);
  const most = maxAttempts / slow.cost;
  const asked = scanner();
  const { ask } = asked;
  for (let i = 0; i < 1_000; i++) {
    if ((await ask([slow], { kid: 'slow', by: slow }))[0] !== 'good') t.fail(`good token ${i} did not pass`);
  }
  const flood = await Promise.all(Array.from({ length: 64 }, () => ask([slow], { kid: 'slow' })));
  t.equal(flood.filter(([found]) => found === 'bad').length, most);
  t.equal(flood.filter(([found, tried]) => found === 'busy' && tried.length === 0).length, 64 - most);
  t.same(await ask([slow], { kid: 'slow', by: slow }), ['busy', []], 'although it has verified tokens');
  t.same(await ask([slow], { kid: 'slow', by: slow, caller: 'other' }), ['good', [slow]]);
  asked.time += 1_000;
  t.same(await ask([slow], { kid: 'slow', by: slow }), ['good', [slow]], 'attempts have come back');
  t.same(await ask([slow], { kid: 'slow' }), ['bad', [slow]]);
  const burst = await Promise.all(
    Array.from({ length: 64 }, () => ask([slow], { kid: 'slow', by: slow, caller: 'another' })),
  );
  t.ok(
    burst.every(([found]) => found === 'good'),
    'many good tokens at once',
  );
});

t.test('one token: what it may cost is counted over the keys of all rules, and none is tried twice', async (t) => {
  const asked = scanner();
  const { scans } = asked;
  const scan = newScan('a');
  let tried = 0;
  const bad = async (): Promise<boolean> => {
    tried++;
    return false;
  };
  const same = Array.from({ length: 3 }, () => key('k', 1));
  t.equal(await scans.tryKeys(same, 'k', scan, bad), 'bad');
  t.equal(await scans.tryKeys(same, 'k', scan, bad), 'bad');
  t.equal(tried, 3, 'keys of a second rule that are those of the first');
  await drain(asked, 'a');
  t.equal(await scans.tryKeys([key('k')], 'k', scan, bad), 'busy');
  t.equal(tried, 3, 'named ones are free up to a bound');
  asked.time += 3_000;
  t.equal(await scans.tryKeys([key('x', 40)], undefined, scan, bad), 'bad');
  t.equal(await scans.tryKeys([key('own', 20)], 'own', scan, async () => true), 'good');
  t.equal(await drain(asked, 'a'), 3 * attemptsPerSecond, 'what it has spent for other rules comes back, too');
});

t.test(
  'long tokens take attempts to be read, which good ones give back, many at once, whatever their keys',
  async (t) => {
    const cheap = key('k', 4);
    const slow = key('k', 36);
    for (const own of [cheap, slow]) {
      const asked = scanner();
      const { scans } = asked;
      const read = async (by: Key | undefined, length = 16_000): Promise<string> => {
        const scan = newScan('a');
        if (!(await scans.mayRead(length, scan))) return 'unread';
        try {
          await new Promise((resolve) => setImmediate(resolve));
          return await scans.tryKeys([own], 'k', scan, async (each) => each === by);
        } finally {
          scans.end(scan);
        }
      };
      const many = await Promise.all(Array.from({ length: 64 }, () => read(own)));
      t.ok(many.every((found) => found === 'good'));
      t.equal(await drain(asked, 'a', 50), maxAttempts, 'all have come back');
      asked.time += 60_000;
      const flood = await Promise.all(Array.from({ length: 64 }, () => read(undefined)));
      const bad = flood.filter((found) => found === 'bad').length;
      t.ok(bad > 0 && bad * (16 + (own === slow ? 36 : 0)) <= maxAttempts, `${bad} of 64 were read and verified`);
      t.equal(await read(own), 'unread');
      t.equal(await read(own, 2_000), own === cheap ? 'good' : 'busy');
    }
  },
);
