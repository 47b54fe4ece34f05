import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { inspect } from 'node:util';
import t, { type Test } from 'tap';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { createWorkloadApiClient, type JwtBundles, parseJwtBundle, verifyJwtSvid } from '../src/index.ts';
import { jwtBundlesOf } from '../src/jwt-bundles.ts';
import { decodeTexts, encodeJwtSvids, encodeValidated } from './support/encode.ts';
import { jwkOf, jwtKey, signToken } from './support/jwt.ts';
import { serveWorkloadApi } from './support/workload-api.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const audience = 'spiffe://cluster.local/cart';
const clock = fakeClock(1_800_000_000_000);
const seconds = clock.wallNow() / 1_000;
const claims = { sub: web, aud: [audience], exp: seconds + 300, iat: seconds };
const header = { alg: 'ES256', kid: 'one', typ: 'JWT' };

const key = jwtKey('ES256');
const rsa = jwtKey('RS256');
const partnerKey = jwtKey('ES256');

const bundleOf = (...keys: readonly object[]) => parseJwtBundle(JSON.stringify({ keys }));
const bundles: JwtBundles = new Map([
  ['cluster.local', bundleOf(jwkOf(key, 'one'), jwkOf(rsa, 'two'))],
  ['partner.example', bundleOf(jwkOf(partnerKey, 'one'))],
]);
const verify = (token: string, more: object = {}) => verifyJwtSvid(token, { audience, bundles, clock, ...more });

t.test('a good token is verified with a key of its own trust domain', async (t) => {
  const token = signToken(key, header, { ...claims, color: 'red' });
  t.same(await verify(token), {
    spiffeId: web,
    trustDomain: 'cluster.local',
    token,
    audience: [audience],
    expiresAt: (seconds + 300) * 1_000,
    claims: { ...claims, color: 'red' },
    hint: '',
  });
});

for (const alg of ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512']) {
  t.test(`${alg} is accepted, from the right kind of key only`, async (t) => {
    const own = jwtKey(alg);
    const other = alg.startsWith('ES') ? rsa : key;
    const token = signToken(own, { ...header, alg }, claims);
    const known = (...keys: readonly object[]) => ({ bundles: new Map([['cluster.local', bundleOf(...keys)]]) });
    t.equal((await verify(token, known(jwkOf(own, 'one')))).spiffeId, web);
    t.equal((await verify(token, known(jwkOf(own, 'one', { alg, use: 'jwt-svid' })))).spiffeId, web);
    const wrong = { code: 'ERR_MESH_PEER_IDENTITY', message: new RegExp(`the key "one" .* is not for ${alg}`) };
    await t.rejects(verify(token, known(jwkOf(other, 'one'))), wrong);
    const else_ = alg === 'RS256' ? 'RS384' : 'RS256';
    await t.rejects(verify(token, known(jwkOf(own, 'one', { alg: else_ }))), wrong);
  });
}

const goodForms: readonly (readonly [name: string, token: string])[] = [
  ['one audience that is text', signToken(key, header, { ...claims, aud: audience })],
  ['one of several audiences', signToken(key, header, { ...claims, aud: ['other', audience] })],
  ['no typ', signToken(key, { alg: 'ES256', kid: 'one' }, claims)],
  ['the typ JOSE', signToken(key, { ...header, typ: 'JOSE' }, claims)],
  ['no kid, and one key that fits', signToken(key, { alg: 'ES256' }, claims)],
  ['expired less than a minute ago', signToken(key, header, { ...claims, exp: seconds - 59 })],
  ['not valid for less than a minute', signToken(key, header, { ...claims, nbf: seconds + 59 })],
];
for (const [name, token] of goodForms) {
  t.test(`accepted: ${name}`, async (t) => t.equal((await verify(token)).spiffeId, web));
}

const [h = '', c = '', s = ''] = signToken(key, header, claims).split('.');
const unsigned = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const hmac = (secret: Buffer | string): string => {
  const input = `${unsigned({ ...header, alg: 'HS256' })}.${c}`;
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
};
const publicPem = (of: KeyObject): string => createPublicKey(of).export({ type: 'spki', format: 'pem' }).toString();

