import { createHmac } from 'node:crypto';
import t, { type Test } from 'tap';
import { jwtFailures } from '../../src/jwt/failure.ts';
import type { KeySet, KeySource } from '../../src/jwt/keys.ts';
import { keySetOf, noKeys } from '../../src/jwt/keys.ts';
import { parseToken } from '../../src/jwt/token.ts';
import { type TokenVerdict, verifyRequestTokens } from '../../src/jwt/verify.ts';
import { parseJwks } from '../../src/lib/jwks.ts';
import type { JwtRule } from '../../src/model/request-authentication.ts';
import { encode, inlineKeysOf, jwksOf, makeToken, makeTokenKey, type TestKey, tokenRule } from '../support/tokens.ts';

const now = 1_900_000_000;
const key = makeTokenKey('RS256', { kid: 'k1', alg: 'RS256', use: 'sig' });
const partner = makeTokenKey('ES256', { kid: 'k1' });
const stranger = makeTokenKey('RS256');
const rule = tokenRule(jwksOf(key), { audiences: ['shop'] });
const claims = { iss: 'https://issuer.example', sub: 'ann', aud: 'shop', exp: now + 300 };
const good = makeToken({ key, claims });
const keysOf = inlineKeysOf();

const bearer = (...tokens: readonly string[]): readonly string[] =>
  tokens.flatMap((token) => ['Authorization', `Bearer ${token}`]);

interface Given {
  readonly rules?: readonly JwtRule[];
  readonly headers?: readonly string[];
  readonly url?: string;
  readonly requireExpiry?: boolean;
}

async function judge(given: Given): Promise<TokenVerdict> {
  const { headers = [], requireExpiry = false, rules = [rule], url = '/' } = given;
  return await verifyRequestTokens(rules, { rawHeaders: headers, url }, keysOf, now * 1_000, { requireExpiry });
}

/** The principal, '' without one, or the reason of the refusal. */
async function outcome(given: Given): Promise<string> {
  const verdict = await judge(given);
  return 'failure' in verdict ? verdict.failure.reason : (verdict.principal ?? '');
}

async function check(t: Test, given: Given, expected: string, name: string): Promise<void> {
  t.equal(await outcome(given), expected, name);
}

const ann = 'https://issuer.example/ann';
const signed = (more: object, header?: object): string =>
  makeToken({ key, claims: { ...claims, ...more }, ...(header === undefined ? {} : { header: header as never }) });
const raw = (text: string): string => makeToken({ key, claims: text });
const unsigned = (header: object): string => `${encode(JSON.stringify(header))}.${encode(JSON.stringify(claims))}`;
const hmac = (secret: string | Buffer): string => {
  const text = unsigned({ alg: 'HS256', kid: 'k1' });
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
};
const spki = key.privateKey.export({ format: 'pem', type: 'pkcs8' });
const [h = '', p = '', s = ''] = good.split('.');
const lastUp = (text: string): string => text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1);

