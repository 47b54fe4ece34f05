import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { readPemCertificates } from '../../src/identity/pem.ts';
import { type Crls, hasRevocations, withRevocations } from '../../src/identity/revocation.ts';
import { createIdentityStore } from '../../src/identity/rotation.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { rememberIntermediates, type TrustBundles } from '../../src/identity/trust.ts';
import { narrowsTrust } from '../../src/identity/trust-renewal.ts';
import { checkServerSpiffe, peerOfSocket, verifyPeer } from '../../src/identity/verify-peer.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { makeAuthority, makeCertificate, makeKey, type TestAuthority, toPem } from '../support/certificates.ts';
import { crlsOf, makeCrl, serialOf } from '../support/crls.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { greet, greetingServer } from '../support/tls-pair.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const api = 'spiffe://cluster.local/ns/shop/sa/api';
const hour = 3_600_000;

const verdict = (credentials: Credentials, bundles: TrustBundles, now = Date.now()): string => {
  try {
    return verifyPeer(readPemCertificates(credentials.certificateChainPem, 'chain'), bundles, now).spiffeId;
  } catch (error) {
    return (error as Error).message;
  }
};
const listed = (...lists: readonly string[]): Crls => new Map([['cluster.local', lists]]);

t.test('SVID-045: refuses a revoked leaf, and no other', async (t) => {
  for (const intermediate of [true, false]) {
    const authority = makeAuthority({ intermediate });
    const [good, bad] = [authority.issue(web), authority.issue(web)];
    const crls = crlsOf(authority, { leaves: [bad.certificateChainPem] });
    const bundles = withRevocations(authority.trustBundles, crls);
    t.equal(verdict(good, bundles), web);
    t.match(verdict(bad, bundles), /the certificate of spiffe:.*web is revoked \(serial number [0-9a-f]{32}\)/);
    t.equal(verdict(bad, authority.trustBundles), web, 'without lists nothing is revoked');
    t.ok(hasRevocations(bundles, 'cluster.local'));
    t.notOk(hasRevocations(bundles, 'partner.example'));
  }
});

t.test('SVID-046: refuses what a revoked intermediate has signed', async (t) => {
  const authority = makeAuthority();
  const crls = crlsOf(authority, { authorities: [authority.intermediatePem] });
  const message = verdict(authority.issue(web), withRevocations(authority.trustBundles, crls));
  t.match(message, /the authority "CN=intermediate of cluster\.local" is revoked/);
});

t.test('where a trust domain has lists, each issuer must have a good one', async (t) => {
  const authority = makeAuthority();
  const { root, signer } = authority;
  const credentials = authority.issue(web);
  const stranger = { name: signer.name, key: makeKey() };
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['both', [makeCrl(root), makeCrl(signer)], /^spiffe:/],
    ['both in one text', [makeCrl(root) + makeCrl(signer)], /^spiffe:/],
    ['that of the root only', [makeCrl(root)], /may be revoked: there is no revocation list of its issuer "CN=interm/],
    ['that of the intermediate only', [makeCrl(signer)], /"CN=intermediate.*may be revoked: there is no .*"CN=root/],
    ['one that another has signed', [makeCrl(root), makeCrl(stranger)], /there is no revocation list/],
    ['one with the name of another', [makeCrl(root), makeCrl(signer, { issuer: 'x' })], /there is no revocation list/],
    ['a good one beside it', [makeCrl(root), makeCrl(stranger), makeCrl(signer)], /^spiffe:/],
  ];
  for (const [what, lists, expected] of cases) {
    t.match(verdict(credentials, withRevocations(authority.trustBundles, listed(...lists))), expected, what);
  }
});

t.test('a list that has expired vouches for nobody any more', async (t) => {
  const authority = makeAuthority();
  const now = Date.now();
  const bad = authority.issue(web);
  const nextUpdate = Math.floor((now + 60_000) / 1_000) * 1_000;
  const list = makeCrl(authority.signer, { nextUpdate, revoked: [serialOf(bad.certificateChainPem)] });
  const bundles = withRevocations(authority.trustBundles, listed(makeCrl(authority.root), list));
  t.equal(verdict(authority.issue(web), bundles, nextUpdate), web);
  t.match(verdict(authority.issue(web), bundles, nextUpdate + 1), /may be revoked: the revocation list .* expired at/);
  t.match(verdict(bad, bundles, nextUpdate + 1), /is revoked/, 'what it names stays revoked');
});

