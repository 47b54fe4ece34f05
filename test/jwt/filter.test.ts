import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:http';
import { connect, createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { maxAttempts } from '../../src/jwt/attempts.ts';
import type { KeySource } from '../../src/jwt/keys.ts';
import { renderClaim } from '../../src/jwt/outputs.ts';
import { seededRandom } from '../../src/lib/random.ts';
import type { AuthorizationPolicy } from '../../src/model/authorization.ts';
import type { JwtRule } from '../../src/model/request-authentication.ts';
import { requestContext } from '../../src/pipeline/request-context.ts';
import { currentScope } from '../../src/pipeline/scope.ts';
import { callOf } from '../../src/pipeline/server-call.ts';
import type { createServerPipeline } from '../../src/server-pipeline.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import {
  inboundSnapshot,
  type RawAnswer,
  rawConnection,
  rawExchange,
  testInbound,
  testPipeline,
} from '../support/inbound.ts';
import { inlineKeysOf, jwksOf, makeToken, makeTokenKey, tokenRule } from '../support/tokens.ts';

const start = 1_900_000_000;
const key = makeTokenKey('ES256', { kid: 'k1' });
const claims = { iss: 'https://issuer.example', sub: 'ann', exp: start + 300, roles: ['a', 'b'] };
const token = (more: object = {}): string =>
  makeToken({ key, alg: 'ES256', claims: { ...claims, ...more }, header: { alg: 'ES256', kid: 'k1' } });
const good = token();
const rule = tokenRule(jwksOf(key));
const provenance = { kind: 'RequestAuthentication', namespace: 'shop', name: 'jwt' };

/** What the application saw. */
interface Seen {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly raw: readonly string[];
  readonly distinct: Readonly<Record<string, readonly string[]>>;
  readonly claims: unknown;
  readonly scope: unknown;
  readonly principal: string;
}

interface Server {
  readonly clock: FakeClock;
  readonly logged: () => string;
  ask(lines?: string, target?: string): Promise<RawAnswer & { readonly seen?: Seen }>;
}

async function serve(
  t: Test,
  rules: readonly JwtRule[],
  authorization: readonly AuthorizationPolicy[] = [],
  options: Partial<Parameters<typeof createServerPipeline>[0]> = {},
  numTrustedProxies = 0,
): Promise<Server> {
  const clock = fakeClock(start * 1_000);
  const keySourceOf = inlineKeysOf();
  const snapshot = inboundSnapshot({
    requestAuthentication: [{ rules, provenance }],
    authorization,
    numTrustedProxies,
  });
  const { logger, pipeline } = testPipeline(snapshot, { clock, keySourceOf, ...options });
  const server = createServer((request, response) =>
    pipeline.handle(request, response, () => response.end(JSON.stringify(seenOf(request)))),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    pipeline.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    clock,
    logged: () => JSON.stringify(logger.lines),
    async ask(lines = '', target = 'GET /') {
      const [answer] = await rawExchange(port, `${target} HTTP/1.1\r\nHost: web\r\n${lines}\r\n`);
      if (answer === undefined) throw new Error('no answer');
      return answer.status === 200 ? { ...answer, seen: JSON.parse(answer.body) as Seen } : answer;
    },
  };
}

function seenOf(request: IncomingMessage): Seen {
  return {
    url: request.url ?? '',
    headers: request.headers as Record<string, string>,
    raw: request.rawHeaders,
    distinct: request.headersDistinct as Record<string, string[]>,
    claims: requestContext(request).claims,
    scope: currentScope()?.claims,
    principal: callOf(request)?.requestPrincipal ?? '',
  };
}

const bearer = (text: string): string => `Authorization: Bearer ${text}\r\n`;
const everywhere = (seen: Seen | undefined): string =>
  JSON.stringify([seen?.url, seen?.headers, seen?.raw, seen?.distinct]);

t.test('JWT-067 the application gets claims instead of the token', async (t) => {
  const { ask } = await serve(t, [rule]);
  for (const round of ['verified', 'remembered']) {
    const { seen } = await ask(`${bearer(good)}x-other: 1\r\n`);
    t.same(seen?.claims, claims, round);
    t.same(seen?.scope, claims);
    t.equal(seen?.principal, 'https://issuer.example/ann');
    t.notMatch(everywhere(seen), /authorization|Bearer/i);
    t.match(seen?.headers, { host: 'web', 'x-other': '1' });
  }
  const { seen } = await ask();
  t.equal(seen?.claims, undefined, 'without a token');
  t.equal(seen?.principal, '');
});

