import t from 'tap';
import { credentialsOf } from '../../src/identity/credentials.ts';
import { maxPemCertificates, readPemCertificates } from '../../src/identity/pem.ts';
import { sameBundles } from '../../src/identity/trust-renewal.ts';
import { keyPem, makeAuthority, makeCertificate, makeKey, toPem } from '../support/certificates.ts';

const key = makeKey();
const one = toPem(makeCertificate(key, { name: 'one' }));
const two = toPem(makeCertificate(key, { name: 'two' }));
const subjects = (text: string) => readPemCertificates(text, 'it').map(({ subject }) => subject);

t.test('reads certificates in order, with text between them and any line ends', async (t) => {
  t.same(subjects(`# the first\n${one}some text\n\n${two}`), ['CN=one', 'CN=two']);
  t.same(subjects(one.replaceAll('\n', '\r\n')), ['CN=one']);
  t.same(subjects(`  ${one.trim()}`), ['CN=one'], 'no line end at the end');
});

t.test('refuses what is not a list of certificates, without quoting it', async (t) => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['nothing', '', /^it: no certificate in it$/],
    ['a private key', keyPem(key), /expected certificates only, found "BEGIN PRIVATE KEY"/],
    ['a key after the certificate', one + keyPem(key), /found "BEGIN PRIVATE KEY"/],
    ['a block that is not closed', one.slice(0, 200), /certificate 1 is not closed/],
    ['a block inside a block', one.slice(0, 200) + two, /certificate 1 is not closed or not base64/],
    ['base64 that is none', '-----BEGIN CERTIFICATE-----\nä\n-----END CERTIFICATE-----', /not base64/],
    ['a certificate that is none', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----', /1 cannot be read/],
    ['too many', one.repeat(maxPemCertificates + 1), /more than 64 certificates/],
    ['too much', ' '.repeat(1_048_577), /larger than/],
  ];
  for (const [what, text, message] of cases) {
    t.throws(() => readPemCertificates(text, 'it'), { code: 'ERR_MESH_NO_IDENTITY', message }, what);
  }
});

t.test('makes credentials out of texts: identity, dates, roots one by one and once', async (t) => {
  const authority = makeAuthority();
  const other = makeAuthority({ trustDomain: 'partner.example' });
  const issued = authority.issue('spiffe://cluster.local/ns/shop/sa/web');
  const made = credentialsOf({
    certificateChainPem: `text\n${issued.certificateChainPem}`,
    privateKeyPem: issued.privateKeyPem,
    trustBundles: new Map([
      ['cluster.local', [authority.rootPem + other.rootPem, authority.rootPem]],
      ['partner.example', [other.rootPem]],
    ]),
  });
  t.match(made, { spiffeId: issued.spiffeId, notBefore: issued.notBefore, notAfter: issued.notAfter });
  t.equal(made.certificateChainPem, issued.certificateChainPem);
  t.equal(made.trustBundles.get('cluster.local')?.length, 2);
});

t.test('compares bundles by what is in them', async (t) => {
  const bundles = (entries: Record<string, string[]>) => new Map(Object.entries(entries));
  t.ok(sameBundles(bundles({ a: ['1', '2'] }), bundles({ a: ['1', '2'] })));
  t.notOk(sameBundles(bundles({ a: ['1'] }), bundles({ a: ['2'] })));
  t.notOk(sameBundles(bundles({ a: ['1'] }), bundles({ a: ['1', '2'] })));
  t.notOk(sameBundles(bundles({ a: ['1'] }), bundles({ b: ['1'] })));
  t.notOk(sameBundles(bundles({ a: ['1'] }), bundles({ a: ['1'], b: [] })));
});
