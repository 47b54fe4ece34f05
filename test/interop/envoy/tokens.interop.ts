// What Envoy's jwt_authn makes of a token, set up as Istio does, against what we do.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { JwtRule } from '../../../src/model/request-authentication.ts';
import { inboundSnapshot, type RawAnswer, rawExchange, testPipeline } from '../../support/inbound.ts';
import { encode, inlineKeysOf, jwksOf, makeToken, makeTokenKey, tokenRule } from '../../support/tokens.ts';
import { withEnvoy } from './binary.ts';
import { cluster, httpVersion, loopback, type Message, typed } from './bootstrap.ts';
import { type Echo, echo, echoServer } from './echo.ts';
import { httpFilter } from './http.ts';
import { startEnvoy } from './run.ts';

const now = Math.floor(Date.now() / 1_000);
const first = makeTokenKey('RS256', { kid: 'k1', alg: 'RS256' });
const second = makeTokenKey('ES256', { kid: 'k2' });
const third = makeTokenKey('EdDSA', { alg: 'EdDSA' });
const partner = makeTokenKey('ES256', { kid: 'p1', alg: 'ES256' });
const own = tokenRule(jwksOf(first, second, third), { audiences: ['shop'] });
const other = tokenRule(jwksOf(partner), { issuer: 'https://partner.example' });
const speaking: JwtRule = {
  ...own,
  outputPayloadToHeader: 'x-payload',
  outputClaimToHeaders: ['sub', 'n', 'half', 'minus', 'yes', 'list', 'deep', 'deep.a', 'none', 'empty', 'nothing'].map(
    (claim) => ({
      header: `x-${claim.replace('.', '-')}`,
      claim,
    }),
  ),
};

/** Rules by name: each is a listener of Envoy, and a server of ours. */
const setups: Readonly<Record<string, readonly JwtRule[]>> = {
  one: [own],
  two: [own, other],
  required: [{ ...own, required: true }],
  'both required': [
    { ...own, required: true },
    { ...other, required: true, fromHeaders: [{ name: 'x-partner', prefix: '' }] },
  ],
  forwarding: [{ ...own, forwardOriginalToken: true }],
  places: [
    {
      ...own,
      fromHeaders: [
        { name: 'x-token', prefix: 'Value ' },
        { name: 'x-bare', prefix: '' },
      ],
      fromParams: ['t'],
      fromCookies: ['session'],
    },
  ],
  speaking: [speaking],
  'any audience': [{ ...own, audiences: [] }],
};

/** Istio's `convertToEnvoyJwtConfig`. */
function jwtAuthn(rules: readonly JwtRule[]): Message {
  const sorted = rules.toSorted((a, b) => (a.issuer < b.issuer ? -1 : 1));
  const providers = Object.fromEntries(
    sorted.map((rule, i) => [
      `origins-${i}`,
      {
        issuer: rule.issuer,
        audiences: rule.audiences,
        forward: rule.forwardOriginalToken,
        forward_payload_header: rule.outputPayloadToHeader ?? '',
        payload_in_metadata: 'payload',
        normalize_payload_in_metadata: { space_delimited_claims: ['permission', 'scope'] },
        claim_to_headers: rule.outputClaimToHeaders.map(({ claim, header }) => ({
          header_name: header,
          claim_name: claim,
        })),
        from_headers: rule.fromHeaders.map(({ name, prefix }) => ({ name, value_prefix: prefix })),
        from_params: rule.fromParams,
        from_cookies: rule.fromCookies,
        local_jwks: { inline_string: rule.keys.kind === 'inline' ? rule.keys.jwks : '' },
      },
    ]),
  );
  const named = sorted.map((rule, i) => ({ rule, requirement: { provider_name: `origins-${i}` } }));
  const each = named.map(({ requirement, rule }) =>
    rule.required === true ? requirement : { requires_any: { requirements: [requirement, { allow_missing: {} }] } },
  );
  const demanding = rules.some(({ required }) => required === true);
  const all = { requires_all: { requirements: each } };
  const several = demanding
    ? all
    : { requires_any: { requirements: [...named.map(({ requirement }) => requirement), all] } };
  return {
    name: 'envoy.filters.http.jwt_authn',
    typed_config: typed('envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication', {
      providers,
      rules: [{ match: { prefix: '/' }, requires: each.length === 1 ? each[0] : several }],
      bypass_cors_preflight: true,
    }),
  };
}

