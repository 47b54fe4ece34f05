import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { createCsr } from 'inmesh/identity';
import { base64url } from 'jose';
import t from 'tap';
import { makeKey } from '../../../test/support/certificates.ts';
import { type FakeClock, fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import {
  createAuthority,
  type KubernetesCluster,
  kubernetesAttestor,
  readKubernetesClusters,
  serveAuthority,
} from '../src/index.ts';
import { call } from './support/call.ts';
import { callIstio } from './support/istio-client.ts';
import { podClaims, signToken, startIssuer, type TokenKey, tokenKey } from './support/token-issuer.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const issuer = 'https://kubernetes.default.svc.cluster.local';
const folder = mkdtempSync(join(tmpdir(), 'kubernetes-'));
t.teardown(() => rmSync(folder, { recursive: true }));

/** A file with a JWK set. */
function jwksFile(name: string, ...keys: readonly TokenKey[]): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
  return path;
}

const refused = (reason: string): { code: string; reason: string } => ({ code: 'ERR_MESH_CA', reason });

const attestWith = (clusters: readonly KubernetesCluster[], clock: FakeClock) => {
  const attestor = kubernetesAttestor(clusters, 'cluster.local', clock);
  return async (token: string, clusterId?: string) =>
    await attestor.attest(clusterId === undefined ? { token } : { token, clusterId });
};

t.test('a projected token proves the service account, over both protocols', async (t) => {
  const clock = fakeClock();
  const key = await tokenKey('k1');
  const logger = recordingLogger();
  const authority = createAuthority({ clock });
  const kubernetes = [{ cluster: 'east', issuer, jwksFile: jwksFile('both.json', key) }];
  const { close, port, url } = await serveAuthority(authority, { clock, kubernetes, logger });
  t.teardown(close);
  const token = await signToken(key, podClaims(issuer, clock.wallNow()));
  const ca = authority.rootPem;

  const body = JSON.stringify({ csr: createCsr(web, makeKey()), token });
  t.match(await call(url, { method: 'POST', path: '/v1/certificates', body, ca }), {
    status: 200,
    json: { spiffeId: web },
  });
  const csr = createCsr(web, makeKey());
  t.equal((await callIstio(port, { csr, token, ca })).code, 0);
  t.equal((await callIstio(port, { csr, token, ca, clusterId: 'east' })).code, 0, 'it may be used again until it ends');
  t.match(await callIstio(port, { csr, token, ca, clusterId: 'west' }), { code: 16, details: /in a cluster "west"/ });

  const other = await signToken(key, { ...podClaims(issuer, clock.wallNow()), aud: 'vault' });
  t.match(await callIstio(port, { csr, token: other, ca }), { code: 16, details: /audience is "vault"/ }, 'CA-005');
  clock.jump(3_600_000);
  t.match(await callIstio(port, { csr, token, ca }), { code: 16, details: /it expired at/ }, 'CA-005');
  const log = JSON.stringify(logger.lines);
  t.match(log, /"by":"kubernetes east"/);
  t.notMatch(log, token.split('.')[2] as string, 'the log holds no token');
});

