import { X509Certificate } from 'node:crypto';
import { inspect } from 'node:util';
import {
  type Credentials,
  createIdentityStore,
  readPemCertificates,
  silentLogger,
  systemClock,
  verifyPeer,
} from 'inmesh/identity';
import t from 'tap';
import { derSequence } from '../../../src/identity/der-write.ts';
import { keyPem, makeAuthority, makeKey, type TestCertificateOptions } from '../../../test/support/certificates.ts';
import { makeCrlDer } from '../../../test/support/crls.ts';
import { readX509BundlesMessage, readX509SvidMessage } from '../src/messages.ts';
import { credentialsOfSvid, selectSvid, type X509Context, x509BundlesOf, x509ContextOf } from '../src/x509.ts';
import {
  derOf,
  encodeX509Bundles,
  encodeX509Svids,
  keyDer,
  type SentX509Svid,
  type SentX509Svids,
} from './support/encode.ts';

const authority = makeAuthority();
const partner = makeAuthority({ trustDomain: 'partner.example', intermediate: false });
const web = 'spiffe://cluster.local/ns/shop/sa/web';
const job = 'spiffe://cluster.local/ns/shop/sa/job';
const now = Date.now();

function svidOf(credentials: Credentials, more: Partial<SentX509Svid> = {}): SentX509Svid {
  return {
    spiffeId: credentials.spiffeId,
    chain: derOf(credentials.certificateChainPem),
    key: keyDer(credentials.privateKeyPem),
    bundle: derOf(authority.rootPem),
    ...more,
  };
}

const good = svidOf(authority.issue(web));
const read = (sent: SentX509Svids): X509Context => x509ContextOf(readX509SvidMessage(encodeX509Svids(sent)), now);
const leaf = (options: TestCertificateOptions): SentX509Svid => svidOf(authority.issue(web, options));

t.test('an answer becomes SVIDs and bundles by trust domain', async (t) => {
  const second = authority.issue(job);
  const context = read({
    svids: [good, svidOf(second, { hint: 'internal' })],
    federated: { 'spiffe://partner.example': derOf(partner.rootPem), 'spiffe://empty.example': Buffer.alloc(0) },
  });
  t.same(
    context.svids.map(({ hint, spiffeId }) => [spiffeId, hint]),
    [
      [web, ''],
      [job, 'internal'],
    ],
  );
  t.equal(context.svids[1]?.certificates.map(String).join(''), second.certificateChainPem, 'leaf first, then the rest');
  t.equal(context.svids[1]?.notAfter, second.notAfter);
  t.equal(context.svids[1]?.notBefore, second.notBefore);
  t.same([...context.bundles.keys()].sort(), ['cluster.local', 'empty.example', 'partner.example']);
  t.same(context.bundles.get('partner.example')?.map(String), [partner.rootPem]);
  t.same(context.bundles.get('empty.example'), [], 'known, and nobody of it trusted');
  t.equal(context.crls.size, 0);
});

