import t from 'tap';
import { createExplainer, type ExplainContext } from '../../src/explain/explainer.ts';
import type { ExplainRequest } from '../../src/explain/request.ts';
import type { InboundExplanation } from '../../src/explain/result.ts';
import { describeExplanation } from '../../src/explain/text.ts';
import { good, resourceYaml, web } from '../config/support.ts';

const explain = (
  yaml: string | readonly string[],
  request: ExplainRequest,
  context: Partial<ExplainContext> = {},
): Promise<InboundExplanation> => {
  const { snapshot } = good(yaml);
  return createExplainer({ snapshot, workload: web, ...context }).inbound(request);
};
const authorization = (name: string, spec: string): string => resourceYaml('AuthorizationPolicy', name, spec);
const peers = (spec: string): string => resourceYaml('PeerAuthentication', 'peers', spec);
const orders = { principal: 'cluster.local/ns/shop/sa/orders' };

t.test('without policies everybody is allowed', async (t) => {
  const said = await explain('', { url: 'http://web/x?y=1' });
  t.match(said, { decision: 'allow', status: 200, path: '/x' });
  t.equal(said.policy, undefined);
});

t.test('the policy and the rule that decide are named', async (t) => {
  const yaml = [
    authorization('deny-admin', '{action: DENY, rules: [{to: [{operation: {paths: ["/admin*"]}}]}]}'),
    authorization(
      'callers',
      '{rules: [{from: [{source: {namespaces: [other]}}]}, {from: [{source: {principals: ["cluster.local/ns/shop/sa/orders"]}}]}]}',
    ),
  ];
  const cases: readonly (readonly [ExplainRequest, { readonly [K in keyof InboundExplanation]?: unknown }])[] = [
    [
      { path: '/', from: orders },
      { decision: 'allow', status: 200, policy: 'shop/callers', rule: 1 },
    ],
    [
      { path: '/', from: { namespace: 'other', serviceAccount: 'x' } },
      { decision: 'allow', policy: 'shop/callers', rule: 0 },
    ],
    [
      { path: '/admin/x', from: orders },
      { decision: 'deny', status: 403, policy: 'shop/deny-admin', rule: 0, path: '/admin/x' },
    ],
    [
      { path: '/a/../admin', from: orders },
      { decision: 'deny', policy: 'shop/deny-admin', path: '/admin' },
    ],
    [
      { path: '/', from: { principal: 'spiffe://cluster.local/ns/shop/sa/thief' } },
      { decision: 'deny', status: 403, policy: undefined },
    ],
    [
      { path: '/', from: orders, tls: 'plaintext' },
      { decision: 'deny', status: 403 },
    ],
  ];
  for (const [request, expected] of cases) t.match(await explain(yaml, request), expected, JSON.stringify(request));
  t.match((await explain(yaml, { from: orders })).at, { kind: 'AuthorizationPolicy', name: 'callers', file: '1.yaml' });
});

t.test('PeerAuthentication decides about connections', async (t) => {
  const strict = peers(
    '{selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}',
  );
  const cases: readonly (readonly [ExplainRequest, string])[] = [
    [{ to: { port: 80 }, tls: 'plaintext' }, 'reject'],
    [{ to: { port: 80 }, tls: 'tls' }, 'reject'],
    [{ to: { port: 80 }, tls: 'mtls' }, 'allow'],
    [{ to: { port: 80 }, from: orders }, 'allow'],
    [{ to: { port: 8080 }, tls: 'mtls', from: orders }, 'reject'],
    [{ to: { port: 8080 }, tls: 'plaintext' }, 'allow'],
  ];
  for (const [request, decision] of cases) {
    const said = await explain(strict, request);
    t.equal(said.decision, decision, JSON.stringify(request));
    if (decision === 'reject') t.match(said, { policy: 'shop/peers', status: undefined });
  }
  const permissive = peers('{mtls: {mode: PERMISSIVE}}');
  t.equal((await explain(permissive, { tls: 'plaintext' })).decision, 'allow');
  t.equal((await explain(permissive, { tls: 'mtls', from: orders })).decision, 'allow');
  const without = await explain(permissive, { tls: 'tls' });
  t.match(without, { decision: 'reject', policy: 'shop/peers', reason: /TLS without a client certificate/ });
});