const claims = { iss: 'https://issuer.example', sub: 'ann', aud: 'shop', exp: now + 300 };
const make = (more: object = {}, header: object = { alg: 'RS256', kid: 'k1' }): string =>
  makeToken({ key: first, claims: { ...claims, ...more }, header: header as never });
const good = make();
const ofPartner = (more: object = {}): string =>
  makeToken({
    key: partner,
    alg: 'ES256',
    claims: { iss: 'https://partner.example', sub: 'bob', exp: now + 300, ...more },
    header: { alg: 'ES256', kid: 'p1' },
  });
const raw = (text: string): string => makeToken({ key: first, claims: text });
const [h = '', p = '', s = ''] = good.split('.');
const bearer = (token: string): string => `Authorization: Bearer ${token}\r\n`;
const preflight = 'Origin: https://a\r\nAccess-Control-Request-Method: GET\r\n';

interface Case {
  readonly setup: string;
  /** Lines of the head. */
  readonly head?: string;
  readonly target?: string;
  /** What is different here, with the reason why; both sides are tested. */
  readonly differs?: { readonly theirs: number; readonly ours: number; readonly why: string };
  /** The answer is the same, what the application sees is not. */
  readonly seenDiffers?: string;
}

const stricter = (why: string, ours = 401) => ({ theirs: 200, ours, why });
const wording = 'other words for the same refusal';