t.test('tokens that prove nothing are refused, each for its reason', async (t) => {
  const clock = fakeClock();
  const [key, stranger, rsa] = await Promise.all([tokenKey('k1'), tokenKey('k1'), tokenKey('r1', 'RS256')]);
  const ask = attestWith([{ cluster: 'east', issuer, jwksFile: jwksFile('refusals.json', key, rsa) }], clock);
  const good = podClaims(issuer, clock.wallNow());
  const seconds = Math.floor(clock.wallNow() / 1_000);
  const sign = (claims: object, header: object = {}) => signToken(key, { ...good, ...claims }, header);
  const unsigned = (header: object, claims: string = JSON.stringify(good), signature = 'AAAA') =>
    `${base64url.encode(JSON.stringify(header))}.${base64url.encode(claims)}.${signature}`;
  const valid = await sign({});
  const without = ({ [`${'exp'}`]: _, ...rest }: Record<string, unknown>) => rest;
  const es = { alg: 'ES256', kid: 'k1' };

  const cases: readonly (readonly [string, string, RegExp])[] = [
    [
      'another issuer',
      await sign({ iss: 'https://other.example' }),
      /no cluster is known whose issuer is "https:\/\/other/,
    ],
    ['an issuer with a slash more', await sign({ iss: `${issuer}/` }), /no cluster is known/],
    ['no issuer', await sign({ iss: undefined }), /no cluster is known whose issuer is missing/],
    ['an issuer that is no text', unsigned(es, JSON.stringify({ ...good, iss: [issuer] })), /no cluster is known/],
    ['CA-005: another audience', await sign({ aud: ['api'] }), /audience is \["api"\], expected is istio-ca/],
    ['no audience', await sign({ aud: undefined }), /aud is missing/],
    ['an audience that only begins so', await sign({ aud: 'istio-ca2' }), /audience is "istio-ca2"/],
    ['an empty audience', await sign({ aud: [] }), /audience is \[\]/],
    [
      'an audience that is no name',
      unsigned(es, JSON.stringify({ ...good, aud: ['istio-ca', 5] })),
      /expected are names/,
    ],
    ['CA-005: expired', await sign({ exp: seconds }), /expired at/],
    ['no end', await signToken(key, without(good)), /exp is missing/],
    ['an end beyond all dates', unsigned(es, JSON.stringify(good).replace(/"exp":\d+/, '"exp":1e400')), /exp is null/],
    ['an end that is text', unsigned(es, JSON.stringify({ ...good, exp: '9999999999' })), /exp is "9999999999"/],
    ['not valid yet', await sign({ nbf: seconds + 62 }), /nbf is in the future/],
    ['made in the future', await sign({ iat: seconds + 62 }), /iat is in the future/],
    ['a user', await sign({ sub: 'system:node:n1' }), /sub is "system:node:n1"/],
    ['a sub with too many parts', await sign({ sub: 'system:serviceaccount:shop:web:x' }), /sub is/],
    ['no sub', await sign({ sub: undefined }), /sub is missing/],
    ['a namespace with a slash', await sign({ sub: 'system:serviceaccount:shop/sa/admin:web' }), /no service account/],
    ['a name in upper case', await sign({ sub: 'system:serviceaccount:shop:Web' }), /no service account/],
    ['an empty name', await sign({ sub: 'system:serviceaccount:shop:' }), /no service account/],
    ['dots as a name', await sign({ sub: 'system:serviceaccount:shop:..' }), /no service account/],
    [
      'claims of another account',
      await sign({ sub: 'system:serviceaccount:shop:admin' }),
      /different service accounts/,
    ],
    ['a claim kubernetes.io that is none', await sign({ 'kubernetes.io': null }), /different service accounts/],
    ['another key of the same name', await signToken(stranger, good), /no key of its issuer verifies/],
    ['a key that is not known', await sign({}, { kid: 'k2' }), /no key of its issuer verifies/],
    ['no signature', `${valid.split('.').slice(0, 2).join('.')}.`, /signature is not canonical/],
    ['alg none', unsigned({ alg: 'none' }), /algorithm is "none"/],
    ['alg of a shared secret', unsigned({ alg: 'HS256', kid: 'k1' }), /algorithm is "HS256"/],
    ['no alg', unsigned({ kid: 'k1' }), /algorithm is missing/],
    ['an algorithm of another key type', unsigned({ alg: 'RS256', kid: 'k1' }), /no key of its issuer verifies/],
    ['a critical extension', unsigned({ ...es, crit: ['x'], x: 1 }), /extensions \(crit, b64\)/],
    ['an unencoded payload', unsigned({ ...es, b64: false }), /extensions \(crit, b64\)/],
    ['another type', await sign({}, { typ: 'at+jwt' }), /type is "at\+jwt"/],
    ['a key of its own', unsigned({ ...es, jwk: stranger.jwk }), /no key of its issuer verifies/],
    ['a line feed at the end', `${valid}\n`, /signature is not canonical/],
    ['padding', `${valid}==`, /signature is not canonical/],
    ['four parts', `${valid}.AAAA`, /three parts/],
    ['one part', valid.split('.')[0] ?? '', /three parts/],
    ['20 KiB', `eyJ${'A'.repeat(20_000)}`, /longer than 16384/],
    ['a claim twice', unsigned(es, `{"iss":"a",${JSON.stringify(good).slice(1)}`), /cannot be read.*iss/],
    ['claims that are a list', unsigned(es, '[]'), /is no object/],
    ['claims that are no JSON', unsigned(es, '{'), /cannot be read/],
    ['claims nested deeply', unsigned(es, `{"a":${'['.repeat(100)}${']'.repeat(100)}}`), /nested/],
    [
      'bytes that are no UTF-8',
      `${valid.split('.')[0]}.${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.AAAA`,
      /cannot be read/,
    ],
  ];
  for (const [what, token, message] of cases) {
    await t.rejects(ask(token), { code: 'ERR_MESH_CA', reason: 'token_invalid', message }, what);
  }
  for (const [what, claims, header] of [
    ['as it is', {}, {}],
    ['with the type of a token', {}, { typ: 'JWT' }],
    ['an audience among others', { aud: ['api', 'istio-ca'] }, {}],
    ['an audience that is a text', { aud: 'istio-ca' }, {}],
    ['a clock a minute ahead', { nbf: seconds + 60, iat: seconds + 60 }, {}],
    ['without the claim kubernetes.io', { 'kubernetes.io': undefined }, {}],
  ] as const) {
    t.match(await ask(await sign(claims, header)), { spiffeId: web, by: 'kubernetes east' }, what);
  }
  t.match(await ask(await signToken(rsa, good)), { spiffeId: web }, 'RS256');
  t.equal(await ask('inmesh1.x.y'), undefined, 'what is no such token is for others');
});

