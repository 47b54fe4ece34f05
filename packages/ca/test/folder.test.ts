import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createCsr, readPemCertificates, verifyPeer } from 'inmesh/identity';
import t from 'tap';
import { makeKey } from '../../../test/support/certificates.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { createAuthority, initAuthority, openAuthority } from '../src/index.ts';
import { filesWithModes } from './support/folder.ts';

const web = 'spiffe://mesh.example/ns/shop/sa/web';
const options = { trustDomain: 'mesh.example', leafTtlMs: 60_000 };
const unavailable = { code: 'ERR_MESH_CA', reason: 'unavailable' };

t.test('keeps everything in files that only the owner may read, and finds it again', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const made = initAuthority(dir, options);
  const { token } = made.createToken({ spiffeId: web });
  made.signCsr(createCsr(web, makeKey()), web);
  t.match(filesWithModes(dir), [
    /^authority\.json 600$/,
    /^intermediate-key\.pem 600$/,
    /^intermediate\.pem 600$/,
    /^issued\.jsonl 600$/,
    /^revoked\.json 600$/,
    /^root-key\.pem 600$/,
    /^root\.pem 600$/,
    /^state\.json 600$/,
    /^tokens\/[A-Za-z0-9_-]{16}\.json 600$/,
  ]);
  t.match(readFileSync(join(dir, 'root-key.pem'), 'utf8'), /^-----BEGIN PRIVATE KEY-----/);

  const opened = openAuthority(dir);
  t.match(opened, { trustDomain: 'mesh.example', leafTtlMs: 60_000, rootPem: made.rootPem });
  const issued = opened.enroll(createCsr(web, makeKey()), token);
  const chain = readPemCertificates(issued.certificateChainPem, 'chain');
  t.equal(verifyPeer(chain, made.trustBundles, Date.now()).spiffeId, web, 'the same root');
  t.throws(
    () => made.enroll(createCsr(web, makeKey()), token),
    { code: 'ERR_MESH_CA', reason: 'token_invalid' },
    'used up for both',
  );
});

t.test('createAuthority opens what is there and makes what is not', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const { rootPem } = createAuthority({ ...options, dir });
  t.equal(createAuthority({ dir }).rootPem, rootPem);
  t.throws(() => createAuthority({ dir, trustDomain: 'other.example' }), {
    code: 'ERR_MESH_OPTION_INVALID',
    message: /the folder holds an authority of mesh\.example, not "other\.example"/,
  });
  t.throws(() => initAuthority(dir, options), { code: 'ERR_MESH_OPTION_INVALID', message: /holds .* already/ });
  t.equal(createAuthority({ dir, leafTtlMs: 90_000 }).leafTtlMs, 90_000, 'options come before what is remembered');
});

t.test('encrypts keys with a passphrase', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const { rootPem } = initAuthority(dir, { ...options, passphrase: 'correct horse' });
  for (const name of ['root-key.pem', 'intermediate-key.pem']) {
    t.match(readFileSync(join(dir, name), 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
  }
  t.equal(openAuthority(dir, { passphrase: 'correct horse' }).rootPem, rootPem);
  for (const wrong of [{}, { passphrase: 'battery staple' }]) {
    t.throws(() => openAuthority(dir, wrong), { ...unavailable, message: /passphrase is missing or wrong/ });
  }
});

t.test('accounts for every certificate in a log that is only appended to', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const authority = initAuthority(dir, options);
  const { token, id } = authority.createToken({ spiffeId: web });
  const issued = [
    authority.enroll(createCsr(web, makeKey()), token),
    authority.renew(createCsr(web, makeKey()), web),
    authority.signCsr(createCsr(web, makeKey()), web),
  ];
  authority.issueServer(['localhost']);
  const lines = readFileSync(join(dir, 'issued.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(lines, [
    { subject: web, by: `token ${id}`, serial: issued[0]?.serial, keyId: /^[0-9a-f]{64}$/ },
    { subject: web, by: 'renewal', serial: issued[1]?.serial },
    {
      subject: web,
      by: 'library',
      serial: issued[2]?.serial,
      notAfter: new Date(issued[2]?.notAfter ?? 0).toISOString(),
    },
    { subject: 'localhost', by: 'server' },
  ]);
});

t.test('hands no certificate out that it cannot account for', async (t) => {
  const dir = t.testdir({ ca: {} });
  const authority = initAuthority(join(dir, 'ca'), options);
  rmSync(join(dir, 'ca'), { recursive: true });
  t.throws(() => authority.signCsr(createCsr(web, makeKey()), web), {
    code: 'ERR_MESH_CA',
    reason: 'internal',
    message: /cannot write the issuance log/,
  });
});

t.test('remembers over a restart which key belongs to whom', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const key = makeKey();
  initAuthority(dir, options).signCsr(createCsr(web, key), web);
  writeFileSync(join(dir, 'issued.jsonl'), '{"cut off', { flag: 'a' });
  const other = 'spiffe://mesh.example/ns/shop/sa/other';
  t.throws(() => openAuthority(dir).signCsr(createCsr(other, key), other), {
    code: 'ERR_MESH_CA',
    reason: 'key_reused',
  });
});

t.test('forgets tokens that have expired', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const clock = fakeClock();
  const authority = initAuthority(dir, { ...options, clock });
  const { token } = authority.createToken({ spiffeId: web, uses: 2, ttlMs: 5_000 });
  authority.enroll(createCsr(web, makeKey()), token);
  t.equal(readdirSync(join(dir, 'tokens')).length, 2, 'the record and one use');
  clock.advance(5_000);
  const { id } = authority.createToken({ spiffeId: web });
  t.same(readdirSync(join(dir, 'tokens')), [`${id}.json`]);
});