const refused: readonly (readonly [name: string, token: string, message: RegExp])[] = [
  ['nothing', '', /expected three parts/],
  ['two parts', `${h}.${c}`, /expected three parts/],
  ['four parts', `${h}.${c}.${s}.${s}`, /expected three parts/],
  ['five parts, as of an encrypted token', `${h}.${c}.${s}.${s}.${s}`, /expected three parts/],
  ['no signature', `${h}.${c}.`, /the signature: not canonical/],
  ['padding', `${h}.${c}.${s}=`, /the signature: not canonical/],
  ['base64 that is not base64url', `${h}.${c}.${s.slice(0, -1)}+`, /not canonical/],
  ['space around it', ` ${h}.${c}.${s}`, /the header: not canonical/],
  ['a header that is no JSON', `${Buffer.from('{').toString('base64url')}.${c}.${s}`, /the header: not JSON/],
  ['a header that is a list', `${Buffer.from('[]').toString('base64url')}.${c}.${s}`, /the header: not an object/],
  [
    'claims that are not UTF-8',
    `${h}.${Buffer.from('"\xff"', 'latin1').toString('base64url')}.${s}`,
    /the claims: not UTF-8/,
  ],
  ['more than 16 KiB', signToken(key, header, { ...claims, x: 'x'.repeat(20_000) }), /expected 16384 at most/],
  ['a claim twice', signToken(key, header, `{"sub":"${web}","sub":"${web}","aud":"a","exp":1}`), /"sub" appears twice/],
  [
    'a claim twice, once escaped',
    signToken(key, header, `{"sub":"${web}","s\\u0075b":"${web}","aud":"a","exp":1}`),
    /"sub" appears twice/,
  ],
  ['a header twice', signToken(key, '{"alg":"ES256","alg":"ES256"}', claims), /"alg" appears twice/],
  ['alg none', `${unsigned({ alg: 'none' })}.${c}.${s}`, /expected an alg of .*, not "none"/],
  ['alg none without a signature', `${unsigned({ alg: 'none' })}.${c}.`, /the signature/],
  ['alg in another case', signToken(key, { ...header, alg: 'es256' }, claims), /not "es256"/],
  ['no alg', signToken(key, { kid: 'one' }, claims), /expected an alg/],
  ['alg of a list', signToken(key, { ...header, alg: ['ES256'] }, claims), /expected an alg/],
  ['HMAC with the public key', hmac(publicPem(key)), /not "HS256"/],
  ['HMAC with nothing', hmac(''), /not "HS256"/],
  ['EdDSA', signToken(key, { ...header, alg: 'EdDSA' }, claims), /not "EdDSA"/],
  ['another typ', signToken(key, { ...header, typ: 'at+jwt' }, claims), /expected the typ JWT or JOSE/],
  ['typ in another case', signToken(key, { ...header, typ: 'jwt' }, claims), /expected the typ/],
  ['a kid that is no text', signToken(key, { ...header, kid: 1 }, claims), /the kid is not text/],
  ['a kid that nobody has', signToken(key, { ...header, kid: 'three' }, claims), /has no key "three"/],
  ['the kid of another key', signToken(key, { ...header, kid: 'two' }, claims), /the key "two" .* is not for ES256/],
  ['a key in its header', signToken(key, { ...header, jwk: jwkOf(key, 'one') }, claims), /the header "jwk" must not/],
  ['the address of a key', signToken(key, { ...header, jku: 'https://evil' }, claims), /the header "jku" must not/],
  ['certificates in its header', signToken(key, { ...header, x5c: [] }, claims), /the header "x5c" must not/],
  ['critical headers', signToken(key, { ...header, crit: ['b64'], b64: false }, claims), /the header "crit" must not/],
  ['no sub', signToken(key, header, { ...claims, sub: undefined }), /it has no sub/],
  ['a sub that is no SPIFFE ID', signToken(key, header, { ...claims, sub: 'web' }), /its sub is not a SPIFFE ID/],
  [
    'a sub that is a trust domain',
    signToken(key, header, { ...claims, sub: 'spiffe://cluster.local' }),
    /expected a workload/,
  ],
  [
    'a sub of an unknown trust domain',
    signToken(key, header, { ...claims, sub: 'spiffe://else.example/w' }),
    /no JWT bundle of the trust domain else\.example/,
  ],
  [
    'a sub of another trust domain',
    signToken(key, header, { ...claims, sub: 'spiffe://partner.example/w' }),
    /the signature of spiffe:\/\/partner\.example\/w is wrong/,
  ],
  ['the key of another trust domain', signToken(partnerKey, header, claims), /the signature .* is wrong/],
  ['no aud', signToken(key, header, { ...claims, aud: undefined }), /it has no aud/],
  ['an empty aud', signToken(key, header, { ...claims, aud: [] }), /it has no aud/],
  ['an aud of nothing', signToken(key, header, { ...claims, aud: [''] }), /it has no aud/],
  ['an aud that is no text', signToken(key, header, { ...claims, aud: [1] }), /it has no aud/],
  [
    'the aud of another',
    signToken(key, header, { ...claims, aud: 'spiffe://cluster.local/other' }),
    /expected the audience "spiffe:\/\/cluster\.local\/cart", .* is for "spiffe:\/\/cluster\.local\/other"/,
  ],
  [
    'an aud that only begins like ours',
    signToken(key, header, { ...claims, aud: `${audience}/x` }),
    /expected the audience/,
  ],
  [
    'an aud that only begins ours',
    signToken(key, header, { ...claims, aud: audience.slice(0, -1) }),
    /expected the audience/,
  ],
  ['no exp', signToken(key, header, { ...claims, exp: undefined }), /it has no exp/],
  ['an exp that is text', signToken(key, header, { ...claims, exp: String(seconds + 300) }), /it has no exp/],
  [
    'an exp that is infinite',
    signToken(key, header, `{"sub":"${web}","aud":"${audience}","exp":1e999}`),
    /it has no exp/,
  ],
  [
    'expired a minute ago',
    signToken(key, header, { ...claims, exp: seconds - 61 }),
    /expired at 2027-01-15T07:58:59\.000Z/,
  ],
  ['not valid yet', signToken(key, header, { ...claims, nbf: seconds + 61 }), /that of .*nbf/],
];
for (const [name, token, message] of refused) {
  t.test(`refused: ${name}`, async (t) => {
    const error = await t.rejects(verify(token), { code: 'ERR_MESH_PEER_IDENTITY', message });
    t.match(error, { message: /^JWT-SVID refused: / });
    const [, , signature = ''] = token.split('.');
    if (signature.length > 20) t.notOk(inspect(error, { depth: 10 }).includes(signature), 'the token is not shown');
  });
}