t.test('no changed bit of a token passes', async () => {
  const clock = fakeClock();
  const key = await tokenKey('k1');
  const ask = attestWith([{ cluster: 'east', issuer, jwksFile: jwksFile('bits.json', key) }], clock);
  const token = await signToken(key, podClaims(issuer, clock.wallNow()));
  await fc.assert(
    fc.asyncProperty(fc.nat(token.length - 1), fc.integer({ min: 0, max: 6 }), async (at, bit) => {
      const changed = token.slice(0, at) + String.fromCharCode(token.charCodeAt(at) ^ (1 << bit)) + token.slice(at + 1);
      try {
        return (await ask(changed)) === undefined;
      } catch (error) {
        return (error as { reason?: string }).reason === 'token_invalid';
      }
    }),
    { numRuns: 300 },
  );
});

t.test('clusters with one issuer are told apart by their keys, each with its own namespaces', async (t) => {
  const clock = fakeClock();
  const [east, west] = await Promise.all([tokenKey('a'), tokenKey('b')]);
  const ask = attestWith(
    [
      { cluster: 'east', issuer, jwksFile: jwksFile('east.json', east), namespaces: ['shop'] },
      { cluster: 'west', issuer, jwksFile: jwksFile('west.json', west), namespaces: { shop: 'shop-west' } },
    ],
    clock,
  );
  const claims = podClaims(issuer, clock.wallNow());
  const bank = { ...claims, sub: 'system:serviceaccount:bank:web', 'kubernetes.io': undefined };
  const [fromEast, fromWest] = await Promise.all([signToken(east, claims), signToken(west, claims)]);
  t.match(await ask(fromEast), { spiffeId: web, by: 'kubernetes east' });
  t.match(await ask(fromWest), { spiffeId: 'spiffe://cluster.local/ns/shop-west/sa/web', by: 'kubernetes west' });
  t.match(await ask(fromWest, 'west'), { by: 'kubernetes west' });
  await t.rejects(
    ask(fromWest, 'east'),
    { reason: 'token_invalid', message: /no key/ },
    'a cluster is not another one',
  );
  for (const key of [east, west]) {
    await t.rejects(ask(await signToken(key, bank)), {
      reason: 'identity_mismatch',
      message: /namespace bank of cluster/,
    });
  }
  const named = await signToken(east, { ...bank, sub: 'system:serviceaccount:constructor:web' });
  await t.rejects(ask(named), refused('identity_mismatch'), 'a name of Object.prototype is no namespace');
});

