import { createPrivateKey } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SignJWT } from 'jose';
import t, { type Test } from 'tap';
import { Agent, request } from 'undici';
import { staticSource } from '../../src/config/static-source.ts';
import { createMesh, type JwksStatus, type Mesh } from '../../src/index.ts';
import { holdProcess } from '../../src/lib/clock.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { shopWeb } from '../support/inbound.ts';
import { testMesh } from '../support/mesh-pair.ts';
import { type OpenIdProvider, openIdProvider, type SigningKey, signingKey } from '../support/openid-provider.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { nameAuthority, testFolder } from '../support/tls-server.ts';
import { until } from '../support/upstream.ts';

/**
 * Tokens of a real OpenID provider, over TLS, as a service in the mesh takes them: from discovery to
 * the claims that its handler sees, and what becomes of it when the provider changes keys or fails.
 */

const authority = nameAuthority();
const minutes = 60_000;
const [k1, k2, k3] = ['k1', 'k2', 'k3'].map(signingKey) as [SigningKey, SigningKey, SigningKey];

interface Service {
  readonly provider: OpenIdProvider;
  readonly mesh: Mesh;
  readonly clock: FakeClock;
  readonly told: readonly JwksStatus[];
  readonly warnings: () => readonly string[];
  /** Status, and whose token it was. */
  ask(token?: string): Promise<string>;
  /** Lets the time to the next fetch pass, and waits for its end. */
  refresh(): Promise<void>;
}

const newProvider = (t: Test, ...keys: readonly SigningKey[]): Promise<OpenIdProvider> =>
  openIdProvider(t, { ...authority.issue({ dns: 'localhost' }), rootPem: authority.rootPem }, ...keys);

async function service(
  t: Test,
  provider: OpenIdProvider,
  { keys = '', trusted = true }: { readonly keys?: string; readonly trusted?: boolean } = {},
): Promise<Service> {
  const clock = fakeClock();
  const logger = recordingLogger();
  const yaml = `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec:
  jwtRules:
  - issuer: ${provider.issuer}
    audiences: [https://shop.example, shop-page]
    outputPayloadToHeader: x-payload
    ${keys}
`;
  const mesh = createMesh({
    workload: shopWeb,
    identity: false,
    config: staticSource(yaml, { workload: shopWeb }),
    clock,
    random: () => 0,
    logger,
    ...(trusted ? { jwksCa: testFolder(t).write('roots.pem', authority.rootPem) } : {}),
  });
  const told: JwksStatus[] = [];
  mesh.on('jwks', (status) => void told.push(status));
  const release = holdProcess();
  const client = new Agent();
  t.teardown(async () => {
    release();
    await client.destroy();
    await mesh.close();
  });
  const { port } = await mesh.listen(
    ({ headers }, response) => {
      const payload = Buffer.from(String(headers['x-payload'] ?? ''), 'base64url').toString();
      response.end(payload === '' ? 'nobody' : (JSON.parse(payload) as { readonly sub: string }).sub);
    },
    { host: '127.0.0.1' },
  );
  return {
    provider,
    mesh,
    clock,
    told,
    warnings: () => logger.messages('warn'),
    async ask(token) {
      const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const { body, statusCode } = await request(`http://127.0.0.1:${port}/`, { dispatcher: client, headers });
      const text = await body.text();
      return statusCode === 200 ? `200 ${text}` : String(statusCode);
    },
    async refresh() {
      const next = mesh.stats().jwks[0]?.nextFetchAt ?? t.fail('a fetch is under way');
      clock.advance((next as number) - clock.wallNow());
      await until(() => (mesh.stats().jwks[0]?.nextFetchAt ?? 0) > clock.wallNow(), 'the fetch to end');
    },
  };
}

function signedBy(key: SigningKey, issuer: string, subject: string): Promise<string> {
  const token = new SignJWT({ sub: subject }).setIssuer(issuer).setAudience('shop-page');
  return token
    .setProtectedHeader({ alg: 'RS256', kid: key.kid })
    .sign(createPrivateKey({ key: { ...key }, format: 'jwk' }));
}