t.test('malformed requests are rejected with the status that they would get', async (t) => {
  const cases: readonly (readonly [ExplainRequest, number])[] = [
    [{ path: '/a%00b' }, 400],
    [{ path: '/a%zz' }, 400],
    [{ path: 'nonsense' }, 400],
    [{ authority: 'a b' }, 400],
    [{ method: 'TRACE' }, 405],
  ];
  for (const [request, status] of cases) {
    t.match(await explain('', request), { decision: 'reject', status, path: undefined }, JSON.stringify(request));
  }
});

t.test('paths are compared in the form that the mesh brings them to', async (t) => {
  const deny = authorization('deny', '{action: DENY, rules: [{to: [{operation: {paths: ["/admin"]}}]}]}');
  const cases: readonly (readonly [string, string, string, string])[] = [
    ['NONE', '/x/../admin', '/x/../admin', 'allow'],
    ['BASE', '/x/../admin', '/admin', 'deny'],
    ['BASE', '//admin', '//admin', 'allow'],
    ['MERGE_SLASHES', '//admin', '/admin', 'deny'],
    ['MERGE_SLASHES', '/x%2f..%2fadmin', '/x%2f..%2fadmin', 'allow'],
    ['DECODE_AND_MERGE_SLASHES', '/x%2f..%2fadmin', '/admin', 'deny'],
  ];
  for (const [normalization, path, canonical, decision] of cases) {
    const mesh = `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {pathNormalization: {normalization: ${normalization}}}}`;
    const said = await explain([deny, mesh], { path }, { paths: 'literal' });
    t.match(said, { path: canonical, decision }, `${normalization} ${path}`);
  }
  t.equal(
    (await explain(deny, { path: '//admin' })).decision,
    'deny',
    'as requests are decided, doubt counts against them',
  );
  t.match((await explain(deny, { path: '//admin' }, { paths: 'literal' })).notes, [/refused in traffic/]);
  t.match(await explain(deny, { path: '//admin' }, { trafficPaths: 'literal' }), { decision: 'allow', notes: [] });
  t.same((await explain(deny, { path: '/other' }, { paths: 'literal' })).notes, []);
});

t.test('a caller with mTLS that is not named has no identity that a policy could match', async (t) => {
  const any = authorization('any', '{rules: [{from: [{source: {principals: ["*"]}}]}]}');
  t.equal((await explain(any, { tls: 'mtls' })).decision, 'deny');
  t.equal((await explain(any, { tls: 'mtls' })).notes.length, 1);
  t.equal((await explain(any, { from: orders })).decision, 'allow');
  t.equal((await explain(any, { from: { principal: 'not an id' } })).decision, 'reject');
});

t.test('rate limits that count the request are named', async (t) => {
  const limits = `apiVersion: inmesh.dev/v1
kind: RateLimit
metadata: {name: api, namespace: shop}
spec:
  local:
    - {tokenBucket: {maxTokens: 10, fillInterval: 1s}, rules: [{to: [{operation: {paths: [/api/*]}}]}]}
    - {tokenBucket: {maxTokens: 100, fillInterval: 1s}, shadow: true}
`;
  const said = await explain(limits, { path: '/api/x' });
  t.same(said.rateLimits, ['shop/api local[0]', 'shop/api local[1] (shadow)']);
  t.match(describeExplanation(said), 'rate limit   shop/api local[0]');
  t.same((await explain(limits, { path: '/other' })).rateLimits, ['shop/api local[1] (shadow)']);
  t.equal((await explain('', { path: '/' })).rateLimits, undefined);
});