const refused: readonly (readonly [name: string, sent: SentX509Svids, message: RegExp])[] = [
  ['no SVID', { svids: [] }, /svids is empty/],
  ['no ID', { svids: [{ ...good, spiffeId: '' }] }, /svids\[0\]: spiffe_id is empty/],
  ['no chain', { svids: [{ ...good, chain: Buffer.alloc(0) }] }, /svids\[0\]: x509_svid is empty/],
  ['no key', { svids: [{ ...good, key: Buffer.alloc(0) }] }, /svids\[0\]: x509_svid_key is empty/],
  ['no bundle', { svids: [{ ...good, bundle: Buffer.alloc(0) }] }, /svids\[0\]: bundle is empty/],
  ['a bad second SVID', { svids: [good, { ...good, bundle: Buffer.alloc(0) }] }, /svids\[1\]: bundle is empty/],
  ['an ID that is none', { svids: [{ ...good, spiffeId: 'web' }] }, /not a SPIFFE ID/],
  [
    'the ID of another',
    { svids: [{ ...good, spiffeId: job }] },
    /expected spiffe:\/\/cluster\.local\/ns\/shop\/sa\/job, .* says .*\/web/,
  ],
  [
    'an ID of another trust domain',
    { svids: [{ ...good, spiffeId: 'spiffe://partner.example/web' }] },
    /svids\[0\]: credentials refused/,
  ],
  [
    'the key of another',
    { svids: [{ ...good, key: keyDer(keyPem(makeKey())) }] },
    /the private key is not that of the certificate/,
  ],
  [
    'a key that is none',
    { svids: [{ ...good, key: Buffer.from('3003020101', 'hex') }] },
    /x509_svid_key: expected an unencrypted PKCS#8/,
  ],
  [
    'bytes after the key',
    { svids: [{ ...good, key: Buffer.concat([good.key, Buffer.from([0])]) }] },
    /x509_svid_key: expected/,
  ],
  [
    'a key in SEC1',
    { svids: [{ ...good, key: makeKey().export({ type: 'sec1', format: 'der' }) }] },
    /x509_svid_key: expected an unencrypted PKCS#8/,
  ],
  [
    'an encrypted key',
    {
      svids: [
        { ...good, key: makeKey().export({ type: 'pkcs8', format: 'der', cipher: 'aes-128-cbc', passphrase: 'x' }) },
      ],
    },
    /x509_svid_key: expected an unencrypted PKCS#8/,
  ],
  [
    'a chain of no certificates',
    { svids: [{ ...good, chain: Buffer.from('3003020101', 'hex') }] },
    /x509_svid: certificate 1 cannot be read/,
  ],
  ['a chain that ends early', { svids: [{ ...good, chain: good.chain.subarray(0, -1) }] }, /x509_svid: malformed DER/],
  [
    'bytes after the chain',
    { svids: [{ ...good, chain: Buffer.concat([good.chain, Buffer.from([0x30])]) }] },
    /x509_svid: malformed DER/,
  ],
  ['a chain in PEM', { svids: [{ ...good, chain: Buffer.from(authority.rootPem) }] }, /x509_svid: malformed DER/],
  [
    'a chain in PEM, wrapped in DER',
    { svids: [{ ...good, chain: derSequence(Buffer.from(`\n${authority.issue(web).certificateChainPem}`)) }] },
    /x509_svid: certificate 1 is not DER/,
  ],
  [
    'a chain that is too long',
    {
      svids: [
        { ...good, chain: Buffer.concat([good.chain, ...Array.from({ length: 9 }, () => derOf(authority.rootPem))]) },
      ],
    },
    /x509_svid: malformed DER: more than 10/,
  ],
  [
    'a bundle that is too large',
    { svids: [{ ...good, bundle: Buffer.concat(Array.from({ length: 65 }, () => derOf(authority.rootPem))) }] },
    /bundle: malformed DER: more than 64/,
  ],
  ['a bundle that ends early', { svids: [{ ...good, bundle: good.bundle.subarray(0, -1) }] }, /bundle: malformed DER/],
  ['the certificate of an authority', { svids: [leaf({ ca: true })] }, /svids\[0\]:.*authority/],
  ['a leaf without key usage', { svids: [leaf({ keyUsage: null })] }, /svids\[0\]:.*keyUsage/],
  ['a leaf with two names', { svids: [leaf({ sans: [{ uri: web }, { uri: job }] })] }, /exactly one URI name/],
  ['an SVID that has expired', { svids: [leaf({ notAfter: now - 10_000 })] }, /expired at/],
  ['an SVID that is not valid yet', { svids: [leaf({ notBefore: now + 600_000 })] }, /valid from/],
  ['a hint that is too long', { svids: [{ ...good, hint: 'é'.repeat(513) }] }, /hint has 1026 bytes/],
  [
    'two bundles of one trust domain',
    { svids: [good, svidOf(authority.issue(job), { bundle: derOf(partner.rootPem) })] },
    /svids\[1\]: bundle is another than that of an earlier SVID/,
  ],
  [
    'a federated bundle of the own trust domain',
    { svids: [good], federated: { 'spiffe://cluster.local': good.bundle } },
    /federated_bundles\["spiffe:\/\/cluster\.local"\]: this trust domain has a bundle already/,
  ],
  [
    'a federated bundle of a workload',
    { svids: [good], federated: { 'spiffe://partner.example/web': derOf(partner.rootPem) } },
    /without a path/,
  ],
  [
    'a federated bundle of no SPIFFE ID',
    { svids: [good], federated: { 'partner.example': derOf(partner.rootPem) } },
    /federated_bundles\["partner\.example"\]: not a SPIFFE ID/,
  ],
  [
    'a federated bundle that is none',
    { svids: [good], federated: { 'spiffe://partner.example': Buffer.from('x') } },
    /federated_bundles\[.*malformed DER/,
  ],
  ['a revocation list that is none', { svids: [good], crls: [Buffer.from('x')] }, /crl: malformed DER/],
];

for (const [name, sent, message] of refused) {
  t.test(`refused as a whole: ${name}`, async (t) => {
    const error = t.throws(() => read(sent), { code: 'ERR_MESH_WORKLOAD_API', message }) as Error;
    t.match(error.message, /^the Workload API sent an unusable answer: /);
    t.notMatch(`${error.stack}${inspect(error, { depth: 10 })}`, /PRIVATE KEY/);
  });
}

t.test('bundles alone', async (t) => {
  const readBundles = (...entries: (readonly [string, Uint8Array])[]) =>
    x509BundlesOf(readX509BundlesMessage(encodeX509Bundles(entries)));
  const { bundles } = readBundles(
    ['spiffe://cluster.local', derOf(authority.rootPem)],
    ['spiffe://partner.example', derOf(partner.rootPem, authority.rootPem)],
  );
  t.same(
    [...bundles].map(([domain, roots]) => [domain, roots.length]),
    [
      ['cluster.local', 1],
      ['partner.example', 2],
    ],
  );
  t.throws(() => readBundles(), { code: 'ERR_MESH_WORKLOAD_API', message: /bundles is empty/ });
  t.throws(() => readBundles(['cluster.local', good.bundle]), {
    message: /bundles\["cluster\.local"\]: not a SPIFFE ID/,
  });
  t.throws(() => readBundles(['spiffe://cluster.local/', good.bundle]), { message: /not a SPIFFE ID/ });
});

t.test('revocation lists go to the trust domain that signed them', async (t) => {
  const federated = { 'spiffe://partner.example': derOf(partner.rootPem) };
  const own = makeCrlDer(authority.root);
  const byIntermediate = makeCrlDer(authority.signer);
  const theirs = makeCrlDer(partner.root);
  const stranger = makeCrlDer(makeAuthority().root);
  const { crls } = read({ svids: [good], federated, crls: [own, theirs, byIntermediate] });
  t.same(
    [...crls],
    [
      ['cluster.local', [own, byIntermediate]],
      ['partner.example', [theirs]],
    ],
  );
  t.same([...read({ svids: [good], crls: [stranger] }).crls.keys()], ['cluster.local'], 'there is one it can be for');
  t.throws(() => read({ svids: [good], federated, crls: [own, stranger] }), {
    code: 'ERR_MESH_WORKLOAD_API',
    message: /crl: list 2 is signed by no authority of the trust domains cluster\.local, partner\.example/,
  });
  const bundles = [
    ['spiffe://cluster.local', derOf(authority.rootPem)],
    ['spiffe://partner.example', derOf(partner.rootPem)],
  ] as const;
  const alone = x509BundlesOf(readX509BundlesMessage(encodeX509Bundles(bundles, [theirs])));
  t.same([...alone.crls], [['partner.example', [theirs]]]);
});

t.test('a certificate that is on a list is refused by whoever uses the credentials', async (t) => {
  const caller = authority.issue(job);
  const [leaf, ...rest] = readPemCertificates(caller.certificateChainPem, 'chain');
  const serial = Buffer.from(leaf?.serialNumber ?? '', 'hex');
  const verified = (...crls: readonly Uint8Array[]): string => {
    const store = createIdentityStore({ clock: systemClock, logger: silentLogger });
    store.sink.update(credentialsOfSvid(read({ svids: [good], crls })));
    const trustBundles = store.current()?.credentials.trustBundles ?? new Map();
    store.close();
    return verifyPeer([leaf as X509Certificate, ...rest], trustBundles, Date.now()).spiffeId;
  };
  t.equal(verified(), job);
  t.equal(verified(makeCrlDer(authority.root), makeCrlDer(authority.signer)), job);
  const revoked = [makeCrlDer(authority.root), makeCrlDer(authority.signer, { revoked: [serial] })];
  t.throws(() => verified(...revoked), { code: 'ERR_MESH_PEER_IDENTITY', message: /revoked/ });
});

t.test('the first SVID is the default; a hint or an ID selects another, and never a wrong one', async (t) => {
  const { svids } = read({
    svids: [
      good,
      svidOf(authority.issue(job), { hint: 'external' }),
      svidOf(authority.issue('spiffe://cluster.local/other'), { hint: 'external' }),
    ],
  });
  t.equal(selectSvid(svids).spiffeId, web);
  t.equal(selectSvid(svids, { hint: 'external' }).spiffeId, job, 'the first of two with one hint');
  t.equal(selectSvid(svids, { spiffeId: 'spiffe://cluster.local/other' }).spiffeId, 'spiffe://cluster.local/other');
  t.equal(selectSvid(svids, { hint: '' }).spiffeId, web);
  t.throws(() => selectSvid(svids, { hint: 'internal' }), {
    code: 'ERR_MESH_WORKLOAD_API',
    message: /expected an SVID with the hint "internal", got .*web, .*job \("external"\)/,
  });
  t.throws(() => selectSvid(svids, { hint: 'external', spiffeId: web }), { message: /the hint "external" and the ID/ });
});

t.test('credentials have one SVID and the roots of all trust domains, and an identity store takes them', async (t) => {
  const context = read({
    svids: [
      { ...good, bundle: derOf(authority.rootPem, authority.rootPem) },
      svidOf(authority.issue(job), { hint: 'job', bundle: derOf(authority.rootPem, authority.rootPem) }),
    ],
    federated: { 'spiffe://partner.example': derOf(partner.rootPem) },
  });
  const credentials = credentialsOfSvid(context, { hint: 'job' });
  t.equal(credentials.spiffeId, job);
  t.same(
    [...credentials.trustBundles],
    [
      ['cluster.local', [authority.rootPem]],
      ['partner.example', [partner.rootPem]],
    ],
  );
  t.ok(new X509Certificate(credentials.certificateChainPem).checkPrivateKey(context.svids[1]?.privateKey as never));
  const store = createIdentityStore({ clock: systemClock, logger: silentLogger });
  store.sink.update(credentials);
  t.equal(store.current()?.id.uri, job);
  store.close();
});

t.test('a key is not shown by whatever prints a context', async (t) => {
  const context = read({ svids: [good] });
  const secret = keyDer(keyPem(context.svids[0]?.privateKey as never))
    .toString('base64')
    .slice(40, 80);
  const shown = inspect(context, { depth: 10, showHidden: true }) + JSON.stringify(context);
  t.notMatch(shown, /PRIVATE KEY/);
  t.notOk(shown.includes(secret));
});