/** Token, outcome. */
const single: readonly (readonly [string, string, string])[] = [
  ['JWT-001 a valid token', good, ann],
  ['JWT-004 expired', signed({ exp: now - 61 }), 'expired'],
  ['JWT-005 expired within the leeway', signed({ exp: now - 30 }), ann],
  ['expired by the leeway and not a second more', signed({ exp: now - 60 }), ann],
  ['JWT-008 exp missing', signed({ exp: undefined }), ann],
  ['JWT-010 exp as a text', signed({ exp: '9999999999' }), 'bad-exp'],
  ['JWT-011 exp 1e400', raw(JSON.stringify(claims).replace(/"exp":\d+/, '"exp":1e400')), 'bad-exp'],
  ['exp beyond 64 bits', raw(JSON.stringify(claims).replace(/"exp":\d+/, '"exp":18446744073709551616')), 'bad-exp'],
  ['exp beyond 53 bits', raw(JSON.stringify(claims).replace(/"exp":\d+/, '"exp":9007199254740993')), ann],
  ['exp null', signed({ exp: null }), 'bad-exp'],
  ['JWT-012 exp negative', signed({ exp: -1 }), 'bad-exp'],
  ['JWT-012 exp 0', signed({ exp: 0 }), 'expired'],
  ['JWT-012 exp -0', raw(JSON.stringify(claims).replace(/"exp":\d+/, '"exp":-0')), 'expired'],
  ['JWT-013 nbf in the future', signed({ nbf: now + 120 }), 'not-yet-valid'],
  ['CERT-09 nbf within the leeway', signed({ nbf: now + 60 }), ann],
  ['nbf just beyond the leeway', signed({ nbf: now + 61 }), 'not-yet-valid'],
  ['iat in the future is not judged, as in Envoy', signed({ iat: now + 9_999 }), ann],
  ['iat as a text', signed({ iat: 'now' }), 'bad-iat'],
  ['sub as a number', signed({ sub: 7 }), 'bad-sub'],
  ['iss as a list', signed({ iss: ['https://issuer.example'] }), 'bad-iss'],
  ['jti as a number', signed({ jti: 7 }), 'bad-jti'],
  ['JWT-015 alg none', `${unsigned({ alg: 'none' })}.`, 'bad-format'],
  ['JWT-015 alg none with a signature', `${unsigned({ alg: 'none', kid: 'k1' })}.${s}`, 'alg-unsupported'],
  ['alg None', `${unsigned({ alg: 'nOnE' })}.${s}`, 'alg-unsupported'],
  ['no alg', `${unsigned({ kid: 'k1' })}.${s}`, 'header-alg'],
  ['JWT-017 signature stripped', `${h}.${p}.`, 'bad-format'],
  ['two parts', `${h}.${p}`, 'bad-format'],
  ['JWT-018 HS256 with the public key', hmac(spki), 'alg-unsupported'],
  ['HS256 with the modulus', hmac(Buffer.from(String(key.jwk['n']), 'base64url')), 'alg-unsupported'],
  [
    'JWT-021 PS256 on a key of RS256',
    makeToken({ key, alg: 'PS256', claims, header: { alg: 'PS256', kid: 'k1' } }),
    'no-matching-key',
  ],
  [
    'RS256 said of a signature of PS256',
    makeToken({ key, alg: 'PS256', claims, header: { alg: 'RS256', kid: 'k1' } }),
    'verification-failed',
  ],
  [
    'JWT-024 embedded jwk',
    makeToken({ key: stranger, claims, header: { alg: 'RS256', kid: 'k1', jwk: stranger.jwk } }),
    'verification-failed',
  ],
  [
    'JWT-026 x5u and x5c',
    makeToken({ key: stranger, claims, header: { alg: 'RS256', x5u: 'http://127.0.0.1:1/c', x5c: ['AA=='] } }),
    'verification-failed',
  ],
  [
    'jku',
    makeToken({ key: stranger, claims, header: { alg: 'RS256', kid: 'new', jku: 'http://127.0.0.1:1/j' } }),
    'no-matching-key',
  ],
  ['JWT-027 kid absent', signed({}, { alg: 'RS256' }), ann],
  ['kid empty', signed({}, { alg: 'RS256', kid: '' }), ann],
  ['kid as a number', signed({}, { alg: 'RS256', kid: 1 }), 'header-kid'],
  ['kid of 1,025 characters', signed({}, { alg: 'RS256', kid: 'k'.repeat(1_025) }), 'header-kid'],
  ['JWT-032 kid __proto__', signed({}, { alg: 'RS256', kid: '__proto__' }), 'no-matching-key'],
  ['kid constructor', signed({}, { alg: 'RS256', kid: 'constructor' }), 'no-matching-key'],
  ['kid with a path', signed({}, { alg: 'RS256', kid: '../../dev/null' }), 'no-matching-key'],
  ['JWT-035 crit', signed({}, { alg: 'RS256', crit: ['x'], x: 1 }), 'header-json'],
  ['JWT-036 crit empty', signed({}, { alg: 'RS256', crit: [] }), 'header-json'],
  ['crit b64, which jose knows', signed({}, { alg: 'RS256', crit: ['b64'], b64: true }), 'header-json'],
  ['JWT-038 typ of another profile', signed({}, { alg: 'RS256', typ: 'logout+jwt' }), 'header-json'],
  ['typ of another profile, in full', signed({}, { alg: 'RS256', typ: 'Application/SecEvent+JWT' }), 'header-json'],
  ['typ of an access token', signed({}, { alg: 'RS256', typ: 'application/at+jwt' }), ann],
  ['typ JWT', signed({}, { alg: 'RS256', typ: 'JWT' }), ann],
  ['typ as a list', signed({}, { alg: 'RS256', typ: ['JWT'] }), 'header-json'],
  ['JWT-039 issuer mismatch', signed({ iss: 'https://evil.example' }), 'unknown-issuer'],
  ['JWT-040 issuer with a slash', signed({ iss: 'https://issuer.example/' }), 'unknown-issuer'],
  ['JWT-041 issuer in another case', signed({ iss: 'https://ISSUER.example' }), 'unknown-issuer'],
  ['JWT-057 issuer that goes on', signed({ iss: 'https://issuer.example/adm', sub: 'x' }), 'unknown-issuer'],
  ['no issuer', signed({ iss: undefined }), 'unknown-issuer'],
  ['no subject: good, and nobody', signed({ sub: undefined }), ''],
  ['JWT-045 aud with ours', signed({ aud: ['x', 'shop'] }), ann],
  ['JWT-046 aud empty', signed({ aud: [] }), 'audience'],
  ['no aud', signed({ aud: undefined }), 'audience'],
  ['JWT-047 aud that begins so', signed({ aud: 'shopping' }), 'audience'],
  ['JWT-049 aud object', signed({ aud: { shop: 1 } }), 'audience'],
  ['aud with a number', signed({ aud: ['shop', 1] }), 'audience'],
  ['aud with a scheme and a slash, as in Envoy', signed({ aud: 'https://shop/' }), ann],
  ['a claim by the name of a field of ours', signed({ reason: 'busy' }), ann],
  ['many values', signed({ list: Array.from({ length: 1_980 }, () => 1) }), ann],
  ['more values than anybody needs', signed({ list: Array.from({ length: 2_000 }, () => 1) }), 'payload-json'],
  ['JWT-050 duplicate claim', raw(`{"iss":"evil",${JSON.stringify(claims).slice(1)}`), 'payload-json'],
  ['duplicate header member', makeToken({ key, claims, header: '{"alg":"none","alg":"RS256"}' }), 'header-json'],
  ['duplicate claim, escaped', raw(`{"\\u0069ss":"evil",${JSON.stringify(claims).slice(1)}`), 'payload-json'],
  ['duplicate claim, nested', raw(`{"a":{"b":1,"b":2},${JSON.stringify(claims).slice(1)}`), 'payload-json'],
  ['JWT-068 newline at the end', `${good}\n`, 'signature-encoding'],
  ['JWT-068 padding', `${good}==`, 'signature-encoding'],
  ['JWT-068 last character + 1', lastUp(good), 'signature-encoding'],
  ['padding of the header', `${h}=.${p}.${s}`, 'header-encoding'],
  ['base64 of the other alphabet', `${h}.${p.slice(0, -2)}+/.${s}`, 'payload-encoding'],
  ['a space inside', `${h}.${p} .${s}`, 'payload-encoding'],
  [
    'JWT-070 JSON serialisation',
    JSON.stringify({ payload: p, signatures: [{ protected: h, signature: s }] }),
    'bad-format',
  ],
  ['JWE', `${h}.${p}.${s}.${s}.${s}`, 'bad-format'],
  ['JWT-071 payload of a text', raw('"x"'), 'payload-json'],
  ['JWT-071 payload of a list', raw('[]'), 'payload-json'],
  ['JWT-071 payload of null', raw('null'), 'payload-json'],
  ['payload that is no JSON', raw('{'), 'payload-json'],
  ['payload with a byte order mark', raw(`\uFEFF${JSON.stringify(claims)}`), 'payload-json'],
  ['JWT-072 invalid UTF-8', makeToken({ key, claims: Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22]) }), 'payload-json'],
  ['JWT-073 8 MiB', 'a'.repeat(8 * 1_048_576), 'bad-format'],
  ['16 KiB', makeToken({ key, claims: { ...claims, x: 'x'.repeat(16_384) } }), 'bad-format'],
  ['nested as deep as allowed', raw(`{"x":${'['.repeat(15)}${']'.repeat(15)},${JSON.stringify(claims).slice(1)}`), ann],
  ['nested deeper', raw(`{"x":${'['.repeat(16)}${']'.repeat(16)},${JSON.stringify(claims).slice(1)}`), 'payload-json'],
  ['another key', makeToken({ key: stranger, claims }), 'verification-failed'],
  [
    'JWT-042 key of another issuer',
    makeToken({ key: partner, alg: 'ES256', claims, header: { alg: 'ES256' } }),
    'no-matching-key',
  ],
];

