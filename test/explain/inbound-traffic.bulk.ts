import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { createExplainer } from '../../src/explain/explainer.ts';
import type { Peer } from '../../src/pipeline/scope.ts';
import { good, resourceYaml } from '../config/support.ts';
import { shopWeb, testPipeline } from '../support/inbound.ts';
import { authenticationYaml, inlineKeysOf, jwksOf, makeToken, makeTokenKey } from '../support/tokens.ts';

/** Requests altogether: configurations, and requests for each. */
const configurations = 60;
const requestsEach = 40;

const peers: readonly (Peer | undefined)[] = [
  undefined,
  ...['shop/web', 'shop/orders', 'other/web'].map((name) => {
    const [namespace = '', serviceAccount = ''] = name.split('/');
    const spiffeId = `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`;
    return { spiffeId, trustDomain: 'cluster.local', namespace, serviceAccount };
  }),
];

const key = makeTokenKey('ES256', { kid: 'k1', alg: 'ES256' });
const jwks = jwksOf(key);
const tokenOf = (claims: object): string =>
  makeToken({
    key,
    alg: 'ES256',
    claims: { iss: 'https://issuer.example', sub: 'alice', exp: 4_000_000_000, ...claims },
  });
const tokens = {
  staff: tokenOf({ groups: ['staff'] }),
  guest: tokenOf({ groups: ['guests'], sub: 'bob' }),
  old: tokenOf({ exp: 1 }),
  strange: tokenOf({ iss: 'https://other.example' }),
};
const bearers = [...Object.values(tokens), 'nonsense'].map((token) => `Bearer ${token}`);

const listOf = (...values: readonly string[]) =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 });
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
/** At least one field: an empty source or operation is an error. */
const filled = <T extends object>(value: T): boolean => Object.values(value).some((each) => each !== undefined);
const source = fc
  .record({
    principals: optional(listOf('cluster.local/ns/shop/sa/web', '*', 'cluster.local/ns/other/*', '*/sa/orders')),
    notPrincipals: optional(listOf('cluster.local/ns/shop/sa/orders')),
    requestPrincipals: optional(listOf('*', 'https://issuer.example/alice', 'https://issuer.example/*')),
    notRequestPrincipals: optional(listOf('*')),
    remoteIpBlocks: optional(listOf('127.0.0.0/8', '192.0.2.0/24')),
    namespaces: optional(listOf('shop', 'other', 'oth*')),
    notNamespaces: optional(listOf('other')),
  })
  .filter(filled);
const operation = fc
  .record({
    methods: optional(listOf('GET', 'POST')),
    notMethods: optional(listOf('DELETE')),
    paths: optional(listOf('/admin', '/admin/*', '/info', '*.js', '/')),
    notPaths: optional(listOf('/info', '/admin*')),
    hosts: optional(listOf('web.shop', 'web.*')),
  })
  .filter(filled);
