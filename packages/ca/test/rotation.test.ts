import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCsr, readPemCertificates, verifyPeer } from 'inmesh/identity';
import t from 'tap';
import { makeCertificate, makeKey, type TestCertificateOptions, toPem } from '../../../test/support/certificates.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { type Authority, createAuthority, initAuthority, openAuthority } from '../src/index.ts';
import { filesWithModes } from './support/folder.ts';
import { otherAuthority } from './support/plugged-folder.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const hour = 3_600_000;
const conflict = { code: 'ERR_MESH_CA', reason: 'conflict' };

const sign = (authority: Authority) =>
  readPemCertificates(authority.signCsr(createCsr(web, makeKey()), web).certificateChainPem, 'chain');
const trusts = (roots: readonly string[], chain: readonly X509Certificate[], now: number): boolean => {
  try {
    return verifyPeer(chain, new Map([['cluster.local', roots]]), now).spiffeId === web;
  } catch {
    return false;
  }
};

t.test('exchanges the root in three steps, and nobody refuses anybody at any of them', async (t) => {
  // CERT-02
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  const [old] = authority.trustBundles.get('cluster.local') as [string];
  const before = sign(authority);
  t.ok(trusts([old], before, clock.wallNow()));

  authority.rotation.prepare();
  const both = authority.trustBundles.get('cluster.local') as [string, string];
  t.equal(both[0], old);
  const next = both[1];
  t.equal(authority.rootPem, old + next, 'newcomers are told both');
  const prepared = sign(authority);
  t.ok(trusts([old], prepared, clock.wallNow()), 'the old root signs still');
  t.notOk(trusts([next], prepared, clock.wallNow()));

  authority.rotation.activate();
  const active = sign(authority);
  t.equal(active.length, 3, 'leaf, intermediate, cross certificate');
  t.ok(
    trusts([old], active, clock.wallNow()),
    'who knows the old root only finds a path through the cross certificate',
  );
  t.ok(trusts(both, active, clock.wallNow()));
  t.ok(trusts([next], active, clock.wallNow()));
  t.ok(trusts(both, before, clock.wallNow()), 'old certificates are good for those who know both');

  clock.advance(hour + 60_000);
  authority.rotation.finish();
  t.same(authority.trustBundles.get('cluster.local'), [next]);
  const after = sign(authority);
  t.equal(after.length, 2, 'without the cross certificate');
  t.ok(trusts([next], after, clock.wallNow()));
  // CERT-03: who skipped the steps is shut out, and not let in with less.
  t.notOk(trusts([old], after, clock.wallNow()));
});

t.test('refuses steps out of order, saying what comes next', async (t) => {
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  const { rotation } = authority;
  t.throws(() => rotation.activate(), { ...conflict, message: /no new root is prepared: `inmesh ca rotate prepare`/ });
  t.throws(() => rotation.finish({ force: true }), { ...conflict, message: /no new root is prepared/ });
  t.throws(() => rotation.abort({ force: true }), { ...conflict, message: /nothing to abort/ });
  const before = authority.bundle();
  sign(authority);
  rotation.prepare();
  t.throws(() => rotation.prepare(), { ...conflict, message: /exchanged already \(prepared since .*\)/ });
  t.throws(() => rotation.finish({ force: true }), { ...conflict, message: /`inmesh ca rotate activate` comes next/ });
  rotation.activate();
  t.throws(() => rotation.activate(), { ...conflict, message: /`inmesh ca rotate finish` comes next/ });
  t.throws(() => rotation.prepare(), { ...conflict, message: /exchanged already \(active since .*\)/ });
  t.throws(() => rotation.finish(), { ...conflict, message: /1 certificates of the old root are valid until / });
  rotation.finish({ force: true });
  t.not(authority.bundle().tag, before.tag);
});

t.test('goes back a step at a time', async (t) => {
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  const old = authority.trustBundles;
  authority.rotation.prepare();
  authority.rotation.abort();
  t.same(authority.trustBundles, old);
  authority.rotation.prepare();
  authority.rotation.activate();
  const chain = sign(authority);
  authority.rotation.abort();
  t.equal(authority.status().rotation?.phase, 'prepared');
  t.equal(authority.status().rotation?.validOfOther, 1);
  t.equal(sign(authority).length, 2, 'the old root signs again');
  t.throws(() => authority.rotation.abort(), { ...conflict, message: /1 certificates of the new root are valid/ });
  t.ok(trusts(authority.trustBundles.get('cluster.local') as string[], chain, clock.wallNow()));
  clock.advance(hour + 60_000);
  authority.rotation.abort();
  t.same(authority.trustBundles, old);
  t.equal(authority.status().rotation, undefined);
});

t.test('the trust bundle is the same object until it changes, and listeners hear of every change', async (t) => {
  const authority = createAuthority();
  let heard = 0;
  const stop = authority.subscribe(() => heard++);
  const { trustBundles } = authority;
  sign(authority);
  authority.crls();
  t.equal(authority.trustBundles, trustBundles);
  t.equal(heard, 0);
  authority.rotation.prepare();
  t.equal(heard, 1);
  t.not(authority.trustBundles, trustBundles);
  authority.rotation.activate();
  t.equal(heard, 2, 'the bundle is the same, another signs');
  authority.rotation.finish({ force: true });
  t.equal(heard, 3);
  stop();
  authority.rotation.prepare();
  t.equal(heard, 3);
});