t.test('one token in the Authorization header', async (t) => {
  for (const [name, token, expected] of single) await check(t, { headers: bearer(token) }, expected, name);
});

t.test('a token without exp is refused where one is demanded', async (t) => {
  await check(t, { headers: bearer(signed({ exp: undefined })), requireExpiry: true }, 'bad-exp', 'none');
  await check(t, { headers: bearer(good), requireExpiry: true }, ann, 'one');
});

t.test('no refusal quotes the token', async (t) => {
  for (const [name, token] of single) {
    const verdict = await judge({ headers: bearer(token) });
    if (!('failure' in verdict)) continue;
    const { detail = '', reason } = verdict.failure;
    const said = `${jwtFailures[reason]} ${detail}`;
    const parts = token.slice(0, 20_000).split('.');
    t.notOk(
      parts.some((part) => part.length > 8 && said.includes(part)),
      name,
    );
    t.notOk(said.includes('ann'), name);
  }
});

t.test('every algorithm of a key set, and no other than that of the key', async (t) => {
  const algorithms = [
    'RS256',
    'RS384',
    'RS512',
    'PS256',
    'PS384',
    'PS512',
    'ES256',
    'ES384',
    'ES512',
    'EdDSA',
    'Ed25519',
  ];
  const keys = new Map([
    ['RS', makeTokenKey('RS256', { kid: 'k1' })],
    ['ES256', makeTokenKey('ES256', { kid: 'k1' })],
    ['ES384', makeTokenKey('ES384', { kid: 'k1' })],
    ['ES512', makeTokenKey('ES512', { kid: 'k1' })],
    ['Ed', makeTokenKey('EdDSA', { kid: 'k1' })],
  ]);
  const familyOf = (alg: string): string => (alg.startsWith('PS') ? 'RS' : keys.has(alg) ? alg : alg.slice(0, 2));
  for (const alg of algorithms) {
    const own = keys.get(familyOf(alg)) ?? key;
    const token = makeToken({ key: own, alg, claims, header: { alg, kid: 'k1' } });
    for (const [family, other] of keys) {
      const rules = [tokenRule(jwksOf(other), { audiences: ['shop'] })];
      const expected = family === familyOf(alg) ? ann : 'no-matching-key';
      await check(t, { rules, headers: bearer(token) }, expected, `${alg} with a key of ${family}`);
    }
    const fixed = { ...own, jwk: { ...own.jwk, alg: alg === 'RS256' ? 'RS512' : 'RS256' } };
    if (familyOf(alg) !== 'RS') continue;
    const rules = [tokenRule(jwksOf(fixed), { audiences: ['shop'] })];
    await check(t, { rules, headers: bearer(token) }, 'no-matching-key', `${alg} with a key that says otherwise`);
  }
});

