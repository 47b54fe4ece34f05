import t from 'tap';
import { defaultConnectionLimits } from '../../src/model/cluster.ts';
import { good, resourceYaml, serviceYaml, type TestCompileOptions } from './support.ts';

const rule = (spec: string, name = 'reviews', namespace = 'shop'): string =>
  resourceYaml('DestinationRule', name, `{host: reviews.shop.svc.cluster.local, ${spec}}`, namespace);
/** Routes to the subset, so that its cluster exists. */
const useSubset = (subset: string): string =>
  resourceYaml(
    'VirtualService',
    'r',
    `{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: ${subset}}}]}]}`,
  );
const clusterOf = (yaml: string, options?: TestCompileOptions) =>
  good(serviceYaml() + yaml, options).cluster('reviews|80');
const policy = (text: string) => clusterOf(rule(`trafficPolicy: {${text}}`));

t.test('without a rule: least request, automatic mTLS, no outlier detection, no limits', async (t) => {
  const cluster = clusterOf('');
  t.match(cluster, { balance: 'LEAST_REQUEST', tls: 'auto', limits: defaultConnectionLimits, subset: '' });
  t.notOk('outlier' in (cluster ?? {}));
});

t.test('load balancers', async (t) => {
  const cases = {
    ROUND_ROBIN: 'ROUND_ROBIN',
    RANDOM: 'RANDOM',
    LEAST_REQUEST: 'LEAST_REQUEST',
    LEAST_CONN: 'LEAST_REQUEST',
    UNSPECIFIED: 'LEAST_REQUEST',
  };
  for (const [simple, expected] of Object.entries(cases)) {
    t.equal(policy(`loadBalancer: {simple: ${simple}}`)?.balance, expected);
  }
  t.same(policy('loadBalancer: {simple: PASSTHROUGH}')?.discovery, { kind: 'original', speaksMtls: true });
  const hash = good(serviceYaml() + rule('trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x}}}'));
  t.equal(hash.cluster('reviews|80')?.balance, 'LEAST_REQUEST');
  t.match(hash.cluster('reviews|80')?.hash, { key: { kind: 'header', name: 'x' } });
  t.same(hash.remarks(), []);
});

t.test('TLS modes and the identities that servers may prove', async (t) => {
  t.equal(policy('tls: {mode: DISABLE}')?.tls, 'disable');
  t.match(policy('tls: {mode: ISTIO_MUTUAL}'), {
    tls: 'mutual',
    serverIdentities: ['spiffe://cluster.local/ns/shop/sa/reviews'],
  });
  const named = policy('tls: {mode: ISTIO_MUTUAL, subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/other"]}');
  t.same(named?.serverIdentities, ['spiffe://cluster.local/ns/shop/sa/other']);
  const endpoints = named?.discovery.kind === 'static' ? named.discovery.endpoints : [];
  t.ok(
    endpoints.length === 2 && endpoints.every((endpoint) => endpoint.spiffeId === undefined),
    'the names replace the service accounts',
  );
});

t.test('outlier detection has the defaults of Istio', async (t) => {
  const defaults = {
    consecutive5xx: 5,
    consecutiveGatewayErrors: 0,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 10,
    minHealthPercent: 0,
  };
  t.same(policy('outlierDetection: {}')?.outlier, defaults);
  t.same(
    policy(
      'outlierDetection: {consecutive5xxErrors: 0, consecutiveGatewayErrors: 3, interval: 1s, baseEjectionTime: 1m, maxEjectionPercent: 50, minHealthPercent: 20}',
    )?.outlier,
    {
      consecutive5xx: 0,
      consecutiveGatewayErrors: 3,
      intervalMs: 1_000,
      baseEjectionMs: 60_000,
      maxEjectionPercent: 50,
      minHealthPercent: 20,
    },
  );
  t.same(policy('outlierDetection: {maxEjectionPercent: 0}')?.outlier, defaults, '0 is "not set" in Istio');
});

t.test('connection limits', async (t) => {
  t.same(
    policy(
      'connectionPool: {tcp: {maxConnections: 10, connectTimeout: 2s}, http: {http2MaxRequests: 20, maxRetries: 3, idleTimeout: 30s}}',
    )?.limits,
    {
      ...defaultConnectionLimits,
      maxConnections: 10,
      maxRequests: 20,
      maxRetries: 3,
      connectTimeoutMs: 2_000,
      idleTimeoutMs: 30_000,
    },
  );
  t.same(
    policy('connectionPool: {tcp: {maxConnections: 0}, http: {http2MaxRequests: 0, maxRetries: 0}}')?.limits,
    defaultConnectionLimits,
  );
});

t.test('a subset has the endpoints with its labels, and its own policy over that of the rule', async (t) => {
  const subsets =
    'trafficPolicy: {loadBalancer: {simple: RANDOM}, tls: {mode: ISTIO_MUTUAL}}, subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}, {name: all}]';
  const v1 = good(serviceYaml() + rule(subsets) + useSubset('v1'));
  t.match(v1.cluster('reviews|80|v1'), { subset: 'v1', balance: 'ROUND_ROBIN', tls: 'mutual' });
  t.match(v1.endpoints('reviews|80|v1'), [{ address: '10.0.0.1' }]);
  t.equal(v1.endpoints('reviews|80|v1').length, 1);
  const all = good(serviceYaml() + rule(subsets) + useSubset('all'));
  t.equal(all.endpoints('reviews|80|all').length, 2);
  t.equal(all.cluster('reviews|80|all')?.balance, 'RANDOM');
});

t.test('settings of a port replace everything for that port, and inherit nothing', async (t) => {
  const spec =
    'trafficPolicy: {loadBalancer: {simple: RANDOM}, tls: {mode: ISTIO_MUTUAL}, portLevelSettings: [{port: {number: 80}, outlierDetection: {}}]}';
  t.match(clusterOf(rule(spec)), { balance: 'LEAST_REQUEST', tls: 'auto', outlier: { consecutive5xx: 5 } });
  t.match(clusterOf(rule(spec.replace('number: 80', 'number: 81'))), { balance: 'RANDOM', tls: 'mutual' });
  const subset = `${spec}, subsets: [{name: v1, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}, portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]}}]`;
  t.match(good(serviceYaml() + rule(subset) + useSubset('v1')).cluster('reviews|80|v1'), {
    balance: 'LEAST_REQUEST',
    tls: 'disable',
  });
  const both = `${spec}, subsets: [{name: v1, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}]`;
  t.match(good(serviceYaml() + rule(both) + useSubset('v1')).cluster('reviews|80|v1'), {
    balance: 'ROUND_ROBIN',
    tls: 'auto',
    outlier: { consecutive5xx: 5 },
  });
});

t.test('a subset that exists for other callers only is a warning, not an error', async (t) => {
  const yaml =
    serviceYaml() + rule('subsets: [{name: v1}], workloadSelector: {matchLabels: {app: api}}') + useSubset('v1');
  t.match(good(yaml).remarks(), [
    /destination\.subset enforced \(warning\): the DestinationRule with subset v1 is not for this workload: calls answer 503/,
  ]);
});
