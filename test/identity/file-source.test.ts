import { mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fileIdentitySource } from '../../src/identity/file-source.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { identitySourceSuite } from '../suites/identity-source.ts';
import { keyPem, makeAuthority, makeKey } from '../support/certificates.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

interface Told {
  readonly updates: Credentials[];
  readonly rejected: string[];
  readonly lost: string[];
}

/** Runs a source; `look` lets it see the files once more and waits until it sleeps again. */
function start(options: Parameters<typeof fileIdentitySource>[0], clock: FakeClock) {
  const told: Told = { updates: [], rejected: [], lost: [] };
  const abort = new AbortController();
  const source = fileIdentitySource({ clock, ...options });
  const running = source.run(
    {
      update: (credentials) => told.updates.push(credentials),
      reject: (problem) => told.rejected.push(problem.message),
      lost: (reason) => told.lost.push(reason.message),
    },
    abort.signal,
  );
  const asleep = async () => {
    while (clock.pending() === 0) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    told,
    source,
    asleep,
    look: async () => {
      await asleep();
      clock.advance(1_000);
      await asleep();
    },
    stop: async () => {
      abort.abort();
      await running;
    },
  };
}

/** Writes one file under another name first, as careful writers do; `only` writes just some of the three. */
function write(
  folder: string,
  credentials: Credentials,
  root: string,
  only = ['cert-chain.pem', 'key.pem', 'root-cert.pem'],
): void {
  const texts: Record<string, string> = {
    'cert-chain.pem': credentials.certificateChainPem,
    'key.pem': credentials.privateKeyPem,
    'root-cert.pem': root,
  };
  for (const name of only) {
    writeFileSync(join(folder, `${name}.new`), texts[name] ?? '');
    renameSync(join(folder, `${name}.new`), join(folder, name));
  }
}

identitySourceSuite(t, {
  name: 'files',
  polls: true,
  make: async (t, clock) => {
    const folder = t.testdir({ certs: {} });
    const certs = join(folder, 'certs');
    const authority = makeAuthority();
    return {
      source: fileIdentitySource({ directory: certs, clock }),
      spiffeId: web,
      issue: async ({ extraRoots = [], notAfter = clock.wallNow() + 3_600_000 } = {}) =>
        write(certs, authority.issue(web, { notAfter }), [authority.rootPem, ...extraRoots].join('')),
      mismatch: async () =>
        write(certs, { ...authority.issue(web), privateKeyPem: keyPem(makeKey()) }, authority.rootPem),
      garble: async () => write(certs, authority.issue(web), authority.rootPem.slice(0, 300)),
      cutOff: async () => renameSync(certs, `${certs}-away`),
      reconnect: async () => renameSync(`${certs}-away`, certs),
    };
  },
});

t.test('reads the files of Istio, and again when they change', async (t) => {
  const folder = t.testdir();
  const authority = makeAuthority();
  const clock = fakeClock();
  const first = authority.issue(web);
  write(folder, first, authority.rootPem);
  const running = start({ directory: folder }, clock);
  t.equal(running.source.name, `files:${folder}`);
  await running.asleep();
  t.match(running.told.updates, [{ spiffeId: web, privateKeyPem: first.privateKeyPem }]);
  t.same([...(running.told.updates[0]?.trustBundles ?? [])], [['cluster.local', [authority.rootPem]]]);
  await running.look();
  t.equal(running.told.updates.length, 1, 'unchanged files are no news');

  const second = authority.issue(web);
  write(folder, second, authority.rootPem);
  await running.look();
  t.match(running.told.updates[1], { certificateChainPem: second.certificateChainPem });
  t.same(running.told.rejected, []);
  await running.stop();
  t.equal(clock.pending(), 0);
});

t.test('never pairs a new certificate with the old key', async (t) => {
  const folder = t.testdir();
  const authority = makeAuthority();
  const clock = fakeClock();
  write(folder, authority.issue(web), authority.rootPem);
  const running = start({ directory: folder }, clock);
  await running.asleep();
  const next = authority.issue(web);
  write(folder, next, authority.rootPem, ['cert-chain.pem']);
  await running.look();
  t.equal(running.told.updates.length, 1, 'half of a rotation is not seen');
  t.same(running.told.rejected, [], 'and not complained of at once');
  write(folder, next, authority.rootPem, ['key.pem']);
  await running.look();
  t.match(running.told.updates[1], next.certificateChainPem && { privateKeyPem: next.privateKeyPem });
  await running.stop();
});

