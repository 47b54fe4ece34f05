import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { createCsr } from 'inmesh/identity';
import t from 'tap';
import {
  derBitString,
  derContext,
  derElement,
  derNull,
  derOid,
  derSequence,
  derSet,
} from '../../../src/identity/der-write.ts';
import { makeKey, testExtension } from '../../../test/support/certificates.ts';
import { checkRequested, readCsr } from '../src/csr.ts';
import { reasonOf } from '../src/refusal.ts';
import { csrOf, csrPem, extensionAttribute, publicKeyOf, sanExtension } from './support/csr-builder.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const admin = 'spiffe://cluster.local/ns/shop/sa/admin';

/** The reason for which an action was refused. */
function reasonFor(action: () => unknown): { reason: string | undefined; message: string } {
  try {
    action();
  } catch (error) {
    return { reason: reasonOf(error), message: (error as Error).message };
  }
  return { reason: undefined, message: 'it was accepted' };
}

t.test('reads requests with every kind of key that is accepted', async (t) => {
  const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength }).privateKey;
  const keys: readonly (readonly [string, KeyObject])[] = [
    ['P-256', makeKey()],
    ['P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey],
    ['Ed25519', generateKeyPairSync('ed25519').privateKey],
    ['RSA 2048', rsa(2_048)],
  ];
  for (const [kind, key] of keys) {
    const csr = readCsr(csrPem(csrOf({ key, attributes: [extensionAttribute(sanExtension(web))] })));
    t.same(csr.requested.uris, [web], kind);
    t.match(csr.keyId, /^[0-9a-f]{64}$/);
  }
  t.same(readCsr(createCsr(web, makeKey())).requested.uris, [web], 'what the core makes');
  t.same(readCsr(csrPem(csrOf({}))).requested.uris, [], 'nothing is asked for');
  t.same(readCsr(csrPem(csrOf({ attributes: undefined }))).requested.uris, [], 'no attributes at all');
  t.same(readCsr(`\n${createCsr(web, makeKey()).replaceAll('\n', '\r\n')}\n`).requested.uris, [web], 'line ends');
});

t.test('refuses weak keys', async (t) => {
  // CA-007
  const cases: readonly (readonly [string, KeyObject, RegExp])[] = [
    ['RSA-1024', generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey, /RSA key of 1024 bits/],
    ['e = 3', generateKeyPairSync('rsa', { modulusLength: 2_048, publicExponent: 3 }).privateKey, /exponent 3/],
    ['P-192', generateKeyPairSync('ec', { namedCurve: 'prime192v1' }).privateKey, /curve prime192v1/],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'secp521r1' }).privateKey, /curve secp521r1/],
    ['secp256k1', generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey, /curve secp256k1/],
    ['Ed448', generateKeyPairSync('ed448').privateKey, /key of type ed448/],
    ['RSA-PSS', generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).privateKey, /key of type rsa-pss/],
  ];
  for (const [what, key, message] of cases) {
    const refused = reasonFor(() => readCsr(csrPem(csrOf({ key }))));
    t.equal(refused.reason, 'weak_key', what);
    t.match(refused.message, message, what);
  }
  const rubbish = derSequence(
    derSequence(derOid('1.2.840.10045.2.1'), derOid('1.2.840.10045.3.1.7')),
    derBitString(Buffer.alloc(65, 4)),
  );
  t.equal(
    reasonFor(() => readCsr(csrPem(csrOf({ publicKey: rubbish })))).reason,
    'weak_key',
    'a point beside the curve',
  );
});