const condition = fc.oneof(
  fc.record({ key: fc.constant('request.headers[x-role]'), values: listOf('admin', '*') }),
  fc.record({ key: fc.constant('request.headers[x-role]'), notValues: listOf('guest') }),
  fc.record({ key: fc.constant('request.auth.claims[groups]'), values: listOf('staff', 'guests') }),
);
const rule = fc.record({
  from: optional(fc.array(fc.record({ source }), { minLength: 1, maxLength: 2 })),
  to: optional(fc.array(fc.record({ operation }), { minLength: 1, maxLength: 2 })),
  when: optional(fc.array(condition, { minLength: 1, maxLength: 2 })),
});
const policy = fc.record({
  action: fc.constantFrom('ALLOW', 'DENY'),
  rules: fc.array(rule, { minLength: 1, maxLength: 3 }),
});
const configuration = fc.record({
  policies: fc.array(policy, { maxLength: 3 }),
  authentication: fc.constantFrom(
    undefined,
    '',
    ', forwardOriginalToken: true',
    ', outputClaimToHeaders: [{header: x-user, claim: sub}], outputPayloadToHeader: x-payload',
    ', fromCookies: [session]',
  ),
  trustedProxies: fc.constantFrom(0, 1),
  mode: fc.constantFrom('STRICT', 'PERMISSIVE', 'PERMISSIVE'),
  normalization: fc.constantFrom('NONE', 'BASE', 'MERGE_SLASHES', 'DECODE_AND_MERGE_SLASHES'),
});
const part = fc.constantFrom(
  'admin',
  'Admin',
  'info',
  '..',
  '.',
  '',
  '%61dmin',
  'a%2fb',
  'x;v=1',
  'a.js',
  '%2e%2e',
  'a\\b',
  '%00',
  '%zz',
);
/** Set by the client of this test, or drawn by the mesh. */
const ofTheConnection = new Set(['connection', 'host', 'content-length', 'transfer-encoding', 'x-request-id']);
const question = fc.record({
  peer: fc.constantFrom(...peers),
  method: fc.constantFrom('GET', 'POST', 'DELETE', 'TRACE'),
  path: fc.array(part, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`),
  query: fc.constantFrom('', '', '?x=1', '?a=/../admin', `?access_token=${tokens.staff}&x=1`, '?x=1&access_token=no'),
  headers: fc.record(
    {
      authorization: fc.constantFrom(...bearers, ...bearers.slice(0, 2), 'Basic eDp5'),
      'x-role': fc.constantFrom('admin', 'guest'),
      'x-user': fc.constant('forged'),
      'x-payload': fc.constant('forged'),
      'x-forwarded-client-cert': fc.constant('By=spiffe://x;URI=spiffe://forged'),
      'x-envoy-internal': fc.constant('true'),
      'x-forwarded-for': fc.constantFrom('192.0.2.4', '192.0.2.4, 10.0.0.1', 'nobody'),
      cookie: fc.constantFrom('a=1', `a=1; session=${tokens.guest}`, `session=${tokens.old}`),
    },
    { requiredKeys: [] },
  ),
  authority: fc.constantFrom('web.shop', 'WEB.shop:8080', 'web.other', 'bad host'),
});

t.test(`explain agrees with inbound traffic: ${configurations * requestsEach} random requests`, async (t) => {
  let peer: Peer | undefined;
  const { pipeline, use } = testPipeline(undefined, { peerOfSocket: () => peer, keySourceOf: inlineKeysOf() });
  const server = createServer((request, response) => {
    pipeline.handle(request, response, () =>
      response.end(JSON.stringify({ url: request.url, headers: request.headers })),
    );
  });
  // The identity comes from the test, and only connections with TLS have one.
  server.on('connection', (socket) => Object.assign(socket as TLSSocket, { encrypted: true }));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agent = new Agent({ keepAlive: true });
  t.teardown(async () => {
    agent.destroy();
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo;
  const outcomes = new Map<string, number>();

  await fc.assert(
    fc.asyncProperty(
      configuration,
      fc.array(question, { minLength: requestsEach, maxLength: requestsEach }),
      async ({ authentication, mode, normalization, policies, trustedProxies }, questions) => {
        const { snapshot } = good(
          [
            `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {pathNormalization: {normalization: ${normalization}}, defaultConfig: {gatewayTopology: {numTrustedProxies: ${trustedProxies}}}}}`,
            resourceYaml('PeerAuthentication', 'peers', `{mtls: {mode: ${mode}}}`),
            ...(authentication === undefined ? [] : [authenticationYaml(jwks, authentication)]),
            ...policies.map((spec, index) => resourceYaml('AuthorizationPolicy', `p${index}`, JSON.stringify(spec))),
          ],
          { workload: shopWeb },
        );
        use(snapshot);
        const explainer = createExplainer({ snapshot, workload: shopWeb });
        for (const { authority, headers, method, path, peer: caller, query } of questions) {
          peer = caller;
          const ip = '127.0.0.1';
          const from = caller === undefined ? { ip } : { ip, principal: caller.spiffeId };
          const asked = { method, authority, path: path + query, headers, to: { port, ip }, from };
          const said = await explainer.inbound(asked);
          const outgoing = send({
            agent,
            port,
            host: '127.0.0.1',
            method,
            path: path + query,
            headers: { ...headers, host: authority },
          });
          outgoing.end();
          const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
          const body = await text(answer);
          // A server of the application's own answers where the acceptor would refuse the connection,
          // and looks at the framing first.
          const expected = said.status ?? [400, 401, 403, 405].find((status) => status === answer.statusCode);
          const target = `${JSON.stringify(path + query)} ${method} of ${caller?.spiffeId} to ${authority}`;
          if (answer.statusCode !== expected) {
            throw new Error(`${target}: ${answer.statusCode} ${body} in traffic, explained ${JSON.stringify(said)}`);
          }
          if (said.decision === 'allow') {
            const seen = JSON.parse(body) as { readonly url: string; readonly headers: Record<string, string> };
            const { 'x-forwarded-client-cert': cert, ...all } = seen.headers;
            const rest = Object.fromEntries(Object.entries(all).filter(([name]) => !ofTheConnection.has(name)));
            // The server of this test shows no certificates, so nothing may be there of callers'.
            const { 'x-forwarded-client-cert': _, ...explained } = said.requestHeaders ?? {};
            if (seen.url !== said.url || cert !== undefined || !isDeepStrictEqual(rest, explained)) {
              throw new Error(`${target}: the application sees ${body}, explained ${JSON.stringify(said)}`);
            }
          }
          outcomes.set(said.decision, (outcomes.get(said.decision) ?? 0) + 1);
        }
      },
    ),
    { numRuns: configurations },
  );
  t.comment(JSON.stringify(Object.fromEntries(outcomes)));
  for (const decision of ['allow', 'deny', 'unauthenticated', 'reject'])
    t.ok((outcomes.get(decision) ?? 0) > 0, decision);
});