t.test('JWT-028 without kid every key that fits is tried, five at most', async (t) => {
  const others = Array.from({ length: 5 }, (_, i) => makeTokenKey('ES256', { kid: `o${i}` }));
  const last = makeTokenKey('ES256', { kid: 'last' });
  const token = (header: object): string => makeToken({ key: last, alg: 'ES256', claims, header: header as never });
  const rules = (...keys: readonly TestKey[]): readonly JwtRule[] => [
    tokenRule(jwksOf(...keys), { audiences: ['shop'] }),
  ];
  const nameless = token({ alg: 'ES256' });
  await check(t, { rules: rules(...others.slice(1), last), headers: bearer(nameless) }, ann, 'the fifth');
  const sixth = rules(...others, last);
  await check(t, { rules: sixth, headers: bearer(nameless) }, 'verification-failed', 'the sixth');
  await check(t, { rules: sixth, headers: bearer(token({ alg: 'ES256', kid: 'last' })) }, ann, 'the sixth by name');
  const anonymous = { ...last, jwk: { ...last.jwk, kid: undefined } };
  const unnamed = rules(others[0] ?? last, anonymous);
  await check(t, { rules: unnamed, headers: bearer(token({ alg: 'ES256', kid: 'x' })) }, ann, 'a key without kid');
  const twice = rules(others[0] ?? last, { ...last, jwk: { ...last.jwk, kid: 'o0' } });
  await check(
    t,
    { rules: twice, headers: bearer(token({ alg: 'ES256', kid: 'o0' })) },
    ann,
    'a kid that is there twice',
  );
});