t.test('tokens are accepted by what discovery says, without a word about keys in the configuration', async (t) => {
  const { ask, mesh, provider } = await service(t, await newProvider(t, k1));
  t.same(provider.asked, ['/.well-known/openid-configuration', '/jwks'], 'ready waits for the keys');
  t.match(mesh.stats().jwks, [{ from: 'discovery', url: `${provider.issuer}/`, keys: 1, generation: 1 }]);
  t.equal(await ask(await provider.accessToken()), '200 batch');
  t.equal(await ask(await provider.idToken()), '200 alice');
  t.equal(await ask(), '200 nobody', 'JWT-003 without a token: only a policy demands one');
  const stranger = await newProvider(t, signingKey('k1'));
  t.equal(await ask(await stranger.accessToken()), '401', 'JWT-039');
  provider.useKeys(signingKey('k1'));
  t.equal(await ask(await provider.accessToken()), '401', 'the right issuer and kid, but another key');
  t.same(provider.asked.length, 2, 'a signature that is wrong is no reason to ask for keys');
});

t.test('JWT-084 keys are exchanged while serving: no token is refused', async (t) => {
  const { ask, clock, provider, refresh, told } = await service(t, await newProvider(t, k1));
  const old = await provider.accessToken();
  provider.useKeys(k2, k1);
  const fresh = await provider.accessToken();
  const tokens = Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? old : fresh));
  const answers = await Promise.all(tokens.map((token) => ask(token)));
  t.same(
    answers.filter((answer) => answer !== '200 batch'),
    [],
    '200 requests, 0 refused',
  );
  t.equal(provider.asked.filter((path) => path === '/jwks').length, 2, 'one fetch for all');
  t.match(told.at(-1), { keys: 2, generation: 2 });

  provider.useKeys(k2);
  t.equal(await ask(old), '200 batch');
  const before = clock.now();
  await refresh();
  t.equal(await ask(old), '401', 'JWT-085 what the issuer took back is refused');
  t.equal(clock.now() - before, 5 * minutes, 'within five minutes');
  t.equal(await ask(fresh), '200 batch');
});

t.test('JWT-084 ten exchanges of keys under load, with tokens of both keys at any time: 0 refused', async (t) => {
  const { ask, clock, provider, refresh } = await service(t, await newProvider(t, k1));
  let tokens = [await provider.accessToken()];
  let [answered, over] = [0, false];
  const refused: string[] = [];
  const underWay = new Set<Promise<unknown>>();
  const call = async (token: string): Promise<void> => {
    const answer = await ask(token);
    if (answer !== '200 batch') refused.push(answer);
    answered++;
  };
  // Five minutes at once would be too long for a connection that is just being made.
  let pause: Promise<void> | undefined;
  const workers = Array.from({ length: 16 }, async (_, i) => {
    for (let n = i; !over; n++) {
      if (pause !== undefined) await pause;
      const calling = call(tokens[n % tokens.length] as string);
      underWay.add(calling);
      await calling;
      underWay.delete(calling);
    }
  });
  const somewhat = async (): Promise<void> => {
    const goal = answered + 64;
    while (answered < goal) await Promise.race(underWay);
  };
  for (let turn = 1; turn <= 10; turn++) {
    const [before, next] = [k1, k2, k3, k1].slice((turn - 1) % 3, ((turn - 1) % 3) + 2) as [SigningKey, SigningKey];
    provider.useKeys(next, before);
    tokens = [...tokens, await provider.accessToken()];
    await somewhat();
    tokens = tokens.slice(1);
    const { promise, resolve } = Promise.withResolvers<void>();
    pause = promise;
    await Promise.all(underWay);
    provider.useKeys(next);
    const refreshed = refresh();
    pause = undefined;
    resolve();
    await refreshed;
    await somewhat();
    clock.advance(1_000);
  }
  over = true;
  await Promise.all(workers);
  t.same(refused, []);
  t.ok(answered > 1_280, `${answered} requests`);
});

