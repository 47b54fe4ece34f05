import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCsr, readPemCertificates, readPemCrls, verifyPeer, withRevocations } from 'inmesh/identity';
import t from 'tap';
import { makeKey } from '../../../test/support/certificates.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { type Authority, createAuthority, initAuthority, openAuthority, revocationReasons } from '../src/index.ts';
import { otherAuthority } from './support/plugged-folder.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const other = 'spiffe://cluster.local/ns/shop/sa/other';
const hour = 3_600_000;
const revoked = { code: 'ERR_MESH_CA', reason: 'revoked' };
const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';
const sign = (authority: Authority, id = web) => authority.signCsr(createCsr(id, makeKey()), id);

t.test('revokes one certificate, with its reason, until it has expired', async (t) => {
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  const { serial } = sign(authority);
  t.same(authority.revoke({ serial: serial.toUpperCase(), reason: 'keyCompromise' }), [serial]);
  t.same(authority.revoke({ serial }), [], 'once is enough');
  const [list] = authority.crls().flatMap((pem) => readPemCrls(pem, 'list'));
  t.ok(list?.revoked.has(serial));
  t.equal(authority.bundle().crls.length, 2, 'of the intermediate and of the root');
  t.equal(sign(authority).spiffeId, web, 'the identity may have others');
  clock.advance(hour + 60_000);
  t.same(authority.bundle().crls, [], 'nothing that is valid is on a list any more');
});

t.test('a revoked identity loses all its certificates and gets no others, by no way', async (t) => {
  const authority = createAuthority();
  const serials = [sign(authority).serial, sign(authority).serial];
  sign(authority, other);
  const { token } = authority.createToken({ spiffeId: web });
  t.same([...authority.revoke({ spiffeId: web, reason: 'cessationOfOperation' })].sort(), serials.sort());
  const csr = createCsr(web, makeKey());
  t.throws(() => authority.signCsr(csr, web), { ...revoked, message: `${web} was revoked and gets no certificates` });
  t.throws(() => authority.renew(csr, web), revoked);
  t.throws(() => authority.enroll(csr, token), revoked);
  t.throws(() => authority.certify(csr, { spiffeId: web, by: 'kubernetes east' }), revoked);
  t.throws(() => authority.createToken({ spiffeId: web }), revoked);
  t.equal(sign(authority, other).spiffeId, other);
  t.same(authority.status().revoked, { certificates: 2, identities: [web] });
  authority.reinstate(web);
  t.equal(authority.enroll(csr, token).spiffeId, web, 'its token was not used up');
  t.throws(() => authority.reinstate(web), { code: 'ERR_MESH_CA', reason: 'not_found', message: /is not revoked/ });
});

t.test('refuses to revoke what is none of its own', async (t) => {
  const authority = createAuthority();
  for (const serial of ['', 'ab', 'x'.repeat(1_000)]) {
    t.throws(() => authority.revoke({ serial }), { code: 'ERR_MESH_CA', reason: 'not_found', message: /was issued$/ });
  }
  for (const spiffeId of ['spiffe://evil.example/x', 'spiffe://cluster.local']) {
    t.throws(() => authority.revoke({ spiffeId }), { code: 'ERR_MESH_OPTION_INVALID' });
  }
  t.throws(() => authority.revoke({ spiffeId: 'web' }), { code: 'ERR_MESH_PEER_IDENTITY' });
  t.same(authority.status().revoked, { certificates: 0, identities: [] });
});

t.test('lists have growing numbers and are replaced when half of their life is over', async (t) => {
  const clock = fakeClock();
  const dir = join(t.testdir(), 'ca');
  const authority = initAuthority(dir, { clock });
  const number = () => authority.status().crl?.number ?? 0;
  authority.refresh();
  t.equal(number(), 1);
  const first = authority.crls();
  clock.advance(23 * hour);
  t.same(authority.crls(), first);
  clock.advance(hour);
  authority.refresh();
  t.equal(number(), 2);
  const [list] = authority.crls().flatMap((pem) => readPemCrls(pem, 'list'));
  t.ok((list?.nextUpdate ?? 0) - clock.wallNow() > 47 * hour);
  t.ok((list?.thisUpdate ?? 0) <= clock.wallNow() - 119_000, 'begins two minutes ago, because clocks differ');
  const { serial } = sign(authority);
  authority.revoke({ serial });
  t.equal(number(), 3);
  const again = openAuthority(dir, { clock });
  t.equal(again.status().crl?.number, 3, 'also after a restart');
  t.same(again.crls(), authority.crls());
  t.equal(again.revoke({ serial: sign(again).serial }).length, 1);
  t.equal(again.status().crl?.number, 4);
});