t.test('where tokens are looked for', async (t) => {
  const at = (more: Partial<JwtRule>): readonly JwtRule[] => [{ ...rule, ...more }];
  const value = at({ fromHeaders: [{ name: 'x-jwt-token', prefix: 'Value ' }] });
  const bare = at({ fromHeaders: [{ name: 'x-jwt', prefix: '' }] });
  const many = (count: number) => Array.from({ length: count }, () => ['x-jwt', good]).flat();
  const cookie = at({ fromCookies: ['session'] });
  const param = at({ fromParams: ['token'] });
  const bad = `${h}.${p}.AAAA`;
  const cases: readonly (readonly [string, Given, string])[] = [
    ['JWT-003 none', {}, ''],
    ['another scheme', { headers: ['authorization', 'Basic YTpi'] }, ''],
    ['a scheme in lower case, as in Envoy', { headers: ['authorization', `bearer ${bad}`] }, ''],
    ['a prefix that is not at the beginning, as in Envoy', { headers: ['authorization', `x Bearer ${good}`] }, ann],
    ['JWT-064 two spaces', { headers: ['authorization', `Bearer  ${good}`] }, ann],
    ['JWT-064 a list', { headers: ['authorization', `Bearer  ${good}, Bearer ${bad}`] }, 'bad-format'],
    ['a tab', { headers: ['authorization', `Bearer\t${good}`] }, ''],
    ['nothing behind the prefix', { headers: ['authorization', 'Bearer '] }, 'bad-format'],
    ['two Authorization headers are one, and no token', { headers: bearer(good, good) }, 'bad-format'],
    ['access_token', { url: `/?access_token=${good}` }, ann],
    ['access_token among others', { url: `/?a=1&access_token=${good}&b` }, ann],
    ['access_token, encoded', { url: `/?%61ccess%5ftoken=${good.replace('.', '%2E')}` }, ann],
    [
      'access_token twice, the second bad',
      { url: `/?access_token=${good}&access_token=${bad}` },
      'verification-failed',
    ],
    ['access_token empty', { url: '/?access_token=' }, 'bad-format'],
    ['access_token without a value', { url: '/?access_token' }, 'bad-format'],
    ['access_token with a broken escape', { url: '/?access_token=%zz' }, 'bad-format'],
    [
      'a parameter in brackets, which Express 4 reads without',
      { url: `/?[access_token]=${bad}` },
      'verification-failed',
    ],
    ['a parameter that Express 4 reads as a list', { url: `/?access_token%5B%5D=${bad}` }, 'verification-failed'],
    ['a parameter inside of another', { url: `/?x[access_token]=${bad}` }, ''],
    ['another parameter', { url: `/?token=${bad}` }, ''],
    ['a parameter that only ends so', { url: `/?xaccess_token=${bad}` }, ''],
    ['header good, parameter bad', { headers: bearer(good), url: `/?access_token=${bad}` }, 'verification-failed'],
    ['six tokens', { rules: bare, headers: many(6) }, 'too-many-tokens'],
    ['five tokens', { rules: bare, headers: many(5) }, ann],
    ['a header of its own', { rules: value, headers: ['X-JWT-Token', `Value ${good}`] }, ann],
    ['JWT-065 the prefix in another case', { rules: value, headers: ['x-jwt-token', `value ${good}`] }, ''],
    ['other places do not count then', { rules: value, headers: bearer(bad), url: `/?access_token=${bad}` }, ''],
    [
      'two headers of one name, one bad',
      { rules: bare, headers: ['x-jwt', good, 'X-JWT', bad] },
      'verification-failed',
    ],
    ['no prefix', { rules: bare, headers: ['x-jwt', good] }, ann],
    ['no prefix, two values in one', { rules: bare, headers: ['x-jwt', `${good}, ${good}`] }, 'bad-format'],
    ['a parameter of its own', { rules: param, url: `/?token=${good}` }, ann],
    ['a cookie', { rules: cookie, headers: ['cookie', `a=1; session=${good}; b=2`] }, ann],
    ['a cookie in quotes', { rules: cookie, headers: ['Cookie', `session="${good}"`] }, ann],
    ['two cookies of the name', { rules: cookie, headers: ['cookie', `session=${good}; session=x`] }, 'bad-format'],
    [
      'a cookie in a second header',
      { rules: cookie, headers: ['cookie', 'a=b', 'cookie', `session=${bad}`] },
      'verification-failed',
    ],
    ['another cookie', { rules: cookie, headers: ['cookie', `sessions=${bad}; session2=x`] }, ''],
  ];
  for (const [name, given, expected] of cases) await check(t, given, expected, name);
});

