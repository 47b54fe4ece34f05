import t from 'tap';
import { defaultRetryPolicy, retryOnWords } from '../../src/model/route.ts';
import { reviewsCluster as cluster, routesOf, toV1, toV2, withRoutes } from './reviews.ts';
import { type Good, good, problems, resourceYaml, serviceYaml } from './support.ts';

t.test('destinations: weights are relative, one alone gets everything, 0 beside others nothing', async (t) => {
  const destinations = (...weights: readonly (string | number)[]): string =>
    `route: [${weights.map((weight, i) => `{destination: {host: reviews, subset: v${i + 1}}${weight === '' ? '' : `, weight: ${weight}`}}`).join(', ')}]`;
  t.same(routesOf(`{${destinations('')}}`)[0]?.destinations, [{ cluster: cluster('v1'), weight: 1 }]);
  t.same(routesOf(`{${destinations(0)}}`)[0]?.destinations, [{ cluster: cluster('v1'), weight: 1 }]);
  t.same(routesOf(`{${destinations(1, 3)}}`)[0]?.destinations, [
    { cluster: cluster('v1'), weight: 1 },
    { cluster: cluster('v2'), weight: 3 },
  ]);
  t.same(routesOf(`{${destinations(0, 7)}}`)[0]?.destinations, [{ cluster: cluster('v2'), weight: 7 }]);
  t.same(routesOf(`{${destinations('', 7)}}`)[0]?.destinations, [{ cluster: cluster('v2'), weight: 7 }]);
  t.match(problems(withRoutes(`{${destinations(0, 0)}}`)), [
    '0.yaml:24:41: VirtualService shop/reviews: spec.http[0].route: needs weights whose sum is more than 0',
  ]);
  t.match(problems(withRoutes(`{${destinations('', '')}}`)), [/needs weights whose sum is more than 0/]);
  const three = `{route: [${Array(3).fill('{destination: {host: reviews}, weight: 2147483647}').join(', ')}]}`;
  t.match(good(withRoutes(three)).remarks(), [/has weights whose sum is more than a sidecar takes/]);
});

t.test('the port of a destination: as said, else that of the request, as istiod tells sidecars', async (t) => {
  const two = serviceYaml().replace(
    'protocol: HTTP}]',
    'protocol: HTTP}, {number: 8080, name: http-b, protocol: HTTP}]',
  );
  const vs = (destination: string): string =>
    resourceYaml('VirtualService', 'r', `{hosts: [reviews, other], http: [{route: [{destination: ${destination}}]}]}`);
  const to = (yaml: string, name: string): string | undefined => good(yaml).routes(name)[0]?.destinations[0]?.cluster;
  t.equal(to(two + vs('{host: reviews}'), 'reviews:80'), cluster(''));
  t.equal(to(two + vs('{host: reviews}'), 'reviews:8080'), cluster('', 8080));
  t.equal(to(two + vs('{host: reviews, port: {number: 8080}}'), 'reviews:80'), cluster('', 8080));
  t.equal(
    to(serviceYaml() + serviceYaml('other', 9000) + vs('{host: reviews}'), 'other:9000'),
    cluster('', 9000),
    'which does not exist',
  );
  t.equal(
    to(two + serviceYaml('other', 9000) + vs('{host: reviews}'), 'other:9000'),
    cluster('', 9000),
    'which does not exist',
  );
});

t.test('names: the Istio name of a route, or its resource and index', async (t) => {
  t.same(
    routesOf(`{name: canary, match: [{uri: {prefix: /a}}], ${toV1}}, {${toV2}}`).map(({ name }) => name),
    ['canary', 'reviews#1'],
  );
});

t.test('timeout: none unless it is set', async (t) => {
  t.equal(routesOf(`{${toV1}, timeout: 1.5s}`)[0]?.timeoutMs, 1_500);
  t.notOk('timeoutMs' in (routesOf(`{${toV1}}`)[0] ?? {}));
});

