import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import t from 'tap';
import { readPemCertificates } from '../../src/identity/pem.ts';
import {
  formatSpiffeBundle,
  maxBundleDomains,
  maxBundleKeys,
  maxBundleLength,
  parseSpiffeBundle,
  parseSpiffeBundleMap,
} from '../../src/identity/spiffe-bundle.ts';
import { verifyPeer } from '../../src/identity/verify-peer.ts';
import { makeAuthority, makeCertificate, makeKey } from '../support/certificates.ts';

const first = makeAuthority({ trustDomain: 'partner.example' });
const second = makeAuthority({ trustDomain: 'partner.example', name: 'second root' });
const svid = first.issue('spiffe://partner.example/ns/a/sa/b');

type Jwk = Readonly<Record<string, unknown>>;

function publicJwk(key: KeyObject): Jwk {
  return { ...createPublicKey(key).export({ format: 'jwk' }) };
}

function x509Jwk(certificate: X509Certificate, more: Jwk = {}): Jwk {
  const key = certificate.publicKey.export({ format: 'jwk' });
  return { ...key, use: 'x509-svid', x5c: [certificate.raw.toString('base64')], ...more };
}

const root = new X509Certificate(first.rootPem);
const good = x509Jwk(root);
const jwtKey = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
const jwt: Jwk = { ...publicJwk(jwtKey), use: 'jwt-svid', kid: 'one' };

const parse = (keys: unknown, more: Jwk = {}) => parseSpiffeBundle(JSON.stringify({ ...more, keys }), 'the bundle');
const without = (jwk: Jwk, name: string): Jwk =>
  Object.fromEntries(Object.entries(jwk).filter(([key]) => key !== name));

t.test('reads roots, keys of tokens, sequence and refresh hint', async (t) => {
  const { ignored, ...bundle } = parse([good, jwt, x509Jwk(new X509Certificate(second.rootPem)), good], {
    spiffe_sequence: 12,
    spiffe_refresh_hint: 300,
    something_else: { keys: [] },
  });
  t.same(ignored, []);
  t.same(bundle.x509Authorities, [root.toString(), new X509Certificate(second.rootPem).toString()], 'each once');
  t.equal(bundle.jwtAuthorities[0]?.keyId, 'one');
  t.ok(bundle.jwtAuthorities[0]?.publicKey.equals(createPublicKey(jwtKey)));
  t.equal(bundle.sequence, 12n);
  t.equal(bundle.refreshHintMs, 300_000);
  const chain = readPemCertificates(svid.certificateChainPem, 'chain');
  const bundles = new Map([['partner.example', bundle.x509Authorities]]);
  t.equal(verifyPeer(chain, bundles, Date.now()).spiffeId, svid.spiffeId, 'and peers are verified with it');
});

t.test('SVID-056: ignores entries without use, kty or x5c, and of unknown kinds', async (t) => {
  const cases: readonly (readonly [Jwk, string])[] = [
    [without(good, 'use'), 'no use'],
    [{ ...good, use: 'wit-svid' }, 'unknown use "wit-svid"'],
    [{ ...good, use: 'X509-SVID' }, 'unknown use "X509-SVID"'],
    [{ ...good, use: 7 }, 'unknown use 7'],
    [without(good, 'kty'), 'no kty'],
    [{ ...good, kty: 'AKP' }, 'unknown kty "AKP"'],
    [{ ...good, kty: 'toString' }, 'unknown kty "toString"'],
    [{ ...good, crv: 'P-999' }, 'unknown crv "P-999"'],
    [without(good, 'crv'), 'no crv'],
    [without(good, 'x5c'), 'no x5c'],
    [{ ...good, x5c: [] }, 'no x5c'],
    [without(jwt, 'kid'), 'no kid by which a token could name it'],
    [{ ...jwt, kid: '' }, 'no kid by which a token could name it'],
    [
      { ...publicJwk(generateKeyPairSync('ed25519').privateKey), use: 'jwt-svid', kid: 'ed' },
      'kty "OKP" signs no JWT-SVID',
    ],
  ];
  for (const [entry, why] of cases) {
    const bundle = parse([entry]);
    t.same(bundle.ignored, [`keys[0]: ${why}`], why);
    t.same([bundle.x509Authorities, bundle.jwtAuthorities], [[], []], 'nothing is trusted');
    t.equal(parse([entry, good]).x509Authorities.length, 1, 'the others are');
  }
});