t.test('tokens are taken out of where they were, and nothing else', async (t) => {
  const cookies: JwtRule = {
    ...rule,
    fromCookies: ['session'],
    fromParams: ['t'],
    fromHeaders: [{ name: 'x-t', prefix: '' }],
  };
  const { ask } = await serve(t, [cookies]);
  const query = await ask('', `GET /a%20b?x=%41&t=${good}&y=1&%74=${good}&z`);
  t.equal(query.seen?.url, '/a%20b?x=%41&y=1&z');
  t.equal((await ask('', `GET /?t=${good}`)).seen?.url, '/');
  const nested = await ask('', `GET /?x=1&[t]=${good}&t[]=${good}&t[a]=${good}`);
  t.equal(nested.seen?.url, '/?x=1');
  for (const round of ['verified', 'remembered']) {
    t.equal((await ask(`x-t: ${good}\r\n`)).status, 200, round);
    t.equal((await ask(`x-t: ${good}\r\n`.repeat(6))).status, 401, `six tokens, ${round}`);
  }
  const cookie = await ask(`cookie: a=1; session=${good}; b="2"\r\n`);
  t.equal(cookie.seen?.headers['cookie'], 'a=1; b="2"');
  t.notOk(everywhere(cookie.seen).includes(good));
  const only = await ask(`cookie: session=${good}\r\n`);
  t.equal(only.seen?.headers['cookie'], undefined);
  const twice = await ask(`x-t: ${good}\r\nX-T: ${good}\r\n`);
  t.equal(twice.status, 200);
  t.notOk(everywhere(twice.seen).includes(good));
});

