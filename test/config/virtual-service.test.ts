import t from 'tap';
import { defaultRetryPolicy, retryOnWords } from '../../src/model/route.ts';
import { good, problems, resourceYaml, serviceYaml, type TestCompileOptions } from './support.ts';

const subsets = resourceYaml(
  'DestinationRule',
  'reviews',
  '{host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}',
);
const withRoutes = (http: string, more = ''): string =>
  serviceYaml() + subsets + resourceYaml('VirtualService', 'reviews', `{hosts: [reviews]${more}, http: [${http}]}`);
const toV1 = 'route: [{destination: {host: reviews, subset: v1}}]';
const toV2 = 'route: [{destination: {host: reviews, subset: v2}}]';
const routesOf = (http: string, options?: TestCompileOptions) => good(withRoutes(http), options).routes('reviews:80');
const cluster = (subset: string, port = 80): string => `outbound|${port}|${subset}|reviews.shop.svc.cluster.local`;

t.test('each match condition is compiled with its meaning', async (t) => {
  const cases: readonly (readonly [match: string, expected: object])[] = [
    ['{uri: {exact: /a}}', { path: { kind: 'exact', value: '/a' } }],
    ['{uri: {prefix: /a}}', { path: { kind: 'prefix', value: '/a' } }],
    ['{uri: {regex: "/a.*"}}', { path: { kind: 'regex', value: '/a.*' } }],
    ['{uri: {exact: /a}, ignoreUriCase: true}', { path: { kind: 'exact', value: '/a' }, pathIgnoreCase: true }],
    ['{uri: {prefix: /a}, ignoreUriCase: false}', { path: { kind: 'prefix', value: '/a' } }],
    // Envoy ignores the case option for regular expressions.
    ['{uri: {regex: /a}, ignoreUriCase: true}', { path: { kind: 'regex', value: '/a' } }],
    [
      '{headers: {End-User: {exact: jason}}}',
      { headers: [{ name: 'end-user', match: { kind: 'exact', value: 'jason' } }] },
    ],
    ['{headers: {x: {prefix: a}}}', { headers: [{ name: 'x', match: { kind: 'prefix', value: 'a' } }] }],
    ['{headers: {x: {regex: "a+"}}}', { headers: [{ name: 'x', match: { kind: 'regex', value: 'a+' } }] }],
    ['{headers: {x: {}}}', { headers: [{ name: 'x', match: { kind: 'present' } }] }],
    ['{headers: {x: {regex: "*"}}}', { headers: [{ name: 'x', match: { kind: 'present' } }] }],
    [
      '{uri: {prefix: /a}, headers: {x: {exact: "1"}, y: {}}}',
      {
        path: { kind: 'prefix', value: '/a' },
        headers: [
          { name: 'x', match: { kind: 'exact', value: '1' } },
          { name: 'y', match: { kind: 'present' } },
        ],
      },
    ],
  ];
  for (const [match, expected] of cases) {
    t.same(routesOf(`{match: [${match}], ${toV1}}`)[0]?.matches, [expected], match);
  }
});

t.test('conditions that hold for every request leave nothing to match', async (t) => {
  for (const match of ['{}', '{uri: {}}', '{uri: {prefix: ""}}', '{name: all}', '{port: 80}', '{gateways: [mesh]}']) {
    t.same(routesOf(`{match: [${match}], ${toV1}}`)[0]?.matches, [], match);
    t.same(routesOf(`{match: [{uri: {exact: /a}}, ${match}], ${toV1}}`)[0]?.matches, [], match);
  }
  t.same(routesOf(`{match: [], ${toV1}}`)[0]?.matches, []);
});

t.test('conditions on the caller and the port are decided when compiling', async (t) => {
  const rest = `{${toV2}}`;
  const cases: readonly (readonly [match: string, applies: boolean])[] = [
    ['{sourceLabels: {app: web}}', true],
    ['{sourceLabels: {app: web, version: v2}}', false],
    ['{sourceNamespace: shop}', true],
    ['{sourceNamespace: other}', false],
    ['{port: 80}', true],
    ['{port: 81}', false],
    ['{gateways: [mesh, edge]}', true],
    ['{gateways: [edge]}', false],
    // Gateways decide alone where they are named, as in Istio.
    ['{gateways: [mesh], sourceNamespace: other}', true],
    ['{gateways: [mesh], port: 81}', false],
    ['{gateways: []}', true],
  ];
  for (const [match, applies] of cases) {
    const routes = routesOf(`{match: [${match}], ${toV1}}, ${rest}`);
    t.equal(routes.length, applies ? 2 : 1, match);
  }
});