t.test('several rules', async (t) => {
  const a = { ...rule, audiences: [] };
  const b = tokenRule(jwksOf(partner), { issuer: 'https://partner.example' });
  const ofA = makeToken({ key, claims });
  const ofB = makeToken({
    key: partner,
    alg: 'ES256',
    claims: { iss: b.issuer, sub: 'bob', exp: now },
    header: { alg: 'ES256' },
  });
  const bob = 'https://partner.example/bob';
  const elsewhere: JwtRule = { ...b, fromHeaders: [{ name: 'x-partner', prefix: '' }] };
  const forged = makeToken({ key: partner, alg: 'ES256', claims, header: { alg: 'ES256' } });
  const required = (each: JwtRule): JwtRule => ({ ...each, required: true });
  const raw: JwtRule = { ...b, fromHeaders: [{ name: 'authorization', prefix: '' }] };
  const cases: readonly (readonly [string, Given, string])[] = [
    ['a token of the first', { rules: [a, b], headers: bearer(ofA) }, ann],
    ['a token of the second', { rules: [a, b], headers: bearer(ofB) }, bob],
    ['JWT-042 issuer of one, key of the other', { rules: [a, b], headers: bearer(forged) }, 'no-matching-key'],
    ['both: the issuer that comes first', { rules: [b, a], headers: bearer(ofB), url: `/?access_token=${ofA}` }, ann],
    [
      'a bad token where only the other rule looks',
      { rules: [a, elsewhere], headers: [...bearer(ofA), 'x-partner', 'x'] },
      'bad-format',
    ],
    ['two places, two tokens', { rules: [elsewhere, a], headers: ['x-partner', ofB, ...bearer(ofA)] }, ann],
    ['one header, two prefixes: the second', { rules: [a, raw], headers: ['authorization', ofB] }, bob],
    ['one header, two prefixes: the first', { rules: [a, raw], headers: bearer(ofA) }, ann],
    ['required and there', { rules: [required(a)], headers: bearer(ofA) }, ann],
    ['required and missing', { rules: [required(a)] }, 'missing'],
    ['required and bad', { rules: [required(a)], headers: bearer(forged) }, 'no-matching-key'],
    ['one required, the other there', { rules: [required(a), b], headers: bearer(ofB) }, 'missing'],
    [
      'both required, both there: the last',
      { rules: [required(elsewhere), required(a)], headers: ['x-partner', ofB, ...bearer(ofA)] },
      bob,
    ],
    [
      'any issuer',
      { rules: [{ ...a, issuer: '' }], headers: bearer(makeToken({ key, claims: { iss: 'x', sub: 'y' } })) },
      'x/y',
    ],
    [
      'the audience of the second rule',
      {
        rules: [
          { ...a, audiences: ['x'] },
          { ...a, audiences: ['shop'] },
        ],
        headers: bearer(ofA),
      },
      ann,
    ],
    [
      'no audience of either',
      {
        rules: [
          { ...a, audiences: ['x'] },
          { ...b, audiences: ['y'] },
        ],
        headers: bearer(ofA),
      },
      'audience',
    ],
    ['aud that is none, where nobody asks', { rules: [a], headers: bearer(signed({ aud: { a: 1 } })) }, 'bad-aud'],
  ];
  for (const [name, given, expected] of cases) await check(t, given, expected, name);
});