t.test('a server of the application for HTTP/2 sees no token in any view either', async (t) => {
  const { pipeline } = testPipeline(inboundSnapshot({ requestAuthentication: [{ rules: [rule], provenance }] }), {
    clock: fakeClock(start * 1_000),
    keySourceOf: inlineKeysOf(),
  });
  const server = createHttp2Server((request, response) => {
    const plain = request as unknown as IncomingMessage;
    pipeline.handle(plain, response as never, () => {
      const { headers, rawHeaders, url } = request;
      response.end(JSON.stringify({ url, headers, rawHeaders, claims: requestContext(plain).claims }));
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.teardown(() => {
    session.destroy();
    server.close();
    pipeline.close();
  });
  for (const headers of [
    { ':path': `/a?b=1&access_token=${good}` },
    { ':path': '/a?b=1', authorization: `Bearer ${good}` },
  ]) {
    const stream = session.request(headers).setEncoding('utf8');
    let body = '';
    for await (const text of stream) body += text;
    const seen = JSON.parse(body) as Seen;
    t.equal(seen.url, '/a?b=1');
    t.same(seen.claims, claims);
    t.notOk(body.includes(good.split('.')[2] ?? good), 'no signature');
  }
});

t.test('forwardOriginalToken leaves the token where it is', async (t) => {
  const { ask } = await serve(t, [{ ...rule, forwardOriginalToken: true }]);
  const { seen } = await ask(bearer(good), `GET /?access_token=${good}`);
  t.equal(seen?.url, `/?access_token=${good}`);
  t.equal(seen?.headers['authorization'], `Bearer ${good}`);
  t.same(seen?.claims, claims);
});

t.test('JWT-066 what only the mesh may say is taken away, token or not', async (t) => {
  const speaking: JwtRule = {
    ...rule,
    outputPayloadToHeader: 'x-jwt-payload',
    outputClaimToHeaders: [
      { header: 'x-user', claim: 'sub' },
      { header: 'x-roles', claim: 'roles' },
      { header: 'x-none', claim: 'none' },
    ],
  };
  const { ask } = await serve(t, [speaking]);
  const forged = 'X-JWT-Payload: forged\r\nx-user: forged\r\nX-USER: forged\r\nx-none: forged\r\n';
  const without = await ask(forged);
  t.notMatch(everywhere(without.seen), /forged|x-user|x-none/i);
  const preflight = 'origin: https://a\r\naccess-control-request-method: GET\r\n';
  t.notMatch(everywhere((await ask(forged + preflight, 'OPTIONS /')).seen), /forged/);
  for (const round of ['verified', 'remembered']) {
    const { seen } = await ask(forged + bearer(good));
    t.notMatch(everywhere(seen), /forged|x-none/, round);
    t.equal(seen?.headers['x-user'], 'ann');
    t.same(seen?.distinct['x-user'], ['ann']);
    t.equal(seen?.raw.filter((each) => each.toLowerCase() === 'x-user').length, 1);
    t.same(JSON.parse(Buffer.from(seen?.headers['x-jwt-payload'] ?? '', 'base64url').toString()), claims);
    t.same(JSON.parse(Buffer.from(seen?.headers['x-roles'] ?? '', 'base64').toString()), ['a', 'b']);
  }
});

t.test('how claims are written into headers', async (t) => {
  for (const [value, text] of [
    ['ann', 'ann'],
    ['', undefined],
    [true, 'true'],
    [false, 'false'],
    [null, undefined],
    [undefined, undefined],
    [0, '0'],
    [42, '42'],
    [2 ** 53, '9007199254740992'],
    [1e19, '10000000000000000000'],
    [2 ** 64, '18446744073709551616.000000'],
    [-5, '-5.000000'],
    [1.5, '1.500000'],
    [Number.POSITIVE_INFINITY, undefined],
    [{ a: 1 }, 'eyJhIjoxfQ=='],
    [[], 'W10='],
    ['\u{1F600}', '%F0%9F%98%80'],
    ['a\r\nx-user: root', 'a%0D%0Ax-user: root'],
    ['a\u0000b\tc', 'a%00b%09c'],
    [' a b ', '%20a b%20'],
    ['50%', '50%'],
    ['50% of', '50% of'],
    ['%0A', '%250A'],
    ['\ud800', undefined],
  ] as const) {
    t.equal(renderClaim(value), text, JSON.stringify(value));
  }
});

t.test('refusals say what Envoy says', async (t) => {
  const { ask } = await serve(t, [{ ...rule, audiences: ['shop'] }]);
  const expired = await ask(bearer(token({ aud: 'shop', exp: start - 61 })), 'GET /a%22b?access=secret');
  t.match(expired, {
    status: 401,
    body: 'Jwt is expired',
    headers: {
      'content-type': 'text/plain',
      'x-inmesh-error': 'ERR_MESH_UNAUTHENTICATED',
      'www-authenticate': 'Bearer realm="http://web/a%22b", error="invalid_token"',
    },
  });
  t.match(await ask(bearer(good)), {
    status: 403,
    body: 'Audiences in Jwt are not allowed',
    headers: {
      'x-inmesh-error': 'ERR_MESH_TOKEN_AUDIENCE',
      'www-authenticate': 'Bearer realm="http://web/", error="invalid_token"',
    },
  });
  const long = await ask(bearer('x'), `GET /${'a'.repeat(1_000)}`);
  t.equal(long.headers['www-authenticate'], `Bearer realm="http://web/${'a'.repeat(255)}", error="invalid_token"`);
  const required = await serve(t, [{ ...rule, required: true }]);
  t.match(await required.ask(), {
    status: 401,
    body: 'Jwt is missing',
    headers: { 'www-authenticate': 'Bearer realm="http://web/"' },
  });
});

t.test('a preflight of CORS passes, whatever it carries; another OPTIONS does not', async (t) => {
  const { ask } = await serve(t, [{ ...rule, required: true }]);
  const origin = 'origin: https://a\r\n';
  const method = 'access-control-request-method: GET\r\n';
  t.equal((await ask(origin + method, 'OPTIONS /')).status, 200);
  t.equal((await ask(origin + method + bearer('bad'), 'OPTIONS /')).seen?.claims, undefined);
  t.equal((await ask(origin, 'OPTIONS /')).status, 401);
  t.equal((await ask(method, 'OPTIONS /')).status, 401);
  t.equal((await ask(`origin:\r\n${method}`, 'OPTIONS /')).status, 401);
  t.equal((await ask(origin + method)).status, 401);
});

t.test('what is remembered ends with the token, and not before', async (t) => {
  const { ask, clock } = await serve(t, [rule]);
  const short = token({ exp: start + 10 });
  t.equal((await ask(bearer(short))).status, 200);
  clock.jump(70_000);
  t.equal((await ask(bearer(short))).status, 200, 'CERT-09 60 s of leeway');
  clock.jump(1_000);
  t.equal((await ask(bearer(short))).body, 'Jwt is expired');
  clock.jump(-71_000);
  const early = token({ nbf: start + 60 });
  t.equal((await ask(bearer(early))).status, 200);
  clock.jump(-1_000);
  t.equal((await ask(bearer(early))).body, 'Jwt not yet valid', 'a clock that was set back');
});

t.test('a caller who did not wait for the keys is not served any more', async (t) => {
  const source = inlineKeysOf()(rule);
  let asked = (): void => {};
  let release = (): void => {};
  const waiting = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const late: KeySource = {
    current: () => undefined,
    async refresh() {
      asked();
      await released;
      return source.current();
    },
  };
  const { pipeline } = testPipeline(inboundSnapshot({ requestAuthentication: [{ rules: [rule], provenance }] }), {
    clock: fakeClock(start * 1_000),
    keySourceOf: () => late,
  });
  let served = 0;
  const closed = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    response.once('close', closed.resolve);
    pipeline.handle(request, response, () => {
      served++;
      response.end();
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => {
    server.close();
    pipeline.close();
  });
  const socket = rawConnection((server.address() as AddressInfo).port);
  socket.write(`GET / HTTP/1.1\r\nHost: web\r\n${bearer(good)}\r\n`);
  await waiting;
  socket.destroy();
  await closed.promise;
  release();
  await new Promise((resolve) => setImmediate(resolve));
  await source.refresh('none');
  const [answer] = await rawExchange(
    (server.address() as AddressInfo).port,
    `GET / HTTP/1.1\r\nHost: web\r\n${bearer(good)}\r\n`,
  );
  t.equal(answer?.status, 200, 'another one is');
  t.equal(served, 1);
});

t.test('tokens without exp are refused by option', async (t) => {
  const endless = token({ exp: undefined });
  t.equal((await (await serve(t, [rule])).ask(bearer(endless))).status, 200);
  t.equal((await (await serve(t, [rule], [], { tokenExpiry: 'required' })).ask(bearer(endless))).status, 401);
});

t.test('refused before authorization speaks; tokens stay out of the log', async (t) => {
  const deny: AuthorizationPolicy = { action: 'DENY', rules: [{ from: [], to: [] }], provenance };
  const { ask, logged } = await serve(t, [rule], [deny]);
  t.equal((await ask(bearer('bad'))).status, 401);
  t.equal((await ask(bearer(good))).status, 403);
  t.equal((await ask('', `GET /?access_token=${good}`)).status, 403);
  t.equal((await ask('x: 1\r\nHost: other\r\n', `GET /?access_token=${good}`)).status, 400);
  t.notOk(logged().includes(good.split('.')[2] ?? good), 'no signature');
  t.notOk(logged().includes(good.split('.')[1] ?? good), 'no payload');
});

t.test('without RequestAuthentication tokens are not looked at', async (t) => {
  const { ask } = await serve(t, []);
  const { seen } = await ask(bearer('bad'));
  t.equal(seen?.headers['authorization'], 'Bearer bad');
});

t.test('keys that nobody brings refuse tokens', async (t) => {
  const inbound = await testInbound((_request, response) => void response.end('hello'), {
    policy: { requestAuthentication: [{ rules: [rule], provenance }] },
  });
  t.teardown(() => inbound.acceptor.drain(0));
  const [answer] = await rawExchange(inbound.port, `GET / HTTP/1.1\r\nHost: web\r\n${bearer(token({ exp: 9e9 }))}\r\n`);
  t.match(answer, { status: 401, body: 'Jwks remote fetch is failed' });
});

t.test('tokens that name no key and are good for none: each caller has few', async (t) => {
  const keys = Array.from({ length: 5 }, (_, i) => makeTokenKey('ES256', { kid: `k${i}` }));
  const [first, , third] = keys;
  const { ask, clock } = await serve(t, [tokenRule(jwksOf(...keys))]);
  let count = 0;
  const nameless = (of: typeof first, kid?: string): string =>
    makeToken({
      key: of ?? key,
      alg: 'ES256',
      claims: { iss: claims.iss, sub: `s${count++}`, exp: start + 9_000 },
      header: { alg: 'ES256', ...(kid === undefined ? {} : { kid }) },
    });
  const status = async (token: string): Promise<number> => (await ask(bearer(token))).status;
  // The first key is free, four more take four attempts each.
  const flooding = Math.ceil(maxAttempts / 16);
  const flood = async (): Promise<void> => {
    for (let i = 0; i < flooding; i++) await ask(bearer(nameless(undefined)));
  };
  for (let i = 0; i < flooding - 1; i++) t.equal(await status(nameless(undefined)), 401, `${i}`);
  t.match(await ask(bearer(nameless(undefined))), { status: 503, body: /overloaded/ });
  t.equal(await status(nameless(first)), 200, 'the first key is tried in any case');
  t.equal(await status(nameless(undefined, 'k2')), 401, 'who names a key is answered');
  clock.advance(1);
  t.equal(await status(nameless(third, 'k2')), 200, 'and accepted');
  t.equal(await status(nameless(third)), 200, 'and the last that has verified a token');
  clock.advance(600_000);
  await flood();
  t.equal(await status(nameless(third)), 503, 'which nobody has used for ten minutes');
  clock.advance(1_000);
  t.equal(await status(nameless(third)), 200, 'attempts have come back');
  await flood();
  t.equal(await status(nameless(third)), 200, 'now the issuer signs with it');
});

t.test(
  'tokens of slow keys: a caller who has sent bad ones is told to come again, never that a good one is bad',
  async (t) => {
    const made = makeTokenKey('ES384', { kid: 'k1' });
    let count = 0;
    const signed = (by = made): string =>
      makeToken({
        key: by,
        alg: 'ES384',
        claims: { iss: claims.iss, sub: `s${count++}`, exp: start + 9_000 },
        header: { alg: 'ES384', kid: 'k1' },
      });
    const other = makeTokenKey('ES384');
    const before = signed();
    const flooded = async ({ ask }: Server): Promise<readonly number[]> => {
      const all = [];
      for (let i = 0; i < 20; i++) all.push((await ask(bearer(signed(other)))).status);
      return all;
    };
    const server = await serve(t, [tokenRule(jwksOf(made))]);
    const { ask, clock } = server;
    for (let i = 0; i < 20; i++) t.equal((await ask(bearer(signed()))).status, 200, 'good ones are not counted');
    t.equal((await ask(bearer(before))).status, 200);
    t.same(
      (await flooded(server)).toSorted(),
      Array.from({ length: 20 }, (_, i) => (i < Math.floor(maxAttempts / 36) ? 401 : 503)),
    );
    t.match(await ask(bearer(signed())), { status: 503, headers: { 'retry-after': '1' } });
    t.equal((await ask(bearer(before))).status, 200, 'one that was verified before passes');
    clock.advance(1_250);
    t.equal((await ask(bearer(signed()))).status, 200);
    const always = await serve(t, [tokenRule(jwksOf(made))], [], { slowTokenKeys: 'always' });
    t.ok(
      (await flooded(always)).every((status) => status === 401),
      'where it is so set',
    );
  },
);

t.test(
  'callers behind a trusted proxy do not take the attempts of others; addresses of one IPv6 network do',
  async (t) => {
    const made = makeTokenKey('ES384', { kid: 'k1' });
    const other = makeTokenKey('ES384');
    const { ask } = await serve(t, [tokenRule(jwksOf(made))], [], { random: seededRandom(1) }, 1);
    let count = 0;
    const status = async (from: string, by = other): Promise<number> => {
      const text = makeToken({
        key: by,
        alg: 'ES384',
        claims: { iss: claims.iss, sub: `s${count++}`, exp: start + 9_000 },
        header: { alg: 'ES384', kid: 'k1' },
      });
      return (await ask(`${bearer(text)}X-Forwarded-For: ${from}\r\n`)).status;
    };
    for (let i = 0; i < Math.floor(maxAttempts / 36); i++) t.equal(await status(`2001:db8:0:1::${i}`), 401);
    t.equal(await status('2001:db8:0:1:f::', made), 503);
    const others = await Promise.all(Array.from({ length: 10 }, (_, i) => status(`2001:db8:${i}:2::1`, made)));
    t.ok(others.filter((each) => each === 200).length >= 8, 'few share its place by chance');
  },
);
