import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { type CaSourceOptions, caSource } from '../../src/identity/ca-source.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { identitySourceSuite } from '../suites/identity-source.ts';
import { makeAuthority } from '../support/certificates.ts';
import { type CaAnswer, fakeCa } from '../support/fake-ca.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const hour = 3_600_000;
const requestLimitMs = 12_345;

/** Runs a source and notes what it says, and how long it then wants to wait. */
function start(options: Omit<CaSourceOptions, 'clock'>, clock: FakeClock) {
  const told: string[] = [];
  const updates: Credentials[] = [];
  const problems: Error[] = [];
  const waits: number[] = [];
  const abort = new AbortController();
  const watching: FakeClock = {
    ...clock,
    after: (delayMs, action) => {
      // One is the limit of a request; everything else is a wait.
      if (delayMs !== requestLimitMs) waits.push(delayMs);
      return clock.after(delayMs, action);
    },
  };
  // Two requests at a time, and a clock that is moved by hand: the test of the bundle has a real one.
  const defaults = { spiffeId: web, random: () => 0, timeoutMs: requestLimitMs, watchBundle: false };
  const source = caSource({ ...defaults, ...options, clock: watching });
  const running = source.run(
    {
      update: (credentials) => {
        told.push('update');
        updates.push(credentials);
      },
      reject: (problem) => {
        told.push('reject');
        problems.push(problem);
      },
      lost: (reason) => {
        told.push('lost');
        problems.push(reason);
      },
    },
    abort.signal,
  );
  /** Waits until the source has spoken `count` times in all, and sleeps. */
  const spoken = async (count: number) => {
    while (waits.length < count) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    source,
    told,
    updates,
    problems,
    waits,
    spoken,
    next: async () => {
      const count = waits.length;
      clock.advance(waits.at(-1) ?? 0);
      await spoken(count + 1);
    },
    stop: async () => {
      abort.abort();
      await running;
    },
  };
}

identitySourceSuite(t, {
  name: 'certificate authority',
  isLimit: (delayMs) => delayMs === requestLimitMs,
  make: async (_t, clock) => {
    const authority = makeAuthority();
    const foreign = makeAuthority().issue(web).certificateChainPem;
    let good: CaAnswer = { status: 503, body: '' };
    let answer: CaAnswer = { status: 503, body: '' };
    let askedBefore = 0;
    const ca = await fakeCa(authority, clock.wallNow, () => answer);
    const bundles = (...more: readonly string[]) => ({ 'cluster.local': [authority.rootPem, ...more] });
    const set = async (next: CaAnswer): Promise<void> => {
      answer = next;
    };
    return {
      source: caSource({
        watchBundle: false,
        url: ca.url,
        trustRoot: authority.rootPem,
        spiffeId: web,
        token: 'a-token-of-one-use',
        timeoutMs: requestLimitMs,
        random: () => 0.5,
        clock,
      }),
      spiffeId: web,
      issue: ({ extraRoots = [], notAfter } = {}) => {
        const ttlMs = notAfter === undefined ? hour : notAfter - clock.wallNow();
        return set((good = { spiffeId: web, ttlMs, trustBundles: bundles(...extraRoots) }));
      },
      mismatch: () =>
        set({ status: 200, body: JSON.stringify({ certificateChain: foreign, trustBundles: bundles() }) }),
      garble: () => set({ status: 200, body: '<html>' }),
      cutOff: () => set('cut'),
      reconnect: () => set(good as CaAnswer),
      hang: () => {
        askedBefore = ca.requests.length;
        return set('hang');
      },
      asked: () => ca.requests.length > askedBefore,
      secrets: () => ['a-token-of-one-use'],
      close: ca.close,
    };
  },
});

t.test('asks with the token first and renews at half of the life with the certificate in hand', async (t) => {
  const authority = makeAuthority();
  const clock = fakeClock();
  const ca = await fakeCa(authority, clock.wallNow, () => ({ spiffeId: web, ttlMs: hour }));
  const running = start({ url: ca.url, trustRoot: authority.rootPem, token: 'secret' }, clock);
  t.equal(running.source.name, `ca:${ca.url}`);
  await running.spoken(1);
  t.match(running.updates, [{ spiffeId: web }]);
  t.match(ca.requests, [{ token: 'secret', client: undefined }]);
  t.ok(Math.abs((running.waits[0] ?? 0) - hour / 2) < 2_000, `half an hour: ${running.waits[0]}`);
  await running.next();
  t.match(ca.requests[1], { token: undefined, client: `URI:${web}` });
  t.equal(running.updates.length, 2);
  t.not(running.updates[0]?.privateKeyPem, running.updates[1]?.privateKeyPem, 'a new key every time');
  t.same(running.problems, []);
  await running.stop();
  t.equal(clock.pending(), 0);
  await ca.close();
});