t.test('a match with a condition that is not evaluated never matches, and the report says so', async (t) => {
  const conditions = [
    'method: {exact: GET}',
    'authority: {exact: a}',
    'scheme: {exact: http}',
    'queryParams: {a: {exact: b}}',
    'withoutHeaders: {a: {}}',
  ];
  for (const condition of conditions) {
    const alone = good(withRoutes(`{match: [{uri: {prefix: /a}, ${condition}}], ${toV1}}, {${toV2}}`));
    t.equal(alone.routes('reviews:80').length, 1, condition);
    t.match(alone.remarks(), [/ignored: the whole match entry is left out: it never matches/]);
    const beside = good(withRoutes(`{match: [{${condition}}, {uri: {exact: /b}}], ${toV1}}`));
    t.same(beside.routes('reviews:80')[0]?.matches, [{ path: { kind: 'exact', value: '/b' } }], condition);
  }
  const claims = good(withRoutes(`{match: [{headers: {"@request.auth.claims.sub": {exact: a}}}], ${toV1}}, {${toV2}}`));
  t.equal(claims.routes('reviews:80').length, 1);
  t.match(claims.remarks(), [/claims are matched at gateways only/]);
});

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
  t.match(problems(withRoutes(three)), [/has weights whose sum is too large, got 6442450941/]);
});

t.test('the port of a destination: as said, else the only one, else that of the request', async (t) => {
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
  t.equal(to(serviceYaml() + serviceYaml('other', 9000) + vs('{host: reviews}'), 'other:9000'), cluster(''));
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
  t.same(retry(', retries: {attempts: 1, perTryTimeout: 2s, backoff: 100ms, retryOn: "5xx, reset"}'), {
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
  t.match(retry(', retries: {attempts: 1, retryOn: "retriable-headers,,5xx"}')?.retryOn, ['5xx']);
  for (const word of retryOnWords) t.same(retry(`, retries: {attempts: 1, retryOn: ${word}}`)?.retryOn, [word]);
});

t.test('retries that say nothing sensible are refused', async (t) => {
  const refusal = (text: string): string => problems(withRoutes(`{${toV1}, retries: ${text}}`)).join('\n');
  t.match(
    refusal('{attempts: 1, retryOn: "5xxx"}'),
    /spec\.http\[0\]\.retries\.retryOn: must be a list of 5xx, .* \(did you mean 5xx\?\), got "5xxx"/,
  );
  t.match(refusal('{attempts: 1, retryOn: "799"}'), /must name HTTP status codes that exist, got "799"/);
  t.match(
    refusal('{attempts: 0, perTryTimeout: 1s}'),
    /spec\.http\[0\]\.retries: needs attempts of at least 1 when perTryTimeout is set/,
  );
  t.match(refusal('{retryOn: 5xx, backoff: 1s}'), /needs attempts of at least 1 when retryOn, backoff is set/);
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
    { path: { kind: 'prefix', value: '/' }, headers: [{ name: 'x', match: { kind: 'present' } }] },
  ]);
  t.same(route('rewrite: {authority: c.example}')?.matches, []);
  t.same(route('rewrite: {authority: c.example}')?.rewrite, { authority: 'c.example' });
  t.notOk('rewrite' in (route('rewrite: {}') ?? {}));
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

t.test('a VirtualService for gateways only may have what the mesh has not, and enforces nothing', async (t) => {
  const yaml =
    serviceYaml() +
    resourceYaml('VirtualService', 'edge', '{hosts: ["*"], gateways: [edge], http: [{redirect: {uri: /a}}]}');
  const { report, routes } = good(yaml);
  t.equal(routes('reviews:80')[0]?.name, 'default');
  t.match(
    report.entries.filter(({ at }) => at.name === 'edge').map(({ field, status }) => `${field} ${status}`),
    ['spec.http[0].redirect ignored', 'spec.gateways ignored'],
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
  [
    'a pseudo-header',
    withRoutes(`{match: [{headers: {":path": {exact: /a}}}], ${toV1}}`),
    /must be the name of a header/,
  ],
];

for (const [what, yaml, message] of refusals) {
  t.test(`${what} is refused`, async (t) => {
    t.match(problems(yaml).join('\n'), message);
  });
}

t.test('a subset that nobody defines is refused with its place', async (t) => {
  const yaml = withRoutes('{route: [{destination: {host: reviews, subset: v3}}]}');
  t.same(problems(yaml), [
    '0.yaml:24:80: VirtualService shop/reviews: spec.http[0].route[0].destination.subset: must be a subset that a DestinationRule defines for reviews.shop.svc.cluster.local (v1, v2), got "v3"',
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

t.test('routes of other protocols are in the report', async (t) => {
  const vs =
    '{hosts: [reviews], tcp: [{route: [{destination: {host: reviews}}]}], tls: [{match: [{sniHosts: [a]}], route: [{destination: {host: reviews}}]}]}';
  const { remarks, routes } = good(serviceYaml() + resourceYaml('VirtualService', 'r', vs));
  t.match(remarks(), [/spec\.tcp ignored: only HTTP/, /spec\.tls ignored: only HTTP/]);
  t.equal(routes('reviews:80')[0]?.name, 'default');
});
