import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { readCertificate, readExtensions } from '../../src/identity/certificate.ts';
import { readDer } from '../../src/identity/der.ts';
import {
  derBitString,
  derContext,
  derNull,
  derOid,
  derSequence,
  derTrue,
  derUnsigned,
} from '../../src/identity/der-write.ts';
import { makeCertificate, makeKey, testExtension } from '../support/certificates.ts';

const key = makeKey();
const uri = 'spiffe://cluster.local/ns/shop/sa/web';

t.test('reads names, usages and constraints', async (t) => {
  t.match(readCertificate(makeCertificate(key, { sans: [{ uri }, { dns: 'web' }, { ip: [127, 0, 0, 1] }] })), {
    uris: [uri],
    otherNames: 2,
    ca: false,
    hasBasicConstraints: true,
    pathLength: undefined,
    keyUsage: { critical: true, digitalSignature: true, keyCertSign: false, crlSign: false },
    extendedKeyUsage: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'],
    unknownCritical: [],
  });
  t.match(
    readCertificate(
      makeCertificate(key, {
        ca: true,
        pathLength: 3,
        keyUsage: ['keyCertSign', 'cRLSign'],
        keyUsageCritical: false,
        permittedUris: ['cluster.LOCAL', '.example'],
        excludedUris: ['evil'],
      }),
    ),
    {
      ca: true,
      pathLength: 3,
      keyUsage: { critical: false, digitalSignature: false, keyCertSign: true, crlSign: true },
      extendedKeyUsage: undefined,
      permittedUris: ['cluster.local', '.example'],
      excludedUris: ['evil'],
    },
  );
});

t.test('says what is absent', async (t) => {
  const bare = readCertificate(makeCertificate(key, { ca: null, keyUsage: null, extendedKeyUsage: null }));
  t.equal(bare.hasBasicConstraints, false);
  t.equal(bare.keyUsage, undefined);
  t.equal(bare.extendedKeyUsage, undefined);
  t.same(bare.uris, []);
});

t.test('reports critical extensions that it does not know, and passes over others', async (t) => {
  const facts = readCertificate(
    makeCertificate(key, {
      extraExtensions: [testExtension('1.2.3.4', true, derNull()), testExtension('1.2.3.5', false, derNull())],
    }),
  );
  t.same(facts.unknownCritical, ['1.2.3.4']);
});

t.test('refuses malformed extensions', async (t) => {
  const cases: readonly (readonly [string, Parameters<typeof makeCertificate>[1], RegExp])[] = [
    [
      'an extension twice',
      { extraExtensions: [testExtension('2.5.29.19', true, derSequence())] },
      /2\.5\.29\.19 appears twice/,
    ],
    [
      'an empty extKeyUsage',
      { extendedKeyUsage: null, extraExtensions: [testExtension('2.5.29.37', false, derSequence())] },
      /empty extKeyUsage/,
    ],
    [
      'basicConstraints with three parts',
      {
        ca: null,
        extraExtensions: [
          testExtension('2.5.29.19', true, derSequence(derTrue(), derUnsigned(Buffer.from([1])), derNull())),
        ],
      },
      /more than two parts/,
    ],
    [
      'a constraint of an unknown kind',
      { extraExtensions: [testExtension('2.5.29.30', true, derSequence(derContext(2, true)))] },
      /unknown kind/,
    ],
    ['an extension with one part', { extraExtensions: [derSequence(derOid('1.2.3'))] }, /1\.2\.3 has 1 parts/],
    ['a NUL in a URI', { sans: [{ uri: 'spiffe://a/b\0' }] }, /a URI name holds the byte 0x00/],
    [
      'an extension value that is not DER',
      { extraExtensions: [testExtension('1.2.3', false, Buffer.from([1]))] },
      /header/,
    ],
  ];
  for (const [what, options, message] of cases) {
    t.throws(() => readCertificate(makeCertificate(key, options)), { code: 'ERR_MESH_PEER_IDENTITY', message }, what);
  }
});

t.test('refuses what is not a version 3 certificate', async (t) => {
  t.throws(() => readCertificate(Buffer.from('hello')), { code: 'ERR_MESH_PEER_IDENTITY' });
  t.throws(() => readCertificate(derSequence(derSequence(derUnsigned(Buffer.from([5]))))), { message: /version 3/ });
  t.throws(() => readCertificate(derSequence(derSequence(derContext(0, true, derUnsigned(Buffer.from([1])))))), {
    message: /version 3/,
  });
  t.throws(() => readExtensions(readDer(derBitString(Buffer.alloc(1)))), { message: /list of extensions/ });
  const filler = Array.from({ length: 6 }, () => derNull());
  const version = derContext(0, true, derUnsigned(Buffer.from([2])));
  const list = derContext(3, true, derSequence());
  t.throws(() => readCertificate(derSequence(derSequence(version, ...filler, list, list))), { message: /two lists/ });
  const double = derContext(3, true, derSequence(), derSequence());
  t.throws(() => readCertificate(derSequence(derSequence(version, ...filler, double))), { message: /two lists/ });
  t.same(readCertificate(derSequence(derSequence(version, ...filler))).uris, [], 'no extensions at all');
});

t.test('agrees with OpenSSL on what Node shows of it', async (t) => {
  const x509 = new X509Certificate(makeCertificate(key, { ca: true, sans: [{ uri }] }));
  const facts = readCertificate(x509.raw);
  t.equal(facts.ca, x509.ca);
  t.equal(`URI:${facts.uris[0]}`, x509.subjectAltName);
});