t.test('jitter only ever renews earlier', async (t) => {
  const authority = makeAuthority();
  const clock = fakeClock();
  const ca = await fakeCa(authority, clock.wallNow, () => ({ spiffeId: web, ttlMs: hour }));
  const options = { url: ca.url, trustRoot: authority.rootPem, token: 'x', renewAtShare: 0.8, random: () => 0.999 };
  const running = start(options, clock);
  await running.spoken(1);
  t.ok(Math.abs((running.waits[0] ?? 0) - hour * 0.8 * 0.9) < 5_000, `72 % instead of 80 %: ${running.waits[0]}`);
  await running.stop();
  await ca.close();
});

t.test('asks with the token again when the certificate has expired, or is known no longer', async (t) => {
  const authority = makeAuthority();
  const clock = fakeClock();
  let refuseCertificates = false;
  const ca = await fakeCa(authority, clock.wallNow, ({ client }) =>
    refuseCertificates && client !== undefined
      ? { status: 401, body: '{"error":"unauthenticated","message":"who?"}' }
      : { spiffeId: web, ttlMs: hour },
  );
  const folder = t.testdir();
  const root = join(folder, 'root.pem');
  writeFileSync(root, authority.rootPem);
  const tokenFile = join(folder, 'token');
  writeFileSync(tokenFile, 'first\n');
  const running = start({ url: ca.url, trustRoot: root, tokenFile }, clock);
  await running.spoken(1);
  writeFileSync(tokenFile, 'second\n');
  clock.jump(2 * hour);
  await running.next();
  t.match(ca.requests[1], { token: 'second', client: undefined }, 'expired');
  refuseCertificates = true;
  await running.next();
  t.match(ca.requests[2], { token: undefined, client: `URI:${web}` });
  t.match(ca.requests[3], { token: 'second', client: undefined }, 'known no longer');
  t.equal(running.updates.length, 3);
  t.same(running.problems, []);
  await running.stop();
  await ca.close();
});

t.test('keeps trying with growing waits, more patiently while it has a certificate', async (t) => {
  const authority = makeAuthority();
  const clock = fakeClock();
  let answer: CaAnswer = { status: 503, body: 'not json' };
  const ca = await fakeCa(authority, clock.wallNow, () => answer);
  const running = start({ url: ca.url, trustRoot: authority.rootPem, token: 'x', random: () => 1 - 1e-9 }, clock);
  await running.spoken(1);
  for (let i = 0; i < 8; i++) await running.next();
  t.same(running.waits.map(Math.round), [50, 100, 200, 400, 800, 1_500, 1_500, 1_500, 1_500]);
  t.ok(running.told.every((word) => word === 'lost'));
  t.match(running.problems[0], { code: 'ERR_MESH_CA', message: `${ca.url} answered 503` });

  answer = { spiffeId: web, ttlMs: 10 * hour };
  await running.next();
  t.equal(running.told.at(-1), 'update');
  answer = { status: 429, body: '{"error":"rate_limited","message":"slow"}' };
  running.waits.length = 1;
  clock.advance(5 * hour);
  await running.spoken(2);
  for (let i = 0; i < 12; i++) await running.next();
  t.equal(running.told.at(-1), 'lost');
  t.equal(Math.round(running.waits.at(-1) ?? 0), 60_000);
  t.match(running.problems.at(-1), { message: /answered 429: rate_limited: slow/ });
  await running.stop();
  await ca.close();
});

t.test('does not sleep through the rest of a short life', async (t) => {
  const authority = makeAuthority();
  const clock = fakeClock();
  let answer: CaAnswer = { spiffeId: web, ttlMs: 20_000 };
  const ca = await fakeCa(authority, clock.wallNow, () => answer);
  const running = start({ url: ca.url, trustRoot: authority.rootPem, token: 'x' }, clock);
  await running.spoken(1);
  answer = { status: 503, body: '' };
  for (let i = 0; i < 8; i++) await running.next();
  t.ok((running.waits.at(-1) ?? 0) <= 1_000, `a tenth of what is left at most: ${running.waits.at(-1)}`);
  await running.stop();
  await ca.close();
});