t.test('retries: the default of Istio, none, or as they say', async (t) => {
  const retry = (text: string) => routesOf(`{${toV1}${text}}`)[0]?.retry;
  t.same(retry(''), defaultRetryPolicy);
  t.equal(retry(', retries: {attempts: 0}'), undefined);
  t.equal(retry(', retries: {}'), undefined);
  t.same(retry(', retries: {attempts: 5}'), { ...defaultRetryPolicy, attempts: 5 });
  t.same(retry(', retries: {attempts: 1, perTryTimeout: 2s, backoff: 100ms, retryOn: "5xx,reset"}'), {
    attempts: 1,
    perTryTimeoutMs: 2_000,
    backoffBaseMs: 100,
    retryOn: ['5xx', 'reset'],
    retriableStatusCodes: [],
  });
  t.match(retry(', retries: {attempts: 1, retryOn: "503,connect-failure,429"}'), {
    retryOn: ['connect-failure', 'retriable-status-codes'],
    retriableStatusCodes: [503, 429],
  });
  t.match(retry(', retries: {attempts: 1, retryOn: ""}')?.retryOn, defaultRetryPolicy.retryOn);
  t.match(retry(', retries: {attempts: 1, retryOn: "http3-post-connect-failure,5xx"}')?.retryOn, ['5xx']);
  t.notOk('ignorePreviousHosts' in (retry(', retries: {attempts: 1}') ?? {}));
  for (const value of [true, false]) {
    t.equal(retry(`, retries: {attempts: 1, retryIgnorePreviousHosts: ${value}}`)?.ignorePreviousHosts, value);
  }
  for (const word of retryOnWords) t.same(retry(`, retries: {attempts: 1, retryOn: ${word}}`)?.retryOn, [word]);
});