const cases: Readonly<Record<string, Case>> = {
  'no token': { setup: 'one' },
  'a good token': { setup: 'one', head: bearer(good) },
  'a key without alg': {
    setup: 'one',
    head: bearer(makeToken({ key: second, alg: 'ES256', claims, header: { alg: 'ES256', kid: 'k2' } })),
  },
  'EdDSA, a key without kid': {
    setup: 'one',
    head: bearer(makeToken({ key: third, alg: 'EdDSA', claims, header: { alg: 'EdDSA', kid: 'unknown' } })),
  },
  'no kid': { setup: 'one', head: bearer(make({}, { alg: 'RS256' })) },
  'another kid': { setup: 'one', head: bearer(make({}, { alg: 'RS256', kid: 'nobody' })) },
  'kid of another key': { setup: 'one', head: bearer(make({}, { alg: 'RS256', kid: 'k2' })), seenDiffers: wording },
  expired: { setup: 'one', head: bearer(make({ exp: now - 100 })) },
  'expired within the leeway': { setup: 'one', head: bearer(make({ exp: now - 40 })) },
  'not yet valid': { setup: 'one', head: bearer(make({ nbf: now + 100 })) },
  'not yet valid, within the leeway': { setup: 'one', head: bearer(make({ nbf: now + 40 })) },
  'no exp': { setup: 'one', head: bearer(make({ exp: undefined })) },
  'exp 0': { setup: 'one', head: bearer(make({ exp: 0 })), differs: stricter('Envoy takes 0 for no exp') },
  'exp as a text': { setup: 'one', head: bearer(make({ exp: '1' })) },
  'exp negative': { setup: 'one', head: bearer(make({ exp: -1 })), seenDiffers: wording },
  'exp with a fraction': { setup: 'one', head: bearer(make({ exp: now + 300.5 })) },
  'iat in the future': { setup: 'one', head: bearer(make({ iat: now + 9_999 })) },
  'iat as a text': { setup: 'one', head: bearer(make({ iat: 'x' })) },
  'another issuer': { setup: 'one', head: bearer(make({ iss: 'https://evil.example' })) },
  'no issuer': { setup: 'one', head: bearer(make({ iss: undefined })) },
  'iss as a number': { setup: 'one', head: bearer(make({ iss: 1 })) },
  'sub as a number': { setup: 'one', head: bearer(make({ sub: 1 })) },
  'jti as a number': { setup: 'one', head: bearer(make({ jti: 1 })) },
  'another audience': { setup: 'one', head: bearer(make({ aud: 'other' })) },
  'no audience': { setup: 'one', head: bearer(make({ aud: undefined })) },
  'one of several audiences': { setup: 'one', head: bearer(make({ aud: ['x', 'shop'] })) },
  'an audience with scheme and slash': { setup: 'one', head: bearer(make({ aud: 'https://shop/' })) },
  'an audience of two slashes': { setup: 'one', head: bearer(make({ aud: 'https://shop//' })) },
  'an audience in another case': { setup: 'one', head: bearer(make({ aud: 'Shop' })) },
  'an audience that is no text': {
    setup: 'one',
    head: bearer(make({ aud: { shop: 1 } })),
    differs: { theirs: 401, ours: 403, why: 'what is no audience is not ours' },
  },
  'an audience that is no text, where any is accepted': {
    setup: 'any audience',
    head: bearer(make({ aud: { a: 1 } })),
  },
  'another audience, and a bad signature': { setup: 'one', head: bearer(`${make({ aud: 'other' })}AAAA`) },
  'a bad signature': { setup: 'one', head: bearer(`${h}.${p}.${encode(Buffer.alloc(256, 1))}`) },
  'a signature of another length': { setup: 'one', head: bearer(`${h}.${p}.AAAA`) },
  'another payload': { setup: 'one', head: bearer(`${h}.${encode(JSON.stringify({ ...claims, sub: 'root' }))}.${s}`) },
  'no signature': { setup: 'one', head: bearer(`${h}.${p}.`) },
  'two parts': { setup: 'one', head: bearer(`${h}.${p}`) },
  'four parts': { setup: 'one', head: bearer(`${good}.x`) },
  'no parts': { setup: 'one', head: bearer('x') },
  'alg none': { setup: 'one', head: bearer(`${encode('{"alg":"none"}')}.${p}.${s}`) },
  'no alg': { setup: 'one', head: bearer(`${encode('{"kid":"k1"}')}.${p}.${s}`) },
  'kid as a number': { setup: 'one', head: bearer(make({}, { alg: 'RS256', kid: 1 })) },
  'a header that is no JSON': { setup: 'one', head: bearer(`${encode('{')}.${p}.${s}`) },
  'a header that is no base64url': { setup: 'one', head: bearer(`${h}*.${p}.${s}`) },
  'a payload that is no JSON': { setup: 'one', head: bearer(raw('{')) },
  'a payload that is a list': { setup: 'one', head: bearer(raw('[]')) },
  padding: { setup: 'one', head: bearer(`${good}==`), differs: stricter('base64url of a JWS has no padding') },
  crit: {
    setup: 'one',
    head: bearer(make({}, { alg: 'RS256', kid: 'k1', crit: ['x'], x: 1 })),
    differs: stricter('RFC 7515 section 4.1.11'),
  },
  'typ of another profile': {
    setup: 'one',
    head: bearer(make({}, { alg: 'RS256', kid: 'k1', typ: 'logout+jwt' })),
    differs: stricter('RFC 8725 section 3.11'),
  },
  'a claim twice': { setup: 'one', head: bearer(raw(`{"sub":"root",${JSON.stringify(claims).slice(1)}`)) },
  'another scheme': { setup: 'one', head: 'Authorization: Basic YTpi\r\n' },
  'a scheme in lower case': { setup: 'one', head: `Authorization: bearer ${make({ exp: 1 })}\r\n` },
  'a scheme behind something': { setup: 'one', head: `Authorization: x Bearer ${good}\r\n` },
  'two spaces': { setup: 'one', head: `Authorization: Bearer   ${good}\r\n` },
  'nothing behind the scheme': { setup: 'one', head: 'Authorization: Bearer \r\n' },
  'a comma behind the token': { setup: 'one', head: bearer(`${good}, x`) },
  'two headers of its own, both good': { setup: 'places', head: `X-Bare: ${good}\r\nX-Bare: ${good}\r\n` },
  'two headers of its own, one bad': { setup: 'places', head: `X-Bare: ${good}\r\nX-Bare: x\r\n` },
  'two headers, both good': { setup: 'one', head: bearer(good) + bearer(good) },
  'two headers, one bad': { setup: 'one', head: bearer(good) + bearer('x') },
  'a token in the query': { setup: 'one', target: `/?access_token=${good}` },
  'a token between others': { setup: 'one', target: `/p?a=1&access_token=${good}&b=2` },
  'a token in the query, name encoded': { setup: 'one', target: `/?%61ccess_token=${good}` },
  'a token in the query, empty': { setup: 'one', target: '/?access_token=' },
  'a token twice in the query, the second bad': {
    setup: 'one',
    target: `/?access_token=${good}&access_token=x`,
    differs: stricter('which of them the application would read is not known'),
  },
  'a good token in a header and a bad one in the query': {
    setup: 'one',
    head: bearer(good),
    target: '/?access_token=x',
  },
  'a preflight': { setup: 'required', head: `${preflight}`, target: 'OPTIONS' },
  'a preflight with a bad token': { setup: 'required', head: preflight + bearer('x'), target: 'OPTIONS' },
  'required, none': { setup: 'required' },
  'required, good': { setup: 'required', head: bearer(good) },
  'required, bad': { setup: 'required', head: bearer('x') },
  'two rules: the first': { setup: 'two', head: bearer(good) },
  'two rules: the second': { setup: 'two', head: bearer(ofPartner()) },
  'two rules: nobody': { setup: 'two' },
  'two rules: neither': { setup: 'two', head: bearer(make({ iss: 'https://evil.example' })) },
  'two rules: expired': { setup: 'two', head: bearer(make({ exp: 1 })) },
  'two rules: the second expired': { setup: 'two', head: bearer(ofPartner({ exp: 1 })) },
  'two rules: another audience': { setup: 'two', head: bearer(make({ aud: 'x' })) },
  'two rules: the issuer of one, the key of the other': {
    setup: 'two',
    head: bearer(makeToken({ key: partner, alg: 'ES256', claims, header: { alg: 'ES256', kid: 'p1' } })),
  },
  'both required, both there': { setup: 'both required', head: `${bearer(good)}x-partner: ${ofPartner()}\r\n` },
  'both required, one there': { setup: 'both required', head: bearer(good) },
  'both required, one bad': { setup: 'both required', head: `${bearer(good)}x-partner: x\r\n` },
  'a token that goes on': { setup: 'forwarding', head: bearer(good), target: `/?access_token=${good}` },
  'a header of its own': { setup: 'places', head: `X-Token: Value ${good}\r\n` },
  'a prefix in another case': { setup: 'places', head: 'X-Token: value x\r\n' },
  'a header without prefix': { setup: 'places', head: `X-Bare: ${good}\r\n` },
  'a parameter of its own': { setup: 'places', target: `/?t=${good}` },
  'a cookie': {
    setup: 'places',
    head: `Cookie: a=1; session=${good}; b=2\r\n`,
    seenDiffers: 'Envoy leaves cookies in their place',
  },
  'a cookie in quotes': { setup: 'places', head: `Cookie: session="${make({ exp: 1 })}"\r\n` },
  'a place that does not count': { setup: 'places', head: bearer('x'), target: '/?access_token=x' },
  'claims in headers': {
    setup: 'speaking',
    head: bearer(
      make({ n: 42, half: 1.5, minus: -3, yes: true, list: ['a', 1], deep: { a: 'b' }, empty: '', nothing: null }),
    ),
  },
  'forged headers, no token': {
    setup: 'speaking',
    head: 'X-Payload: x\r\nx-sub: root\r\nX-Sub: root\r\nx-none: x\r\n',
  },
  'forged headers and a token': { setup: 'speaking', head: `x-sub: root\r\nx-none: x\r\n${bearer(good)}` },
  'forged headers in a preflight': {
    setup: 'speaking',
    head: `${preflight}x-sub: root\r\n`,
    target: 'OPTIONS',
  },
};