t.test('an entry goes when its certificate has been expired for as long as a list lives', async (t) => {
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  authority.revoke({ serial: sign(authority).serial });
  const entries = () =>
    authority.crls().flatMap((pem) => readPemCrls(pem, 'list').flatMap((list) => [...list.revoked]));
  clock.advance(hour * 24);
  t.equal(entries().length, 1);
  clock.advance(hour * 50);
  t.equal(entries().length, 0);
});

t.test('members refuse the revoked certificate, and no other, at every step of a rotation', async (t) => {
  const authority = createAuthority();
  const judge = (chainPem: string): string => {
    const { trustBundles, crls } = authority.bundle();
    const bundles = withRevocations(trustBundles, new Map([['cluster.local', crls]]));
    try {
      return verifyPeer(readPemCertificates(chainPem, 'chain'), bundles, Date.now()).spiffeId;
    } catch (error) {
      return (error as Error).message;
    }
  };
  const bad = sign(authority);
  authority.revoke({ serial: bad.serial });
  const good = sign(authority);
  const check = (when: string): void => {
    t.match(judge(bad.certificateChainPem), /revoked/, `${when}: the revoked one`);
    t.equal(judge(good.certificateChainPem), web, `${when}: of the old root`);
    t.equal(judge(sign(authority).certificateChainPem), web, `${when}: a new one`);
  };
  check('before');
  authority.rotation.prepare();
  check('prepared');
  authority.rotation.activate();
  check('active');
  const badNext = sign(authority);
  authority.revoke({ serial: badNext.serial });
  t.match(judge(badNext.certificateChainPem), /revoked/);
  authority.rotation.finish({ force: true });
  t.match(judge(badNext.certificateChainPem), /revoked/);
  t.equal(judge(sign(authority).certificateChainPem), web);
});

t.test('certificates of the intermediate before stay revoked when there is a new one', async (t) => {
  const clock = fakeClock();
  const authority = createAuthority({ clock, leafTtlMs: 24 * hour });
  const year = 365 * 24 * hour;
  clock.jump((year * 2) / 3 - hour);
  const bad = sign(authority);
  clock.jump(2 * hour);
  const next = sign(authority);
  t.not(
    readPemCertificates(next.certificateChainPem, 'x')[1]?.serialNumber,
    readPemCertificates(bad.certificateChainPem, 'x')[1]?.serialNumber,
  );
  authority.revoke({ serial: bad.serial });
  const { trustBundles, crls } = authority.bundle();
  t.equal(crls.length, 3);
  const bundles = withRevocations(trustBundles, new Map([['cluster.local', crls]]));
  const verify = (pem: string) => verifyPeer(readPemCertificates(pem, 'chain'), bundles, clock.wallNow());
  t.throws(() => verify(bad.certificateChainPem), /revoked/);
  t.equal(verify(next.certificateChainPem).spiffeId, web);
});