t.test('SVID-056: a bundle that comes to nothing trusts nobody', async (t) => {
  const chain = readPemCertificates(svid.certificateChainPem, 'chain');
  for (const keys of [[], [without(good, 'x5c')], [jwt]]) {
    const { x509Authorities } = parse(keys);
    t.throws(() => verifyPeer(chain, new Map([['partner.example', x509Authorities]]), Date.now()), {
      message: /is not trusted/,
    });
  }
});

t.test('of several certificates in one entry the first counts, and that is said', async (t) => {
  const other = new X509Certificate(second.rootPem).raw.toString('base64');
  const bundle = parse([{ ...good, x5c: [root.raw.toString('base64'), other] }]);
  t.same(bundle.x509Authorities, [root.toString()]);
  t.same(bundle.ignored, ['keys[0]: x5c has 2 certificates, the first one counts']);
});

t.test('refuses a document that is wrong, whole', async (t) => {
  const leaf = new X509Certificate(svid.certificateChainPem);
  const old = makeCertificate(makeKey(), { name: 'no authority', ca: null });
  const base64 = root.raw.toString('base64');
  const secret = jwtKey.export({ format: 'jwk' });
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [undefined, /keys must be a list, found nothing/],
    [null, /keys must be a list, found null/],
    [{}, /keys must be a list, found a object|found an object|keys must be a list/],
    [['x'], /keys\[0\]: expected an object, found a string/],
    [[good, null], /keys\[1\]: expected an object, found null/],
    [[{ ...good, x5c: base64 }], /x5c must be a list, found a string/],
    [[{ ...good, x5c: [7] }], /x5c\[0\] is not base64/],
    [[{ ...good, x5c: [` ${base64}`] }], /x5c\[0\] is not base64/],
    [[{ ...good, x5c: [root.raw.toString('base64url')] }], /x5c\[0\] is not base64/],
    [[{ ...good, x5c: [''] }], /x5c\[0\] cannot be read/],
    [[{ ...good, x5c: ['AAAA'] }], /x5c\[0\] cannot be read/],
    [[{ ...good, x5c: [root.raw.subarray(0, -1).toString('base64')] }], /x5c\[0\] cannot be read/],
    [[x509Jwk(leaf)], /not that of an authority/],
    [[x509Jwk(new X509Certificate(old))], /not that of an authority/],
    [[x509Jwk(root, publicJwk(makeKey()))], /the key is not that of the certificate/],
    [[{ ...good, x: 'AAAA' }], /the EC key cannot be read/],
    [[{ ...jwt, n: undefined }], /the RSA key cannot be read/],
    [[jwt, { ...jwt, ...publicJwk(makeKey()), kid: 'one' }], /keys\[1\]: the kid of another entry/],
    [[{ ...secret, use: 'jwt-svid', kid: 'one' }], /a private key, which has no place/],
    [new Array(maxBundleKeys + 1).fill({}), new RegExp(`more than ${maxBundleKeys} keys`)],
  ];
  for (const [keys, why] of cases) {
    const problem = failureOf(() => parse(keys));
    t.match(problem, { code: 'ERR_MESH_NO_IDENTITY', message: why });
    t.match(problem.message, /^the bundle: /);
    t.notMatch(JSON.stringify(problem) + problem.message, String(secret.d), 'no secret in a message');
  }
  t.equal(parse(new Array(maxBundleKeys).fill({})).ignored.length, maxBundleKeys);
});

t.test('judges sequence and refresh hint', async (t) => {
  const text = (name: string, value: string): string => `{"${name}":${value},"keys":[]}`;
  for (const [value, sequence] of [
    ['0', 0n],
    ['18446744073709551615', 2n ** 64n - 1n],
    ['9007199254740993', 9_007_199_254_740_993n],
  ] as const) {
    t.equal(parseSpiffeBundle(text('spiffe_sequence', value), 'b').sequence, sequence);
  }
  for (const value of ['-1', '1.5', '"1"', 'null', '18446744073709551616', '1e400', '[]']) {
    t.throws(
      () => parseSpiffeBundle(text('spiffe_sequence', value), 'b'),
      { message: /spiffe_sequence must be/ },
      value,
    );
  }
  t.equal(parseSpiffeBundle(text('spiffe_refresh_hint', '0'), 'b').refreshHintMs, 0);
  for (const value of ['-1', '1.5', '"60"', 'null', '9007199254740991', '18446744073709551615']) {
    t.throws(() => parseSpiffeBundle(text('spiffe_refresh_hint', value), 'b'), { message: /hint must be/ }, value);
  }
});

