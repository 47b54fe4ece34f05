import { AsyncLocalStorage } from 'node:async_hooks';
import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { createKeySources, type JwksStatus, type KeyFetchRequest } from '../../src/jwt/key-sources.ts';
import type { KeySource } from '../../src/jwt/keys.ts';
import { coolDownMs, type LoadedKeys, maxKeptMs } from '../../src/jwt/remote-keys.ts';
import { discoveryUrl, readDiscovery } from '../../src/lib/openid-discovery.ts';
import { isLoopbackHost, whyNoAddress } from '../../src/lib/special-addresses.ts';
import type { JwtKeys, JwtRule } from '../../src/model/request-authentication.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const [one, two, three] = ['k1', 'k2', 'k3'].map((kid) => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...publicKey.export({ format: 'jwk' }), kid };
});
const set = (...keys: readonly unknown[]): string => JSON.stringify({ keys });
const minutes = 60_000;

function rule(keys: JwtKeys, changes: Partial<JwtRule> = {}): JwtRule {
  return {
    issuer: 'https://issuer.example',
    audiences: [],
    keys,
    fromHeaders: [],
    fromParams: [],
    fromCookies: [],
    outputClaimToHeaders: [],
    forwardOriginalToken: false,
    timeoutMs: 5_000,
    spaceDelimitedClaims: [],
    ...changes,
  };
}
const policy = (...rules: readonly JwtRule[]) => ({
  rules,
  provenance: { kind: 'RequestAuthentication', namespace: 'shop', name: 'jwt' },
});
const uri = (path = '/jwks'): JwtKeys => ({ kind: 'uri', uri: `https://issuer.example${path}` });

/** Answers wait until the test gives them. */
function keySources(t: Test, { random = 0, refreshMs = 5 * minutes, onFetch = (): unknown => undefined } = {}) {
  const clock = fakeClock();
  const asked: (KeyFetchRequest & {
    answer(text: string, maxAgeMs?: number): Promise<void>;
    fail(why?: string): Promise<void>;
  })[] = [];
  const told: JwksStatus[] = [];
  const logger = recordingLogger();
  const sources = createKeySources({
    fetch: (request) => {
      onFetch();
      const { promise, reject, resolve } = Promise.withResolvers<LoadedKeys>();
      asked.push({
        ...request,
        answer: async (text, maxAgeMs) => {
          resolve(maxAgeMs === undefined ? { text } : { text, maxAgeMs });
          await clock.advanceAsync(0);
        },
        fail: async (why = 'status 500') => {
          reject(new Error(why));
          await clock.advanceAsync(0);
        },
      });
      return promise;
    },
    refreshMs,
    clock,
    random: () => random,
    logger,
    changed: (status) => told.push(status),
  });
  t.teardown(() => sources.close());
  const last = () => asked.at(-1) ?? t.fail('nothing was asked');
  return { asked, clock, last: last as () => (typeof asked)[number], logger, sources, told };
}

const kids = (source: KeySource): readonly (string | undefined)[] | undefined =>
  source.current()?.keys.map(({ kid }) => kid);

t.test('keys are fetched when a rule names them, once for all rules, and dropped with the last one', async (t) => {
  const { asked, clock, last, sources } = keySources(t);
  const [a, b] = [rule(uri()), rule(uri(), { issuer: 'https://other.example', timeoutMs: 9_000 })];
  sources.use([policy(a), policy(b)]);
  t.same(
    asked.map(({ url }) => url),
    ['https://issuer.example/jwks'],
  );
  t.equal(sources.sourceOf(a), sources.sourceOf(b));
  t.same(sources.pending(), ['https://issuer.example/jwks']);
  t.equal(sources.sourceOf(a).current(), undefined);
  await last().answer(set(one));
  t.same(sources.pending(), []);
  const source = sources.sourceOf(a);
  t.same(kids(source), ['k1']);
  sources.use([policy(b)]);
  t.equal(sources.sourceOf(b), source, 'the same in the next snapshot');
  await clock.advanceAsync(5 * minutes);
  t.match(last(), { timeoutMs: 9_000, loopback: true }, 'the longest timeout of those that share it');
  const { signal } = last();
  sources.use([]);
  t.ok(signal.aborted, 'nobody waits for an answer that nobody needs');
  t.same(kids(source), ['k1'], 'a request that is under way finds the keys still');
  await clock.advanceAsync(60 * minutes);
  t.equal(asked.length, 2);
  t.same(sources.status(), []);
  t.equal(clock.pending(), 0, 'no timer is left');
});