t.test('claims are as signed, cannot be changed, and have no prototypes', async (t) => {
  const token = raw(
    `{"__proto__":{"groups":["admin"]},"scope":"read  write","roles":"a b","n":9007199254740993,${JSON.stringify(claims).slice(1)}`,
  );
  const verdict = await judge({ rules: [{ ...rule, spaceDelimitedClaims: ['roles'] }], headers: bearer(token) });
  const { claims: own = {}, policyClaims = {} } = 'failure' in verdict ? { claims: {} } : verdict;
  t.equal(own['groups'], undefined, 'JWT-051 __proto__ is a claim like any other');
  t.strictSame(Object.keys(own), ['__proto__', 'scope', 'roles', 'n', 'iss', 'sub', 'aud', 'exp']);
  t.equal(Object.getPrototypeOf(own), null);
  t.equal(own['scope'], 'read  write');
  t.equal(own['n'], 9_007_199_254_740_992);
  t.throws(() => ((own as Record<string, unknown>)['sub'] = 'root'), TypeError);
  t.throws(() => (Reflect.get(own, '__proto__') as { groups: string[] }).groups.push('x'), TypeError);
  t.strictSame(policyClaims['scope'], ['read', 'write']);
  t.strictSame(policyClaims['roles'], ['a', 'b']);
  t.equal(policyClaims['sub'], 'ann');
  t.equal(Object.getPrototypeOf(policyClaims), null);
});

t.test('keys that come later', async (t) => {
  const set = keySetOf(parseJwks(jwksOf(key)).keys);
  const old = keySetOf(parseJwks(jwksOf(makeTokenKey('RS256', { kid: 'k0' }))).keys);
  const source = (first: KeySet | undefined, then: KeySet | undefined): KeySource & { readonly asked: string[] } => {
    const asked: string[] = [];
    const refresh: KeySource['refresh'] = async (reason) => {
      asked.push(reason);
      return then;
    };
    return { asked, current: () => first, refresh };
  };
  for (const [name, from, expected, asked] of [
    ['JWT-077 none, and none to be had', source(undefined, undefined), 'no-keys', ['none']],
    ['none yet', source(undefined, set), ann, ['none']],
    ['JWT-084 a new kid', source(old, set), ann, ['unknown-key']],
    ['JWT-033 a kid that nobody knows', source(old, old), 'no-matching-key', ['unknown-key']],
    ['keys lost while asking', source(old, undefined), 'no-matching-key', ['unknown-key']],
    ['keys that are there', source(set, undefined), ann, []],
  ] as const) {
    const verdict = await verifyRequestTokens([rule], { rawHeaders: bearer(good), url: '/' }, () => from, now * 1_000);
    t.equal('failure' in verdict ? verdict.failure.reason : verdict.principal, expected, name);
    t.strictSame(from.asked, asked, name);
  }
  const verdict = await verifyRequestTokens([rule], { rawHeaders: bearer(good), url: '/' }, () => noKeys, 0);
  t.match(verdict, { failure: { reason: 'no-keys' } });
});

t.test('a refused token asks for no keys', async (t) => {
  const never: KeySource = { current: () => t.fail('asked') as never, refresh: () => t.fail('asked') as never };
  for (const token of [signed({ iss: 'x' }), signed({ exp: 1 }), signed({ aud: 'x' }), `${good}=`]) {
    const request = { rawHeaders: bearer(token), url: '/' };
    t.match(await verifyRequestTokens([rule], request, () => never, now * 1_000), { failure: {} });
  }
});

t.test('the form of a token is read in time that follows its length', async (t) => {
  t.match(parseToken('.'.repeat(16_384)), { reason: 'bad-format' });
  t.match(parseToken(`${'a.'.repeat(8_000)}a`), { reason: 'bad-format' });
});