t.test('does not accept a token whose record was tampered with or cut short', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const authority = initAuthority(dir, options);
  const { token, id } = authority.createToken({ spiffeId: web });
  const file = join(dir, 'tokens', `${id}.json`);
  const record = JSON.parse(readFileSync(file, 'utf8'));
  t.notMatch(JSON.stringify(record), token.split('.')[2] as string, 'the secret is not in it');
  const enroll = () => authority.enroll(createCsr(web, makeKey()), token);
  const invalid = { code: 'ERR_MESH_CA', reason: 'token_invalid' };
  const bad = [
    '{',
    'null',
    JSON.stringify({ ...record, id: 'A'.repeat(16) }),
    JSON.stringify({ ...record, secretHash: 5 }),
    JSON.stringify({ ...record, secretHash: '00' }),
    JSON.stringify({ ...record, expiresAt: 'never' }),
    JSON.stringify({ ...record, uses: '1' }),
  ];
  for (const text of bad) {
    writeFileSync(file, text);
    t.throws(enroll, invalid, text);
  }
  writeFileSync(file, JSON.stringify(record));
  t.equal(enroll().spiffeId, web);
});

t.test('goes on without the key of the root, until the intermediate ends', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const clock = fakeClock();
  initAuthority(dir, { ...options, clock });
  rmSync(join(dir, 'root-key.pem'));
  const authority = openAuthority(dir, { clock });
  const day = 86_400_000;
  clock.jump(364 * day);
  t.equal(authority.signCsr(createCsr(web, makeKey()), web).spiffeId, web);
  clock.jump(2 * day);
  t.ok(clock.wallNow() >= authority.signsUntil());
  t.throws(() => authority.signCsr(createCsr(web, makeKey()), web), unavailable);
});

t.test('keeps a renewed intermediate', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const clock = fakeClock();
  const authority = initAuthority(dir, { ...options, clock });
  const before = readFileSync(join(dir, 'intermediate.pem'), 'utf8');
  clock.jump(300 * 86_400_000);
  authority.signCsr(createCsr(web, makeKey()), web);
  const after = readFileSync(join(dir, 'intermediate.pem'), 'utf8');
  t.not(after, before);
  const issued = openAuthority(dir, { clock }).signCsr(createCsr(web, makeKey()), web);
  t.ok(issued.certificateChainPem.endsWith(after));
});

t.test('repairs an intermediate whose two files do not belong together, when it can', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const logger = recordingLogger();
  initAuthority(dir, options);
  const key = readFileSync(join(dir, 'root-key.pem'));
  writeFileSync(join(dir, 'intermediate-key.pem'), key);
  t.ok(openAuthority(dir, { logger }).signCsr(createCsr(web, makeKey()), web));
  t.match(logger.messages('warn'), [/do not belong together; making new ones/]);
  rmSync(join(dir, 'intermediate-key.pem'));
  rmSync(join(dir, 'root-key.pem'));
  t.throws(() => openAuthority(dir), { ...unavailable, message: /intermediate-key\.pem is missing/ });
});

t.test('hands out the roots that lie beside it', async (t) => {
  const dir = join(t.testdir(), 'ca');
  const { rootPem } = initAuthority(dir, options);
  const next = createAuthority(options);
  const third = createAuthority(options);
  writeFileSync(join(dir, 'extra-roots.pem'), next.rootPem);
  const opened = openAuthority(dir, { extraRoots: third.rootPem });
  t.same(opened.trustBundles.get('mesh.example'), [rootPem, third.rootPem, next.rootPem]);
});

t.test('refuses a folder that holds no whole authority, naming the file', async (t) => {
  const base = t.testdir();
  t.throws(() => openAuthority(join(base, 'nowhere')), { ...unavailable, message: /holds no certificate authority/ });
  const damage: readonly (readonly [string, (dir: string) => void, RegExp])[] = [
    ['no configuration', (dir) => rmSync(join(dir, 'authority.json')), /authority\.json is not the configuration/],
    ['another version', (dir) => writeFileSync(join(dir, 'authority.json'), '{"version":2}'), /authority\.json/],
    ['a root cut short', (dir) => truncateSync(join(dir, 'root.pem'), 100), /root\.pem is not a certificate/],
    ['no intermediate', (dir) => rmSync(join(dir, 'intermediate.pem')), /intermediate\.pem is missing/],
    [
      'the key of another root',
      (dir) => writeFileSync(join(dir, 'root-key.pem'), readFileSync(join(dir, 'intermediate-key.pem'))),
      /root-key\.pem is not the key of root\.pem/,
    ],
    [
      'a key cut short',
      (dir) => truncateSync(join(dir, 'intermediate-key.pem'), 60),
      /intermediate-key\.pem cannot be read/,
    ],
  ];
  for (const [what, harm, message] of damage) {
    const dir = join(base, what.replaceAll(' ', '-'));
    initAuthority(dir, options);
    harm(dir);
    t.throws(() => openAuthority(dir), { ...unavailable, message }, what);
  }
});

t.test('does not show half an authority when it is made', async (t) => {
  const dir = join(t.testdir(), 'ca');
  initAuthority(dir, options);
  t.notOk(
    readdirSync(dir).some((name) => name.endsWith('.new')),
    'no drafts are left',
  );
  t.ok(existsSync(join(dir, 'root.pem')));
  t.ok(new X509Certificate(readFileSync(join(dir, 'root.pem'))).ca);
});