t.test('a rule with keys of its own fetches nothing', async (t) => {
  const { asked, logger, sources } = keySources(t);
  const good = rule({ kind: 'inline', jwks: set(one, two) });
  const bad = rule({ kind: 'inline', jwks: '{"keys":[{"kty":"oct","k":"c2VjcmV0LXNlY3JldA"}]}' });
  sources.use([policy(good, bad)]);
  t.same(kids(sources.sourceOf(good)), ['k1', 'k2']);
  t.equal(sources.sourceOf(good), sources.sourceOf({ ...good }));
  t.equal((await sources.sourceOf(good).refresh('unknown-key'))?.keys.length, 2);
  t.equal(sources.sourceOf(bad).current(), undefined, 'JWT-080 no keys rather than a secret that everybody knows');
  t.equal(logger.messages('error').length, 1);
  t.notMatch(JSON.stringify(logger.lines), 'c2VjcmV0');
  t.same(asked, []);
});

t.test('JWT-077 without keys tokens are refused at once; the issuer is asked again, ever more seldom', async (t) => {
  const { asked, clock, last, logger, sources, told } = keySources(t, { random: 1 });
  const source = sources.sourceOf(rule(uri()));
  const waiting = source.refresh('none');
  await last().fail('connect ECONNREFUSED');
  t.equal(await waiting, undefined, 'who came first has waited');
  t.equal(await source.refresh('none'), undefined, 'who comes later does not');
  t.equal(asked.length, 1);
  const waits: number[] = [];
  for (let i = 0; i < 9; i++) {
    const before = clock.now();
    while (asked.length === i + 1) await clock.advanceAsync(500);
    waits.push((clock.now() - before) / 1_000);
    await last().fail();
  }
  t.same(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  t.same(logger.messages('warn'), ['keys of tokens cannot be fetched, and there are none: tokens are refused']);
  t.match(told, [
    { from: 'uri', url: 'https://issuer.example/jwks', keys: 0, generation: 0, problem: 'connect ECONNREFUSED' },
  ]);
  await clock.advanceAsync(minutes);
  await last().answer(set(one));
  t.same(kids(source), ['k1']);
  t.match(told[1], { keys: 1, generation: 1, problem: undefined, fetchedAt: clock.wallNow() });
  t.equal(sources.status()[0]?.nextFetchAt, clock.wallNow() + 4 * minutes, 'and now at leisure');
  t.match(sources.status(), [{ fetches: 11, failures: 10 }]);
});

t.test('the last good keys stay while the issuer fails in any way, for seven days', async (t) => {
  const { asked, clock, last, logger, sources, told } = keySources(t);
  const source = sources.sourceOf(rule(uri()));
  await last().answer(set(one));
  const start = clock.now();
  const good = source.current();
  await clock.advanceAsync(5 * minutes);
  for (const garbage of [
    '',
    '<html>',
    '{}',
    '[]',
    '{"keys":{}}',
    set({ ...one, d: 'AAAA' }),
    set(...Array(101).fill(one)),
  ]) {
    const before = asked.length;
    await last().answer(garbage);
    t.equal(source.current(), good, `JWT-079 ${garbage.slice(0, 20)}`);
    while (asked.length === before) await clock.advanceAsync(1_000);
  }
  await last().fail();
  t.same(logger.messages('warn'), ['keys of tokens cannot be fetched: those from before stay'], 'said once');
  t.notMatch(
    JSON.stringify([logger.lines, sources.status()]),
    '<html>',
    'JWT-083 nothing that was fetched is repeated',
  );
  const sinceFirst = clock.now() - start;
  await clock.advanceAsync(maxKeptMs - sinceFirst - 1);
  await last().fail();
  t.equal(source.current(), good);
  await clock.advanceAsync(minutes);
  await last().fail();
  t.equal(source.current(), undefined);
  t.match(told.at(-1), { keys: 0, problem: 'status 500' });
});

t.test('a key that is gone verifies nothing any more, and one that came does', async (t) => {
  const { clock, last, sources, told } = keySources(t, { random: 0.5 });
  const source = sources.sourceOf(rule(uri()));
  await last().answer(set(one, two));
  const first = source.current();
  await clock.advanceAsync(4.5 * minutes);
  await last().answer(set(two, one));
  t.equal(source.current(), first, 'the same keys in another order are no new set');
  await clock.advanceAsync(4.5 * minutes);
  await last().answer(set(two, three, { ...three, kid: 'other', use: 'enc' }));
  t.same(kids(source), ['k2', 'k3'], 'JWT-085');
  t.match(sources.status(), [{ keys: 2, generation: 2, ignored: ['key 3: its use is not sig'] }]);
  await clock.advanceAsync(4.5 * minutes);
  await last().answer(set());
  t.same(kids(source), [], 'an issuer may take all of its keys back');
  t.same(
    told.map(({ keys, generation }) => [keys, generation]),
    [
      [2, 1],
      [2, 2],
      [0, 3],
    ],
  );
});

t.test('JWT-033, JWT-034 tokens with unknown keys cause one fetch in the cool-down, for all that wait', async (t) => {
  const { asked, clock, last, sources } = keySources(t);
  const source = sources.sourceOf(rule(uri()));
  await last().answer(set(one));
  const flood = Array.from({ length: 10_000 }, () => source.refresh('unknown-key'));
  t.equal(asked.length, 2);
  await last().answer(set(one, two));
  const found = (await Promise.all(flood)).filter((keys) => keys?.byKid.has('k2'));
  t.equal(found.length, 1_000, 'no more than these wait, the others are answered with what there is');
  t.ok((await source.refresh('unknown-key'))?.byKid.has('k2'));
  await clock.advanceAsync(coolDownMs - 1);
  void source.refresh('unknown-key');
  t.equal(asked.length, 2);
  await clock.advanceAsync(1);
  const refused = source.refresh('unknown-key');
  t.equal(asked.length, 3);
  await last().fail();
  t.equal((await refused)?.keys.length, 2);
  await clock.advanceAsync(999);
  t.equal(asked.length, 4, 'a fetch that failed is repeated in the background as always');
});

t.test('Cache-Control makes fetches more frequent within bounds, and never rarer', async (t) => {
  for (const [maxAgeMs, wait] of [
    [undefined, 5 * minutes],
    [0, 5 * minutes],
    [1_000, minutes],
    [2 * minutes, 2 * minutes],
    [999_999 * minutes, 5 * minutes],
  ] as const) {
    const { clock, last, sources } = keySources(t);
    sources.sourceOf(rule(uri()));
    await last().answer(set(one), maxAgeMs);
    t.equal(sources.status()[0]?.nextFetchAt, clock.wallNow() + wait, `max-age ${maxAgeMs} ms`);
  }
});

t.test('processes that started together do not ask together', async (t) => {
  const { clock, last, sources } = keySources(t, { random: 1 });
  sources.sourceOf(rule(uri()));
  await last().answer(set(one));
  t.equal(sources.status()[0]?.nextFetchAt, clock.wallNow() + 4 * minutes);
});

t.test('discovery asks the issuer where its keys are', async (t) => {
  const { asked, clock, last, sources } = keySources(t);
  const source = sources.sourceOf(rule({ kind: 'discovery' }));
  const document = JSON.stringify({ issuer: 'https://issuer.example', jwks_uri: 'https://keys.example/jwks?v=1' });
  const urls = (): readonly string[] => asked.map(({ url }) => new URL(url).host);
  t.match(last(), { url: 'https://issuer.example/.well-known/openid-configuration', loopback: false });
  await clock.advanceAsync(3_000);
  await last().answer(document);
  t.match(last(), { url: 'https://keys.example/jwks?v=1', loopback: false, timeoutMs: 2_000 });
  await last().answer(set(one));
  t.same(kids(source), ['k1']);
  t.match(sources.status(), [{ from: 'discovery', url: 'https://issuer.example/', keys: 1 }]);
  await clock.advanceAsync(5 * minutes);
  t.same(urls(), ['issuer.example', 'keys.example', 'keys.example'], 'where they are is not asked each time');
  await last().fail('status 404');
  await clock.advanceAsync(1_000);
  t.same(urls().slice(3), ['issuer.example'], 'but when they are not there any more');
  await last().answer(document.replace('jwks?v=1', 'new'));
  await last().answer(set(two));
  t.same(kids(source), ['k2']);
  for (let i = 0; i < 12; i++) {
    await clock.advanceAsync(5 * minutes);
    if (last().url.startsWith('https://keys')) await last().answer(set(two));
  }
  t.match(last().url, 'openid-configuration', 'and every hour');
  await last().answer(JSON.stringify({ issuer: 'https://evil.example', jwks_uri: 'https://evil.example/jwks' }));
  t.same(kids(source), ['k2']);
  t.match(sources.status()[0]?.problem, 'another issuer');
});

t.test('fetching is the doing of nobody who happens to ask', async (t) => {
  const request = new AsyncLocalStorage<string>();
  const seen: (string | undefined)[] = [];
  const { clock, last, sources } = keySources(t, { onFetch: () => seen.push(request.getStore()) });
  const source = request.run('one', () => sources.sourceOf(rule(uri())));
  await last().answer(set(one));
  const asking = request.run('two', async () => {
    await source.refresh('unknown-key');
    return request.getStore();
  });
  await last().answer(set(one));
  t.equal(await asking, 'two');
  await clock.advanceAsync(5 * minutes);
  t.same(seen, [undefined, undefined, undefined]);
});

t.test('whatever happens, in any order: one fetch at a time, and good keys stay until others are good', async (t) => {
  type Step = 'minute' | 'second' | 'unknown' | 'none' | 'one' | 'two' | 'both' | 'garbage' | 'fail';
  const sets = { one: [one], two: [two], both: [one, two] } as const;
  const step = fc.constantFrom<Step>('minute', 'second', 'unknown', 'none', 'one', 'two', 'both', 'garbage', 'fail');
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 60 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (steps, random) => {
        const { asked, clock, sources } = keySources(t, { random });
        const source = sources.sourceOf(rule(uri()));
        const open: (typeof asked)[number][] = [];
        let [taken, due, lastAsked] = [0, 0, Number.NEGATIVE_INFINITY];
        let good: readonly string[] | undefined;
        for (const what of steps) {
          if (what === 'minute' || what === 'second') await clock.advanceAsync(what === 'minute' ? minutes : 1_000);
          else if (what === 'unknown' || what === 'none') {
            const before = asked.length;
            void source.refresh(what === 'none' ? 'none' : 'unknown-key');
            if (asked.length > before) {
              t.ok(what === 'unknown' && clock.now() - lastAsked >= coolDownMs, 'tokens cause few fetches');
              lastAsked = clock.now();
            }
          } else {
            const request = open.shift();
            if (request === undefined) continue;
            if (what === 'fail') await request.fail();
            else if (what === 'garbage') await request.answer('garbage');
            else {
              good = sets[what].map((key) => String(key?.['kid']));
              await request.answer(set(...sets[what]));
            }
            due = clock.now() + 5 * minutes;
          }
          open.push(...asked.slice(taken));
          taken = asked.length;
          t.ok(open.length <= 1, 'one at a time');
          t.ok(open.length === 1 || clock.now() <= due, 'and never later than it must be');
          t.same(kids(source), good);
        }
        sources.close();
      },
    ),
    { numRuns: 100, seed: 7 },
  );
});