async function ourServer(t: Test, rules: readonly JwtRule[]): Promise<number> {
  const provenance = { kind: 'RequestAuthentication', namespace: 'shop', name: 'jwt' };
  const { pipeline } = testPipeline(inboundSnapshot({ requestAuthentication: [{ rules, provenance }] }), {
    keySourceOf: inlineKeysOf(),
  });
  const server = createServer((request, response) => pipeline.handle(request, response, () => echo(request, response)));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => {
    server.close();
    pipeline.close();
  });
  return (server.address() as AddressInfo).port;
}

async function ask(port: number, { head = '', target = '/' }: Case): Promise<RawAnswer> {
  const line = target === 'OPTIONS' ? 'OPTIONS /' : `GET ${target}`;
  const [answer] = await rawExchange(port, `${line} HTTP/1.1\r\nHost: web\r\n${head}\r\n`);
  if (answer === undefined) throw new Error('no answer');
  return answer;
}

const ofProxies = new Set([
  'x-forwarded-proto',
  'x-request-id',
  'x-envoy-expected-rq-timeout-ms',
  'x-envoy-internal',
  'x-forwarded-for',
  'connection',
  'content-length',
  'host',
]);

/** What the application saw; headers that every proxy adds apart. */
function seen({ body, status }: RawAnswer): object {
  if (status !== 200) return { body };
  const { headers, method, url } = JSON.parse(body) as Echo;
  return { method, url, headers: Object.fromEntries(Object.entries(headers).filter(([name]) => !ofProxies.has(name))) };
}

