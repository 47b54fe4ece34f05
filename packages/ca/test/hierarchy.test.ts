import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCsr, readCertificate, readPemCertificates, verifyPeer } from 'inmesh/identity';
import t from 'tap';
import { keyPem, makeKey } from '../../../test/support/certificates.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { type Authority, createAuthority, initAuthority, type KeyType, openAuthority } from '../src/index.ts';
import { filesWithModes } from './support/folder.ts';
import { otherAuthority, type PluggedFolder } from './support/plugged-folder.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const unavailable = { code: 'ERR_MESH_CA', reason: 'unavailable' };
const badRequest = { code: 'ERR_MESH_CA', reason: 'bad_request' };
const noOpenssl = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed';

const sign = (authority: Authority): readonly X509Certificate[] =>
  readPemCertificates(authority.signCsr(createCsr(web, makeKey()), web).certificateChainPem, 'chain');
const accepted = (authority: Authority, chain: readonly X509Certificate[]): boolean =>
  verifyPeer(chain, authority.trustBundles, Date.now()).spiffeId === web;
const openssl = (folder: string, ...args: readonly string[]) =>
  spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });

/** Writes what `openssl verify` takes. */
function forOpenssl(folder: string, authority: Authority): string {
  mkdirSync(folder, { recursive: true });
  const [leaf, ...above] = sign(authority);
  writeFileSync(join(folder, 'leaf.pem'), String(leaf));
  writeFileSync(join(folder, 'above.pem'), above.join(''));
  writeFileSync(join(folder, 'root.pem'), authority.rootPem);
  return folder;
}

const kinds: readonly (readonly [KeyType, string, string, string])[] = [
  ['p-256', 'ec', 'prime256v1', 'ecdsa-with-SHA256'],
  ['p-384', 'ec', 'secp384r1', 'ecdsa-with-SHA384'],
  ['rsa-2048', 'rsa', '2048', 'sha256WithRSAEncryption'],
  ['rsa-3072', 'rsa', '3072', 'sha256WithRSAEncryption'],
  ['rsa-4096', 'rsa', '4096', 'sha256WithRSAEncryption'],
];
for (const [keyType, kind, size, signature] of kinds) {
  t.test(`an authority with ${keyType} keys`, async (t) => {
    const folder = t.testdir();
    const dir = join(folder, 'ca');
    const authority = initAuthority(dir, { keyType });
    const [leaf, intermediate] = sign(authority) as [X509Certificate, X509Certificate];
    for (const certificate of [intermediate, new X509Certificate(authority.rootPem)]) {
      const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey;
      t.equal(asymmetricKeyType, kind);
      t.equal(String(asymmetricKeyDetails?.namedCurve ?? asymmetricKeyDetails?.modulusLength), size);
    }
    t.ok(accepted(openAuthority(dir), [leaf, intermediate]), 'also when it is opened again');
    const server = new X509Certificate(authority.issueServer(['localhost']).certificateChainPem);
    t.equal(server.publicKey.asymmetricKeyType, kind, 'its server has a key of that kind too');
    if (noOpenssl !== false) return t.comment(noOpenssl);
    const at = forOpenssl(join(folder, 'openssl'), authority);
    const verified = openssl(
      at,
      'verify',
      '-x509_strict',
      '-CAfile',
      'root.pem',
      '-untrusted',
      'above.pem',
      'leaf.pem',
    );
    t.equal(verified.status, 0, verified.stderr);
    const { stdout } = openssl(at, 'x509', '-in', 'leaf.pem', '-noout', '-text');
    t.match(stdout, new RegExp(`Signature Algorithm: ${signature}`));
  });
}

t.test('a folder remembers the kind of its keys, for roots and intermediates that come later', async (t) => {
  const dir = join(t.testdir(), 'ca');
  initAuthority(dir, { keyType: 'p-384', nameConstraints: false });
  const authority = openAuthority(dir);
  authority.rotation.prepare();
  authority.rotation.activate();
  const [, intermediate] = sign(authority) as [X509Certificate, X509Certificate];
  t.equal(intermediate.publicKey.asymmetricKeyDetails?.namedCurve, 'secp384r1');
  t.equal(readCertificate(intermediate.raw).permittedUris, undefined);
  t.throws(() => createAuthority({ keyType: 'rsa-1024' as KeyType }), {
    code: 'ERR_MESH_OPTION_INVALID',
    message: /keyType: expected one of p-256, p-384, rsa-2048, rsa-3072, rsa-4096, not "rsa-1024"/,
  });
});