t.test('retries stay with the endpoint of a key where istiod has them stay', async (t) => {
  const key = 'consistentHash: {httpHeaderName: x}';
  const hash = `loadBalancer: {${key}}`;
  const port = (settings: string): string => `portLevelSettings: [{port: {number: 80}, ${settings}}]`;
  const rule = (policy: string, subset = ''): string => {
    const [ofRule, ofSubset] = [policy, subset].map((each) => (each === '' ? '' : `, trafficPolicy: {${each}}`));
    const subsets = `subsets: [{name: v1, labels: {version: v1}${ofSubset}}]`;
    return resourceYaml('DestinationRule', 'reviews', `{host: reviews${ofRule}, ${subsets}}`);
  };
  const virtualService = (destinations: string, retries = ''): string =>
    resourceYaml('VirtualService', 'r', `{hosts: [reviews], http: [{route: [${destinations}]${retries}}]}`);
  const mesh = (policy: string): string =>
    `{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {defaultHttpRetryPolicy: ${policy}}}\n---\n`;
  const to = (more: string): string => `{destination: {host: reviews${more}}}`;
  const port80 = ', port: {number: 80}';
  const v1 = ', subset: v1';
  const ignoring = (value: boolean): string => `{attempts: 1, retryIgnorePreviousHosts: ${value}}`;
  const rows: readonly (readonly [what: string, yaml: string, expected: boolean | 'unreached' | undefined])[] = [
    ['no hash', virtualService(to('')) + rule(''), undefined],
    ['a hash', virtualService(to('')) + rule(hash), 'unreached'],
    ['a hash without a key', virtualService(to('')) + rule('loadBalancer: {consistentHash: {}}'), 'unreached'],
    ['retries of the route', virtualService(to(''), ', retries: {attempts: 3}') + rule(hash), 'unreached'],
    ['retries that go on', virtualService(to(''), `, retries: ${ignoring(true)}`) + rule(hash), true],
    ['retries that stay', virtualService(to(''), `, retries: ${ignoring(false)}`) + rule(hash), false],
    ['retries that stay, no hash', virtualService(to(''), `, retries: ${ignoring(false)}`) + rule(''), false],
    ['retries that go on, no hash', virtualService(to(''), `, retries: ${ignoring(true)}`) + rule(''), true],
    ['retries of the mesh', virtualService(to('')) + rule(hash) + mesh('{attempts: 3}'), 'unreached'],
    ['retries of the mesh that go on', virtualService(to('')) + rule(hash) + mesh(ignoring(true)), true],
    ['retries of the mesh that stay', virtualService(to('')) + rule('') + mesh(ignoring(false)), false],
    ['no VirtualService', rule(hash), undefined],
    ['no VirtualService, a port', rule(port(hash)), undefined],
    ['no VirtualService, retries of the mesh', rule(hash) + mesh('{attempts: 3}'), undefined],
    ['no VirtualService, retries of the mesh that stay', rule(hash) + mesh(ignoring(false)), false],
    ['no VirtualService, retries of the mesh that go on', rule(hash) + mesh(ignoring(true)), true],
    ['a hash of the port, which is named', virtualService(to(port80)) + rule(port(hash)), 'unreached'],
    ['a hash of the port, which is not named', virtualService(to('')) + rule(port(hash)), undefined],
    [
      'none for the port, which is named',
      virtualService(to(port80)) + rule(`${hash}, ${port('tls: {mode: DISABLE}')}`),
      'unreached',
    ],
    ['a hash of the subset', virtualService(to(v1)) + rule('', hash), 'unreached'],
    ['a hash of another subset', virtualService(to('')) + rule('', hash), undefined],
    ['a hash of a port of the subset', virtualService(to(v1 + port80)) + rule('', port(hash)), 'unreached'],
    ['the same, and no port is named', virtualService(to(v1)) + rule('', port(hash)), undefined],
    [
      'the subset balances otherwise',
      virtualService(to(v1)) + rule(hash, 'loadBalancer: {simple: RANDOM}'),
      'unreached',
    ],
    [
      'a route that splits',
      virtualService(
        '{destination: {host: reviews}, weight: 1}, {destination: {host: reviews, subset: v1}, weight: 1}',
      ) + rule(hash),
      undefined,
    ],
    [
      'one of two has everything',
      virtualService('{destination: {host: reviews}, weight: 1}, {destination: {host: reviews, subset: v1}}') +
        rule(hash),
      undefined,
    ],
  ];
  for (const [what, yaml, expected] of rows) {
    t.equal(good(serviceYaml() + yaml).routes('reviews:80')[0]?.retry?.ignorePreviousHosts, expected, what);
  }
});

t.test('retries of a route are made anew when the hash of its destination comes or goes', async (t) => {
  const virtualService = resourceYaml(
    'VirtualService',
    'r',
    '{hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}',
  );
  const rule = (policy: string): string =>
    resourceYaml('DestinationRule', 'reviews', `{host: reviews, trafficPolicy: {loadBalancer: {${policy}}}}`);
  const texts = [serviceYaml(), virtualService];
  let previous: Good['snapshot'] | undefined;
  for (const [policy, expected] of [
    ['simple: RANDOM', undefined],
    ['consistentHash: {useSourceIp: true}', 'unreached'],
    ['simple: ROUND_ROBIN', undefined],
  ] as const) {
    const now: Good = good([...texts, rule(policy)], previous === undefined ? {} : { previous });
    t.equal(now.routes('reviews:80')[0]?.retry?.ignorePreviousHosts, expected, policy);
    previous = now.snapshot;
  }
});

