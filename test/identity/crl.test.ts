import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import t from 'tap';
import { maxCrlBytes, namesOf, readCrl, readPemCrls } from '../../src/identity/crl.ts';
import { derContext, derElement, derNull, derOid, derSequence, derUnsigned } from '../../src/identity/der-write.ts';
import { commonName, derTime, makeCertificate, makeKey, testExtension, toPem } from '../support/certificates.ts';
import { makeCrl, makeCrlDer, serialOf, type TestCrlOptions } from '../support/crls.ts';

const signer = { name: 'an authority', key: makeKey() };
const authority = new X509Certificate(makeCertificate(signer.key, { name: signer.name, ca: true }));
const number = testExtension('2.5.29.20', false, derUnsigned(Buffer.from([7])));

t.test('reads issuer, times and serial numbers', async (t) => {
  const now = Math.floor(Date.now() / 1_000) * 1_000;
  const reason = testExtension('2.5.29.21', false, derElement(0x0a, Buffer.from([1])));
  const list = readCrl(
    makeCrlDer(signer, {
      revoked: [Buffer.from([1]), Buffer.from('00ff01', 'hex'), Buffer.from([0x7f, 0x00])],
      thisUpdate: now,
      nextUpdate: Date.UTC(2051, 0, 1),
      extensions: [number],
      entryExtensions: [reason],
    }),
  );
  t.equal(list.thisUpdate, now);
  t.equal(list.nextUpdate, Date.UTC(2051, 0, 1), 'a GeneralizedTime');
  t.same([...list.revoked], ['01', 'ff01', '7f00'], 'without leading zeros');
  const names = namesOf(authority);
  t.equal(list.issuer, names.subject);
  t.equal(names.serial, serialOf(authority.toString()).toString('hex'));
  t.ok(list.signedBy(authority));
});

t.test('reads lists of version 1, and empty ones', async (t) => {
  for (const options of [
    { version: 1 },
    { version: 1, revoked: [Buffer.from([5])] },
    {},
    { extensions: [number] },
  ] as const) {
    const list = readCrl(makeCrlDer(signer, options));
    t.equal(list.revoked.size, 'revoked' in options ? 1 : 0);
    t.ok(list.signedBy(authority));
  }
});

t.test('verifies signatures of every kind of key, and of no other authority', async (t) => {
  const keys = {
    'P-256': makeKey(),
    RSA: generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey,
    Ed25519: generateKeyPairSync('ed25519').privateKey,
  };
  for (const [kind, key] of Object.entries(keys)) {
    const own = { name: 'x', key };
    const list = readCrl(makeCrlDer(own, { revoked: [Buffer.from([9])] }));
    const of = (options: object) => new X509Certificate(makeCertificate(key, { name: 'x', ca: true, ...options }));
    t.ok(list.signedBy(of({})), kind);
    t.ok(list.signedBy(of({ keyUsage: null })), `${kind}: without keyUsage there is no limit`);
    t.notOk(list.signedBy(of({ keyUsage: ['keyCertSign'] })), `${kind}: the authority must not sign lists`);
    t.notOk(list.signedBy(authority), `${kind}: another authority`);
    for (const other of Object.values(keys)) {
      if (other === key) continue;
      t.notOk(
        list.signedBy(new X509Certificate(makeCertificate(other, { name: 'x', ca: true }))),
        'a key of another kind',
      );
    }
  }
});

t.test('remembers verdicts, and not without bound', async (t) => {
  const list = readCrl(makeCrlDer(signer));
  for (let i = 0; i < 70; i++) {
    t.notOk(list.signedBy(new X509Certificate(makeCertificate(makeKey(), { name: signer.name, ca: true }))));
    t.ok(list.signedBy(authority));
  }
});