t.test('OpenSSL and the lists agree', { skip: noOpenssl }, async (t) => {
  const folder = t.testdir();
  for (const keyType of ['p-256', 'p-384', 'rsa-2048'] as const) {
    const authority = createAuthority({ keyType });
    const reasons = Object.keys(revocationReasons) as (keyof typeof revocationReasons)[];
    const bad = reasons.map((reason) => {
      const issued = sign(authority);
      authority.revoke({ serial: issued.serial, reason });
      return issued;
    });
    const good = sign(authority);
    writeFileSync(join(folder, 'root.pem'), authority.rootPem);
    writeFileSync(join(folder, 'crls.pem'), authority.crls().join(''));
    writeFileSync(join(folder, 'one.pem'), authority.crls()[0] ?? '');
    const openssl = (...args: readonly string[]) => spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });
    const verify = (chainPem: string): string => {
      const [leaf, ...above] = readPemCertificates(chainPem, 'chain');
      writeFileSync(join(folder, 'leaf.pem'), String(leaf));
      writeFileSync(join(folder, 'above.pem'), above.join(''));
      const args = ['-crl_check_all', '-x509_strict', '-CAfile', 'root.pem', '-CRLfile', 'crls.pem'];
      const { stdout, stderr } = openssl('verify', ...args, '-untrusted', 'above.pem', 'leaf.pem');
      return stdout + stderr;
    };
    t.match(verify(good.certificateChainPem), /leaf\.pem: OK/, keyType);
    for (const { certificateChainPem } of bad) t.match(verify(certificateChainPem), /certificate revoked/, keyType);
    const { stdout } = openssl('crl', '-in', 'one.pem', '-noout', '-text');
    for (const text of [
      'Version 2',
      'X509v3 CRL Number',
      'X509v3 Authority Key Identifier',
      'Key Compromise',
      'Privilege Withdrawn',
    ]) {
      t.match(stdout, new RegExp(text), `${keyType}: ${text}`);
    }
    t.equal(stdout.match(/CRL Reason Code/g)?.length, reasons.length - 1, 'unspecified is not said');
  }
});

t.test('without the list of a root that is kept elsewhere, members get none, and are told why', async (t) => {
  const folder = t.testdir();
  const logger = recordingLogger();
  const from = otherAuthority().write(join(folder, 'cacerts'));
  const authority = initAuthority(join(folder, 'ca'), { from, logger });
  authority.revoke({ serial: sign(authority).serial });
  t.same(authority.bundle().crls, [], 'half a set of lists would have everybody refused');
  t.match(logger.messages('warn').at(-1), /members get no revocation lists/);
  t.same(authority.status().crl?.missing, ['CN=their root']);
});

t.test(
  'with the list of that root beside it they get all of them, as long as it is valid',
  { skip: noOpenssl },
  async (t) => {
    const folder = t.testdir();
    const clock = fakeClock();
    // An authority with its own root stands for the one that is kept offline.
    const home = join(folder, 'home');
    const offline = initAuthority(home, { clock });
    offline.refresh();
    const rootList = offline
      .crls()
      .find((pem) => readPemCrls(pem, 'x')[0]?.signedBy(new X509Certificate(offline.rootPem)));
    const cacerts = t.testdir({
      'ca-cert.pem': readFileSync(join(home, 'intermediate.pem'), 'utf8'),
      'ca-key.pem': readFileSync(join(home, 'intermediate-key.pem'), 'utf8'),
      'root-cert.pem': offline.rootPem,
      'ca-crl.pem': rootList ?? '',
    });
    const authority = initAuthority(join(cacerts, 'ca'), { from: cacerts, clock, leafTtlMs: 24 * hour });
    clock.advance(hour * 30);
    authority.revoke({ serial: sign(authority).serial });
    t.equal(authority.bundle().crls.length, 2);
    t.same(authority.status().crl?.missing, []);
    clock.advance(hour * 19);
    t.same(
      authority.bundle().crls,
      [],
      'the list of the root has expired: no lists rather than a mesh that refuses everybody',
    );
  },
);

t.test('revocations that cannot be read keep an authority from opening', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const authority = initAuthority(dir);
  authority.revoke({ serial: sign(authority).serial });
  const path = join(dir, 'revoked.json');
  const good = JSON.parse(readFileSync(path, 'utf8')) as { certificates: object[]; identities: object[] };
  for (const bad of [
    '',
    '[]',
    JSON.stringify({ ...good, version: 2 }),
    JSON.stringify({ ...good, number: -1 }),
    JSON.stringify({ ...good, certificates: [{ ...good.certificates[0], reason: 'mood' }] }),
    JSON.stringify({ ...good, certificates: [{ ...good.certificates[0], serial: 5 }] }),
    JSON.stringify({ ...good, identities: ['web'] }),
  ]) {
    writeFileSync(path, bad);
    t.throws(
      () => openAuthority(dir),
      { code: 'ERR_MESH_CA', reason: 'unavailable', message: /revoked\.json is not a list/ },
      bad,
    );
  }
  writeFileSync(path, JSON.stringify(good));
  writeFileSync(join(dir, 'extra-crls.pem'), 'rubbish');
  t.throws(() => openAuthority(dir), { code: 'ERR_MESH_CA', reason: 'unavailable', message: /extra-crls\.pem/ });
});