t.test('retries that say nothing sensible are refused', async (t) => {
  const refusal = (text: string): string => problems(withRoutes(`{${toV1}, retries: ${text}}`)).join('\n');
  t.match(
    refusal('{attempts: 1, retryOn: "5xxx"}'),
    /spec\.http\[0\]\.retries\.retryOn: must be a list of 5xx, .* without spaces \(did you mean 5xx\?\), got "5xxx"/,
  );
  t.match(refusal('{attempts: 1, retryOn: "799"}'), /must name HTTP status codes that exist, got "799"/);
  t.match(
    refusal('{attempts: 0, perTryTimeout: 1s}'),
    /spec\.http\[0\]\.retries: needs attempts of at least 1 when perTryTimeout is set/,
  );
  t.match(refusal('{retryOn: 5xx, retryRemoteLocalities: true}'), /when retryOn, retryRemoteLocalities is set/);
  t.equal(refusal('{backoff: 1s}'), '', 'which Istio lets pass');
  t.match(refusal('{attempts: 1, retryOn: "5xx, reset"}'), /without spaces.*got " reset"/);
  t.match(refusal('{attempts: 1, retryOn: "5xx,"}'), /got ""/);
  t.match(refusal('{attempts: -1}'), /retries\.attempts: must be an integer from 0 to 2147483647, got -1/);
});

t.test('rewrite: what Envoy would replace', async (t) => {
  const route = (text: string) => routesOf(`{${text}, ${toV1}}`)[0];
  t.match(route('match: [{uri: {prefix: /a}}], rewrite: {uri: /b, authority: c.example}'), {
    matches: [{ path: { kind: 'prefix', value: '/a' } }],
    rewrite: { pathPrefix: '/b', authority: 'c.example' },
  });
  // Without a condition on the path Envoy matches the prefix "/", and replaces that.
  t.same(route('rewrite: {uri: /b/}')?.matches, [{ path: { kind: 'prefix', value: '/' } }]);
  t.same(route('match: [{headers: {x: {}}}], rewrite: {uri: /b/}')?.matches, [
    { index: 0, path: { kind: 'prefix', value: '/' }, headers: [{ name: 'x', match: { kind: 'present' } }] },
  ]);
  t.same(route('rewrite: {authority: c.example}')?.matches, []);
  t.same(route('rewrite: {authority: c.example}')?.rewrite, { authority: 'c.example' });
});

t.test('gateways: applies when mesh is listed or nothing is', async (t) => {
  const applies = (gateways: string): boolean =>
    good(withRoutes(`{${toV1}}`, gateways)).routes('reviews:80')[0]?.name === 'reviews#0';
  t.ok(applies(''));
  t.ok(applies(', gateways: []'));
  t.ok(applies(', gateways: [mesh]'));
  t.ok(applies(', gateways: [edge, mesh]'));
  t.notOk(applies(', gateways: [edge]'));
});

t.test('a VirtualService for gateways only may have the host of everything, and enforces nothing', async (t) => {
  const yaml =
    serviceYaml() +
    resourceYaml('VirtualService', 'edge', '{hosts: ["*"], gateways: [edge], http: [{redirect: {uri: /a}}]}');
  const { report, routes } = good(yaml);
  t.equal(routes('reviews:80')[0]?.name, 'default');
  t.match(
    report.entries.filter(({ at }) => at.name === 'edge').map(({ field, status }) => `${field} ${status}`),
    ['spec.gateways ignored'],
  );
});