t.test('while the provider is down the last good keys serve on', async (t) => {
  const { ask, mesh, provider, refresh, told, warnings } = await service(t, await newProvider(t, k1));
  const known = await provider.accessToken();
  provider.useKeys(k2);
  const unknown = await provider.accessToken();
  provider.trouble = ({ socket }) => socket.destroy();
  await refresh();
  t.equal(await ask(known), '200 batch');
  t.equal(await ask(unknown), '401', 'JWT-033');
  t.equal(provider.asked.length, 4, 'it was asked for once more');
  t.equal(await ask(unknown), '401');
  t.equal(provider.asked.length, 4, 'but not for each token');
  t.match(mesh.health(), {
    ready: true,
    warnings: [/^keys of tokens from https:\/\/localhost:\d+\/ are not renewed: /],
  });
  t.same(warnings(), ['keys of tokens cannot be fetched: those from before stay']);
  provider.trouble = undefined;
  await refresh();
  t.equal(await ask(unknown), '200 batch', 'it is back, with another key');
  t.equal(await ask(known), '401');
  t.same(mesh.health().warnings, []);
  t.match(told, [
    { generation: 1 },
    { problem: String, keys: 1, generation: 1 },
    { problem: undefined, generation: 2 },
  ]);
});

t.test('JWT-077 a provider that is down at the start refuses its tokens and nothing else', async (t) => {
  const provider = await newProvider(t, k1);
  provider.trouble = (_, outgoing) => outgoing.writeHead(503).end();
  const { ask, mesh, refresh } = await service(t, provider);
  const token = await provider.accessToken();
  t.equal(await ask(token), '401');
  t.equal(await ask(), '200 nobody');
  t.match(mesh.health(), {
    ready: true,
    warnings: [/^no keys of tokens from https:.* they are refused \(status 503\)$/],
  });
  provider.trouble = undefined;
  await refresh();
  t.equal(await ask(token), '200 batch');
});

t.test('a provider that is slow holds up only those who need its answer', async (t) => {
  const { ask, clock, provider, refresh } = await service(t, await newProvider(t, k1));
  const known = await provider.accessToken();
  provider.useKeys(k2, k1);
  const unknown = await provider.accessToken();
  const held: (() => void)[] = [];
  provider.trouble = (incoming, outgoing) => void held.push(() => provider.answer(incoming, outgoing));
  // More than are verified at a time.
  const signed = Array.from({ length: 150 }, (_, i) => signedBy(k2, provider.issuer, `user-${i}`));
  const waiting = [ask(unknown), ask(unknown), ...(await Promise.all(signed)).map(ask)];
  await until(() => held.length === 1, 'the question for keys');
  for (let i = 0; i < 50; i++) t.equal(await ask(known), '200 batch');
  t.equal(await ask(await signedBy(k1, provider.issuer, 'somebody new')), '200 somebody new');
  t.equal(held.length, 1);
  held[0]?.();
  const answers = await Promise.all(waiting);
  t.same(answers.slice(0, 3), ['200 batch', '200 batch', '200 user-0']);
  t.ok(answers.every((answer) => answer.startsWith('200 ')));

  provider.useKeys(k3);
  const third = await provider.accessToken();
  clock.advance(30_000);
  const late = ask(third);
  await until(() => held.length === 2, 'the question for keys');
  t.equal(await ask(known), '200 batch');
  clock.advance(5_000);
  t.equal(await late, '401', 'the timeout of the rule is over');
  t.equal(await ask(unknown), '200 batch', 'and nothing was lost');
  provider.trouble = undefined;
  await refresh();
  t.equal(await ask(third), '200 batch');
});