t.test('authorities have exactly the rights that they need', async (t) => {
  const authority = createAuthority();
  const [leaf, intermediate] = sign(authority) as [X509Certificate, X509Certificate];
  const root = new X509Certificate(authority.rootPem);
  const rights = { critical: true, digitalSignature: false, keyCertSign: true, crlSign: true };
  t.match(readCertificate(root.raw), { ca: true, pathLength: 2, keyUsage: rights, uris: ['spiffe://cluster.local'] });
  t.match(readCertificate(intermediate.raw), {
    ca: true,
    pathLength: 0,
    keyUsage: rights,
    uris: ['spiffe://cluster.local'],
    permittedUris: ['cluster.local'],
  });
  t.equal(readCertificate(root.raw).permittedUris, undefined);
  t.match(readCertificate(leaf.raw), { ca: false, pathLength: undefined, permittedUris: undefined });
});

t.test('a trust domain that could not be read as a name constraint gets none', async (t) => {
  for (const trustDomain of ['10.0.0.1', 'a..b']) {
    const id = `spiffe://${trustDomain}/web`;
    const authority = createAuthority({ trustDomain });
    const chain = readPemCertificates(authority.signCsr(createCsr(id, makeKey()), id).certificateChainPem, 'chain');
    t.equal(readCertificate((chain[1] as X509Certificate).raw).permittedUris, undefined, trustDomain);
    t.equal(verifyPeer(chain, authority.trustBundles, Date.now()).spiffeId, id);
  }
});

t.test('OpenSSL holds intermediates to their trust domain', { skip: noOpenssl }, async (t) => {
  const folder = t.testdir();
  const dir = join(folder, 'ca');
  const authority = initAuthority(dir);
  const at = forOpenssl(join(folder, 'openssl'), authority);
  // Whoever stole the key of the intermediate could write this; our own code does not.
  writeFileSync(
    join(at, 'evil.cnf'),
    '[x]\nsubjectAltName=URI:spiffe://evil.example/x\nkeyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n',
  );
  openssl(
    at,
    'req',
    '-new',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/',
    '-keyout',
    'k',
    '-out',
    'csr',
  );
  const made = openssl(
    at,
    'x509',
    '-req',
    '-in',
    'csr',
    '-CA',
    join(dir, 'intermediate.pem'),
    '-CAkey',
    join(dir, 'intermediate-key.pem'),
    '-extfile',
    'evil.cnf',
    '-extensions',
    'x',
    '-days',
    '1',
    '-out',
    'evil.pem',
  );
  t.equal(made.status, 0, made.stderr);
  const { status, stderr, stdout } = openssl(
    at,
    'verify',
    '-CAfile',
    'root.pem',
    '-untrusted',
    'above.pem',
    'evil.pem',
  );
  t.not(status, 0);
  t.match(stderr + stdout, /permitted subtree violation/);
});

t.test('OpenSSL finds the way through the cross certificate', { skip: noOpenssl }, async (t) => {
  const folder = t.testdir();
  const authority = createAuthority();
  const old = authority.rootPem;
  authority.rotation.prepare();
  authority.rotation.activate();
  const at = forOpenssl(folder, authority);
  const [, next] = authority.trustBundles.get('cluster.local') as [string, string];
  writeFileSync(join(at, 'old.pem'), old);
  writeFileSync(join(at, 'next.pem'), next);
  for (const roots of ['old.pem', 'next.pem', 'root.pem']) {
    const { status, stderr } = openssl(
      at,
      'verify',
      '-x509_strict',
      '-CAfile',
      roots,
      '-untrusted',
      'above.pem',
      'leaf.pem',
    );
    t.equal(status, 0, `${roots}: ${stderr}`);
  }
});