t.test('whichever bit of a list is flipped, it is refused or not signed', async (t) => {
  const der = makeCrlDer(signer, { revoked: [Buffer.from([0x11, 0x22])], extensions: [number] });
  const good = readCrl(der);
  let refused = 0;
  for (let bit = 0; bit < der.length * 8; bit++) {
    const flipped = Buffer.from(der);
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
    try {
      if (readCrl(flipped).signedBy(authority)) t.fail(`bit ${bit} does not matter`);
    } catch (error) {
      refused++;
      t.match(error, { code: 'ERR_MESH_PEER_IDENTITY' });
    }
  }
  t.ok(good.signedBy(authority) && refused > 100);
});

t.test('refuses lists that are malformed, limited or signed in an unknown way', async (t) => {
  const of = (options: TestCrlOptions): Buffer => makeCrlDer(signer, options);
  const [tbs, algorithm, bits] = [derSequence(), derSequence(derOid('1.2.840.10045.4.3.2')), Buffer.from([3, 1, 0])];
  const time = derTime(Date.now());
  const sha1 = derSequence(derOid('1.2.840.113549.1.1.5'), derNull());
  const scope = testExtension('2.5.29.28', true, derSequence(derContext(1, false, Buffer.from([0xff]))));
  const cases: readonly (readonly [string, Buffer, RegExp])[] = [
    ['no list at all', Buffer.from('nonsense'), /malformed DER/],
    ['nothing', Buffer.alloc(0), /ends inside a header/],
    ['too large', Buffer.alloc(maxCrlBytes + 1), /at most 1048576 are read/],
    ['bytes after it', Buffer.concat([of({}), Buffer.from([0])]), /bytes follow/],
    ['four parts', derSequence(tbs, algorithm, bits, bits), /more than three parts/],
    ['no signature', derSequence(tbs, algorithm), /the signature is missing/],
    ['an empty body', derSequence(tbs, algorithm, bits), /signature algorithm is missing/],
    ['version 3', derSequence(derSequence(derUnsigned(Buffer.from([2]))), algorithm, bits), /neither version 1 nor 2/],
    ['two algorithms', of({ innerAlgorithm: sha1 }), /two different signature algorithms/],
    ['SHA-1', of({ algorithm: sha1 }), /algorithm 1\.2\.840\.113549\.1\.1\.5 is not supported/],
    ['a PSS signature', of({ algorithm: derSequence(derOid('1.2.840.113549.1.1.10')) }), /is not supported/],
    ['no nextUpdate', of({ nextUpdate: null }), /no nextUpdate/],
    ['no nextUpdate, but entries', of({ nextUpdate: null, revoked: [Buffer.from([1])] }), /no nextUpdate/],
    ['no thisUpdate', derSequence(derSequence(algorithm, commonName('a')), algorithm, bits), /thisUpdate is missing/],
    ['no issuer', derSequence(derSequence(algorithm, time), algorithm, bits), /the issuer has tag/],
    ['a limited scope', of({ extensions: [scope] }), /critical extension 2\.5\.29\.28 is not supported/],
    ['a delta', of({ extensions: [testExtension('2.5.29.27', true, derUnsigned(Buffer.from([1])))] }), /2\.5\.29\.27/],
    [
      'entries of other issuers',
      of({ revoked: [Buffer.from([1])], entryExtensions: [testExtension('2.5.29.29', true, derSequence())] }),
      /critical extension 2\.5\.29\.29/,
    ],
    [
      'a delta that does not insist',
      of({ extensions: [testExtension('2.5.29.27', false, derUnsigned(Buffer.from([1])))] }),
      /the extension 2\.5\.29\.27 is not supported/,
    ],
    [
      'a limited scope that does not insist',
      of({ extensions: [testExtension('2.5.29.28', false, derSequence())] }),
      /the extension 2\.5\.29\.28/,
    ],
    [
      'entries of other issuers that do not insist',
      of({ revoked: [Buffer.from([1])], entryExtensions: [testExtension('2.5.29.29', false, derSequence())] }),
      /the extension 2\.5\.29\.29/,
    ],
    ['an extension twice', of({ extensions: [number, number] }), /appears twice/],
    ['version 1 with extensions', of({ version: 1, extensions: [number] }), /not known/],
    [
      'version 1 with extensions of entries',
      of({ version: 1, revoked: [Buffer.from([1])], entryExtensions: [number] }),
      /too many parts/,
    ],
    ['an entry without date', withBody([derSequence(derUnsigned(Buffer.from([1])))]), /revocation date is missing/],
    ['an entry with no number', withBody([derSequence(time, time)]), /a serial number has tag/],
    [
      'an entry of four parts',
      withBody([derSequence(derUnsigned(Buffer.from([1])), time, derSequence(), time)]),
      /too many/,
    ],
    ['an empty serial number', withBody([derSequence(derElement(2, Buffer.alloc(0)), time)]), /no or absurd length/],
    ['an absurd serial number', withBody([derSequence(derUnsigned(Buffer.alloc(65, 1)), time)]), /no or absurd length/],
    ['something at the end', withBody([], derUnsigned(Buffer.from([1]))), /a part that is not known/],
  ];
  for (const [what, der, why] of cases) {
    t.throws(() => readCrl(der), { code: 'ERR_MESH_PEER_IDENTITY', message: why }, what);
  }
});

