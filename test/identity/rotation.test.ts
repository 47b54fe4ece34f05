import type { SecureContext } from 'node:tls';
import t from 'tap';
import { MeshError } from '../../src/errors.ts';
import { createIdentityStore } from '../../src/identity/rotation.ts';
import type { Credentials } from '../../src/identity/source.ts';
import type { ActiveIdentity } from '../../src/identity/store.ts';
import { keyPem, makeAuthority, makeKey } from '../support/certificates.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const hour = 3_600_000;

const setUp = (options: { trustDomain?: string; spiffeId?: string } = {}) => {
  const clock = fakeClock();
  const logger = recordingLogger();
  const store = createIdentityStore({ clock, logger, ...options });
  return { clock, logger, store, authority: makeAuthority() };
};

t.test('serves the newest good credentials, parsed once', async (t) => {
  const { store, authority } = setUp();
  t.equal(store.current(), undefined, 'nothing at first');
  const seen: ActiveIdentity[] = [];
  const stop = store.subscribe((identity) => seen.push(identity));
  const first = authority.issue(web);
  store.sink.update(first);
  await store.ready;
  const active = store.current();
  t.match(active, { generation: 1, id: { namespace: 'shop', serviceAccount: 'web' }, credentials: { spiffeId: web } });
  t.equal(store.current()?.clientContext, active?.clientContext as SecureContext);
  store.sink.update(first);
  t.equal(store.current(), active, 'the same credentials are no news');

  store.sink.update(authority.issue(web));
  t.equal(store.current()?.generation, 2);
  t.equal(store.current()?.credentials.trustBundles, active?.credentials.trustBundles, 'equal bundles stay one object');
  t.same(
    seen.map(({ generation }) => generation),
    [1, 2],
  );
  stop();
  const other = makeAuthority();
  store.sink.update({
    ...authority.issue(web),
    trustBundles: new Map([['cluster.local', [authority.rootPem, other.rootPem]]]),
  });
  t.equal(seen.length, 2, 'nothing after the subscription ended');
  t.equal(store.current()?.credentials.trustBundles.get('cluster.local')?.length, 2);
  store.close();
});

t.test('refuses what could not serve, says why, and keeps the last good credentials', async (t) => {
  const { store, logger, authority, clock } = setUp({ trustDomain: 'cluster.local', spiffeId: web });
  const good = authority.issue(web);
  const now = clock.wallNow();
  const cases: readonly (readonly [string, Credentials, RegExp])[] = [
    [
      'a key of another certificate',
      { ...good, privateKeyPem: keyPem(makeKey()) },
      /key is not that of the certificate/,
    ],
    ['a key that is none', { ...good, privateKeyPem: 'secret!' }, /private key cannot be read/],
    ['a chain that is none', { ...good, certificateChainPem: 'x' }, /certificate chain: no certificate in it/],
    [
      'another identity than announced',
      { ...good, spiffeId: `${web}2` },
      /expected .*web2, as announced, the certificate says .*web/,
    ],
    ['another trust domain', authority.issue('spiffe://evil.example/x'), /expected trust domain cluster\.local/],
    [
      'another workload',
      authority.issue('spiffe://cluster.local/ns/shop/sa/api'),
      /expected .*sa\/web, the certificate says/,
    ],
    ['expired', authority.issue(web, { notBefore: now - 2 * hour, notAfter: now - hour }), /expired at/],
    ['not valid yet', authority.issue(web, { notBefore: now + hour, notAfter: now + 2 * hour }), /is valid from/],
    ['no bundle', { ...good, trustBundles: new Map() }, /are no roots for its own trust domain/],
    ['an empty bundle', { ...good, trustBundles: new Map([['cluster.local', []]]) }, /no roots/],
    [
      'a root that is none',
      { ...good, trustBundles: new Map([['cluster.local', [good.certificateChainPem, 'x']]]) },
      /trust bundle of cluster\.local: no certificate in it/,
    ],
    ['an authority', authority.issue(web, { ca: true, keyUsage: ['digitalSignature'] }), /cA is true/],
  ];
  store.sink.update(good);
  const active = store.current();
  for (const [what, bad, message] of cases) {
    store.sink.update(bad);
    t.equal(store.current(), active, what);
    t.match(store.lastProblem(), { code: 'ERR_MESH_NO_IDENTITY', message }, what);
  }
  t.equal(logger.messages('error').length, cases.length - 1, 'no roots and no bundle is the same trouble: said once');
  t.notMatch(JSON.stringify(logger.lines), /PRIVATE KEY|secret!/);
  store.sink.update(authority.issue(web));
  t.equal(store.lastProblem(), undefined, 'a success clears the problem');
  store.close();
});