t.test('refuses files that stay bad, once, and keeps looking', async (t) => {
  const folder = t.testdir();
  const authority = makeAuthority();
  const clock = fakeClock();
  write(folder, authority.issue(web), authority.rootPem);
  writeFileSync(join(folder, 'root-cert.pem'), authority.rootPem.slice(0, 300));
  const running = start({ directory: folder }, clock);
  for (let i = 0; i < 4; i++) await running.look();
  t.match(running.told.rejected, [/root-cert\.pem: certificate 1 is not closed/]);
  t.equal(running.told.rejected.length, 1);
  // CERT-11: a bundle that was half written is completed.
  writeFileSync(join(folder, 'root-cert.pem'), authority.rootPem);
  await running.look();
  t.equal(running.told.updates.length, 1);
  await running.stop();
});

t.test('says which file is missing, and takes them when they come', async (t) => {
  const folder = t.testdir();
  const authority = makeAuthority();
  const clock = fakeClock();
  const running = start({ directory: folder }, clock);
  await running.look();
  await running.look();
  t.match(running.told.lost, [/certificate files cannot be read: ENOENT.*cert-chain\.pem/]);
  t.equal(running.told.lost.length, 1, 'said once');
  write(folder, authority.issue(web), authority.rootPem);
  await running.look();
  t.equal(running.told.updates.length, 1);
  unlinkSync(join(folder, 'key.pem'));
  await running.look();
  t.match(running.told.lost[1], /key\.pem/);
  await running.stop();
});

t.test('takes a certificate that was not valid yet as soon as it is', async (t) => {
  const folder = t.testdir();
  const authority = makeAuthority();
  const clock = fakeClock();
  const soon = clock.wallNow() + 10_000;
  write(folder, authority.issue(web, { notBefore: soon, notAfter: soon + 3_600_000 }), authority.rootPem);
  const running = start({ directory: folder }, clock);
  for (let i = 0; i < 5; i++) await running.look();
  t.match(running.told.rejected, [/is valid from/]);
  t.equal(running.told.rejected.length, 1);
  for (let i = 0; i < 8; i++) await running.look();
  t.equal(running.told.updates.length, 1);
  await running.stop();
});

t.test('takes other names, federated roots, and folders that Kubernetes exchanges', async (t) => {
  const folder = t.testdir({ one: {}, two: {} });
  const authority = makeAuthority();
  const partner = makeAuthority({ trustDomain: 'partner.example' });
  const clock = fakeClock();
  const fill = (name: string) => {
    const issued = authority.issue(web);
    writeFileSync(join(folder, name, 'certificates.pem'), issued.certificateChainPem);
    writeFileSync(join(folder, name, 'private_key.pem'), issued.privateKeyPem);
    writeFileSync(join(folder, name, 'ca_certificates.pem'), authority.rootPem);
    return issued;
  };
  fill('one');
  const partnerFile = join(folder, 'partner.pem');
  writeFileSync(partnerFile, partner.rootPem);
  mkdirSync(join(folder, 'mount'));
  symlinkSync('../one', join(folder, 'mount', '..data'));
  const running = start(
    {
      directory: join(folder, 'mount', '..data'),
      certificateFile: 'certificates.pem',
      keyFile: 'private_key.pem',
      rootFile: 'ca_certificates.pem',
      federatedRootFiles: { 'partner.example': partnerFile },
    },
    clock,
  );
  await running.asleep();
  t.same(running.told.updates[0]?.trustBundles.get('partner.example'), [partner.rootPem]);
  const next = fill('two');
  symlinkSync('../two', join(folder, 'mount', '..tmp'));
  renameSync(join(folder, 'mount', '..tmp'), join(folder, 'mount', '..data'));
  await running.look();
  t.match(running.told.updates[1], { privateKeyPem: next.privateKeyPem });
  await running.stop();
});

t.test('does not take roots for the own trust domain from two places', async (t) => {
  const folder = t.testdir();
  const authority = makeAuthority();
  const clock = fakeClock();
  write(folder, authority.issue(web), authority.rootPem);
  const running = start({ directory: folder, federatedRootFiles: { 'cluster.local': 'root-cert.pem' } }, clock);
  await running.look();
  await running.look();
  t.match(running.told.rejected, [/cluster\.local is the own trust domain/]);
  await running.stop();
});

t.test('stops at once when it is told to before it began', async (t) => {
  const source = fileIdentitySource({ directory: t.testdir() });
  await source.run({ update: t.fail, reject: t.fail, lost: t.fail }, AbortSignal.abort());
  t.pass('it returned');
});