t.test('keys are encrypted with a derivation that is slow to guess, and OpenSSL reads them', async (t) => {
  const dir = join(t.testdir(), 'ca');
  initAuthority(dir, { passphrase: 'correct horse' });
  const path = join(dir, 'root-key.pem');
  t.match(readFileSync(path, 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
  if (noOpenssl !== false) return t.comment(noOpenssl);
  const parsed = openssl(dir, 'asn1parse', '-in', path);
  t.match(parsed.stdout, /PBES2[\s\S]*(scrypt|1\.3\.6\.1\.4\.1\.11591\.4\.11)[\s\S]*:4000[\s\S]*aes-256-cbc/);
  t.equal(openssl(dir, 'pkey', '-in', path, '-passin', 'pass:correct horse', '-noout').status, 0);
  t.not(openssl(dir, 'pkey', '-in', path, '-passin', 'pass:wrong', '-noout').status, 0);
});

t.test('keys that lie open are encrypted as soon as there is a passphrase', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const { rootPem } = initAuthority(dir);
  t.match(readFileSync(join(dir, 'root-key.pem'), 'utf8'), /BEGIN PRIVATE KEY/);
  t.equal(openAuthority(dir, { passphrase: 'correct horse' }).rootPem, rootPem);
  for (const name of ['root-key.pem', 'intermediate-key.pem']) {
    t.match(readFileSync(join(dir, name), 'utf8'), /BEGIN ENCRYPTED PRIVATE KEY/, name);
  }
  t.throws(() => openAuthority(dir), { ...unavailable, message: /passphrase is missing or wrong/ });
});

t.test(
  'CA-017: refuses keys and folders that are open to others, naming the mode',
  { skip: process.platform === 'win32' && 'Windows has no such modes of files' },
  async (t) => {
    const dir = join(t.testdir(), 'ca');
    initAuthority(dir);
    for (const mode of [0o640, 0o604, 0o660, 0o666]) {
      chmodSync(join(dir, 'intermediate-key.pem'), mode);
      t.throws(() => openAuthority(dir), {
        ...unavailable,
        message: /intermediate-key\.pem is open to others \(mode 6/,
      });
    }
    chmodSync(join(dir, 'intermediate-key.pem'), 0o400);
    t.ok(openAuthority(dir));
    for (const mode of [0o720, 0o702, 0o777]) {
      chmodSync(dir, mode);
      t.throws(() => openAuthority(dir), { ...unavailable, message: /others may write into .*expected 700/ });
    }
    chmodSync(dir, 0o755);
    t.ok(openAuthority(dir), 'who may only look sees no key');
    const made = join(t.testdir(), 'there');
    mkdirSync(made, { recursive: true });
    chmodSync(made, 0o777);
    t.ok(initAuthority(made), 'a folder that is there already is closed when an authority is made in it');
    for (const line of filesWithModes(made)) t.match(line, / 600$/);
  },
);

t.test('takes an intermediate that was made elsewhere, as in the secret cacerts of Istio', async (t) => {
  for (const deep of [false, true]) {
    const folder = t.testdir();
    const other = otherAuthority();
    const from = other.write(join(folder, 'cacerts'), { deep });
    const authority = initAuthority(join(folder, 'ca'), { from });
    t.equal(authority.rootPem, new X509Certificate(other.rootPem).toString());
    const chain = sign(authority);
    t.equal(chain.length, deep ? 3 : 2, 'leaf and authorities, without the root');
    t.ok(accepted(authority, chain));
    t.ok(accepted(authority, sign(openAuthority(join(folder, 'ca')))), 'also when it is opened again');
    rmSync(join(folder, 'ca'), { recursive: true });
  }
});

t.test('signs with a root itself when that is what it was given', async (t) => {
  const folder = t.testdir();
  const key = makeKey();
  const { rootPem, write } = otherAuthority('only root', key);
  const from = write(join(folder, 'cacerts'), { key, files: { 'ca-cert.pem': rootPem, 'cert-chain.pem': rootPem } });
  const authority = initAuthority(join(folder, 'ca'), { from });
  const chain = sign(authority);
  t.equal(chain.length, 1);
  t.ok(accepted(authority, chain));
});

t.test('hands out all roots of root-cert.pem', async (t) => {
  const folder = t.testdir();
  const ours = otherAuthority();
  const further = otherAuthority('further').rootPem;
  const from = ours.write(join(folder, 'cacerts'), { files: { 'root-cert.pem': further + ours.rootPem } });
  const authority = initAuthority(join(folder, 'ca'), { from });
  t.same(
    authority.trustBundles.get('cluster.local'),
    [ours.rootPem, further].map((pem) => new X509Certificate(pem).toString()),
  );
});

const dayMs = 86_400_000;
const damages: readonly (readonly [string, PluggedFolder, RegExp])[] = [
  ['no certificate', { files: { 'ca-cert.pem': undefined } }, /ca-cert\.pem: it is missing/],
  ['no key', { files: { 'ca-key.pem': undefined } }, /ca-key\.pem: it is missing/],
  ['no root', { files: { 'root-cert.pem': undefined } }, /root-cert\.pem: it is missing/],
  ['no PEM', { files: { 'ca-cert.pem': 'rubbish' } }, /ca-cert\.pem: no certificate in it/],
  [
    'a key in the place of the chain',
    { files: { 'cert-chain.pem': keyPem(makeKey()) } },
    /cert-chain\.pem: expected certificates only/,
  ],
  ['another key', { files: { 'ca-key.pem': keyPem(makeKey()) } }, /ca-key\.pem: it is not the key of ca-cert\.pem/],
  [
    'another root',
    { files: { 'root-cert.pem': otherAuthority('stranger').rootPem } },
    /does not chain to a root of root-cert\.pem/,
  ],
  ['a link missing', { deep: true, files: { 'cert-chain.pem': undefined } }, /does not chain to a root/],
  ['no authority', { certificate: { ca: false } }, /it is not the certificate of an authority/],
  ['no right to sign', { certificate: { keyUsage: ['digitalSignature'] } }, /it lacks keyCertSign/],
  [
    'expired',
    { certificate: { notBefore: Date.now() - 2 * dayMs, notAfter: Date.now() - dayMs } },
    /nobody would accept .* expired at/,
  ],
  ['not valid yet', { certificate: { notBefore: Date.now() + dayMs } }, /nobody would accept .* is valid from/],
  [
    'of another trust domain',
    { certificate: { sans: [{ uri: 'spiffe://evil.example' }] } },
    /URI:spiffe:\/\/evil\.example is not an authority of trust domain cluster\.local/,
  ],
  [
    'constrained to another domain',
    { certificate: { permittedUris: ['evil.example'] } },
    /nobody would accept .* may sign for evil\.example only/,
  ],
  [
    'for servers only',
    { certificate: { extendedKeyUsage: ['serverAuth'] } },
    /nobody would accept .* expected serverAuth and clientAuth/,
  ],
  ['a weak key', { key: generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey }, /an RSA key of 1024 bits/],
  [
    'a key on another curve',
    { key: generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey },
    /on the curve secp521r1/,
  ],
  ['an Ed25519 key', { key: generateKeyPairSync('ed25519').privateKey }, /a key of type ed25519/],
];
for (const [what, options, message] of damages) {
  t.test(`refuses an intermediate from elsewhere: ${what}`, async (t) => {
    const folder = t.testdir();
    const from = otherAuthority().write(join(folder, 'cacerts'), options);
    t.throws(() => initAuthority(join(folder, 'ca'), { from }), { ...badRequest, message });
  });
}

t.test('says what an operator should know of an intermediate from elsewhere', async (t) => {
  const folder = t.testdir();
  const logger = recordingLogger();
  const certificate = { keyUsage: ['keyCertSign'] as const, notAfter: Date.now() + 10 * dayMs };
  const from = otherAuthority().write(join(folder, 'cacerts'), { certificate });
  initAuthority(join(folder, 'ca'), { from, logger });
  t.match(logger.messages('warn'), [/"CN=their intermediate" expires at/, /"CN=their intermediate" lacks cRLSign/]);
});

t.test('an intermediate from elsewhere is replaced by the next of the same root, and only of that', async (t) => {
  const folder = t.testdir();
  const other = otherAuthority();
  const authority = initAuthority(join(folder, 'ca'), { from: other.write(join(folder, 'first')) });
  const [, first] = sign(authority) as [X509Certificate, X509Certificate];
  t.same(authority.importIntermediate(other.write(join(folder, 'second'))), []);
  const chain = sign(authority) as [X509Certificate, X509Certificate];
  t.not(chain[1].serialNumber, first.serialNumber);
  t.ok(accepted(authority, chain));
  t.throws(() => authority.importIntermediate(otherAuthority('another root').write(join(folder, 'third'))), {
    code: 'ERR_MESH_CA',
    reason: 'conflict',
    message: /belongs to another root: see `inmesh ca rotate prepare --from`/,
  });
});