t.test('refuses answers that are not the certificate that it asked for, and never throws', async (t) => {
  const authority = makeAuthority();
  const other = makeAuthority();
  const clock = fakeClock();
  const foreign = other.issue(web);
  const chain = foreign.certificateChainPem;
  const json = (value: unknown) => ({ status: 200, body: JSON.stringify(value) });
  const cases: readonly (readonly [string, CaAnswer, 'reject' | 'lost', RegExp])[] = [
    [
      'a refusal',
      { status: 401, body: '{"error":"token_invalid","message":"used\\nup"}' },
      'reject',
      /answered 401: token_invalid: used\?up$/,
    ],
    ['a refusal of few words', { status: 404, body: '' }, 'reject', /answered 404$/],
    ['no JSON', { status: 200, body: '<html>' }, 'reject', /not a certificate/],
    ['JSON of another kind', json([]), 'reject', /not a certificate/],
    ['JSON null', json(null), 'reject', /not a certificate/],
    [
      'bundles of another kind',
      json({ certificateChain: chain, trustBundles: { 'cluster.local': 'x' } }),
      'reject',
      /not a certificate/,
    ],
    [
      'a chain that cannot be read',
      json({ certificateChain: 'x', trustBundles: {} }),
      'reject',
      /unusable: certificate chain/,
    ],
    [
      'a key that is not ours',
      json({ certificateChain: chain, trustBundles: { 'cluster.local': [other.rootPem] } }),
      'reject',
      /key is not that of the certificate/,
    ],
    [
      'another identity',
      { spiffeId: `${web}2`, ttlMs: hour },
      'reject',
      /expected .*sa\/web, the certificate says .*web2/,
    ],
    ['no roots', { spiffeId: web, ttlMs: hour, trustBundles: {} }, 'reject', /no roots/],
    ['an expired certificate', { spiffeId: web, ttlMs: -1_000 }, 'reject', /expired/],
    ['an answer that is cut off', 'cut', 'lost', /cannot be reached/],
    ['an answer of five megabytes', { status: 200, body: 'x'.repeat(5_000_000) }, 'lost', /more than 4194304 bytes/],
    ['a redirect', { status: 302, body: '' }, 'reject', /answered 302/],
  ];
  const ca = await fakeCa(authority, clock.wallNow, (_request, index) => cases[index]?.[1] ?? 'hang');
  const running = start({ url: ca.url, trustRoot: authority.rootPem, token: 'x' }, clock);
  await running.spoken(1);
  for (const [index, [what, , word, message]] of cases.entries()) {
    t.equal(running.told[index], word, what);
    t.match(running.problems[index], { message }, what);
    if (index < cases.length - 1) await running.next();
  }
  t.equal(running.updates.length, 0);
  // The last request hangs: its time runs out.
  clock.advance(running.waits.at(-1) ?? 0);
  while (ca.requests.length <= cases.length) await new Promise((resolve) => setImmediate(resolve));
  clock.advance(requestLimitMs);
  await running.spoken(cases.length + 1);
  t.match(running.problems.at(-1), { message: /no complete answer within 12345 ms/ });
  await running.stop();
  await ca.close();
});

t.test('speaks only to the authority that it trusts', async (t) => {
  const authority = makeAuthority();
  const impostor = makeAuthority();
  const clock = fakeClock();
  const ca = await fakeCa(impostor, clock.wallNow, () => ({ spiffeId: web, ttlMs: hour }));
  const running = start({ url: ca.url, trustRoot: authority.rootPem, token: 'secret' }, clock);
  await running.spoken(1);
  t.same(running.told, ['lost']);
  t.same(ca.requests, [], 'the token was not sent');
  await running.stop();
  await ca.close();

  const wrongName = await fakeCa(authority, clock.wallNow, () => 'hang');
  const named = start(
    { url: wrongName.url.replace('127.0.0.1', 'localhost'), trustRoot: authority.rootPem, token: 'x' },
    clock,
  );
  await named.spoken(1);
  t.match(named.problems[0], { message: /localhost:\d+ cannot be reached: Hostname/ });
  t.same(wrongName.requests, []);
  await named.stop();
  await wrongName.close();
});