t.test('refuses texts that are no bundle, and names that appear twice', async (t) => {
  for (const [text, why] of [
    ['', /not JSON/],
    ['[]', /expected an object, found a list/],
    ['null', /expected an object, found null/],
    [JSON.stringify({ keys: [good] }).replace('{', '{"keys":[],'), /"keys" appears twice/],
    [JSON.stringify({ keys: [good] }).replace('"use"', '"use":"jwt-svid","use"'), /"use" appears twice/],
    [`{"keys":[],"x":${'['.repeat(20)}${']'.repeat(20)}}`, /nested deeper/],
    [' '.repeat(maxBundleLength + 1), /longer than/],
  ] as const) {
    t.throws(() => parseSpiffeBundle(text, 'b'), { code: 'ERR_MESH_NO_IDENTITY', message: why });
  }
});

t.test('reads a map of trust domains to bundles', async (t) => {
  const map = parseSpiffeBundleMap(
    JSON.stringify({ trust_domains: { 'partner.example': { keys: [good] }, 'empty.example': { keys: [] } } }),
    'the map',
  );
  t.same([...map.keys()], ['partner.example', 'empty.example']);
  t.same(map.get('partner.example')?.x509Authorities, [root.toString()]);
  t.same(map.get('empty.example')?.x509Authorities, []);
  const cases: readonly (readonly [string, RegExp])[] = [
    ['{}', /trust_domains: expected an object, found nothing/],
    ['{"trust_domains":{"a":{"keys":[]},"a":{"keys":[]}}}', /the name "a" appears twice/],
    ['{"trust_domains":{"spiffe://a":{"keys":[]}}}', /"spiffe:\/\/a" is not a trust domain/],
    ['{"trust_domains":{"A":{"keys":[]}}}', /"A" is not a trust domain/],
    ['{"trust_domains":{"a":{"keys":[]},"b":{}}}', /the map: b: keys must be a list/],
    [
      `{"trust_domains":{${Array.from({ length: maxBundleDomains + 1 }, (_, i) => `"d${i}":{}`).join(',')}}}`,
      /more than 1024 trust domains/,
    ],
  ];
  for (const [text, why] of cases) {
    t.throws(() => parseSpiffeBundleMap(text, 'the map'), { code: 'ERR_MESH_NO_IDENTITY', message: why });
  }
});

t.test('reads what it writes', async (t) => {
  const jwtAuthorities = [
    { keyId: 'one', publicKey: createPublicKey(jwtKey) },
    { keyId: 'two', publicKey: createPublicKey(makeKey()) },
  ];
  const bundle = {
    x509Authorities: [first.rootPem, second.rootPem],
    jwtAuthorities,
    sequence: 2n ** 63n,
    refreshHintMs: 1_500,
  };
  const { ignored, ...back } = parseSpiffeBundle(formatSpiffeBundle(bundle), 'b');
  t.same(ignored, []);
  t.equal(back.sequence, bundle.sequence);
  t.equal(back.refreshHintMs, 2_000, 'whole seconds, never less');
  t.same(
    back.x509Authorities.map((pem) => new X509Certificate(pem).fingerprint256),
    [first, second].map(({ rootPem }) => new X509Certificate(rootPem).fingerprint256),
  );
  back.jwtAuthorities.forEach(({ keyId, publicKey }, i) => {
    t.equal(keyId, jwtAuthorities[i]?.keyId);
    t.ok(publicKey.equals(jwtAuthorities[i]?.publicKey as KeyObject));
  });
  t.same(parseSpiffeBundle(formatSpiffeBundle({ x509Authorities: [], jwtAuthorities: [] }), 'b'), {
    x509Authorities: [],
    jwtAuthorities: [],
    ignored: [],
  });
});

function failureOf(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    return error as Error;
  }
  throw new Error('nothing was refused');
}