t.test('the newest list of an issuer counts', async (t) => {
  const authority = makeAuthority({ intermediate: false });
  const held = authority.issue(web);
  const now = Date.now();
  const before = makeCrl(authority.root, { revoked: [serialOf(held.certificateChainPem)], thisUpdate: now - hour });
  const after = makeCrl(authority.root, { thisUpdate: now - 1_000 });
  for (const lists of [
    [before, after],
    [after, before],
  ]) {
    t.equal(verdict(held, withRevocations(authority.trustBundles, listed(...lists))), web);
  }
});

t.test('an authority that must not sign lists revokes nothing, and vouches for nothing', async (t) => {
  const authority = makeAuthority({ intermediateOptions: { keyUsage: ['keyCertSign'] } });
  const bundles = withRevocations(authority.trustBundles, crlsOf(authority));
  t.match(verdict(authority.issue(web), bundles), /there is no revocation list of its issuer/);
});

t.test('lists of one trust domain say nothing of another', async (t) => {
  const mesh = makeAuthority();
  const partner = makeAuthority({ trustDomain: 'partner.example' });
  const both = new Map([...mesh.trustBundles, ...partner.trustBundles]);
  const partners = partner.issue('spiffe://partner.example/ns/a/sa/b');
  t.equal(verdict(partners, withRevocations(both, crlsOf(mesh))), partners.spiffeId);
  const foreign = new Map([['partner.example', [...crlsOf(mesh).values()].flat()]]);
  t.match(verdict(partners, withRevocations(both, foreign)), /no revocation list/);
  t.equal(verdict(mesh.issue(web), withRevocations(both, foreign)), web);
});

t.test('takes another way where one certificate of an authority is revoked', async (t) => {
  const authority = makeAuthority();
  const again = toPem(
    makeCertificate(authority.signer.key, { name: authority.signer.name, ca: true, pathLength: 0 }, authority.root),
  );
  const crls = crlsOf(authority, { authorities: [authority.intermediatePem] });
  const bundles = withRevocations(authority.trustBundles, crls);
  const credentials = authority.issue(web);
  t.equal(verdict({ ...credentials, certificateChainPem: credentials.certificateChainPem + again }, bundles), web);
});

t.test('an intermediate that is given as a root needs no list of its own issuer, and can be revoked', async (t) => {
  const authority = makeAuthority();
  const { root, signer, intermediatePem, rootPem } = authority;
  const anchored = new Map([['cluster.local', [intermediatePem]]]);
  t.equal(verdict(authority.issue(web), withRevocations(anchored, listed(makeCrl(signer)))), web);
  const revoked = makeCrl(root, { revoked: [serialOf(intermediatePem)] });
  const both = new Map([['cluster.local', [intermediatePem, rootPem]]]);
  t.match(verdict(authority.issue(web), withRevocations(both, listed(makeCrl(signer), revoked))), /is revoked/);
  const selfRevoked = makeAuthority({ intermediate: false });
  const own = crlsOf(selfRevoked, { leaves: [selfRevoked.rootPem] });
  t.match(verdict(selfRevoked.issue(web), withRevocations(selfRevoked.trustBundles, own)), /root.*is revoked/);
});

t.test('a list that cannot be read, or too many of them, are refused', async (t) => {
  const { trustBundles, root } = makeAuthority();
  t.throws(() => withRevocations(trustBundles, listed('rubbish')), {
    message: /^revocation lists of cluster\.local: /,
  });
  t.throws(() => withRevocations(trustBundles, listed(...new Array(65).fill(makeCrl(root)))), {
    message: /more than 64/,
  });
  t.equal(withRevocations(trustBundles, undefined), trustBundles);
  t.equal(withRevocations(trustBundles, new Map()), trustBundles);
});

/** Both ends know all authorities: on the server side of Node 24.21 those of the peer cannot be seen. */
function knowing(authority: TestAuthority, bundles: TrustBundles): TrustBundles {
  rememberIntermediates(bundles, readPemCertificates(authority.intermediatePem, 'intermediate'));
  return bundles;
}

t.test('SVID-045: a server answers no client whose certificate is revoked, on open connections neither', async (t) => {
  const authority = makeAuthority();
  const [good, bad] = [authority.issue(api), authority.issue(api)];
  const crls = crlsOf(authority, { leaves: [bad.certificateChainPem] });
  const bundles = knowing(authority, withRevocations(authority.trustBundles, crls));
  const none = knowing(authority, withRevocations(authority.trustBundles, crlsOf(authority)));
  const serving = await greetingServer(authority.issue(web), (socket) => {
    peerOfSocket(socket, none, systemClock);
    peerOfSocket(socket, bundles, systemClock);
  });
  t.equal((await greet(serving.port, meshTlsOptions(good))).text, 'hello');
  t.same(serving.refusals, []);
  t.equal((await greet(serving.port, meshTlsOptions(bad))).text, '');
  t.match(serving.refusals, [{ code: 'ERR_MESH_PEER_IDENTITY', message: /is revoked/ }]);
  await serving.close();
});