const refusals: readonly (readonly [what: string, yaml: string, message: RegExp])[] = [
  [
    'a host of everything',
    resourceYaml('VirtualService', 'a', `{hosts: ["*"], http: [{${toV1}}]}`),
    /spec\.hosts\[0\]: must not be \* in the mesh/,
  ],
  [
    'a host that is none',
    resourceYaml('VirtualService', 'a', `{hosts: ["a b"], http: [{${toV1}}]}`),
    /spec\.hosts\[0\]: must be a host name/,
  ],
  [
    'a host twice',
    resourceYaml('VirtualService', 'a', `{hosts: [a, a], http: [{${toV1}}]}`),
    /spec\.hosts\[1\]: is there twice, got "a"/,
  ],
  ['a route without a destination', withRoutes('{timeout: 1s}'), /spec\.http\[0\]: needs a route with a destination/],
  ['an empty route', withRoutes('{route: []}'), /spec\.http\[0\]: needs a route with a destination/],
  [
    'a destination that is no host',
    withRoutes('{route: [{destination: {host: "a/b"}}]}'),
    /destination\.host: must be a host name, got "a\/b"/,
  ],
  [
    'a regular expression that is none',
    withRoutes(`{match: [{uri: {regex: "(a"}}], ${toV1}}`),
    /spec\.http\[0\]\.match\[0\]\.uri\.regex: not a valid RE2 pattern.*got "\(a"/,
  ],
  [
    'a lone star as a pattern for paths',
    withRoutes(`{match: [{uri: {regex: "*"}}], ${toV1}}`),
    /uri\.regex: not a valid RE2 pattern/,
  ],
  [
    'a look-ahead',
    withRoutes(`{match: [{headers: {x: {regex: "(?=a)"}}}], ${toV1}}`),
    /headers\.x\.regex: not a valid RE2 pattern/,
  ],
  [
    'a huge repetition',
    withRoutes(`{match: [{uri: {regex: "((a{100}){100}){100}"}}], ${toV1}}`),
    /uri\.regex: not a valid RE2 pattern/,
  ],
  [
    'a very long pattern',
    withRoutes(`{match: [{uri: {regex: "${'a'.repeat(2_000)}"}}], ${toV1}}`),
    /pattern is longer than 1024 characters/,
  ],
  [
    'a header name that is none',
    withRoutes(`{match: [{headers: {"a b": {}}}], ${toV1}}`),
    /headers\["a b"\]: must be the name of a header/,
  ],
];

for (const [what, yaml, message] of refusals) {
  t.test(`${what} is refused`, async (t) => {
    t.match(problems(yaml).join('\n'), message);
  });
}

t.test('a subset that nobody defines has no cluster, and is warned of', async (t) => {
  const { routes, remarks, snapshot } = good(withRoutes('{route: [{destination: {host: reviews, subset: v3}}]}'));
  t.equal(routes('reviews:80')[0]?.destinations[0]?.cluster, cluster('v3'));
  t.notOk(snapshot.clusters.has(cluster('v3')));
  t.same(remarks(), [
    'VirtualService spec.http[0].route[0].destination.subset enforced (warning): no DestinationRule defines subset v3 for reviews.shop.svc.cluster.local (there are v1, v2): calls answer 503',
  ]);
});

t.test('a destination that does not exist is kept, answers 503, and is warned of', async (t) => {
  const { routes, remarks, snapshot } = good(withRoutes('{route: [{destination: {host: nowhere, subset: v9}}]}'));
  const [destination] = routes('reviews:80')[0]?.destinations ?? [];
  t.equal(destination?.cluster, 'outbound|80|v9|nowhere.shop.svc.cluster.local');
  t.notOk(snapshot.clusters.has(destination?.cluster ?? ''));
  t.same(remarks(), [
    'VirtualService spec.http[0].route[0].destination.host enforced (warning): no service has the host nowhere.shop.svc.cluster.local: calls answer 503',
  ]);
});

t.test('a half name is not expanded, as in Istio, and the warning says what to write', async (t) => {
  const { remarks } = good(withRoutes('{route: [{destination: {host: reviews.shop}}]}'));
  t.match(remarks(), [
    /no service has the host reviews\.shop: calls answer 503; write reviews\.shop\.svc\.cluster\.local/,
  ]);
});

t.test('a port that the destination does not have is warned of', async (t) => {
  const { remarks } = good(withRoutes('{route: [{destination: {host: reviews, port: {number: 81}}}]}'));
  t.match(remarks(), [
    /destination\.port\.number enforced \(warning\): reviews\.shop\.svc\.cluster\.local has no port 81: calls answer 503/,
  ]);
});