t.test('keeps where it is over restarts, in files for the owner only', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const options = { passphrase: 'correct horse' };
  const old = initAuthority(dir, options).rootPem;
  openAuthority(dir, options).rotation.prepare();
  const reopened = openAuthority(dir, options);
  const bundle = reopened.trustBundles.get('cluster.local') as [string, string];
  t.equal(bundle[0], old);
  t.equal(readFileSync(join(dir, 'root.pem'), 'utf8'), bundle.join(''), 'both, for newcomers');
  reopened.rotation.activate();
  t.equal(sign(openAuthority(dir, options)).length, 3);
  for (const line of filesWithModes(dir)) t.match(line, / 600$/);
  openAuthority(dir, options).rotation.finish({ force: true });
  const done = openAuthority(dir, options);
  t.same(done.trustBundles.get('cluster.local'), [bundle[1]]);
  t.equal(readFileSync(join(dir, 'root.pem'), 'utf8'), bundle[1]);
  t.notOk(existsSync(join(dir, 'next-root-key.pem')), 'nothing is left of the preparation');
  t.notOk(existsSync(join(dir, 'cross.pem')));
  t.ok(new X509Certificate(bundle[1]).checkPrivateKey(makeKey()) === false);
  t.equal(sign(done).length, 2);
});

t.test('a step of one process is seen by another at its next request', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const serving = initAuthority(dir);
  let heard = 0;
  serving.subscribe(() => heard++);
  const command = openAuthority(dir);
  command.rotation.prepare();
  t.same(serving.trustBundles, command.trustBundles);
  command.rotation.activate();
  t.equal(sign(serving).length, 3);
  serving.refresh();
  t.equal(heard, 1, 'told when it looks');
  t.throws(() => serving.rotation.activate(), conflict);
  serving.rotation.abort();
  t.equal(command.status().rotation?.phase, 'prepared');
});

t.test(
  'without the key of the old root there is no cross certificate, and the second step waits for all members',
  async (t) => {
    const clock = fakeClock();
    const dir = t.testdir();
    const ours = otherAuthority();
    const theirs = otherAuthority('their next root');
    const authority = initAuthority(join(dir, 'ca'), { clock, from: ours.write(join(dir, 'cacerts')) });
    const fold = theirs.write(join(dir, 'next'));
    authority.rotation.prepare({ from: fold });
    t.equal(authority.status().rotation?.crossSigned, false);
    t.same(
      authority.trustBundles.get('cluster.local')?.map((pem) => new X509Certificate(pem).subject),
      ['CN=their root', 'CN=their next root'],
    );
    t.throws(() => authority.rotation.activate(), { ...conflict, message: /no cross certificate/ });
    clock.advance(hour);
    authority.rotation.activate();
    const chain = sign(authority);
    t.ok(trusts([theirs.rootPem], chain, clock.wallNow()));
    t.notOk(trusts([ours.rootPem], chain, clock.wallNow()));
  },
);

t.test('says what it leaves aside of a folder that brings the next root', async (t) => {
  const dir = t.testdir();
  const logger = recordingLogger();
  const theirs = otherAuthority('their next root');
  const files = { 'root-cert.pem': theirs.rootPem + otherAuthority('third').rootPem, 'ca-crl.pem': 'lists' };
  const authority = initAuthority(join(dir, 'ca'), { logger });
  authority.rotation.prepare({ from: theirs.write(join(dir, 'next'), { files }) });
  t.match(logger.messages('warn'), [/further roots are not handed out/, /revocation lists are not taken over/]);
  t.equal(authority.trustBundles.get('cluster.local')?.length, 2);
});

t.test('refuses a next root with the key of the present one', async (t) => {
  const dir = t.testdir();
  const key = makeKey();
  const authority = initAuthority(join(dir, 'ca'), { from: otherAuthority('one', key).write(join(dir, 'one')) });
  const from = otherAuthority('two', key).write(join(dir, 'two'));
  t.throws(() => authority.rotation.prepare({ from }), { ...conflict, message: /has the key of the old one/ });
});

t.test('a cross certificate that lets no certificate through is refused before anybody relies on it', async (t) => {
  const folder = t.testdir();
  const now = Date.now();
  const life = { notBefore: now - 24 * hour, notAfter: now + 24 * hour };
  const cases: readonly (readonly [string, TestCertificateOptions, RegExp | undefined])[] = [
    ['good', { ca: true, ...life }, undefined],
    ['expired', { ca: true, ...life, notAfter: now - 1_000 }, /expired/],
    ['no-authority', { ca: false, ...life }, /does not chain/],
    ['no-room', { ca: true, ...life, pathLength: 0 }, /allows 0 authorities/],
    ['elsewhere', { ca: true, ...life, permittedUris: ['other.example'] }, /may sign for other\.example/],
  ];
  for (const [name, options, problem] of cases) {
    const old = otherAuthority('old root');
    const next = otherAuthority('next root');
    const authority = initAuthority(join(folder, name, 'ca'), { from: old.write(join(folder, name, 'old')) });
    const cross = toPem(makeCertificate(next.signer.key, { name: 'next root', ...options }, old.signer));
    const from = next.write(join(folder, name, 'next'), { files: { 'cross-cert.pem': cross } });
    if (problem !== undefined) {
      t.throws(() => authority.rotation.prepare({ from }), { reason: 'bad_request', message: problem }, name);
      t.equal(authority.status().rotation, undefined, 'nothing has changed');
      continue;
    }
    authority.rotation.prepare({ from });
    authority.rotation.activate();
    t.ok(trusts([old.rootPem], sign(authority), now), 'who knows the old root only accepts what is signed');
  }
});
