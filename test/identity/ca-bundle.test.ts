import type { IncomingMessage, ServerResponse } from 'node:http';
import t, { type Test } from 'tap';
import { watchBundle } from '../../src/identity/ca-bundle.ts';
import type { AuthorityTrust } from '../../src/identity/ca-client.ts';
import { caSource } from '../../src/identity/ca-source.ts';
import { createIdentityStore } from '../../src/identity/rotation.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { makeAuthority } from '../support/certificates.ts';
import { fakeCa } from '../support/fake-ca.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const limitMs = 20_000;

/** Pauses are over at once, limits of requests never: what is tested is what happens, not when. */
function hastyClock(pauses: number[]): Clock {
  return {
    ...systemClock,
    after: (delayMs, action) => {
      if (delayMs >= limitMs) return () => {};
      pauses.push(delayMs);
      return systemClock.after(0, action, true);
    },
  };
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** Watches an authority that gives these answers, one after the other, and then none. */
async function watching(t: Test, answers: readonly Answer[]) {
  const authority = makeAuthority();
  const requests: IncomingMessage['headers'][] = [];
  const heard: AuthorityTrust[] = [];
  const problems: Error[] = [];
  const pauses: number[] = [];
  const abort = new AbortController();
  const { promise: exhausted, resolve } = Promise.withResolvers<void>();
  const ca = await fakeCa(
    authority,
    Date.now,
    () => 'hang',
    0,
    (incoming, response) => {
      requests.push(incoming.headers);
      const answer = answers[requests.length - 1];
      if (answer === undefined) resolve();
      else answer(incoming, response);
    },
  );
  const ended = watchBundle(
    {
      url: new URL(ca.url),
      trustRoots: async () => [authority.rootPem],
      credentials: () => authority.issue(web),
      timeoutMs: limitMs,
      clock: hastyClock(pauses),
      random: () => 0,
      heard: (trust) => heard.push(trust),
      troubled: (problem) => problems.push(problem),
    },
    abort.signal,
  );
  t.teardown(async () => {
    abort.abort();
    await ended;
    await ca.close();
  });
  return { authority, requests, heard, problems, pauses, exhausted, ended };
}

const body = (roots: readonly string[], more: object = {}): string =>
  JSON.stringify({ trustDomain: 'cluster.local', trustBundles: { 'cluster.local': roots }, ...more });
const bundle =
  (tag: string, roots: readonly string[], headers: Record<string, string> = {}, more: object = {}): Answer =>
  (_request, response) =>
    response.writeHead(200, { etag: tag, ...headers }).end(body(roots, more));
const unchanged =
  (headers: Record<string, string> = { 'preference-applied': 'wait=25' }): Answer =>
  (_request, response) =>
    response.writeHead(304, headers).end();
const failure: Answer = (_request, response) => response.writeHead(500).end('out of order');

t.test('asks at once, then to be told of the next change', async (t) => {
  const held = { 'preference-applied': 'wait=25' };
  const run = await watching(t, [
    bundle('"1"', ['one']),
    unchanged(),
    bundle('"2"', ['one', 'two'], held, { crls: { 'cluster.local': ['list'] } }),
  ]);
  await run.exhausted;
  t.same(
    run.requests.map(({ prefer, 'if-none-match': known }) => [prefer, known]),
    [
      [undefined, undefined],
      ['wait=25', '"1"'],
      ['wait=25', '"1"'],
      ['wait=25', '"2"'],
    ],
  );
  t.same(
    run.heard.map(({ trustBundles, crlsByTrustDomain }) => [
      trustBundles.get('cluster.local'),
      crlsByTrustDomain?.get('cluster.local'),
    ]),
    [
      [['one'], undefined],
      [['one', 'two'], ['list']],
    ],
  );
  t.same(run.pauses, [100, 100, 100], 'hardly a pause: the authority holds the requests');
  t.same(run.problems, []);
});

t.test('is patient with an authority that does not hold requests, or has no tags', async (t) => {
  const run = await watching(t, [bundle('"1"', ['one']), unchanged({}), bundle('"2"', ['two'])]);
  await run.exhausted;
  t.same(run.pauses, [100, 15_000, 15_000]);
  const plain: Answer = (_request, response) => response.writeHead(200).end(body(['one']));
  const without = await watching(t, [plain, plain]);
  await without.exhausted;
  t.same(without.pauses, [15_000, 15_000]);
  t.equal(without.requests[2]?.['prefer'], undefined);
});

t.test('ends when the authority has no such thing', async (t) => {
  for (const status of [404, 405]) {
    const run = await watching(t, [(_request, response) => response.writeHead(status).end()]);
    await run.ended;
    t.same([run.heard, run.problems, run.pauses], [[], [], []]);
  }
});

t.test('speaks of trouble once, when it lasts, and tells the bundle again when it is over', async (t) => {
  const run = await watching(t, [
    bundle('"1"', ['one']),
    failure,
    unchanged(),
    failure,
    failure,
    failure,
    failure,
    unchanged(),
  ]);
  await run.exhausted;
  t.match(run.problems, [{ code: 'ERR_MESH_CA', message: /answered 500 for its bundle: out of order/ }]);
  t.equal(run.problems.length, 1);
  t.same(
    run.heard.map(({ trustBundles }) => trustBundles.get('cluster.local')),
    [['one'], ['one']],
  );
  t.same(run.pauses, [100, 500, 100, 500, 1_000, 2_000, 4_000, 100]);
});

t.test('takes nothing that has another form', async (t) => {
  const rubbish = [
    '',
    'null',
    '[]',
    '{}',
    '{"trustBundles":[1]}',
    '{"trustBundles":{"x":"y"}}',
    '{"trustBundles":{"x":[1]}}',
  ];
  const answers = [...rubbish, body(['one'], { crls: 5 }), body(['one'], { crls: { 'cluster.local': 'x' } })].map(
    (text): Answer =>
      (_request, response) =>
        response.writeHead(200, { etag: '"x"' }).end(text),
  );
  const run = await watching(t, answers);
  await run.exhausted;
  t.same(run.heard, []);
  t.equal(run.problems.length, 1);
});

/** A source whose authority hands out what `roots` says. */
async function source(t: Test, answers: (request: IncomingMessage, response: ServerResponse) => void) {
  const authority = makeAuthority();
  const ca = await fakeCa(authority, Date.now, () => ({ spiffeId: web, ttlMs: 3_600_000 }), 0, answers);
  const store = createIdentityStore({ clock: systemClock, logger: silentLogger });
  const abort = new AbortController();
  const running = caSource({
    url: ca.url,
    trustRoot: authority.rootPem,
    spiffeId: web,
    token: 'x',
    clock: hastyClock([]),
  }).run(store.sink, abort.signal);
  t.teardown(async () => {
    abort.abort();
    await running;
    store.close();
    await ca.close();
  });
  const until = (wanted: (credentials: Credentials) => boolean): Promise<Credentials> =>
    new Promise((resolve) => {
      const look = (): void => {
        const credentials = store.current()?.credentials;
        if (credentials !== undefined && wanted(credentials)) resolve(credentials);
      };
      store.subscribe(look);
      look();
    });
  return { authority, ca, store, until };
}

const ownRoots = ({ trustBundles }: Credentials): readonly string[] => trustBundles.get('cluster.local') ?? [];

t.test('a source takes the bundle that it hears of together with the certificate that it has', async (t) => {
  const next = makeAuthority({ name: 'the next root' });
  let count = 0;
  const run = await source(t, (_request, response) => {
    if (++count === 1) bundle('"1"', [run.authority.rootPem, next.rootPem])(_request, response);
  });
  const first = await run.until(() => true);
  const both = await run.until((credentials) => ownRoots(credentials).length === 2);
  t.equal(both.certificateChainPem, first.certificateChainPem);
  t.equal(both.privateKeyPem, first.privateKeyPem);
  t.equal(run.ca.requests.length, 1, 'no other certificate is asked for');
});

t.test('a source refuses a bundle without roots of its own trust domain, and keeps what it has', async (t) => {
  let count = 0;
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  const run = await source(t, (_request, response) => {
    if (++count === 1) bundle('"1"', [])(_request, response);
    else resolve();
  });
  const before = await run.until(() => true);
  await asked;
  t.match(run.store.lastProblem(), { code: 'ERR_MESH_NO_IDENTITY', message: /no roots for its own trust domain/ });
  t.same(ownRoots(run.store.current()?.credentials as Credentials), ownRoots(before));
});

t.test('a source whose root is gone asks for another certificate at once', async (t) => {
  const next = makeAuthority({ name: 'the next root' });
  let count = 0;
  const run = await source(t, (_request, response) => {
    if (++count === 1) bundle('"1"', [next.rootPem])(_request, response);
  });
  await run.until((credentials) => ownRoots(credentials)[0] === next.rootPem);
  const first = run.ca.requests.length;
  await run.until(() => run.ca.requests.length > first);
  t.ok(run.ca.requests.length > first, 'without waiting for half of its life');
});
