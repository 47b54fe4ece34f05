import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import fc from 'fast-check';
import t from 'tap';
import { createExplainer } from '../../src/explain/explainer.ts';
import type { Peer } from '../../src/pipeline/scope.ts';
import { good, resourceYaml } from '../config/support.ts';
import { shopWeb, testPipeline } from '../support/inbound.ts';

/** Requests altogether: configurations, and requests for each. */
const configurations = 100;
const requestsEach = 40;

const peers: readonly (Peer | undefined)[] = [
  undefined,
  ...['shop/web', 'shop/orders', 'other/web'].map((name) => {
    const [namespace = '', serviceAccount = ''] = name.split('/');
    const spiffeId = `spiffe://cluster.local/ns/${namespace}/sa/${serviceAccount}`;
    return { spiffeId, trustDomain: 'cluster.local', namespace, serviceAccount };
  }),
];

const listOf = (...values: readonly string[]) =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 });
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
/** At least one field: an empty source or operation is an error. */
const filled = <T extends object>(value: T): boolean => Object.values(value).some((each) => each !== undefined);
const source = fc
  .record({
    principals: optional(listOf('cluster.local/ns/shop/sa/web', '*', 'cluster.local/ns/other/*', '*/sa/orders')),
    notPrincipals: optional(listOf('cluster.local/ns/shop/sa/orders')),
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
const rule = fc.record({
  from: optional(fc.array(fc.record({ source }), { minLength: 1, maxLength: 2 })),
  to: optional(fc.array(fc.record({ operation }), { minLength: 1, maxLength: 2 })),
});
const policy = fc.record({
  action: fc.constantFrom('ALLOW', 'DENY'),
  rules: fc.array(rule, { minLength: 1, maxLength: 3 }),
});
const configuration = fc.record({
  policies: fc.array(policy, { maxLength: 3 }),
  mode: fc.constantFrom('STRICT', 'PERMISSIVE'),
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
const question = fc.record({
  peer: fc.constantFrom(...peers),
  method: fc.constantFrom('GET', 'POST', 'DELETE', 'TRACE'),
  path: fc.array(part, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`),
  query: fc.constantFrom('', '?x=1', '?a=/../admin'),
  authority: fc.constantFrom('web.shop', 'WEB.shop:8080', 'web.other', 'bad host'),
});

t.test(`explain agrees with inbound traffic: ${configurations * requestsEach} random requests`, async (t) => {
  let peer: Peer | undefined;
  const { pipeline, use } = testPipeline(undefined, { peerOfSocket: () => peer });
  const server = createServer((request, response) => {
    pipeline.handle(request, response, () => response.end(JSON.stringify(request.url)));
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
      async ({ mode, normalization, policies }, questions) => {
        const { snapshot } = good(
          [
            `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {pathNormalization: {normalization: ${normalization}}}}`,
            resourceYaml('PeerAuthentication', 'peers', `{mtls: {mode: ${mode}}}`),
            ...policies.map((spec, index) => resourceYaml('AuthorizationPolicy', `p${index}`, JSON.stringify(spec))),
          ],
          { workload: shopWeb },
        );
        use(snapshot);
        const explainer = createExplainer({ snapshot, workload: shopWeb });
        for (const { authority, method, path, peer: caller, query } of questions) {
          peer = caller;
          const from = caller === undefined ? {} : { from: { principal: caller.spiffeId } };
          const said = await explainer.inbound({ method, authority, path: path + query, to: { port }, ...from });
          const outgoing = send({
            agent,
            port,
            host: '127.0.0.1',
            method,
            path: path + query,
            headers: { host: authority },
          });
          outgoing.end();
          const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
          const body = await text(answer);
          // A server of the application's own answers where the acceptor would refuse the connection,
          // and looks at the framing first.
          const expected = said.status ?? [400, 403, 405].find((status) => status === answer.statusCode);
          const target = `${JSON.stringify(path + query)} ${method} of ${caller?.spiffeId} to ${authority}`;
          if (answer.statusCode !== expected) {
            throw new Error(`${target}: ${answer.statusCode} ${body} in traffic, explained ${JSON.stringify(said)}`);
          }
          if (said.decision === 'allow' && JSON.parse(body) !== said.path + query) {
            throw new Error(`${target}: the application sees ${body}, explained ${said.path}`);
          }
          outcomes.set(said.decision, (outcomes.get(said.decision) ?? 0) + 1);
        }
      },
    ),
    { numRuns: configurations },
  );
  t.comment(JSON.stringify(Object.fromEntries(outcomes)));
  for (const decision of ['allow', 'deny', 'reject']) t.ok((outcomes.get(decision) ?? 0) > 0, decision);
});
