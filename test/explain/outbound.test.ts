import t from 'tap';
import { createExplainer } from '../../src/explain/explainer.ts';
import type { ExplainRequest } from '../../src/explain/request.ts';
import type { OutboundExplanation } from '../../src/explain/result.ts';
import { describeExplanation } from '../../src/explain/text.ts';
import { good, resourceYaml, serviceYaml, type TestCompileOptions, web } from '../config/support.ts';

const subsets = resourceYaml(
  'DestinationRule',
  'reviews',
  '{host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}',
);
const explain = (
  yaml: string | readonly string[],
  request: ExplainRequest,
  options?: TestCompileOptions,
): OutboundExplanation => {
  const { snapshot } = good(yaml, options);
  return createExplainer({ snapshot, workload: { ...web, ...options?.workload } }).outbound(request);
};
const virtualService = (http: string): readonly string[] => [
  serviceYaml(),
  subsets,
  resourceYaml('VirtualService', 'reviews', `{hosts: [reviews], http: [${http}]}`),
];
const to = (subset: string, weight?: number): string =>
  `{destination: {host: reviews, subset: ${subset}}${weight === undefined ? '' : `, weight: ${weight}`}}`;
const v1 = 'outbound|80|v1|reviews.shop.svc.cluster.local';
const v2 = 'outbound|80|v2|reviews.shop.svc.cluster.local';

t.test('a service without a VirtualService has its default route', async (t) => {
  const said = explain(serviceYaml(), { url: 'http://reviews/r/1?x=2' });
  const cluster = 'outbound|80||reviews.shop.svc.cluster.local';
  t.equal(said.decision, 'route');
  t.equal(said.rule, undefined);
  t.equal(said.cluster, cluster);
  t.same(said.destinations, [{ cluster, host: 'reviews.shop.svc.cluster.local', subset: '', port: 80, weight: 100 }]);
  t.match(said, { authority: 'reviews', path: '/r/1?x=2', timeoutMs: 0, mirrors: [], notes: [], passedOver: [] });
  t.same(said.retries, {
    attempts: 2,
    retryOn: ['connect-failure', 'refused-stream', 'unavailable', 'cancelled', 'retriable-status-codes'],
    retriableStatusCodes: [],
    backoffBaseMs: 25,
  });
  t.same(said.requestHeaders, { set: {}, add: {}, remove: [] });
});

t.test('paths are brought to canonical form before a route is looked for, as sidecars do', async (t) => {
  const yaml = virtualService(
    `{match: [{uri: {prefix: /admin}}], route: [${to('v2')}], rewrite: {uri: /root}}, {route: [${to('v1')}]}`,
  );
  const mesh = (mode: string): string =>
    `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {pathNormalization: {normalization: ${mode}}}}\n---\n`;
  const cases: readonly (readonly [mode: string, path: string, cluster: string, sent: string])[] = [
    ['DEFAULT', '/x/../admin/1?q=/../', v2, '/root/1?q=/../'],
    ['DEFAULT', '/%61dmin', v2, '/root'],
    ['DEFAULT', '/a/./b', v1, '/a/b'],
    ['DEFAULT', '//admin', v1, '//admin'],
    ['MERGE_SLASHES', '//admin', v2, '/root'],
    ['DECODE_AND_MERGE_SLASHES', '/x%2F..%2Fadmin', v2, '/root'],
    ['NONE', '/x/../admin', v1, '/x/../admin'],
  ];
  for (const [mode, path, cluster, sent] of cases) {
    const said = explain([mesh(mode), ...yaml], { authority: 'reviews', path });
    t.match(said, { decision: 'route', cluster, path: sent }, `${mode} ${path}`);
  }
  t.match(explain(yaml, { authority: 'reviews', path: '/%00' }), { decision: 'refused', reason: /encoded NUL: 400/ });
  const bytes = serviceYaml('db').replace('protocol: HTTP', 'protocol: TCP');
  t.equal(explain(bytes, { authority: 'db', path: '/a/../b' }).path, '/a/../b', 'what is not read stays');
  t.equal(explain('', { authority: 'unknown.test', path: '/a/../b' }).path, '/a/../b', 'a host that nobody names');
});

t.test('weights are cumulative in the order of the destinations', async (t) => {
  const yaml = virtualService(`{route: [${to('v1', 30)}, ${to('v2', 70)}]}`);
  const cases: readonly (readonly [number, string])[] = [
    [0, v1],
    [0.29, v1],
    [0.2999, v1],
    [0.3, v2],
    [0.37, v2],
    [0.9999, v2],
  ];
  for (const [random, cluster] of cases) {
    const said = explain(yaml, { url: 'http://reviews/', random });
    t.equal(said.cluster, cluster, `random ${random}`);
    t.same(
      said.destinations?.map(({ subset, weight }) => [subset, weight]),
      [
        ['v1', 30],
        ['v2', 70],
      ],
    );
  }
});