t.test('trusts the roots that it received, when the authority has a new one', async (t) => {
  const old = makeAuthority();
  const clock = fakeClock();
  const replacement = makeAuthority({ name: 'new root' });
  const both = { 'cluster.local': [old.rootPem, replacement.rootPem] };
  const before = await fakeCa(old, clock.wallNow, () => ({ spiffeId: web, ttlMs: hour, trustBundles: both }));
  const running = start({ url: before.url, trustRoot: old.rootPem, token: 'x' }, clock);
  await running.spoken(1);
  const port = Number(new URL(before.url).port);
  await before.close();
  // The same address, so that the source finds the new one behind its URL.
  const after = await fakeCa(replacement, clock.wallNow, () => ({ spiffeId: web, ttlMs: hour }), port);
  await running.next();
  t.equal(running.told.at(-1), 'update');
  t.ok(after.requests.length >= 1);
  await running.stop();
  await after.close();
});

t.test('survives an authority that is not there, or speaks something else', async (t) => {
  const authority = makeAuthority();
  const clock = fakeClock();
  const server = createServer((socket) =>
    socket
      .on('error', () => {})
      .resume()
      .end('220 ready\r\n'),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const running = start({ url: `https://127.0.0.1:${port}`, trustRoot: authority.rootPem, token: 'x' }, clock);
  await running.spoken(1);
  server.close();
  await once(server, 'close');
  await running.next();
  t.same(running.told, ['lost', 'lost']);
  t.match(running.problems[1], { code: 'ERR_MESH_CA', message: /ECONNREFUSED/ });
  await running.stop();
});

t.test('reports a root or a token that cannot be read', async (t) => {
  const clock = fakeClock();
  const missing = join(t.testdir(), 'missing');
  const url = 'https://127.0.0.1:1';
  const root = start({ url, trustRoot: missing, token: 'x' }, clock);
  await root.spoken(1);
  t.match(root.problems[0], { code: 'ERR_MESH_CA', message: /the root of the authority cannot be read: ENOENT/ });
  await root.stop();
  const token = start({ url, trustRoot: makeAuthority().rootPem, tokenFile: missing }, clock);
  await token.spoken(1);
  t.match(token.problems[0], { code: 'ERR_MESH_CA', message: /the join token cannot be read: ENOENT/ });
  await token.stop();
  const rubbish = start({ url, trustRoot: '-----BEGIN RUBBISH-----', token: 'x' }, clock);
  await rubbish.spoken(1);
  t.same(rubbish.told, ['reject']);
  await rubbish.stop();
});

t.test('stops in the middle of a request', async (t) => {
  const authority = makeAuthority();
  const clock = fakeClock();
  const ca = await fakeCa(authority, clock.wallNow, () => 'hang');
  const running = start({ url: ca.url, trustRoot: authority.rootPem, token: 'x' }, clock);
  while (ca.requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await running.stop();
  t.same(running.told, [], 'and says nothing more');
  t.equal(clock.pending(), 0);
  await ca.close();
});

t.test('refuses options that can never work', async (t) => {
  const good = { url: 'https://127.0.0.1:1', trustRoot: 'root.pem', spiffeId: web, token: 'x' };
  const bad: readonly (readonly [Partial<CaSourceOptions>, RegExp])[] = [
    [{ url: 'http://127.0.0.1:1' }, /url: expected an https URL, not "http:/],
    [{ url: 'nonsense' }, /url/],
    [{ url: 'https://user:secret@127.0.0.1' }, /without user/],
    [{ url: 'https://127.0.0.1/?x' }, /without user, query and fragment/],
    [{ renewAtShare: 1 }, /renewAtShare/],
    [{ renewAtShare: Number.NaN }, /renewAtShare/],
  ];
  for (const [options, message] of bad) {
    t.throws(() => caSource({ ...good, ...options }), { code: 'ERR_MESH_OPTION_INVALID', message });
  }
  const { token: _, ...withoutToken } = good;
  t.throws(() => caSource(withoutToken), { message: /one of token and tokenFile/ });
  const { spiffeId: __, ...withoutId } = good;
  t.throws(() => caSource(withoutId), { message: /one of workload and spiffeId/ });
  const workload = {
    name: 'web',
    namespace: 'shop',
    serviceAccount: 'web',
    labels: {},
    trustDomain: 'cluster.local',
    clusterDomain: 'cluster.local',
  };
  t.equal(caSource({ ...withoutId, url: 'https://ca.example:8443/base', workload }).name, 'ca:https://ca.example:8443');
});
