// Requests with tokens that are meant to cost the server much: what each kind of them is made of.
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** One kind of request with tokens, all sent one after the other on connections that stay open. */
export interface TokenKind {
  readonly name: string;
  /** The requests, in turn. */
  readonly turns: readonly string[];
  /** What every answer says. Default: that it is one. */
  readonly says?: string;
  /** Sent once before all others, and answered with 200. */
  readonly first?: readonly string[];
}

/** A request of HTTP/1.1, as text. */
export const request = (target: string, headers = '', method = 'GET'): string =>
  `${method} ${target} HTTP/1.1\r\nHost: web\r\n${headers}\r\n`;
export const bearer = (token: string): string => request('/', `Authorization: Bearer ${token}\r\n`);

interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}
const curve = (namedCurve: string): KeyPair => generateKeyPairSync('ec', { namedCurve });
const rsa = (): KeyPair => generateKeyPairSync('rsa', { modulusLength: 2_048 });
const jwk = ({ publicKey }: KeyPair, kid: string): object => ({ ...publicKey.export({ format: 'jwk' }), kid });
/** Any odd number will do as a modulus where nothing is good; to find one of 8,192 bits takes seconds. */
const rsa8192 = (exponent: string): object => {
  const n = randomBytes(1_024);
  n[0] = 0xff;
  n[1_023] = 0xff;
  return { kty: 'RSA', n: n.toString('base64url'), e: Buffer.from(exponent, 'hex').toString('base64url'), kid: 'k1' };
};

const five = <T>(make: (index: number) => T): readonly T[] => Array.from({ length: 5 }, (_, i) => make(i));
const rule = (name: string, keys: readonly object[], more = ''): string =>
  `    - {issuer: "https://${name}.example", jwks: '${JSON.stringify({ keys })}'${more}}\n`;
const used = five(() => curve('P-256'));
const manyAudiences = Array.from({ length: 50 }, (_, i) => `"audience-${i}"`).join(',');

/** The rules of a RequestAuthentication, in YAML. */
export const jwtRules: string = [
  rule('issuer', [{ ...jwk(rsa(), 'k1'), alg: 'RS256', use: 'sig' }]),
  rule(
    'five-rsa',
    five((i) => jwk(rsa(), `k${i}`)),
  ),
  rule(
    'five-p256',
    five((i) => jwk(curve('P-256'), `k${i}`)),
  ),
  rule(
    'five-p384',
    five((i) => jwk(curve('P-384'), `k${i}`)),
  ),
  rule(
    'used',
    used.map((pair, i) => jwk(pair, `k${i}`)),
  ),
  rule('p256', [jwk(curve('P-256'), 'k1')]),
  rule('p384', [jwk(curve('P-384'), 'k1')]),
  rule('p521', [jwk(curve('P-521'), 'k1')]),
  rule('rsa8192', [rsa8192('010001')]),
  rule('exponent', [rsa8192('01ffffffff')]),
  rule('places', [jwk(curve('P-384'), 'k1')], ', fromHeaders: [{name: x-token}], fromParams: [t], fromCookies: [t]'),
  rule('audiences', [jwk(curve('P-256'), 'k1')], `, audiences: [${manyAudiences}]`),
  // Several rules for one issuer, each with keys of its own that have the same name.
  ...five(() => rule('rules-p256', [jwk(curve('P-256'), 'k1')])),
  ...five(() => rule('rules-p384', [jwk(curve('P-384'), 'k1')])),
  rule(
    'hundred',
    Array.from({ length: 100 }, () => ({ ...jwk(curve('P-256'), ''), kid: undefined })),
  ),
].join('');

const part = (value: object | string): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const exp = Math.floor(Date.now() / 1_000) + 36_000;
const claims = (name: string): object => ({ iss: `https://${name}.example`, sub: 'a', exp });