t.test('the rules before the one that decides are named, with what failed', async (t) => {
  const yaml = virtualService(
    `{match: [{headers: {end-user: {exact: jason}}}, {uri: {prefix: /beta}}], route: [${to('v2')}]}, {route: [${to('v1')}]}`,
  );
  const said = explain(yaml, { url: 'http://reviews/r', headers: { 'end-user': 'kim' } });
  t.equal(said.cluster, v1);
  t.match(said.rule, /^VirtualService shop\/reviews/);
  t.match(said.at, { file: '2.yaml' });
  t.same(
    said.passedOver.map(({ reasons }) => reasons),
    [['match[0]: header end-user "kim" is not "jason"', 'match[1]: uri /r does not begin with "/beta"']],
  );
  const chosen = explain(yaml, { url: 'http://reviews/r', headers: [['End-User', 'jason']] });
  t.equal(chosen.cluster, v2);
  t.same(chosen.passedOver, []);
});

t.test('no rule matches: no-route', async (t) => {
  const said = explain(virtualService(`{match: [{uri: {exact: /only}}], route: [${to('v1')}]}`), {
    url: 'http://reviews/other',
  });
  t.equal(said.decision, 'no-route');
  t.equal(said.cluster, undefined);
  t.equal(said.passedOver.length, 1);
});

t.test('hosts that no configuration names', async (t) => {
  const open = explain(serviceYaml(), { url: 'http://elsewhere.example/' });
  t.match(open, { decision: 'passthrough', cluster: 'PassthroughCluster' });
  const closed = explain(serviceYaml(), { url: 'http://elsewhere.example/' }, { outboundPolicy: 'REGISTRY_ONLY' });
  t.match(closed, { decision: 'refused', cluster: 'BlackHoleCluster' });
  t.equal(
    explain(serviceYaml(), { url: 'http://reviews:81/' }).decision,
    'passthrough',
    'another port is another host',
  );
  const like = (url: string): readonly string[] => explain(serviceYaml(), { url }).notes;
  t.same(like('http://reviews:81/'), ['names like it that are known here: reviews:80']);
  const other = explain(serviceYaml().replaceAll('shop', 'store'), { url: 'http://reviews/' });
  t.same(other.notes, ['names like it that are known here: reviews.store:80'], 'of another namespace');
  t.same(like('http://elsewhere.example/'), []);
});

t.test('the port of the request goes before that of the authority', async (t) => {
  t.equal(explain(serviceYaml(), { authority: 'reviews:8080', port: 80 }).decision, 'route');
  t.equal(explain(serviceYaml(), { authority: 'reviews:80' }).decision, 'route');
  t.equal(explain(serviceYaml(), { authority: 'reviews' }).decision, 'route');
  t.equal(explain(serviceYaml(), { authority: 'REVIEWS.shop.svc.cluster.local.' }).decision, 'route');
});

t.test('what cannot be a request is refused, with the reason', async (t) => {
  const cases: readonly ExplainRequest[] = [
    {},
    { authority: 'a b' },
    { authority: 'reviews', port: 0 },
    { authority: 'reviews', random: 1 },
    { authority: 'reviews', path: 'x' },
    { url: 'ftp://reviews/' },
  ];
  for (const request of cases) {
    const said = explain(serviceYaml(), request);
    t.equal(said.decision, 'refused', JSON.stringify(request));
    t.not(said.reason, '');
  }
});

t.test('rewrites: what is sent', async (t) => {
  const rule = (match: string, rewrite: string): readonly string[] =>
    virtualService(`{match: [{${match}}], rewrite: {${rewrite}}, route: [${to('v1')}]}`);
  const said = explain(rule('uri: {prefix: /old}', 'uri: /new, authority: other.example'), {
    url: 'http://reviews/old/x?q=1',
  });
  t.match(said, { path: '/new/x?q=1', authority: 'other.example' });
});