t.test('keys are discovered, kept, and asked for again when a token names an unknown one', async (t) => {
  const clock = fakeClock();
  const idp = await startIssuer(t);
  const [one, two] = await Promise.all([tokenKey('one'), tokenKey('two')]);
  idp.keys(one);
  const caFile = join(folder, 'root.pem');
  const tokenFile = join(folder, 'token');
  writeFileSync(caFile, idp.rootPem);
  writeFileSync(tokenFile, 'secret\n');
  const ask = attestWith([{ cluster: 'east', issuer: idp.url, caFile, tokenFile }], clock);
  const tokenOf = (key: TokenKey) => signToken(key, podClaims(idp.url, clock.wallNow()));

  const tokens = await Promise.all([tokenOf(one), tokenOf(one), tokenOf(one)]);
  for (const found of await Promise.all(tokens.map((token) => ask(token)))) t.match(found, { spiffeId: web });
  t.same(
    idp.asked,
    [
      { path: '/.well-known/openid-configuration', authorization: 'Bearer secret' },
      { path: '/openid/v1/jwks', authorization: 'Bearer secret' },
    ],
    'one question for all who wait',
  );

  idp.keys(one, two);
  await t.rejects(ask(await tokenOf(two)), refused('token_invalid'), 'they were asked for just now');
  clock.advance(30_000);
  t.match(await ask(await tokenOf(two)), { spiffeId: web }, 'the new key is found');
  t.equal(idp.asked.length, 4);
  const unknown = await signToken({ ...two, kid: 'three' }, podClaims(idp.url, clock.wallNow()));
  for (let i = 0; i < 5; i++) await t.rejects(ask(unknown), refused('token_invalid'));
  t.equal(idp.asked.length, 4, 'strangers do not make it ask');

  idp.keys(two);
  clock.advance(600_000);
  await t.rejects(ask(await tokenOf(one)), refused('token_invalid'), 'a key that was taken away ends in ten minutes');
});

t.test('without an answer the last keys serve for an hour, then nothing does', async (t) => {
  const clock = fakeClock();
  const idp = await startIssuer(t);
  const key = await tokenKey('one');
  idp.keys(key);
  const caFile = join(folder, 'last.pem');
  writeFileSync(caFile, idp.rootPem);
  const jwksUrl = `${idp.url}/openid/v1/jwks`;
  const ask = attestWith([{ cluster: 'east', issuer, jwksUrl, caFile }], clock);
  const token = await signToken(key, {
    ...podClaims(issuer, clock.wallNow()),
    exp: Math.floor(clock.wallNow() / 1_000) + 90_000,
  });
  t.match(await ask(token), { spiffeId: web });
  idp.pages.set('/openid/v1/jwks', 503);
  clock.advance(3_599_999);
  t.match(await ask(token), { spiffeId: web });
  clock.advance(1);
  await t.rejects(ask(token), {
    reason: 'unavailable',
    message: /keys of cluster east cannot be had: it answered 503/,
  });
  idp.keys(key);
  await t.rejects(ask(token), refused('unavailable'), 'it was asked just now');
  clock.advance(30_000);
  t.match(await ask(token), { spiffeId: web });
});