/** Different ones, for tokens that come at the same time are verified once: random bytes cost their sender nothing. */
const forged = (header: object, payload: object | string, length: number, count = 500): readonly string[] => {
  const signed = `${part(header)}.${part(payload)}`;
  return Array.from({ length: count }, () => {
    const bytes = randomBytes(length);
    // Numbers that are not too large for a signature: those cost little.
    bytes[0] = 0;
    bytes[length / 2] = 0;
    return `${signed}.${bytes.toString('base64url')}`;
  });
};
const forgedFor = (alg: string, name: string, length: number, kid?: string): readonly string[] =>
  forged({ alg, ...(kid === undefined ? {} : { kid }) }, claims(name), length);
const goodOf = ({ privateKey }: KeyPair, name: string): string => {
  const signed = `${part({ alg: 'ES256' })}.${part(claims(name))}`;
  const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
};

/** As many as a head has room for: about 11 KB of claims. */
const list = (count: number, each: (index: number) => string): string =>
  Array.from({ length: count }, (_, i) => each(i)).join(',');
const claimsWith = (members: string, name = 'p256'): string =>
  `{"iss":"https://${name}.example","exp":${exp},${members}}`;
const large = (payload: string): readonly string[] => forged({ alg: 'ES256', kid: 'k1' }, payload, 64).map(bearer);

const five384 = forgedFor('ES384', 'places', 96, 'k1');
const inFivePlaces = five384.map((_, i) => {
  const [a, b, c, d, e] = five((n) => five384[(i + n) % five384.length]);
  return request(`/?t=${a}&t=${b}`, `X-Token: ${c}\r\nX-Token: ${d}\r\nCookie: t=${e}\r\n`);
});