t.test('close ends everything', async (t) => {
  const { asked, clock, last, sources } = keySources(t);
  const source = sources.sourceOf(rule(uri()));
  const settled = sources.settled();
  sources.close();
  t.ok(last().signal.aborted);
  await last().fail();
  await settled;
  t.equal(await source.refresh('unknown-key'), undefined);
  t.equal(sources.sourceOf(rule(uri('/other'))).current(), undefined);
  t.equal(asked.length, 1);
  t.equal(clock.pending(), 0);
});

t.test('issuers that can be asked, and documents that are believed', async (t) => {
  for (const [issuer, url] of [
    ['https://a.example', 'https://a.example/.well-known/openid-configuration'],
    ['https://a.example/', 'https://a.example/.well-known/openid-configuration'],
    ['https://a.example/t//', 'https://a.example/t//.well-known/openid-configuration'],
    ['https://a.example:8443/realms/x', 'https://a.example:8443/realms/x/.well-known/openid-configuration'],
    ['http://localhost:3000', 'http://localhost:3000/.well-known/openid-configuration'],
    ['http://[::1]:3000/', 'http://[::1]:3000/.well-known/openid-configuration'],
    ['http://a.example', /http URL/],
    ['accounts.google.com', /no https URL/],
    ['file:///etc/passwd', /no https URL/],
    ['', /no https URL/],
    ['https://a.example?x', /query or a fragment/],
    ['https://a.example#', /query or a fragment/],
    ['https://me:pass@a.example', /user or a password/],
  ] as const) {
    if (typeof url === 'string') t.equal(discoveryUrl(issuer), url);
    else t.throws(() => discoveryUrl(issuer), { message: url }, issuer);
  }
  for (const [issuer, document, result] of [
    ['https://a.example', { issuer: 'https://a.example', jwks_uri: 'https://b.example/k' }, 'https://b.example/k'],
    ['https://a.example/', { issuer: 'https://a.example/', jwks_uri: 'https://b.example/k' }, 'https://b.example/k'],
    ['https://a.example', { issuer: 'https://a.example/', jwks_uri: 'https://b.example/k' }, /differ in a slash/],
    ['https://a.example/', { issuer: 'https://a.example', jwks_uri: 'https://b.example/k' }, /differ in a slash/],
    ['https://a.example', { issuer: 'https://A.example', jwks_uri: 'https://b.example/k' }, /must be the configured/],
    ['https://a.example', { jwks_uri: 'https://b.example/k' }, /must be the configured/],
    ['https://a.example', { issuer: 'https://a.example' }, /no jwks_uri/],
    ['https://a.example', { issuer: 'https://a.example', jwks_uri: 7 }, /no jwks_uri/],
    ['https://a.example', { issuer: 'https://a.example', jwks_uri: 'http://b.example/k' }, /no https URL/],
    ['https://a.example', { issuer: 'https://a.example', jwks_uri: 'http://127.0.0.1/k' }, /no https URL/],
    ['https://a.example', { issuer: 'https://a.example', jwks_uri: 'file:///etc/passwd' }, /no https URL/],
    ['https://a.example', { issuer: 'https://a.example', jwks_uri: 'https://u:p@b.example/k' }, /user or a password/],
    ['http://localhost:1', { issuer: 'http://localhost:1', jwks_uri: 'http://localhost:1/k' }, 'http://localhost:1/k'],
    ['http://localhost:1', { issuer: 'http://localhost:1', jwks_uri: 'http://b.example/k' }, /no https URL/],
    ['https://a.example', [], /no object/],
    ['https://a.example', null, /no object/],
  ] as const) {
    const text = JSON.stringify(document);
    if (typeof result === 'string') t.equal(readDiscovery(text, issuer), result);
    else t.throws(() => readDiscovery(text, issuer), { message: result }, text);
  }
  t.throws(() => readDiscovery('{"issuer": secret', 'https://a.example'), { message: /^[^s]*[^']*not JSON$/ });
  t.throws(() => readDiscovery(' '.repeat(300_000), 'https://a.example'), /longer than/);
});

t.test(
  'JWT-081 nothing is fetched from metadata services, nor from this host where an issuer elsewhere says so',
  async (t) => {
    for (const address of [
      '169.254.169.254',
      '::ffff:169.254.169.254',
      'fe80::1',
      'fd00:ec2::254',
      '168.63.129.16',
      '100.100.100.200',
    ]) {
      t.match(whyNoAddress(address, true), /metadata services/, address);
    }
    for (const address of [
      '127.0.0.1',
      '127.9.9.9',
      '::1',
      '::ffff:127.0.0.1',
      '0.0.0.0',
      '::',
      'localhost',
      'a.localhost',
      'LOCALHOST.',
    ]) {
      t.equal(isLoopbackHost(address), true, address);
      t.match(whyNoAddress(address, false), /may not name this host/, address);
      t.equal(whyNoAddress(address, true), undefined);
    }
    for (const address of ['10.0.0.1', '192.168.1.1', '8.8.8.8', '2001:db8::1', 'localhost.example', 'notlocalhost']) {
      t.equal(whyNoAddress(address, false), undefined, address);
    }
  },
);