t.test('without kid several keys that fit are refused, as is none', async (t) => {
  const token = signToken(key, { alg: 'ES256' }, claims);
  const two = new Map([['cluster.local', bundleOf(jwkOf(key, 'one'), jwkOf(partnerKey, 'two'))]]);
  await t.rejects(verify(token, { bundles: two }), { message: /it has no kid, and .* has 2 keys for ES256/ });
  const none = new Map([['cluster.local', bundleOf()]]);
  await t.rejects(verify(token, { bundles: none }), { message: /has 0 keys for ES256/ });
});

t.test('there must be an audience to hold a token against', async (t) => {
  const token = signToken(key, header, claims);
  for (const none of ['', [], ['']]) {
    await t.rejects(verify(token, { audience: none }), { message: /no audience to hold it against/ });
  }
  t.equal((await verify(token, { audience: ['other', audience] })).spiffeId, web);
});

t.test('no bit of a token can be changed', async (t) => {
  const token = signToken(key, header, claims);
  let accepted = 0;
  for (let at = 0; at < token.length; at += 3) {
    for (const bit of [1, 4, 32]) {
      const changed = String.fromCharCode(token.charCodeAt(at) ^ bit);
      const flipped = token.slice(0, at) + changed + token.slice(at + 1);
      await verify(flipped).then(
        () => accepted++,
        () => {},
      );
    }
  }
  t.equal(accepted, 0);
});

t.test('JWT bundles: what is no key for JWT-SVIDs is passed over', async (t) => {
  const found = bundleOf(
    jwkOf(key, 'one'),
    jwkOf(rsa, 'two', { use: 'jwt-svid' }),
    jwkOf(rsa, 'three', { use: 'sig', alg: 'PS256' }),
    jwkOf(key, 'four', { use: 'x509-svid' }),
    jwkOf(key, 'five', { use: 'enc' }),
    { kty: 'OKP', crv: 'Ed25519', x: 'AA', kid: 'six' },
  );
  t.same([...found.keys()], ['one', 'two', 'three']);
  t.equal(found.get('three')?.algorithm, 'PS256');
});

