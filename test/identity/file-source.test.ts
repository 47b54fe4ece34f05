import { chmodSync, renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type FileIdentityOptions, fileIdentitySource } from '../../src/identity/file-source.ts';
import type { Credentials } from '../../src/identity/source.ts';
import { identitySourceSuite } from '../suites/identity-source.ts';
import { keyPem, makeAuthority, makeKey } from '../support/certificates.ts';
import { makeCrl } from '../support/crls.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

interface Told {
  readonly updates: Credentials[];
  readonly rejected: string[];
  readonly lost: string[];
  readonly warned: string[];
}

/** Runs a source; `look` lets it see the files once more and waits until it sleeps again. */
function start(options: Parameters<typeof fileIdentitySource>[0], clock: FakeClock) {
  const told: Told = { updates: [], rejected: [], lost: [], warned: [] };
  const abort = new AbortController();
  const source = fileIdentitySource({ clock, ...options });
  const running = source.run(
    {
      update: (credentials) => told.updates.push(credentials),
      reject: (problem) => told.rejected.push(problem.message),
      lost: (reason) => told.lost.push(reason.message),
      warn: (warning) => told.warned.push(warning.message),
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
    look: async (ms = 1_000) => {
      await asleep();
      clock.advance(ms);
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

t.test('does not take roots for the own trust domain from two places', async (t) => {
  const folder = t.testdir();
  const authority = makeAuthority();
  const clock = fakeClock();
  write(folder, authority.issue(web), authority.rootPem);
  const running = start({ directory: folder, federatedRootFiles: { 'cluster.local': 'root-cert.pem' } }, clock);
  for (let i = 0; i < 3; i++) await running.look();
  t.match(running.told.rejected, [/cluster\.local is the own trust domain/]);
  await running.stop();
});

t.test('CERT-11: a bundle that is being written does not take trust away for a moment', async (t) => {
  const folder = t.testdir();
  const authority = makeAuthority();
  const next = makeAuthority({ name: 'next root' });
  const clock = fakeClock();
  const bundle = authority.rootPem + next.rootPem;
  write(folder, authority.issue(web), bundle);
  const running = start({ directory: folder, pollMs: 150 }, clock);
  await running.asleep();
  t.equal(running.told.updates.length, 1);
  // Cut between two certificates it reads well, with one root less.
  const roots = join(folder, 'root-cert.pem');
  for (const length of [authority.rootPem.length, 20, authority.rootPem.length + 30, authority.rootPem.length]) {
    writeFileSync(roots, bundle.slice(0, length));
    await running.look(150);
  }
  t.equal(running.told.updates.length, 1, 'the old bundle is kept');
  t.same(running.told.rejected, []);
  writeFileSync(roots, bundle);
  await running.look();
  t.equal(running.told.updates.at(-1)?.trustBundles.get('cluster.local')?.length, 2);
  // One that stays shorter was meant so.
  writeFileSync(roots, authority.rootPem);
  await running.look();
  await running.look();
  t.same(running.told.updates.at(-1)?.trustBundles.get('cluster.local'), [authority.rootPem]);
  t.same(running.told.rejected, []);
  await running.stop();
});

t.test('tells the same files again when they are back, so that the trouble is over', async (t) => {
  const folder = t.testdir({ certs: {} });
  const certs = join(folder, 'certs');
  const authority = makeAuthority();
  const clock = fakeClock();
  write(certs, authority.issue(web), authority.rootPem);
  const running = start({ directory: certs }, clock);
  await running.asleep();
  renameSync(certs, `${certs}-away`);
  await running.look();
  t.equal(running.told.lost.length, 1);
  renameSync(`${certs}-away`, certs);
  await running.look();
  t.equal(running.told.updates.length, 2);
  t.same(running.told.updates[0], running.told.updates[1]);
  await running.stop();
});

t.test('looks at once when the system says that a file changed', async (t) => {
  const folder = t.testdir();
  const authority = makeAuthority();
  write(folder, authority.issue(web), authority.rootPem);
  const told: Credentials[] = [];
  const abort = new AbortController();
  const updated = (count: number): Promise<void> =>
    new Promise((resolve) => {
      const check = (): void => void (told.length >= count ? resolve() : setImmediate(check));
      check();
    });
  // By its interval it would not look again for a day.
  const running = fileIdentitySource({ directory: folder, pollMs: 86_400_000 }).run(
    { update: (credentials) => told.push(credentials), reject: t.fail, lost: t.fail },
    abort.signal,
  );
  await updated(1);
  for (let round = 2; round < 5; round++) {
    const next = authority.issue(web);
    write(folder, next, authority.rootPem);
    await updated(round);
    t.equal(told.at(-1)?.privateKeyPem, next.privateKeyPem);
  }
  abort.abort();
  await running;
});

t.test(
  'warns once of a key that everybody can read, and uses it',
  { skip: process.platform === 'win32' && 'Windows has no such modes of files' },
  async (t) => {
    const folder = t.testdir();
    const authority = makeAuthority();
    const clock = fakeClock();
    chmodSync(folder, 0o755);
    write(folder, authority.issue(web), authority.rootPem);
    chmodSync(join(folder, 'key.pem'), 0o644);
    const running = start({ directory: folder }, clock);
    await running.asleep();
    t.equal(running.told.updates.length, 1);
    t.match(running.told.warned, [/every user of this machine can read the key .*key\.pem \(mode 0644\)/]);
    write(folder, authority.issue(web), authority.rootPem);
    chmodSync(join(folder, 'key.pem'), 0o644);
    for (let i = 0; i < 2; i++) await running.look();
    t.equal(running.told.updates.length, 2);
    t.equal(running.told.warned.length, 1);
    await running.stop();
  },
);

t.test('stops at once when it is told to before it began', async (t) => {
  const source = fileIdentitySource({ directory: t.testdir() });
  await source.run({ update: t.fail, reject: t.fail, lost: t.fail }, AbortSignal.abort());
  t.pass('it returned');
});

t.test('refuses options that can never work', (t) => {
  const cases: readonly (readonly [FileIdentityOptions, RegExp])[] = [
    [
      { layout: 'kubernetes' as 'gke' },
      /layout: expected one of istio, istio-credentials, gke, cert-manager, not "kubernetes"/,
    ],
    [{ layout: 'constructor' as 'gke' }, /layout/],
    [{ spiffeBundleMapFile: 'map.json', rootFile: 'root.pem' }, /expected no other file of roots with it/],
    [{ spiffeBundleMapFile: 'map.json', federatedRootFiles: {} }, /expected no other file of roots with it/],
    [{ pollMs: 0 }, /pollMs: expected more than 0, not 0/],
    [{ pollMs: Number.NaN }, /pollMs/],
    [
      { federatedRootFiles: { 'spiffe://partner.example': 'partner.pem' } },
      /federatedRootFiles: expected a trust domain, not "spiffe:\/\/partner\.example"/,
    ],
  ];
  for (const [options, message] of cases) {
    t.throws(() => fileIdentitySource(options), { code: 'ERR_MESH_OPTION_INVALID', message });
  }
  t.end();
});

t.test('revocation lists come from a file of their own, and a broken one holds nothing up', async (t) => {
  const folder = t.testdir({ certs: {}, crl: { 'ca-crl.pem': '' } });
  const [certs, crlFile] = [join(folder, 'certs'), join(folder, 'crl', 'ca-crl.pem')];
  const clock = fakeClock();
  const authority = makeAuthority({ intermediate: false });
  write(certs, authority.issue(web), authority.rootPem);
  const { told, look, stop } = start({ directory: certs, crlFile }, clock);
  await look();
  t.equal(told.updates.at(-1)?.crlsByTrustDomain, undefined, 'an empty file is no lists');

  const list = makeCrl(authority.root);
  writeFileSync(crlFile, list);
  await look();
  await look();
  t.same(told.updates.at(-1)?.crlsByTrustDomain, new Map([['cluster.local', [list]]]));

  const count = told.updates.length;
  writeFileSync(crlFile, list.slice(0, 100));
  await look(200);
  t.equal(told.updates.length, count, 'one that is being written is waited for');
  const renewed = authority.issue(web);
  write(certs, renewed, authority.rootPem);
  for (let i = 0; i < 5; i++) await look(500);
  t.equal(
    told.updates.at(-1)?.certificateChainPem,
    renewed.certificateChainPem,
    'the store is told, and keeps the last list',
  );
  t.same(told.rejected, []);

  unlinkSync(crlFile);
  await look();
  t.match(told.lost.at(-1), /certificate files cannot be read: .*ca-crl\.pem/);
  await stop();
});
