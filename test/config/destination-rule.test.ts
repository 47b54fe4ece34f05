import t from 'tap';
import { defaultConnectionLimits } from '../../src/model/cluster.ts';
import { good, problems, resourceYaml, serviceYaml, type TestCompileOptions } from './support.ts';

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
  t.same(policy('loadBalancer: {simple: PASSTHROUGH}')?.discovery, { kind: 'original' });
  const hash = good(serviceYaml() + rule('trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x}}}'));
  t.equal(hash.cluster('reviews|80')?.balance, 'LEAST_REQUEST');
  t.same(hash.remarks(), [
    'DestinationRule spec.trafficPolicy.loadBalancer.consistentHash ignored: LEAST_REQUEST is used',
  ]);
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
  t.match(
    problems(serviceYaml() + rule('trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: [reviews.shop]}}')),
    [/spec\.trafficPolicy\.tls\.subjectAltNames\[0\]: must be a SPIFFE ID, got "reviews\.shop"/],
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
    { maxConnections: 10, maxRequests: 20, maxRetries: 3, connectTimeoutMs: 2_000, idleTimeoutMs: 30_000 },
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

const balance = (simple: string): string => `trafficPolicy: {loadBalancer: {simple: ${simple}}}`;

t.test('short names in host belong to the namespace of the rule', async (t) => {
  const short = (namespace: string): string =>
    resourceYaml('DestinationRule', 'r', `{host: reviews, ${balance('RANDOM')}}`, namespace);
  t.equal(clusterOf(short('shop'))?.balance, 'RANDOM');
  t.equal(clusterOf(short('istio-system'))?.balance, 'LEAST_REQUEST');
});

t.test('which rule counts: that of the caller, then of the service, then of the mesh', async (t) => {
  const caller = { workload: { namespace: 'front' } };
  const of = (...namespaces: readonly (readonly [string, string])[]) =>
    clusterOf(namespaces.map(([namespace, simple]) => rule(balance(simple), 'r', namespace)).join(''), caller)?.balance;
  t.equal(of(['istio-system', 'RANDOM']), 'RANDOM');
  t.equal(of(['istio-system', 'RANDOM'], ['shop', 'ROUND_ROBIN']), 'ROUND_ROBIN');
  t.equal(of(['front', 'RANDOM'], ['shop', 'ROUND_ROBIN']), 'RANDOM');
  t.equal(of(['elsewhere', 'RANDOM']), 'LEAST_REQUEST');
});

t.test('in the root namespace only private rules go before those of the service', async (t) => {
  const root = { workload: { namespace: 'istio-system' } };
  const shop = rule(balance('ROUND_ROBIN'));
  t.equal(clusterOf(shop + rule(balance('RANDOM'), 'r', 'istio-system'), root)?.balance, 'ROUND_ROBIN');
  t.equal(
    clusterOf(shop + rule(`${balance('RANDOM')}, exportTo: ["."]`, 'r', 'istio-system'), root)?.balance,
    'RANDOM',
  );
});

t.test('exportTo limits who a rule is for, but never its own namespace', async (t) => {
  const of = (exportTo: string, namespace: string) =>
    clusterOf(rule(`${balance('RANDOM')}, exportTo: [${exportTo}]`), { workload: { namespace } })?.balance;
  t.equal(of('"*"', 'front'), 'RANDOM');
  t.equal(of('front', 'front'), 'RANDOM');
  t.equal(of('"."', 'front'), 'LEAST_REQUEST');
  t.equal(of('"."', 'shop'), 'RANDOM');
  t.equal(of('"~"', 'shop'), 'RANDOM');
  t.equal(of('other', 'front'), 'LEAST_REQUEST');
});

t.test('an exact host goes before a wildcard, and a longer wildcard before a shorter', async (t) => {
  const wide = (host: string, simple: string): string =>
    resourceYaml('DestinationRule', `r${host.length}`, `{host: "${host}", ${balance(simple)}}`);
  t.equal(clusterOf(wide('*.local', 'RANDOM'))?.balance, 'RANDOM');
  t.equal(clusterOf(wide('*', 'RANDOM'))?.balance, 'RANDOM');
  t.equal(
    clusterOf(wide('*.local', 'RANDOM') + wide('*.shop.svc.cluster.local', 'ROUND_ROBIN'))?.balance,
    'ROUND_ROBIN',
  );
  t.equal(clusterOf(wide('*.shop.svc.cluster.local', 'RANDOM') + rule(balance('ROUND_ROBIN')))?.balance, 'ROUND_ROBIN');
  t.equal(clusterOf(wide('*.example.com', 'RANDOM'))?.balance, 'LEAST_REQUEST');
});

t.test('a rule for these workloads goes before one for all', async (t) => {
  const selective = (label: string, namespace = 'shop'): string =>
    rule(`${balance('RANDOM')}, workloadSelector: {matchLabels: {app: ${label}}}`, 'selective', namespace);
  t.equal(clusterOf(rule(balance('ROUND_ROBIN')) + selective('web'))?.balance, 'RANDOM');
  t.equal(clusterOf(rule(balance('ROUND_ROBIN')) + selective('api'))?.balance, 'ROUND_ROBIN');
  t.equal(clusterOf(selective('api'))?.balance, 'LEAST_REQUEST');
  t.equal(
    clusterOf(selective('web', 'istio-system'))?.balance,
    'LEAST_REQUEST',
    'selectors work in the own namespace only',
  );
});

t.test('two rules for one host are taken together; the older one has the policy', async (t) => {
  const dated = (name: string, created: string, spec: string): string =>
    rule(spec, name).replace(`{name: ${name},`, `{name: ${name}, creationTimestamp: "${created}",`);
  const yaml =
    dated(
      'young',
      '2026-02-01T00:00:00Z',
      `${balance('RANDOM')}, subsets: [{name: v1, labels: {version: v2}}, {name: v2, labels: {version: v2}}]`,
    ) +
    dated('old', '2026-01-01T00:00:00Z', `${balance('ROUND_ROBIN')}, subsets: [{name: v1, labels: {version: v1}}]`) +
    resourceYaml(
      'VirtualService',
      'r',
      '{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}, weight: 1}, {destination: {host: reviews, subset: v2}, weight: 1}]}]}',
    );
  const { cluster, endpoints, remarks } = good(serviceYaml() + yaml);
  t.equal(cluster('reviews|80|v2')?.balance, 'ROUND_ROBIN');
  t.match(endpoints('reviews|80|v1'), [{ labels: { version: 'v1' } }]);
  t.match(endpoints('reviews|80|v2'), [{ labels: { version: 'v2' } }]);
  t.same(remarks(), [
    'DestinationRule spec.subsets[0] ignored (warning): an older DestinationRule for reviews.shop.svc.cluster.local defines subset v1',
    'DestinationRule spec.trafficPolicy ignored (warning): an older DestinationRule for reviews.shop.svc.cluster.local has one',
  ]);
});

t.test('of two rules without a policy in the older one, the policy of the younger counts', async (t) => {
  t.equal(clusterOf(rule('subsets: []', 'a') + rule(balance('RANDOM'), 'b'))?.balance, 'RANDOM');
});

t.test('a subset that exists for other callers only is a warning, not an error', async (t) => {
  const yaml =
    serviceYaml() + rule('subsets: [{name: v1}], workloadSelector: {matchLabels: {app: api}}') + useSubset('v1');
  t.match(good(yaml).remarks(), [
    /destination\.subset enforced \(warning\): the DestinationRule with subset v1 is not for this workload: calls answer 503/,
  ]);
});

const refusals: readonly (readonly [what: string, spec: string, message: RegExp])[] = [
  ['a host that is none', '{host: "a b"}', /spec\.host: must be a host name or \*\.<domain>, got "a b"/],
  ['an empty host', '{host: ""}', /spec\.host: must be a host name/],
  ['a subset without a name', '{host: a, subsets: [{name: ""}]}', /spec\.subsets\[0\]\.name: must not be empty/],
  [
    'a subset twice',
    '{host: a, subsets: [{name: v1}, {name: v1}]}',
    /spec\.subsets\[1\]\.name: is there twice, got "v1"/,
  ],
  [
    'settings for a port twice',
    '{host: a, trafficPolicy: {portLevelSettings: [{port: {number: 80}}, {port: {number: 80}}]}}',
    /spec\.trafficPolicy\.portLevelSettings\[1\]\.port\.number: is there twice, got 80/,
  ],
  [
    'settings without a port',
    '{host: a, trafficPolicy: {portLevelSettings: [{}]}}',
    /portLevelSettings\[0\]: needs the field port/,
  ],
];

for (const [what, spec, message] of refusals) {
  t.test(`${what} is refused`, async (t) => {
    t.match(problems(resourceYaml('DestinationRule', 'r', spec)).join('\n'), message);
  });
}