t.test('keeps what it has when the source fails', async (t) => {
  const { store, logger, authority } = setUp();
  store.sink.lost(new Error('no route'));
  t.match(store.lastProblem(), { message: 'no route' });
  t.equal(store.current(), undefined);
  store.sink.update(authority.issue(web));
  store.sink.reject(new MeshError('ERR_MESH_CA', 'token refused'));
  t.match(store.lastProblem(), { message: 'token refused' });
  store.sink.lost(new Error('no route'));
  t.equal(store.current()?.generation, 1);
  t.strictSame(logger.messages('warn').length, 2);
  store.sink.update(store.current()?.credentials as Credentials);
  t.equal(store.lastProblem(), undefined, 'the same credentials again are a success');
  store.close();
});

t.test('warns at half, a quarter and a tenth of the life, and has no identity once it has expired', async (t) => {
  const { store, logger, clock, authority } = setUp();
  const notAfter = clock.wallNow() + 10 * hour;
  store.sink.update(authority.issue(web, { notAfter }));
  const left = () => logger.lines.flatMap(({ fields }) => ('percentLeft' in fields ? [fields.percentLeft] : []));
  clock.advance(5 * hour - 10_000);
  t.same(left(), []);
  clock.advance(20_000);
  t.same(left(), [50]);
  clock.advance(4 * hour);
  t.same(left(), [50, 25, 10]);
  t.ok(store.current());
  clock.advance(hour);
  t.equal(store.current(), undefined);
  t.match(logger.messages('error'), [/has expired/]);
  store.sink.update(authority.issue(web, { notAfter: clock.wallNow() + hour }));
  t.equal(store.current()?.generation, 2, 'and comes back');
  store.close();
  t.equal(clock.pending(), 0, 'no timer stays behind');
});

t.test('does not warn of a certificate that was renewed in time', async (t) => {
  const { store, logger, clock, authority } = setUp();
  for (let i = 0; i < 5; i++) {
    store.sink.update(authority.issue(web, { notAfter: clock.wallNow() + hour }));
    clock.advance(hour * 0.49);
  }
  t.same(logger.messages('warn'), []);
  t.equal(store.current()?.generation, 5);
  store.close();
});

t.test('follows the wall clock when it jumps, and waits longer than timers can', async (t) => {
  const { store, logger, clock, authority } = setUp();
  const year = 365 * 24 * hour;
  store.sink.update(authority.issue(web, { notAfter: clock.wallNow() + year }));
  clock.advance(30 * 24 * hour);
  t.same(logger.messages('warn'), [], 'a month is beyond the longest timer, and nothing is due');
  clock.jump(year);
  t.equal(store.current(), undefined, 'at once');
  clock.advance(24 * hour);
  t.match(logger.messages('error'), [/has expired/], 'and reported within a day');
  store.close();
});

t.test('says when its own certificate would be trusted by nobody, but takes the trust away nevertheless', async (t) => {
  const { store, logger, authority } = setUp();
  const replacement = makeAuthority();
  store.sink.update({ ...authority.issue(web), trustBundles: replacement.trustBundles });
  t.equal(store.current()?.credentials.trustBundles, replacement.trustBundles);
  t.match(logger.messages('warn'), [/does not chain to the own trust bundle/]);
  store.close();
});