const smallRsa = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey;
const badBundles: readonly (readonly [name: string, text: string, message: RegExp])[] = [
  ['no JSON', '{', /not JSON/],
  ['no list', '{"keys":{}}', /expected a JWK set with a list of keys/],
  ['no object', '[]', /expected a JWK set/],
  ['a key that is no object', '{"keys":[1]}', /keys\[0\] is not an object/],
  ['a member twice', '{"keys":[],"keys":[]}', /"keys" appears twice/],
  ['a key without kid', JSON.stringify({ keys: [{ ...jwkOf(key, 'x'), kid: undefined }] }), /keys\[0\] has no kid/],
  ['an empty kid', JSON.stringify({ keys: [jwkOf(key, '')] }), /keys\[0\] has no kid/],
  ['one kid twice', JSON.stringify({ keys: [jwkOf(key, 'a'), jwkOf(rsa, 'a')] }), /two keys have the kid "a"/],
  [
    'a private key',
    JSON.stringify({ keys: [{ ...key.export({ format: 'jwk' }), kid: 'a' }] }),
    /keys\[0\] has the member d/,
  ],
  ['a secret', '{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}', /has the member k/],
  ['a key off its curve', JSON.stringify({ keys: [{ ...jwkOf(key, 'a'), x: 'AA' }] }), /keys\[0\] is not a public key/],
  [
    'an unknown curve',
    '{"keys":[{"kty":"EC","crv":"X","x":"AA","y":"AA","kid":"a"}]}',
    /keys\[0\] is not a public key/,
  ],
  ['a short RSA key', JSON.stringify({ keys: [jwkOf(smallRsa, 'a')] }), /RSA key of 1024 bits/],
  [
    'too many keys',
    JSON.stringify({ keys: Array.from({ length: 65 }, (_, i) => jwkOf(key, `k${i}`)) }),
    /more than 64 keys/,
  ],
  ['an alg that is no text', JSON.stringify({ keys: [jwkOf(key, 'a', { alg: 1 })] }), /alg that is not text/],
];
for (const [name, text, message] of badBundles) {
  t.test(`JWT bundles: refused: ${name}`, async (t) => {
    t.throws(() => parseJwtBundle(text), { message });
    const answer = new Map([['spiffe://cluster.local', Buffer.from(text)]]);
    t.throws(() => jwtBundlesOf(answer), {
      code: 'ERR_MESH_WORKLOAD_API',
      message: /bundles\["spiffe:\/\/cluster\.local"\]: /,
    });
  });
}

async function begin(t: Test) {
  const api = await serveWorkloadApi();
  const client = createWorkloadApiClient({ address: api.address, clock });
  t.teardown(async () => {
    client.close();
    await api.close();
  });
  return { api, client };
}

t.test('asks for JWT-SVIDs by audience, ID and hint', async (t) => {
  const { api, client } = await begin(t);
  const asked: (readonly [number, readonly string[]])[][] = [];
  const job = 'spiffe://cluster.local/ns/shop/sa/job';
  api.answer('FetchJWTSVID', (request) => {
    const fields = decodeTexts(request);
    asked.push([...fields]);
    const ids = fields.get(2) ?? [web, job];
    return encodeJwtSvids(
      ids.map((sub, i) => ({
        spiffeId: sub,
        token: signToken(key, header, { ...claims, sub, aud: fields.get(1) }),
        hint: ['', 'internal'][i] ?? '',
      })),
    );
  });
  const first = await client.fetchJwtSvid({ audience: 'a' });
  t.same([first.spiffeId, first.audience, first.hint, first.expiresAt], [web, ['a'], '', (seconds + 300) * 1_000]);
  t.equal((await verify(first.token, { audience: 'a' })).spiffeId, web);
  t.equal((await client.fetchJwtSvid({ audience: ['a', 'b'], hint: 'internal' })).spiffeId, job);
  t.equal((await client.fetchJwtSvid({ audience: 'a', spiffeId: job })).spiffeId, job);
  t.equal((await client.fetchJwtSvids({ audience: 'a' })).length, 2);
  t.same(asked, [
    [[1, ['a']]],
    [[1, ['a', 'b']]],
    [
      [1, ['a']],
      [2, [job]],
    ],
    [[1, ['a']]],
  ]);
  await t.rejects(client.fetchJwtSvid({ audience: 'a', hint: 'else' }), {
    message: /expected an SVID with the hint "else"/,
  });
});

