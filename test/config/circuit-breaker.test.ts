import t from 'tap';
import { defaultBreakerPolicy } from '../../src/model/breaker.ts';
import { good, problems } from './support.ts';

const reviews = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: books}
spec:
  hosts: [reviews.books.svc.cluster.local, api.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: http-admin, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: books}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: books}
spec:
  hosts: [reviews]
  http:
  - match: [{port: 80, headers: {canary: {exact: "yes"}}}]
    route: [{destination: {host: reviews, subset: v1, port: {number: 80}}}]
  - route: [{destination: {host: reviews}}]
`;

const breaker = (name: string, spec: string, namespace = 'shop'): string => `
apiVersion: inmesh.dev/v1
kind: CircuitBreaker
metadata: {name: ${name}, namespace: ${namespace}}
spec: ${spec}
`;

const long = 'reviews.books.svc.cluster.local';

/** The volume threshold tells which resource counted. */
function thresholdsOf(resources: readonly string[]) {
  const { cluster } = good([reviews, ...resources]);
  const of = (name: string) => cluster(name)?.breaker?.volumeThreshold;
  return [of(`${long}|80`), of(`${long}|81`), of(`${long}|80|v1`), of('api.example.com|80')];
}

t.test('every field becomes part of the policy', async (t) => {
  const spec = `
  host: ${long}
  errorThresholdPercentage: 25
  rollingWindow: 1m
  volumeThreshold: 7
  resetTimeout: 5s
  trialTimeout: 1500ms
  failures: {statuses: [429, 503], errors: false, timeouts: false}
  fallback:
    status: 203
    headers: {Content-Type: application/json}
    body: {string: "[]"}
`;
  t.same(good([reviews, breaker('a', spec)]).cluster(`${long}|80`)?.breaker, {
    errorThresholdPercentage: 25,
    rollingWindowMs: 60_000,
    volumeThreshold: 7,
    resetTimeoutMs: 5_000,
    trialTimeoutMs: 1_500,
    failures: { statuses: [429, 503], errors: false, timeouts: false },
    fallback: { status: 203, headers: { 'content-type': 'application/json' }, body: '[]' },
  });
});

t.test('without fields the defaults hold; without a resource there is no breaker', async (t) => {
  t.same(good([reviews, breaker('a', `{host: ${long}}`)]).cluster(`${long}|80`)?.breaker, defaultBreakerPolicy);
  t.equal(good(reviews).cluster(`${long}|80`)?.breaker, undefined);
});

t.test('which resource counts', async (t) => {
  const cases = [
    {
      name: 'one for the host is for all ports and subsets of it',
      resources: [breaker('a', `{host: ${long}, volumeThreshold: 1}`)],
      expected: [1, 1, 1, undefined],
    },
    {
      name: 'port and subset are more specific',
      resources: [
        breaker('a', `{host: ${long}, volumeThreshold: 1}`),
        breaker('b', `{host: ${long}, port: 81, volumeThreshold: 2}`),
        breaker('c', `{host: ${long}, subset: v1, volumeThreshold: 3}`),
      ],
      expected: [1, 2, 3, undefined],
    },
    {
      name: 'a subset goes before a port, both together before each',
      resources: [
        breaker('a', `{host: ${long}, port: 80, volumeThreshold: 1}`),
        breaker('b', `{host: ${long}, subset: v1, volumeThreshold: 2}`),
      ],
      expected: [1, undefined, 2, undefined],
    },
    {
      name: 'a name goes before wildcards, the longer one before the shorter',
      resources: [
        breaker('a', '{host: "*", volumeThreshold: 1}'),
        breaker('b', '{host: "*.example.com", volumeThreshold: 2}'),
        breaker('c', '{host: "*.com", volumeThreshold: 3}'),
        breaker('d', `{host: ${long}, volumeThreshold: 4}`),
      ],
      expected: [4, 4, 4, 2],
    },
    {
      name: 'the own namespace goes before that of the service, that before the root namespace',
      resources: [
        breaker('a', `{host: ${long}, port: 80, volumeThreshold: 1}`, 'books'),
        breaker('b', '{host: "*.local", volumeThreshold: 2}'),
        breaker('c', '{host: "*", volumeThreshold: 3}', 'istio-system'),
      ],
      expected: [2, 2, 2, 3],
    },
    {
      name: 'a short name is one of the namespace of the resource',
      resources: [breaker('a', '{host: reviews, volumeThreshold: 1}', 'books')],
      expected: [1, 1, 1, undefined],
    },
    {
      name: 'other namespaces have no say',
      resources: [breaker('a', `{host: ${long}, volumeThreshold: 1}`, 'elsewhere')],
      expected: [undefined, undefined, undefined, undefined],
    },
  ];
  for (const { name, resources, expected } of cases) t.same(thresholdsOf(resources), expected, name);
});

t.test('remarks', async (t) => {
  const { remarks } = good([
    reviews,
    breaker('a', `{host: ${long}}`),
    breaker('b', `{host: ${long}}`),
    breaker('c', '{host: nobody}'),
  ]);
  t.same(remarks(), [
    'CircuitBreaker spec ignored (warning): CircuitBreaker shop/a is older and counts instead',
    'CircuitBreaker spec.host enforced (warning): no service has the host nobody.shop.svc.cluster.local',
  ]);
});

t.test('refused', async (t) => {
  const cases = [
    ['{host: "a..b"}', 'spec.host: must be a host name, * or *.<domain>, got "a..b"'],
    ['{}', 'spec: needs the field host'],
    ['{host: a, errorThresholdPercentage: 100}', 'spec.errorThresholdPercentage: must be an integer from 0 to 99'],
    ['{host: a, rollingWindow: 5ms}', 'spec.rollingWindow: must be'],
    ['{host: a, resetTimeout: soon}', 'spec.resetTimeout: must be'],
    ['{host: a, threshold: 3}', 'spec.threshold: is not a field'],
    ['{host: a, failures: {statuses: [600]}}', 'spec.failures.statuses[0]: must be an integer from 100 to 599'],
    [
      '{host: a, failures: {statuses: [], errors: false, timeouts: false}}',
      'spec.failures: leaves nothing that counts',
    ],
    ['{host: a, fallback: {}}', 'spec.fallback: needs the field status'],
    ['{host: a, fallback: {status: 200, headers: {Content-Length: "3"}}}', 'must not be given'],
    ['{host: a, fallback: {status: 200, headers: {x: "a\\nb"}}}', 'must be a header value'],
    ['{host: a, fallback: {status: 200, body: {bytes: "?"}}}', 'spec.fallback.body.bytes: must be base64'],
  ] as const;
  for (const [spec, expected] of cases) {
    const found = problems([reviews, breaker('a', spec)]);
    t.ok(
      found.some((each) => each.includes(`CircuitBreaker shop/a`) && each.includes(expected)),
      `${spec}: ${found.join('; ')}`,
    );
  }
});

t.test('a changed breaker changes its cluster alone', async (t) => {
  const before = good([reviews, breaker('a', `{host: ${long}, port: 80}`)]);
  const after = good([reviews, breaker('a', `{host: ${long}, port: 80, volumeThreshold: 3}`)], {
    previous: before.snapshot,
  });
  t.equal(after.cluster(`${long}|80`)?.breaker?.volumeThreshold, 3);
  t.equal(after.cluster(`${long}|81`), before.cluster(`${long}|81`));
});