t.test('JWT-079 whatever the provider sends instead of keys, the last good ones stay', async (t) => {
  const { ask, mesh, provider, refresh } = await service(t, await newProvider(t, k1));
  const token = await provider.accessToken();
  const chunk = Buffer.alloc(65_536, '{');
  for (const [name, trouble, why] of [
    ['10 MB', (_, outgoing) => void sendMuch(outgoing, chunk), /more than 1048576 bytes/],
    ['garbage', (_, outgoing) => outgoing.end(Buffer.from([0xff, 0xfe, 0, 0x7b])), /cannot be read/],
    ['a page', (_, outgoing) => outgoing.end('<!doctype html>SECRET'), /cannot be read/],
    ['its private key', (_, outgoing) => outgoing.end(JSON.stringify({ keys: [k1] })), /private key/],
    [
      'JWT-081 a redirect',
      (_, outgoing) => outgoing.writeHead(307, { location: `${provider.issuer}/jwks` }).end(),
      /redirects/,
    ],
  ] as [string, NonNullable<OpenIdProvider['trouble']>, RegExp][]) {
    provider.trouble = (incoming, outgoing) =>
      incoming.url === '/jwks' ? trouble(incoming, outgoing) : provider.answer(incoming, outgoing);
    await refresh();
    t.match(mesh.stats().jwks, [{ keys: 1, generation: 1, problem: why }], name);
    t.notMatch(JSON.stringify(mesh.stats().jwks), /SECRET|doctype|"d"/, 'JWT-083');
    t.equal(await ask(token), '200 batch');
  }
  provider.trouble = (incoming, outgoing) => {
    if (incoming.url === '/jwks') return provider.answer(incoming, outgoing);
    outgoing.end(JSON.stringify({ issuer: 'https://localhost', jwks_uri: `${provider.issuer}/jwks` }));
  };
  await refresh();
  t.match(mesh.stats().jwks, [{ keys: 1, problem: /another issuer/ }]);
  t.equal(await ask(token), '200 batch');
  provider.trouble = undefined;
  await refresh();
  t.match(mesh.stats().jwks, [{ keys: 1, generation: 1, problem: undefined }], 'the same keys as ever');
  t.equal(await ask(token), '200 batch');
});

async function sendMuch(outgoing: NodeJS.WritableStream, chunk: Buffer): Promise<void> {
  outgoing.on('error', () => {});
  for (let i = 0; i < 160; i++) {
    outgoing.write(chunk);
    await nextTurn();
  }
  outgoing.end();
}

t.test('the provider must prove who it is', async (t) => {
  const { ask, mesh, provider } = await service(t, await newProvider(t, k1), { trusted: false });
  t.match(mesh.stats().jwks, [{ keys: 0, problem: /certificate/ }]);
  t.equal(await ask(await provider.accessToken()), '401');
  t.same(provider.asked, []);
});

t.test('an issuer that is a service of the mesh is asked through it, over mutual TLS', async (t) => {
  const mesh = testMesh(t);
  const issuer = await mesh.join('issuer');
  const callers: (string | undefined)[] = [];
  const { d, p, q, dp, dq, qi, ...published } = k1;
  await mesh.serve(issuer, (incoming, response) => {
    callers.push(issuer.scopeOf(incoming)?.peer?.spiffeId);
    response.end(JSON.stringify({ keys: [published] }));
  });
  mesh.write(
    'jwt.yaml',
    `
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: jwt, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  jwtRules:
  - {issuer: me, jwksUri: "http://issuer/keys", outputPayloadToHeader: x-payload}
`,
  );
  const web = await mesh.join('web', {
    workload: { name: 'web', namespace: 'shop', serviceAccount: 'web', labels: { app: 'web' } },
  });
  t.match(web.stats().jwks, [{ url: 'http://issuer/keys', keys: 1 }]);
  t.same(callers, ['spiffe://cluster.local/ns/shop/sa/web']);
  await mesh.serve(web, ({ headers }, response) => response.end(headers['x-payload'] === undefined ? 'nobody' : 'ok'));
  const key = createPrivateKey({ key: { ...k1 }, format: 'jwk' });
  const token = await new SignJWT({ sub: 'a' })
    .setIssuer('me')
    .setProtectedHeader({ alg: 'RS256', kid: 'k1' })
    .sign(key);
  const answer = await issuer.fetch('http://web/', { headers: { authorization: `Bearer ${token}` } });
  t.same([answer.status, await answer.text()], [200, 'ok']);
});

t.test('jwksUri goes before discovery, and an issuer may be named that is not where its keys are', async (t) => {
  const provider = await newProvider(t, k1);
  const { ask, mesh } = await service(t, provider, { keys: `jwksUri: ${provider.issuer}/jwks?tenant=SECRET` });
  t.equal(await ask(await provider.accessToken()), '200 batch');
  t.match(mesh.stats().jwks, [{ from: 'uri', url: `${provider.issuer}/jwks`, keys: 1 }], 'without the query');
});