/** The realm has the query of the request in Envoy. */
const challenge = ({ headers }: RawAnswer): string | undefined =>
  headers['www-authenticate']?.replace(/realm="([^"?]*)[^"]*"/, 'realm="$1"');

t.test(
  ...withEnvoy('tokens are judged as in Envoy', async (t, program) => {
    const app = await echoServer(t);
    const envoy = await startEnvoy(t, program, () => ({
      listeners: Object.entries(setups).map(([name, rules]) => {
        const router = {
          name: 'envoy.filters.http.router',
          typed_config: typed('envoy.extensions.filters.http.router.v3.Router'),
        };
        const http = httpFilter('app', { manager: { http_filters: [jwtAuthn(rules), router] } });
        return { name, address: loopback(0), filter_chains: [{ filters: [http] }] };
      }),
      clusters: [cluster('app', [app], httpVersion(1))],
    }));
    const ours = new Map<string, number>();
    for (const [name, rules] of Object.entries(setups)) ours.set(name, await ourServer(t, rules));
    for (const [name, each] of Object.entries(cases)) {
      const [envoys, own] = await Promise.all([
        ask(envoy.port(each.setup), each),
        ask(ours.get(each.setup) ?? 0, each),
      ]);
      const { differs, seenDiffers } = each;
      if (differs !== undefined) {
        t.same([envoys.status, own.status], [differs.theirs, differs.ours], `${name}: ${differs.why}`);
        continue;
      }
      t.equal(own.status, envoys.status, `${name}: ${envoys.body.slice(0, 80)}`);
      t.equal(challenge(own), challenge(envoys), name);
      if (seenDiffers === undefined) t.same(seen(own), seen(envoys), name);
      else t.notSame(seen(own), seen(envoys), `${name}: ${seenDiffers}`);
    }
  }),
);