t.test('a server that cannot see the authority of its client fails closed', async (t) => {
  const authority = makeAuthority();
  const bundles = withRevocations(authority.trustBundles, crlsOf(authority));
  const serving = await greetingServer(authority.issue(web), (socket) => {
    // As on the server side of Node 24.21: only the leaf is shown.
    const shown = socket.getPeerCertificate(true);
    socket.getPeerCertificate = () => ({ ...shown, issuerCertificate: undefined }) as never;
    peerOfSocket(socket, bundles, systemClock);
  });
  t.equal((await greet(serving.port, meshTlsOptions(authority.issue(api)))).text, '');
  t.match(serving.refusals, [{ message: /does not chain/ }]);
  await serving.close();
});

t.test('SVID-045, SVID-046: a client sends nothing to a server that is revoked', async (t) => {
  const authority = makeAuthority();
  const [good, bad] = [authority.issue(web), authority.issue(web)];
  const client = meshTlsOptions(authority.issue(api));
  const told = async (server: Credentials, crls: Crls): Promise<string> => {
    const serving = await greetingServer(server, () => {});
    const checkServerIdentity = checkServerSpiffe([], withRevocations(authority.trustBundles, crls), systemClock);
    const { text, error } = await greet(serving.port, { ...client, checkServerIdentity });
    await serving.close();
    return text || String(error);
  };
  const leaf = crlsOf(authority, { leaves: [bad.certificateChainPem] });
  t.equal(await told(good, leaf), 'hello');
  t.match(await told(bad, leaf), /is revoked/);
  t.match(await told(good, crlsOf(authority, { authorities: [authority.intermediatePem] })), /is revoked/);
});

