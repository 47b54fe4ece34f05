import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { inspect } from 'node:util';
import { createCsr, readPemCertificates, verifyPeer } from 'inmesh/identity';
import t from 'tap';
import { makeKey } from '../../../test/support/certificates.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { createAuthority } from '../src/index.ts';
import { csrOf, csrPem, extensionAttribute, sanExtension } from './support/csr-builder.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const admin = 'spiffe://cluster.local/ns/shop/sa/admin';
const hour = 3_600_000;
const day = 24 * hour;
const year = 365 * day;
const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

t.test('issues leaves that the mesh accepts as SPIFFE identities', async (t) => {
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  const issued = authority.signCsr(createCsr(web, makeKey()), web);
  const chain = readPemCertificates(issued.certificateChainPem, 'chain');
  t.match(verifyPeer(chain, authority.trustBundles, clock.wallNow()), { spiffeId: web, notAfter: issued.notAfter });
  const [leaf, intermediate] = chain as [X509Certificate, X509Certificate];
  t.equal(leaf.subject ?? '', '');
  t.equal(leaf.subjectAltName, `URI:${web}`);
  t.same(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  t.equal(leaf.ca, false);
  t.equal(intermediate.ca, true);
  t.equal(intermediate.subjectAltName, 'URI:spiffe://cluster.local');
  t.equal(issued.serial, leaf.serialNumber.toLowerCase());
  // CA-014: clocks may differ by two minutes.
  t.ok(Math.abs(clock.wallNow() - 120_000 - issued.notBefore) < 1_000);
  const life = issued.notAfter - clock.wallNow();
  t.ok(life >= hour && life < hour + 1_000, 'an hour, and the second that has begun');
  const root = new X509Certificate(authority.rootPem);
  t.ok(Math.abs(root.validToDate.getTime() - clock.wallNow() - 10 * year) < day);
  t.ok(Math.abs(intermediate.validToDate.getTime() - clock.wallNow() - year) < day);
});

t.test(
  'OpenSSL finds nothing to complain of',
  { skip: hasOpenssl ? false : 'there is no openssl command here' },
  async (t) => {
    const authority = createAuthority();
    const { certificateChainPem } = authority.signCsr(createCsr(web, makeKey()), web);
    const [leaf, intermediate] = readPemCertificates(certificateChainPem, 'chain').map(String);
    const folder = t.testdir({
      'root.pem': authority.rootPem,
      'leaf.pem': leaf ?? '',
      'intermediate.pem': intermediate ?? '',
    });
    for (const purpose of ['sslclient', 'sslserver']) {
      const { status, stderr } = spawnSync(
        'openssl',
        [
          'verify',
          '-x509_strict',
          '-purpose',
          purpose,
          '-CAfile',
          'root.pem',
          '-untrusted',
          'intermediate.pem',
          'leaf.pem',
        ],
        { cwd: folder, encoding: 'utf8' },
      );
      t.equal(status, 0, `${purpose}: ${stderr}`);
    }
  },
);

t.test('signs every kind of key, and takes nothing but the key from a request', async (t) => {
  const authority = createAuthority();
  for (const key of [
    makeKey(),
    generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
    generateKeyPairSync('ed25519').privateKey,
    generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey,
  ]) {
    const asking = csrPem(csrOf({ key, attributes: [extensionAttribute(sanExtension(admin))] }));
    const { certificateChainPem, spiffeId } = authority.signCsr(asking, web);
    const leaf = new X509Certificate(certificateChainPem);
    t.equal(leaf.subjectAltName, `URI:${web}`, 'CA-001: not what it asked for');
    t.equal(spiffeId, web);
    t.ok(leaf.checkPrivateKey(key));
  }
});

t.test('serial numbers are long, positive and unique', async (t) => {
  // CA-012
  const authority = createAuthority();
  const key = makeKey();
  const serials = new Set<string>();
  for (let i = 0; i < 300; i++) {
    const { serial } = authority.signCsr(createCsr(web, key), web);
    if (!/^[4-7][0-9a-f]{31}$/.test(serial)) t.fail(serial);
    serials.add(serial);
  }
  t.equal(serials.size, 300);
});

t.test('signs only for workloads of its own trust domain', async (t) => {
  const authority = createAuthority();
  const csr = createCsr(web, makeKey());
  for (const other of ['spiffe://evil.example/ns/shop/sa/web', 'spiffe://cluster.local']) {
    t.throws(() => authority.signCsr(csr, other), { code: 'ERR_MESH_CA', reason: 'identity_mismatch' }, other);
  }
  t.throws(() => authority.signCsr(csr, 'web'), { code: 'ERR_MESH_PEER_IDENTITY' });
});

t.test('does not certify one key for two identities, unless it is told to', async (t) => {
  // CA-008
  const key = makeKey();
  const authority = createAuthority();
  authority.signCsr(createCsr(web, key), web);
  authority.signCsr(createCsr(web, key), web);
  t.throws(() => authority.signCsr(createCsr(admin, key), admin), { code: 'ERR_MESH_CA', reason: 'key_reused' });
  const lax = createAuthority({ refuseKeyReuse: false });
  lax.signCsr(createCsr(web, key), web);
  t.equal(lax.signCsr(createCsr(admin, key), admin).spiffeId, admin);
});

t.test('a join token lets exactly its identity in, exactly as often as it says', async (t) => {
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  const enroll = (token: string, id = web) => authority.enroll(createCsr(id, makeKey()), token);
  const invalid = {
    code: 'ERR_MESH_CA',
    reason: 'token_invalid',
    message: 'the join token is unknown, expired or used up',
  };

  const single = authority.createToken({ namespace: 'shop', serviceAccount: 'web' });
  t.match(single, { spiffeId: web, uses: 1, expiresAt: clock.wallNow() + 600_000 });
  t.throws(() => enroll(single.token, admin), { code: 'ERR_MESH_CA', reason: 'identity_mismatch' });
  t.equal(enroll(single.token).spiffeId, web, 'a refused request does not use it up');
  t.throws(() => enroll(single.token), invalid, 'CA-004: used up');

  const thrice = authority.createToken({ spiffeId: web, uses: 3 });
  for (let i = 0; i < 3; i++) t.equal(enroll(thrice.token).spiffeId, web);
  t.throws(() => enroll(thrice.token), invalid);

  const short = authority.createToken({ spiffeId: web, ttlMs: 5_000 });
  clock.advance(5_000);
  t.throws(() => enroll(short.token), invalid, 'CA-005: expired');

  const other = createAuthority({ clock }).createToken({ spiffeId: web });
  const mine = authority.createToken({ spiffeId: web });
  const [version, id, secret] = mine.token.split('.') as [string, string, string];
  const bad = [
    other.token,
    '',
    'x',
    `${version}.${id}`,
    `${version}.${id}.${'A'.repeat(43)}`,
    `${version}.${'A'.repeat(16)}.${secret}`,
    `${mine.token} `,
    `inmesh2.${id}.${secret}`,
    'x'.repeat(1_000_000),
  ];
  for (const token of bad) t.throws(() => enroll(token), invalid, token.slice(0, 80));
  t.equal(enroll(mine.token).spiffeId, web);
});

t.test('a token is not used up by a request that cannot be signed', async (t) => {
  const authority = createAuthority();
  const { token } = authority.createToken({ spiffeId: web });
  t.throws(() => authority.enroll('rubbish', token), { code: 'ERR_MESH_CA', reason: 'bad_csr' });
  const key = makeKey();
  authority.signCsr(createCsr(admin, key), admin);
  t.throws(() => authority.enroll(createCsr(web, key), token), { code: 'ERR_MESH_CA', reason: 'key_reused' });
  t.equal(authority.enroll(createCsr(web, makeKey()), token).spiffeId, web);
});

t.test('refuses tokens for what is no workload, and wrong numbers', async (t) => {
  const authority = createAuthority();
  const bad = [
    { spiffeId: 'spiffe://evil.example/x' },
    { spiffeId: 'spiffe://cluster.local' },
    { namespace: 'shop/sa/admin', serviceAccount: 'x' },
    { spiffeId: web, ttlMs: 0 },
    { spiffeId: web, ttlMs: Number.NaN },
    { spiffeId: web, ttlMs: 31 * day },
    { spiffeId: web, uses: 0 },
    { spiffeId: web, uses: 1.5 },
    { spiffeId: web, uses: 1_001 },
  ];
  for (const request of bad) {
    t.throws(() => authority.createToken(request), { code: 'ERR_MESH_OPTION_INVALID' }, JSON.stringify(request));
  }
  t.throws(() => authority.createToken({ namespace: '', serviceAccount: 'x' }), { code: 'ERR_MESH_PEER_IDENTITY' });
});

t.test('renews the intermediate in time, and no leaf outlives it', async (t) => {
  const clock = fakeClock();
  const logger = recordingLogger();
  const authority = createAuthority({ clock, logger, leafTtlMs: day });
  const issue = () =>
    readPemCertificates(authority.signCsr(createCsr(web, makeKey()), web).certificateChainPem, 'chain');
  const [, first] = issue() as [X509Certificate, X509Certificate];
  clock.jump(0.6 * year);
  t.equal((issue()[1] as X509Certificate).serialNumber, first.serialNumber);
  clock.jump(0.1 * year);
  const [leaf, second] = issue() as [X509Certificate, X509Certificate];
  t.not(second.serialNumber, first.serialNumber);
  t.ok(verifyPeer([leaf, second], authority.trustBundles, clock.wallNow()), 'the root is the same');
  t.match(logger.messages('info'), [/new intermediate/]);
  // At the end of the root nothing can be renewed any more.
  clock.jump(9.3 * year - hour);
  const [last, top] = issue() as [X509Certificate, X509Certificate];
  t.ok(last.validToDate <= top.validToDate && top.validToDate <= new X509Certificate(authority.rootPem).validToDate);
  t.ok(clock.wallNow() < authority.signsUntil());
  clock.jump(2 * hour);
  t.throws(issue, { code: 'ERR_MESH_CA', reason: 'unavailable', message: /has expired/ });
  t.ok(clock.wallNow() >= authority.signsUntil());
});

t.test('hands out further roots while roots are exchanged', async (t) => {
  const next = createAuthority();
  const authority = createAuthority({ extraRoots: next.rootPem + next.rootPem });
  t.same(authority.trustBundles.get('cluster.local'), [authority.rootPem, next.rootPem]);
});

t.test('makes server certificates with names and without identity', async (t) => {
  const authority = createAuthority();
  const made = authority.issueServer([
    'localhost',
    '127.0.0.1',
    '::1',
    'LOCALHOST',
    '::ffff:10.0.0.1',
    '2001:db8::5:0:1',
  ]);
  const leaf = new X509Certificate(made.certificateChainPem);
  t.equal(
    leaf.subjectAltName,
    'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:0:0:0:0:0:FFFF:A00:1, IP Address:2001:DB8:0:0:0:5:0:1',
  );
  t.same(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1']);
  const chain = readPemCertificates(made.certificateChainPem, 'chain');
  t.throws(
    () => verifyPeer(chain, authority.trustBundles, Date.now()),
    { message: /presented 0/ },
    'no identity in the mesh',
  );
  for (const names of [[], ['a b'], ['-x'], [''], ['fe80::1%eth0'], ['x'.repeat(254)]]) {
    t.throws(() => authority.issueServer(names), { code: 'ERR_MESH_OPTION_INVALID' }, names.join());
  }
});

t.test('refuses wrong options', async (t) => {
  const bad = [
    { trustDomain: 'UPPER' },
    { trustDomain: 'a/b' },
    { trustDomain: '' },
    { leafTtlMs: 500 },
    { leafTtlMs: 25 * hour },
    { leafTtlMs: Number.NaN },
    { passphrase: '' },
  ];
  for (const options of bad) {
    t.throws(() => createAuthority(options), { code: 'ERR_MESH_OPTION_INVALID' }, JSON.stringify(options));
  }
});

t.test('says loudly that an authority in memory ends with its process', async (t) => {
  // CA-017
  const logger = recordingLogger();
  createAuthority({ logger });
  t.match(logger.messages('warn'), [/lives in memory/]);
});

t.test('shows its keys to nobody', async (t) => {
  // CA-016
  const logger = recordingLogger();
  const authority = createAuthority({ logger });
  const { token } = authority.createToken({ spiffeId: web });
  authority.enroll(createCsr(web, makeKey()), token);
  const shown = `${inspect(authority, { depth: 10, showHidden: true })}${JSON.stringify(authority)}${JSON.stringify(logger.lines)}`;
  t.notMatch(shown, /PRIVATE KEY/);
  t.notMatch(shown, token.split('.')[2] as string);
});

t.test('a long trust domain does not break the names of authorities', async (t) => {
  const trustDomain = `${'long.'.repeat(40)}example`;
  const authority = createAuthority({ trustDomain });
  const id = `spiffe://${trustDomain}/web`;
  const chain = readPemCertificates(authority.signCsr(createCsr(id, makeKey()), id).certificateChainPem, 'chain');
  t.equal(verifyPeer(chain, authority.trustBundles, Date.now()).spiffeId, id);
});