export const tokenKinds: readonly TokenKind[] = [
  // One text: a new one for each request would cost the client more than the server.
  {
    name: '401, a forged signature',
    says: 'Jwt verification fails',
    turns: forgedFor('RS256', 'issuer', 256, 'k1').slice(0, 1).map(bearer),
  },
  { name: '401, a forged signature of P-256', turns: forgedFor('ES256', 'p256', 64, 'k1').map(bearer) },
  { name: '401 or 503, a forged signature of P-384', turns: forgedFor('ES384', 'p384', 96, 'k1').map(bearer) },
  { name: '401 or 503, a forged signature of P-384, no kid', turns: forgedFor('ES384', 'p384', 96).map(bearer) },
  { name: '401 or 503, a forged signature of P-521', turns: forgedFor('ES512', 'p521', 132, 'k1').map(bearer) },
  { name: '401 or 503, a forged signature of P-521, no kid', turns: forgedFor('ES512', 'p521', 132).map(bearer) },
  { name: '401, a forged signature of RSA 8192', turns: forgedFor('RS256', 'rsa8192', 1_024, 'k1').map(bearer) },
  {
    name: '401 or 503, a forged signature of RSA 8192 with a large exponent',
    turns: forgedFor('RS256', 'exponent', 1_024, 'k1').map(bearer),
  },
  {
    name: '401 or 503, a forged signature that five RSA keys could have made',
    turns: forgedFor('RS256', 'five-rsa', 256).map(bearer),
  },
  {
    name: '401 or 503, a forged signature that five keys of P-256 could have made',
    turns: forgedFor('ES256', 'five-p256', 64).map(bearer),
  },
  {
    name: '401 or 503, a forged signature that five keys of P-256 could have made, all of which have signed tokens',
    turns: forgedFor('ES256', 'used', 64).map(bearer),
    first: used.map((pair) => bearer(goodOf(pair, 'used'))),
  },
  {
    name: '401 or 503, a forged signature that five keys of P-384 could have made',
    turns: forgedFor('ES384', 'five-p384', 96).map(bearer),
  },
  { name: '401 or 503, five forged signatures of P-384 in five places', turns: inFivePlaces },
  {
    name: '401 or 503, a forged signature, five rules for the issuer, P-256',
    turns: forgedFor('ES256', 'rules-p256', 64, 'k1').map(bearer),
  },
  {
    name: '401 or 503, a forged signature, five rules for the issuer, P-384',
    turns: forgedFor('ES384', 'rules-p384', 96, 'k1').map(bearer),
  },
  { name: '401 or 503, a hundred keys without kid', turns: forgedFor('ES256', 'hundred', 64, 'k1').map(bearer) },
  {
    name: '401, an algorithm that the key does not have',
    says: "Jwks doesn't have key",
    turns: forgedFor('RS256', 'p384', 256, 'k1').map(bearer),
  },
  {
    name: '401, a key that is not there',
    says: "Jwks doesn't have key",
    turns: forgedFor('ES256', 'p256', 64, 'other').map(bearer),
  },
  { name: '401, no token but something like it', says: 'HTTP/1.1 401', turns: [bearer('x.y.z')] },
  {
    name: '401 or 503, a token with 1,500 claims',
    turns: large(claimsWith(list(1_500, (i) => `"${i.toString(36)}":1`))),
  },
  { name: '401 or 503, a token with 990 claims', turns: large(claimsWith(list(990, (i) => `"c${i}":1`))) },
  {
    name: '401 or 503, a token with 500 claims whose names are escaped',
    turns: large(claimsWith(list(500, (i) => `"\\u0061\\u0062${i}":1`))),
  },
  {
    name: '403, a token for 990 audiences',
    turns: large(claimsWith(`"aud":[${list(990, (i) => `"a${i}"`)}]`, 'audiences')),
  },
  { name: '401 or 503, a token with 990 lists', turns: large(claimsWith(`"a":[${list(990, () => '[[[[]]]]')}]`)) },
  { name: '401 or 503, a token with 990 objects', turns: large(claimsWith(`"a":[${list(990, () => '[[{}]]')}]`)) },
  {
    name: '401 or 503, a token with 990 objects and names',
    turns: large(claimsWith(`"a":[${list(990, () => '{"a":"b"}')}]`)),
  },
  {
    name: '401, a token that nests as deeply as it may',
    turns: large(claimsWith(`"a":[${list(110, () => `${'{"a":'.repeat(13)}1${'}'.repeat(13)}`)}]`)),
  },
  {
    name: '401 or 503, a token with 500 large numbers',
    turns: large(claimsWith(`"a":[${list(500, () => '1234567890123456789')}]`)),
  },
  { name: '401 or 503, a token with 11 KB of text', turns: large(claimsWith(`"a":"${'x'.repeat(11_000)}"`)) },
  // As long as a token may be without being counted.
  { name: '401, a token of 2 KiB with 150 claims', turns: large(claimsWith(list(150, (i) => `"c${i}":1`))) },
  {
    name: '401, a token of 2 KiB with 60 escaped claims',
    turns: large(claimsWith(list(60, (i) => `"\\u0061\\u0062${i}":1`))),
  },
  { name: '401, a token of 2 KiB with 450 lists', turns: large(claimsWith(`"a":[${list(450, () => '[]')}]`)) },
  { name: 'a query of 2,500 parameters', turns: [request(`/?${'%61&'.repeat(2_500)}`)], says: 'HTTP/1.1 200' },
  { name: 'a query of 7,000 broken escapes', turns: [request(`/?${'%&'.repeat(7_000)}`)], says: 'HTTP/1.1 200' },
  {
    name: 'a query of 3,000 escapes that are no UTF-8',
    turns: [request(`/?${'%ff&'.repeat(3_000)}`)],
    says: 'HTTP/1.1 200',
  },
  { name: '401, a query of 800 tokens', turns: [request(`/?${'access_token=x&'.repeat(800)}`)], says: 'HTTP/1.1 401' },
  {
    name: 'a cookie of 4,000 parts',
    turns: [request('/', `Cookie: ${'a=;'.repeat(4_000)}\r\n`)],
    says: 'HTTP/1.1 200',
  },
  {
    name: '401, a cookie with 3,000 tokens',
    turns: [request('/', `Cookie: ${'t=x;'.repeat(3_000)}\r\n`)],
    says: 'HTTP/1.1 401',
  },
];