t.test('automatic mTLS follows the endpoints, DestinationRules the author', async (t) => {
  const tls = (yaml: string | readonly string[], request: ExplainRequest = { url: 'http://reviews/' }) =>
    explain(yaml, request).tls;
  t.same(tls(serviceYaml()), {
    mode: 'ISTIO_MUTUAL',
    sni: 'outbound_.80_._.reviews.shop.svc.cluster.local',
    sans: ['spiffe://cluster.local/ns/shop/sa/reviews'],
  });
  const rule = (mode: string): string =>
    resourceYaml('DestinationRule', 'tls', `{host: reviews, trafficPolicy: {tls: {mode: ${mode}}}}`);
  t.same(tls([serviceYaml(), rule('DISABLE')]), { mode: 'DISABLE' });
  t.equal(tls([serviceYaml(), rule('ISTIO_MUTUAL')])?.mode, 'ISTIO_MUTUAL');
  const plain = serviceYaml().replaceAll(', serviceAccount: reviews', '');
  t.same(tls(plain), { mode: 'DISABLE' });
  const peers = resourceYaml('PeerAuthentication', 'off', '{mtls: {mode: DISABLE}}');
  t.same(tls([serviceYaml(), peers]), { mode: 'DISABLE' });
  const mixed = serviceYaml().replace('version: v2}, serviceAccount: reviews', 'version: v2}');
  t.equal(tls(mixed)?.mode, 'ISTIO_MUTUAL');
  t.match(explain(mixed, { url: 'http://reviews/' }).notes, [/10\.0\.0\.2:80 would be spoken to in plaintext/]);
  t.same(tls(mixed, { url: 'http://reviews/', to: { ip: '10.0.0.2' } }), { mode: 'DISABLE' });
});

t.test('where endpoints are is said where it counts', async (t) => {
  const yaml = (policy: string): string =>
    resourceYaml(
      'ServiceEntry',
      'far',
      '{hosts: [far.shop], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.0.0.1, locality: us}, {address: 10.0.0.2, locality: eu}, {address: 10.0.0.3, locality: us}, {address: 10.0.0.4}]}',
    ) + resourceYaml('DestinationRule', 'far', `{host: far.shop, trafficPolicy: {${policy}}}`);
  const notes = (policy: string): readonly string[] =>
    explain(yaml(policy), { url: 'http://far.shop/' }, { workload: { locality: 'eu' } }).notes.filter(
      (note) => !note.startsWith('automatic mTLS'),
    );
  t.same(notes('loadBalancer: {simple: RANDOM}'), []);
  t.same(notes('outlierDetection: {}'), [
    'endpoints are called in this order: 1 in eu; then 2 in us, 1 in no locality',
  ]);
  t.same(notes('loadBalancer: {localityLbSetting: {distribute: [{from: eu, to: {eu: 80, us: 20}}]}}'), [
    'endpoints are called by locality: 2 in us (weight 20), 1 in eu (weight 80)',
  ]);
  const tcp = yaml('outlierDetection: {}').replace('protocol: HTTP', 'protocol: TCP');
  t.same(
    explain(tcp, { url: 'http://far.shop/', protocol: 'tcp' }, { workload: { locality: 'eu' } }).notes.slice(0, 1),
    ['endpoints are called in this order: 1 in eu; then 2 in us, 1 in no locality'],
  );
  t.same(notes('loadBalancer: {zoneAwareLbSetting: {}}'), [
    'endpoints are called in this order: 1 in eu; then 2 in us, 1 in no locality; as many calls as possible stay in the own locality',
  ]);
});

t.test('what protects the way to a cluster is said', async (t) => {
  const plain = explain(serviceYaml(), { url: 'http://reviews/' });
  t.equal(plain.resilience, undefined);
  const yaml = [
    serviceYaml(),
    resourceYaml(
      'DestinationRule',
      'reviews',
      `{host: reviews, trafficPolicy: {
        connectionPool: {tcp: {maxConnections: 7}, http: {h2UpgradePolicy: UPGRADE}},
        retryBudget: {percent: 25}, outlierDetection: {consecutive5xxErrors: 3}}}`,
    ),
    `apiVersion: inmesh.dev/v1
kind: CircuitBreaker
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, volumeThreshold: 5, fallback: {status: 200}}
`,
    `apiVersion: inmesh.dev/v1
kind: HealthCheck
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, http: {path: /healthz}}
`,
    `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop, annotations: {inmesh.dev/hedge: '{"after": "80ms"}'}}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
`,
  ];
  const said = explain(yaml, { url: 'http://reviews/' });
  t.same(said.resilience, {
    http2: 'always',
    hedge: { when: { kind: 'after', ms: 80 } },
    breaker: {
      errorThresholdPercentage: 50,
      rollingWindowMs: 10_000,
      volumeThreshold: 5,
      resetTimeoutMs: 30_000,
      fallbackStatus: 200,
    },
    retryBudget: { percent: 25, intervalMs: 0, minRetryConcurrency: 3 },
    limits: { maxConnections: 7 },
    outlierDetection: true,
    healthCheck: 'http',
  });
  const text = describeExplanation(said);
  for (const line of [
    'HTTP/2       yes',
    'hedge        another try after 80 ms',
    'retry budget 25 % of the calls under way, 3 at least',
    'breaker      opens above 50 % failures of at least 5 calls in 10000 ms, for 30000 ms, then answers 200',
    'limit        maxConnections 7',
    'outliers     errors eject endpoints',
    'health       endpoints are checked (http)',
  ]) {
    t.match(text, line);
  }
});