t.test('keys that cannot be had are a reason to try again, not an identity', async (t) => {
  const clock = fakeClock();
  const idp = await startIssuer(t);
  const key = await tokenKey('one');
  const caFile = join(folder, 'cases.pem');
  writeFileSync(caFile, idp.rootPem);
  const jwksUrl = `${idp.url}/keys`;
  const broken = join(folder, 'broken.json');
  const discovery = '/.well-known/openid-configuration';
  const cases: readonly (readonly [string, Partial<KubernetesCluster>, () => void, RegExp])[] = [
    ['nobody listens', { jwksUrl: 'https://127.0.0.1:1/', caFile }, () => {}, /ECONNREFUSED/],
    ['a server of another root', { jwksUrl }, () => {}, /self-signed|unable to/],
    ['no file', { jwksFile: join(folder, 'none.json') }, () => {}, /ENOENT/],
    ['a file that is no JSON', { jwksFile: broken }, () => writeFileSync(broken, '{'), /cannot be read/],
    ['no keys', { jwksUrl, caFile }, () => idp.pages.set('/keys', {}), /no list of keys/],
    ['an empty list', { jwksUrl, caFile }, () => idp.pages.set('/keys', { keys: [] }), /no public RSA or EC key/],
    [
      'a secret',
      { jwksUrl, caFile },
      () => idp.pages.set('/keys', { keys: [{ kty: 'oct', k: 'AA' }] }),
      /no public RSA/,
    ],
    [
      'a private key',
      { jwksUrl, caFile },
      () => idp.pages.set('/keys', { keys: [{ ...key.jwk, d: 'AA' }] }),
      /no public/,
    ],
    ['65 keys', { jwksUrl, caFile }, () => idp.pages.set('/keys', { keys: Array(65).fill(key.jwk) }), /more than 64/],
    [
      'an answer that is too large',
      { jwksUrl, caFile },
      () => idp.pages.set('/keys', ' '.repeat(300_000)),
      /more than 262144/,
    ],
    ['a redirect', { jwksUrl, caFile }, () => idp.pages.set('/keys', 302), /it redirects/],
    ['an error', { jwksUrl, caFile }, () => idp.pages.set('/keys', 500), /it answered 500/],
    [
      'discovery of another issuer',
      { issuer: idp.url, caFile },
      () => idp.pages.set(discovery, { issuer }),
      /another issuer/,
    ],
    [
      'discovery without keys',
      { issuer: idp.url, caFile },
      () => idp.pages.set(discovery, { issuer: idp.url }),
      /no jwks_uri/,
    ],
    [
      'keys without TLS',
      { issuer: idp.url, caFile },
      () => idp.pages.set(discovery, { issuer: idp.url, jwks_uri: 'http://127.0.0.1/' }),
      /expected an https URL/,
    ],
  ];
  for (const [what, options, prepare, message] of cases) {
    prepare();
    const cluster = { cluster: 'east', issuer, ...options };
    const ask = attestWith([cluster], clock);
    const token = await signToken(key, podClaims(cluster.issuer, clock.wallNow()));
    await t.rejects(ask(token), { reason: 'unavailable', message }, what);
  }
});

t.test('an issuer that does not answer does not hold anybody up for ever', async (t) => {
  const clock = fakeClock();
  const idp = await startIssuer(t);
  const key = await tokenKey('one');
  const caFile = join(folder, 'slow.pem');
  writeFileSync(caFile, idp.rootPem);
  // A page that begins and never ends would need a server of its own: this one is not even asked yet.
  const ask = attestWith([{ cluster: 'east', issuer, jwksUrl: `${idp.url}/keys`, caFile }], clock);
  const asked = ask(await signToken(key, podClaims(issuer, clock.wallNow())));
  while (clock.pending() === 0) await new Promise((resolve) => setImmediate(resolve));
  clock.advance(10_000);
  await t.rejects(asked, { reason: 'unavailable', message: /no complete answer within 10000 ms/ });
});