t.test('refuses requests that are not whole, not alone or not signed', async (t) => {
  const good = csrPem(csrOf({}));
  const der = csrOf({});
  const key = makeKey();
  const flipped = Buffer.from(der);
  flipped[flipped.length - 3] = (flipped.at(-3) as number) ^ 1;
  let deep: Buffer = derNull();
  while (deep.length < 11_000) deep = derSequence(deep);
  const certificate = good.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE');
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['CA-009: 1 MiB', `${good}${' '.repeat(1_048_576)}`, /larger than 16384 bytes/],
    ['CA-009: nested 10,000 deep', csrPem(csrOf({ attributes: [deep] })), /the name of an attribute has tag 0x30/],
    ['CA-010: two blocks', good + good, /base64/],
    ['CA-010: a certificate beside it', certificate + good, /one PEM block/],
    ['CA-010: text before it', `text\n${good}`, /one PEM block/],
    ['CA-010: another label', certificate, /one PEM block/],
    ['base64 that is not canonical', good.replace('\n-----END', '=\n-----END'), /base64/],
    ['nothing in it', '-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----', /base64/],
    ['CA-011: a byte after the end', csrPem(Buffer.concat([der, Buffer.from([0])])), /bytes follow/],
    ['another signature', csrPem(flipped), /signature is wrong|DER/],
    ['signed by another key', csrPem(csrOf({ key, publicKey: publicKeyOf(makeKey()) })), /signature is wrong/],
    ['an algorithm of another key', csrPem(csrOf({ key, algorithm: '1.3.101.112' })), /does not fit its key/],
    ['SHA-1', csrPem(csrOf({ key, algorithm: '1.2.840.10045.4.1' })), /not accepted: 1\.2\.840\.10045\.4\.1/],
    ['a name of Object.prototype', csrPem(csrOf({ key, algorithm: '0.0' })), /not accepted: 0\.0/],
    ['version 2', csrPem(csrOf({ version: 1 })), /version is not 1/],
    ['two parts', csrPem(derSequence(derSequence(), derSequence())), /2 parts/],
    ['five fields', csrPem(csrOf({ more: [derNull()] })), /more than four fields/],
    [
      'attributes elsewhere',
      csrPem(csrOf({ attributes: undefined, more: [derContext(1, true)] })),
      /not where they belong/,
    ],
    [
      'extensions twice',
      csrPem(csrOf({ attributes: [extensionAttribute(sanExtension(web)), extensionAttribute(sanExtension(admin))] })),
      /extensions twice/,
    ],
    [
      'two lists of extensions',
      csrPem(
        csrOf({ attributes: [derSequence(derOid('1.2.840.113549.1.9.14'), derSet(derSequence(), derSequence()))] }),
      ),
      /extensions twice/,
    ],
    [
      'a name that cannot be read',
      csrPem(csrOf({ attributes: [extensionAttribute(sanExtension(`${web}\0`))] })),
      /holds the byte 0x00/,
    ],
    ['a primitive for a request', csrPem(derElement(0x04, der)), /has tag 0x4/],
  ];
  for (const [what, pem, message] of cases) {
    const refused = reasonFor(() => readCsr(pem));
    t.equal(refused.reason, 'bad_csr', what);
    t.match(refused.message, message, what);
  }
  const empty = csrOf({ attributes: [derSequence(derOid('1.2.840.113549.1.9.14'))] });
  t.same(readCsr(csrPem(empty)).requested.uris, [], 'an attribute without values asks for nothing');
  const password = derSequence(derOid('1.2.840.113549.1.9.7'), derSet(derNull()));
  t.same(readCsr(csrPem(csrOf({ attributes: [password] }))).requested.uris, [], 'other attributes do not matter');
});

t.test('accepts no request with a flipped bit', async (t) => {
  const der = csrOf({ attributes: [extensionAttribute(sanExtension(web))] });
  let accepted = 0;
  for (let bit = 0; bit < der.length * 8; bit++) {
    const mask = 1 << (bit & 7);
    der[bit >> 3] = (der[bit >> 3] as number) ^ mask;
    const { reason } = reasonFor(() => readCsr(csrPem(der)));
    if (reason === undefined) accepted++;
    der[bit >> 3] = (der[bit >> 3] as number) ^ mask;
  }
  t.equal(accepted, 0);
  t.same(readCsr(csrPem(der)).requested.uris, [web]);
});

t.test('knows what a request asks for beyond the identity of its sender', async (t) => {
  const asking = (...extensions: readonly Uint8Array[]) =>
    readCsr(csrPem(csrOf({ attributes: [extensionAttribute(...extensions)] })));
  const check = (csr: ReturnType<typeof readCsr>) => reasonFor(() => checkRequested(csr, web));
  t.equal(check(asking(sanExtension(web))).reason, undefined);
  t.equal(check(asking()).reason, undefined);
  // CA-001
  t.match(check(asking(sanExtension(admin))), { reason: 'identity_mismatch', message: /asks for ".*admin".*is .*web/ });
  t.equal(check(asking(sanExtension(web, admin))).reason, 'identity_mismatch');
  t.equal(check(asking(sanExtension(web, web))).reason, 'identity_mismatch');
  // CA-002
  const dns = testExtension('2.5.29.17', false, derSequence(derContext(2, false, Buffer.from('bank.example'))));
  t.match(check(asking(dns)), { reason: 'bad_csr', message: /names that are not SPIFFE IDs/ });
  const authority = testExtension('2.5.29.19', true, derSequence(derElement(0x01, Buffer.from([0xff]))));
  t.match(check(asking(sanExtension(web), authority)), { reason: 'bad_csr', message: /asks for an authority/ });
  const signing = testExtension('2.5.29.15', true, derBitString(Buffer.from([0x04]), 2));
  t.match(check(asking(signing)), { reason: 'bad_csr', message: /asks for an authority/ });
  const crl = testExtension('2.5.29.15', true, derBitString(Buffer.from([0x02]), 1));
  t.match(check(asking(crl)), { reason: 'bad_csr', message: /asks for an authority/ });
});