t.test('refuses times that do not exist or are not DER', async (t) => {
  const times: readonly (readonly [number, string])[] = [
    [0x17, '260231000000Z'],
    [0x17, '261301000000Z'],
    [0x17, '260101240000Z'],
    [0x17, '260101000060Z'],
    [0x17, '2601010000Z'],
    [0x17, '260101000000+0000'],
    [0x17, '260101000000'],
    [0x18, '20510101000000.5Z'],
    [0x18, '510101000000Z'],
    [0x18, '20260101000000z'],
    [0x17, 'a60101000000Z'],
    [0x0c, '260101000000Z'],
  ];
  const good = derTime(Date.now());
  for (const [tag, text] of times) {
    const body = derSequence(
      derSequence(derOid('1.2.840.10045.4.3.2')),
      commonName('a'),
      derElement(tag, Buffer.from(text)),
      good,
    );
    const der = derSequence(body, derSequence(derOid('1.2.840.10045.4.3.2')), Buffer.from([3, 1, 0]));
    t.throws(() => readCrl(der), { message: /time/ }, text);
  }
  t.equal(readCrl(makeCrlDer(signer, { thisUpdate: Date.UTC(1999, 11, 31) })).thisUpdate, Date.UTC(1999, 11, 31));
  t.equal(readCrl(makeCrlDer(signer, { thisUpdate: Date.UTC(2049, 11, 31) })).thisUpdate, Date.UTC(2049, 11, 31));
});

t.test('reads several lists of one text, and refuses other blocks', async (t) => {
  const two = makeCrl(signer) + makeCrl({ name: 'b', key: signer.key });
  t.equal(readPemCrls(two, 'ca-crl.pem').length, 2);
  for (const [text, why] of [
    ['', /^ca-crl\.pem: no revocation list in it/],
    [authority.toString(), /expected revocation lists only, found "BEGIN CERTIFICATE"/],
    [two.slice(0, -40), /revocation list 2 is not closed/],
    [toPem(Buffer.from('nonsense'), 'X509 CRL'), /revocation list 1 cannot be read: malformed DER/],
    [
      makeCrl(signer, { nextUpdate: null }),
      /revocation list 1 cannot be read: malformed revocation list: no nextUpdate/,
    ],
  ] as const) {
    t.throws(() => readPemCrls(text, 'ca-crl.pem'), { code: 'ERR_MESH_NO_IDENTITY', message: why });
  }
});

/** A list with these entries as they are, and something after them. */
function withBody(entries: readonly Buffer[], ...more: readonly Buffer[]): Buffer {
  const algorithm = derSequence(derOid('1.2.840.10045.4.3.2'));
  const time = derTime(Date.now());
  const tbs = derSequence(
    derUnsigned(Buffer.from([1])),
    algorithm,
    commonName('a'),
    time,
    time,
    derSequence(...entries),
    ...more,
  );
  return derSequence(tbs, algorithm, Buffer.from([3, 1, 0]));
}