t.test('says how it is doing, and counts what went wrong', async (t) => {
  let expired = 0;
  const clock = fakeClock(Math.ceil(Date.now() / 1_000) * 1_000);
  const logger = recordingLogger();
  const store = createIdentityStore({ clock, logger, expired: () => expired++ });
  const authority = makeAuthority();
  t.same(store.health(), { state: 'none', updates: 0, rejected: 0, lost: 0 });
  store.sink.lost(new Error('no route'));
  store.sink.lost(new Error('no route'));
  store.sink.reject(new Error('bad answer'));
  t.same(store.health(), { state: 'none', updates: 0, rejected: 1, lost: 2, problem: 'bad answer' });
  t.equal(logger.messages('warn').length, 1, 'the same trouble is said once');
  store.sink.lost(new Error('no route'));
  t.equal(logger.messages('warn').length, 2, 'and again after something else');

  const first = authority.issue(web, { notAfter: clock.wallNow() + hour });
  store.sink.update(first);
  const rotatedAt = clock.wallNow();
  const counts = { updates: 1, rejected: 1, lost: 3 };
  t.same(store.health(), { state: 'valid', spiffeId: web, expirySeconds: 3_600, rotatedAt, ...counts });
  clock.advance(hour / 2);
  t.match(store.health(), { state: 'due', expirySeconds: 1_800, rotatedAt });
  const roots = [authority.rootPem, makeAuthority().rootPem];
  store.sink.update({ ...first, trustBundles: new Map([['cluster.local', roots]]) });
  t.match(store.health(), { state: 'due', rotatedAt, updates: 2 }, 'other roots make the certificate no younger');
  clock.advance(hour / 2);
  t.match(store.health(), { state: 'expired', expirySeconds: 0, spiffeId: web });
  t.equal(expired, 1);
  clock.advance(1_500);
  t.match(store.health(), { state: 'expired', expirySeconds: -2 });
  const percents = logger.lines.flatMap(({ fields }) => ('percentLeft' in fields ? [fields.percentLeft] : []));
  t.same(percents, [50, 25, 10], 'each once');
  store.sink.update(authority.issue(web, { notAfter: clock.wallNow() + hour }));
  t.match(store.health(), { state: 'valid', updates: 3, rotatedAt: clock.wallNow() });
  clock.advance(hour / 2);
  t.equal(logger.messages('warn').filter((message) => /not renewed/.test(message)).length, 4, 'an update begins anew');
  store.close();
  clock.advance(hour);
  t.equal(expired, 1, 'nothing is told after the end');
});

t.test('tells of what should be kept better', async (t) => {
  const { store, logger } = setUp();
  store.sink.warn?.(new Error('every user can read the key'));
  t.match(logger.lines, [{ level: 'warn', fields: { warning: 'every user can read the key' } }]);
  store.close();
  store.sink.warn?.(new Error('late'));
  t.equal(logger.lines.length, 1);
});

t.test('survives a listener that throws', async (t) => {
  const { store, logger, authority } = setUp();
  store.subscribe(() => {
    throw new Error('listener');
  });
  const seen: number[] = [];
  store.subscribe(({ generation }) => seen.push(generation));
  const good = authority.issue(web);
  store.sink.update(good);
  t.same(seen, [1]);
  t.match(logger.messages('error'), [/a listener for identities failed/]);
  store.close();
});

t.test('takes nothing after it was closed', async (t) => {
  const { store, authority, clock } = setUp();
  const active = authority.issue(web);
  store.sink.update(active);
  store.close();
  store.sink.update(authority.issue(web));
  store.sink.reject(new Error('late'));
  store.sink.lost(new Error('late'));
  t.equal(store.current()?.generation, 1);
  t.equal(store.lastProblem(), undefined);
  t.equal(clock.pending(), 0);
});