const badSvids: readonly (readonly [name: string, answer: Parameters<typeof encodeJwtSvids>[0], message: RegExp])[] = [
  ['none', [], /svids is empty/],
  ['one without a token', [{ spiffeId: web, token: '' }], /svids\[0\]: JWT-SVID refused/],
  ['one without an ID', [{ spiffeId: '', token: signToken(key, header, claims) }], /svids\[0\]: .*spiffe_id is ""/],
  ['one of another', [{ spiffeId: `${web}2`, token: signToken(key, header, claims) }], /the token is .*web's/],
  [
    'one that was not asked for',
    [{ spiffeId: `${web}2`, token: signToken(key, header, { ...claims, sub: `${web}2` }) }],
    /asked for .*web, got .*web2/,
  ],
  [
    'one for another audience',
    [{ spiffeId: web, token: signToken(key, header, { ...claims, aud: 'x' }) }],
    /not for the audience "spiffe:\/\/cluster\.local\/cart"/,
  ],
  [
    'one that has expired',
    [{ spiffeId: web, token: signToken(key, header, { ...claims, exp: seconds }) }],
    /has expired already/,
  ],
];
for (const [name, answer, message] of badSvids) {
  t.test(`an answer with JWT-SVIDs is refused: ${name}`, async (t) => {
    const { api, client } = await begin(t);
    api.answer('FetchJWTSVID', encodeJwtSvids(answer));
    await t.rejects(client.fetchJwtSvid({ audience, spiffeId: web }), { code: 'ERR_MESH_WORKLOAD_API', message });
  });
}

t.test('has the Workload API validate a token', async (t) => {
  const { api, client } = await begin(t);
  const token = signToken(key, header, claims);
  api.answer('ValidateJWTSVID', (request) => {
    const fields = decodeTexts(request);
    t.same(
      [...fields],
      [
        [1, [audience]],
        [2, [token]],
      ],
    );
    return encodeValidated(web, claims);
  });
  t.same(await client.validateJwtSvid({ audience, token }), { spiffeId: web, claims });
  api.answer('ValidateJWTSVID', { code: 3, details: 'token has expired' });
  await t.rejects(client.validateJwtSvid({ audience, token }), {
    code: 'ERR_MESH_WORKLOAD_API',
    message: /token has expired/,
  });
  api.answer('ValidateJWTSVID', encodeValidated(`${web}2`, claims));
  await t.rejects(client.validateJwtSvid({ audience, token }), {
    message: /spiffe_id is .*web2", the token is .*web's/,
  });
  api.answer('ValidateJWTSVID', encodeValidated(web, undefined));
  await t.rejects(client.validateJwtSvid({ audience, token }), { message: /claims is empty/ });
  const calls = api.calls.length;
  await t.rejects(client.validateJwtSvid({ audience, token: 'x.y' }), { code: 'ERR_MESH_PEER_IDENTITY' });
  await t.rejects(client.validateJwtSvid({ audience: '', token }), { code: 'ERR_MESH_OPTION_INVALID' });
  t.equal(api.calls.length, calls, 'what has no chance is not sent');
});

t.test('a tolerance that is no number lets no expired token through', async (t) => {
  const token = signToken(key, header, { ...claims, exp: seconds - 86_400 });
  for (const toleranceMs of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
    await t.rejects(verify(token, { toleranceMs }), {
      code: 'ERR_MESH_OPTION_INVALID',
      message: /^toleranceMs: expected 0 or more/,
    });
  }
});

t.test('what is no text is no token', async (t) => {
  for (const token of [undefined, null, 7, ['a.b.c']]) {
    await t.rejects(verify(token as unknown as string), {
      code: 'ERR_MESH_PEER_IDENTITY',
      message: 'JWT-SVID refused: it is not text',
    });
  }
});