t.test('clusters that can never work are refused when they are given', async (t) => {
  const clock = fakeClock();
  const good: KubernetesCluster = { cluster: 'east', issuer };
  const cases: readonly (readonly [string, object, RegExp])[] = [
    ['no name', { cluster: '' }, /a cluster needs a name/],
    ['no issuer', { issuer: '' }, /issuer: expected the iss/],
    [
      'an issuer that nothing can be discovered at',
      { issuer: 'kubernetes/serviceaccount' },
      /issuer: expected an https URL/,
    ],
    ['keys without TLS', { jwksUrl: 'http://x/' }, /jwksUrl: expected an https URL/],
    ['keys with a password', { jwksUrl: 'https://u:p@x/' }, /jwksUrl: expected an https URL/],
    ['two places for keys', { jwksUrl: 'https://x/', jwksFile: 'x' }, /one of the two/],
    ['no audience', { audiences: [] }, /audiences: expected at least one/],
    ['an empty audience', { audiences: [''] }, /audiences: expected/],
    ['a weak algorithm', { algorithms: ['HS256'] }, /algorithms: expected some of RS256/],
    ['no algorithm', { algorithms: [] }, /algorithms: expected/],
    ['a namespace with a slash', { namespaces: ['shop/sa/admin'] }, /namespaces: expected/],
    ['a name with a slash', { namespaces: { shop: 'a/b' } }, /namespaces: expected/],
  ];
  for (const [what, wrong, message] of cases) {
    const clusters = [{ ...good, ...wrong }];
    t.throws(
      () => kubernetesAttestor(clusters, 'cluster.local', clock),
      { code: 'ERR_MESH_OPTION_INVALID', message },
      what,
    );
  }
  t.ok(kubernetesAttestor([{ ...good, issuer: 'kubernetes/serviceaccount', jwksFile: 'x' }], 'cluster.local', clock));
});

t.test('clusters are read from JSON, strictly', async (t) => {
  const cluster = { cluster: 'east', issuer, audiences: ['a'], namespaces: { shop: 'shop' }, caFile: 'ca.crt' };
  t.same(readKubernetesClusters(JSON.stringify(cluster)), [cluster]);
  t.same(readKubernetesClusters(JSON.stringify([cluster, { ...cluster, namespaces: ['a'] }])).length, 2);
  for (const [what, text, message] of [
    ['no JSON', '{', /cannot be read/],
    ['a member twice', '{"cluster":"a","cluster":"b"}', /cannot be read/],
    ['a text', '"east"', /an object for each cluster/],
    ['a list in a list', '[[]]', /an object for each cluster/],
    ['no issuer', '{"cluster":"a"}', /needs cluster and issuer/],
    ['an unknown member', '{"cluster":"a","issuer":"b","audience":"c"}', /audience: expected one of cluster/],
    ['a number', '{"cluster":5,"issuer":"b"}', /cluster: expected text/],
    ['an audience outside of a list', '{"cluster":"a","issuer":"b","audiences":"c"}', /audiences: expected a list/],
    ['namespaces that are a text', '{"cluster":"a","issuer":"b","namespaces":"shop"}', /namespaces: expected a list/],
    [
      'namespaces that are numbers',
      '{"cluster":"a","issuer":"b","namespaces":{"shop":1}}',
      /namespaces: expected a list/,
    ],
    ['no namespaces', '{"cluster":"a","issuer":"b","namespaces":null}', /namespaces: expected a list/],
  ] as const) {
    t.throws(() => readKubernetesClusters(text), { code: 'ERR_MESH_OPTION_INVALID', message }, what);
  }
});

t.test('clusters with one issuer may differ in audience and algorithms', async (t) => {
  const clock = fakeClock();
  const east = await tokenKey('east');
  const west = await tokenKey('west', 'RS256');
  const attest = attestWith(
    [
      { cluster: 'east', issuer, jwksFile: jwksFile('of-east.json', east), audiences: ['east-ca'] },
      {
        cluster: 'west',
        issuer,
        jwksFile: jwksFile('of-west.json', west),
        audiences: ['west-ca'],
        algorithms: ['RS256'],
      },
    ],
    clock,
  );
  const claims = podClaims(issuer, clock.wallNow());
  t.match(await attest(await signToken(west, { ...claims, aud: 'west-ca' })), { by: 'kubernetes west' });
  t.match(await attest(await signToken(east, { ...claims, aud: 'east-ca' })), { by: 'kubernetes east' });
  for (const [what, key, aud] of [
    ['the audience of the other', west, 'east-ca'],
    ['the audience of the other', east, 'west-ca'],
  ] as const) {
    await t.rejects(async () => attest(await signToken(key, { ...claims, aud })), refused('token_invalid'), what);
  }
});