t.test('the store takes lists over with credentials, and keeps the last good ones', async (t) => {
  const authority = makeAuthority();
  const { root, signer } = authority;
  const logger = recordingLogger();
  const store = createIdentityStore({ clock: fakeClock(), logger });
  const now = Date.now();
  const stranger = { name: signer.name, key: makeKey() };
  const broken: readonly (readonly [string, string, RegExp])[] = [
    ['rubbish', 'rubbish', /no revocation list in it/],
    ['expired', makeCrl(signer, { nextUpdate: now - hour }), /list 2 of cluster\.local: expired at/],
    ['of the future', makeCrl(signer, { thisUpdate: now + hour }), /list 2 of cluster\.local: valid from .* only/],
    ['of another', makeCrl(stranger), /list 2 of cluster\.local: not signed by its issuer "CN=intermediate/],
    ['a certificate', new X509Certificate(authority.rootPem).toString(), /expected revocation lists only/],
  ];
  const offer = (crlsByTrustDomain?: Crls): Credentials => ({
    ...authority.issue(web),
    ...(crlsByTrustDomain === undefined ? {} : { crlsByTrustDomain }),
  });
  for (const [what, text, why] of broken) {
    store.sink.update(offer(listed(makeCrl(root), text)));
    t.equal(store.current(), undefined, `${what}: without any before there is no identity`);
    t.match(store.lastProblem()?.message, why);
  }

  const bad = authority.issue(api);
  store.sink.update(offer(crlsOf(authority, { leaves: [bad.certificateChainPem] })));
  const first = store.current()?.credentials as Credentials;
  t.equal(store.lastProblem(), undefined);
  t.match(verdict(bad, first.trustBundles), /is revoked/);

  for (const [what, text, why] of broken) {
    const renewed = offer(listed(makeCrl(root), text));
    store.sink.update(renewed);
    const kept = store.current()?.credentials as Credentials;
    t.equal(kept.certificateChainPem, renewed.certificateChainPem, `${what}: the new certificate is taken`);
    t.equal(kept.trustBundles, first.trustBundles, 'with the list of before');
    t.match(verdict(bad, kept.trustBundles), /is revoked/);
    t.match(store.lastProblem()?.message, why, 'and it is said');
  }
  t.match(
    logger.lines.filter(({ message }) => message === 'a revocation list was refused; the last one stays').length,
    broken.length,
  );

  store.sink.update(offer(crlsOf(authority)));
  const second = store.current()?.credentials as Credentials;
  t.not(second.trustBundles, first.trustBundles, 'another map, so that connections are judged anew');
  t.equal(verdict(bad, second.trustBundles), api, 'a new list replaces the old one');
  store.sink.update(offer());
  const third = store.current()?.credentials as Credentials;
  t.notOk(hasRevocations(third.trustBundles, 'cluster.local'), 'credentials without lists end them');
  t.not(third.trustBundles, second.trustBundles);
  store.sink.update({
    ...offer(crlsOf(authority, { leaves: [bad.certificateChainPem] })),
    trustBundles: third.trustBundles,
  });
  t.match(
    verdict(bad, store.current()?.credentials.trustBundles as TrustBundles),
    /is revoked/,
    'a source may reuse its map',
  );
  store.close();
});

t.test('knows when somebody may have lost trust, and when a list is only newer', async (t) => {
  const authority = makeAuthority();
  const { root, signer, trustBundles } = authority;
  const [one, two] = [Buffer.from([0x11]), Buffer.from([0x22])];
  const now = Date.now();
  const of = (...lists: readonly string[]): Credentials => ({
    ...authority.issue(web),
    trustBundles: withRevocations(trustBundles, lists.length === 0 ? undefined : listed(...lists)),
  });
  const rootList = makeCrl(root);
  const first = of(rootList, makeCrl(signer, { revoked: [one] }));
  const cases: readonly (readonly [string, Credentials, Credentials, boolean])[] = [
    ['the same', first, first, false],
    ['only newer', first, of(rootList, makeCrl(signer, { revoked: [one], thisUpdate: now })), false],
    ['one more', first, of(rootList, makeCrl(signer, { revoked: [one, two] })), true],
    ['one less', first, of(rootList, makeCrl(signer)), false],
    ['another one', first, of(rootList, makeCrl(signer, { revoked: [two] })), true],
    ['the same number of another issuer', first, of(makeCrl(root, { revoked: [one] }), makeCrl(signer)), true],
    ['an issuer without', first, of(rootList), true],
    ['a further issuer', of(rootList), first, true],
    ['no lists any more', first, of(), false],
    ['lists where none were', of(), of(rootList), true],
    ['none before, none after', of(), of(), false],
    ['a root more', of(), { ...of(), trustBundles: new Map([['cluster.local', [authority.rootPem, 'x']]]) }, false],
    ['a root less', of(), { ...of(), trustBundles: new Map([['cluster.local', ['x']]]) }, true],
    ['a trust domain less', of(), { ...of(), trustBundles: new Map() }, true],
  ];
  for (const [what, before, after, expected] of cases) t.equal(narrowsTrust(before, after), expected, what);
});

t.test('a trust domain that is new comes with its lists or not at all', async (t) => {
  const authority = makeAuthority();
  const partner = makeAuthority({ trustDomain: 'partner.example' });
  const caller = partner.issue('spiffe://partner.example/ns/shop/sa/api');
  const store = createIdentityStore({ clock: fakeClock(), logger: recordingLogger() });
  const both = new Map([...authority.trustBundles, ...partner.trustBundles]);
  const offer = (crls: Crls): Credentials => ({ ...authority.issue(web), trustBundles: both, crlsByTrustDomain: crls });
  const judged = (): string => verdict(caller, store.current()?.credentials.trustBundles as TrustBundles);
  store.sink.update(authority.issue(web));
  const renewed = offer(new Map([['partner.example', ['rubbish']]]));
  store.sink.update(renewed);
  t.equal(store.current()?.credentials.certificateChainPem, renewed.certificateChainPem, 'the rest is taken');
  t.match(store.lastProblem()?.message, /revocation lists of partner\.example: no revocation list/);
  t.match(judged(), /trust domain partner\.example .* is not trusted/);
  store.sink.update(offer(new Map([['partner.example', ['rubbish']]])));
  t.match(judged(), /trust domain partner\.example .* is not trusted/, 'the same again');
  store.sink.update(offer(crlsOf(partner)));
  t.equal(judged(), caller.spiffeId);
  store.sink.update(offer(crlsOf(partner, { leaves: [caller.certificateChainPem] })));
  t.match(judged(), /is revoked/);
  store.sink.update(offer(new Map([['partner.example', ['rubbish']]])));
  t.match(judged(), /is revoked/, 'the last good one stays');
  store.close();
});

t.test('a first list that is broken does not replace having none', async (t) => {
  const authority = makeAuthority();
  const store = createIdentityStore({ clock: fakeClock(), logger: recordingLogger() });
  store.sink.update(authority.issue(web));
  const renewed = { ...authority.issue(web), crlsByTrustDomain: listed('rubbish') };
  store.sink.update(renewed);
  t.equal(store.current()?.credentials.certificateChainPem, renewed.certificateChainPem);
  t.match(store.lastProblem()?.message, /no revocation list/);
  store.close();
});
