import t from 'tap';
import { good, problems, serviceYaml } from './support.ts';

const check = (spec: string, name = 'h'): string => `${serviceYaml()}
---
apiVersion: inmesh.dev/v1
kind: HealthCheck
metadata: {name: ${name}, namespace: shop}
spec: ${spec}
`;
const policyOf = (spec: string) => good(check(spec)).cluster('reviews|80|')?.healthCheck;
const host = good(serviceYaml()).cluster('reviews|80|')?.host as string;

t.test('the defaults', async (t) => {
  t.same(policyOf('{host: reviews, http: {path: /healthz}}'), {
    probe: {
      kind: 'http',
      method: 'GET',
      path: '/healthz',
      host,
      headers: [],
      expected: [{ from: 200, to: 200 }],
      retriable: [],
    },
    intervalMs: 10_000,
    timeoutMs: 1_000,
    unhealthyThreshold: 3,
    healthyThreshold: 1,
    unhealthyIntervalMs: 10_000,
    unhealthyEdgeIntervalMs: 10_000,
    healthyEdgeIntervalMs: 10_000,
    initialJitterMs: 0,
    intervalJitterMs: 0,
    intervalJitterPercent: 10,
    ignoreNew: true,
    minHealthPercent: 50,
  });
  t.equal(good(serviceYaml()).cluster('reviews|80|')?.healthCheck, undefined);
});

t.test('every field becomes part of the policy', async (t) => {
  const common = `host: reviews, port: 80, checkPort: 8081, interval: 5s, timeout: 200ms, unhealthyThreshold: 4,
    healthyThreshold: 2, unhealthyInterval: 2s, unhealthyEdgeInterval: 1s, healthyEdgeInterval: 500ms, initialJitter: 3s,
    intervalJitter: 1s, intervalJitterPercent: 0, ignoreNewHostsUntilFirstCheck: false, minHealthPercent: 0`;
  const http = `http: {path: /ready, host: "x:1", method: HEAD, headers: {X-A: b},
    expectedStatuses: [{start: 200, end: 300}], retriableStatuses: [{start: 503, end: 504}]}`;
  t.same(policyOf(`{${common}, ${http}}`), {
    probe: {
      kind: 'http',
      method: 'HEAD',
      path: '/ready',
      host: 'x:1',
      headers: [{ name: 'x-a', value: 'b' }],
      expected: [{ from: 200, to: 299 }],
      retriable: [{ from: 503, to: 503 }],
    },
    port: 8081,
    intervalMs: 5_000,
    timeoutMs: 200,
    unhealthyThreshold: 4,
    healthyThreshold: 2,
    unhealthyIntervalMs: 2_000,
    unhealthyEdgeIntervalMs: 1_000,
    healthyEdgeIntervalMs: 500,
    initialJitterMs: 3_000,
    intervalJitterMs: 1_000,
    intervalJitterPercent: 0,
    ignoreNew: false,
    minHealthPercent: 0,
  });
});

t.test('one interval is the default of others', async (t) => {
  t.match(policyOf('{host: reviews, tcp: {}, unhealthyInterval: 2s}'), {
    unhealthyIntervalMs: 2_000,
    unhealthyEdgeIntervalMs: 2_000,
    healthyEdgeIntervalMs: 10_000,
  });
});

t.test('TCP and gRPC', async (t) => {
  const probe = (spec: string) => policyOf(`{host: reviews, ${spec}}`)?.probe;
  t.same(probe('tcp: {}'), { kind: 'tcp', receive: [] });
  t.same(probe('tcp: {send: {string: PING}, receive: [{string: PONG}, {hex: "0d0A"}]}'), {
    kind: 'tcp',
    send: Buffer.from('PING'),
    receive: [Buffer.from('PONG'), Buffer.from('\r\n')],
  });
  t.same(probe('grpc: {}'), { kind: 'grpc', service: '', host, headers: [] });
  t.same(probe('grpc: {service: shop.Cart, authority: cart, headers: {x: y}}'), {
    kind: 'grpc',
    service: 'shop.Cart',
    host: 'cart',
    headers: [{ name: 'x', value: 'y' }],
  });
});

t.test('who panics when: the resource says it, else outlierDetection, else Envoy’s half', async (t) => {
  const rule = (spec: string): string => `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d, namespace: shop}
spec: {host: reviews, trafficPolicy: {outlierDetection: ${spec}}}
`;
  const percent = (spec: string, outlier: string): number | undefined =>
    good(check(spec) + rule(outlier)).cluster('reviews|80|')?.healthCheck?.minHealthPercent;
  t.equal(percent('{host: reviews, tcp: {}}', '{minHealthPercent: 30}'), 30);
  t.equal(percent('{host: reviews, tcp: {}}', '{}'), 0);
  t.equal(percent('{host: reviews, tcp: {}, minHealthPercent: 70}', '{minHealthPercent: 30}'), 70);
});

t.test('remarks', async (t) => {
  const { remarks } = good(check('{host: reviews, tcp: {send: {string: x}}}'));
  t.match(remarks().join('\n'), /HealthCheck spec\.tcp\.send ignored \(warning\): nothing is sent/);
});

t.test('refused', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['{host: reviews}', 'spec: needs one of http, tcp and grpc'],
    ['{tcp: {}}', 'spec: needs the field host'],
    ['{host: reviews, tcp: {}, grpc: {}}', 'spec'],
    ['{host: reviews, http: {}}', 'spec.http: needs the field path'],
    ['{host: reviews, http: {path: healthz}}', 'spec.http.path: must be a path that begins with /'],
    ['{host: reviews, http: {path: "/a b"}}', 'spec.http.path: must be a path'],
    ['{host: reviews, http: {path: /, method: CONNECT}}', 'spec.http.method: cannot be CONNECT'],
    ['{host: reviews, http: {path: /, method: get}}', 'spec.http.method: must be a method in capital letters'],
    ['{host: reviews, http: {path: /, headers: {Host: x}}}', 'must not be given'],
    ['{host: reviews, http: {path: /, headers: {"a b": x}}}', 'must be a header name'],
    ['{host: reviews, http: {path: /, expectedStatuses: [{start: 300, end: 200}]}}', 'end: must be greater than start'],
    [
      '{host: reviews, http: {path: /, expectedStatuses: [{start: 99, end: 200}]}}',
      'start: must be an integer from 100',
    ],
    ['{host: reviews, tcp: {receive: [{hex: abc}]}}', 'spec.tcp.receive[0].hex: must be bytes'],
    ['{host: reviews, tcp: {receive: [{}]}}', 'spec.tcp.receive[0]: needs one of string and hex'],
    ['{host: reviews, tcp: {}, interval: 0s}', 'spec.interval: must be a duration'],
    ['{host: reviews, tcp: {}, unhealthyThreshold: 0}', 'spec.unhealthyThreshold: must be an integer from 1'],
    ['{host: reviews, tcp: {}, minHealthPercent: 101}', 'spec.minHealthPercent: must be an integer from 0 to 100'],
    ['{host: reviews, tcp: {}, intervall: 1s}', 'spec.intervall: is not a known field (did you mean interval?)'],
  ];
  for (const [spec, expected] of cases) {
    const found = problems(check(spec));
    t.ok(
      found.some((each) => each.includes('HealthCheck shop/h') && each.includes(expected)),
      `${spec}: ${found.join('; ')}`,
    );
  }
});

t.test('a changed check changes its cluster; one that says the same leaves it', async (t) => {
  const before = good(check('{host: reviews, tcp: {}}'));
  const same = good(check('{host: reviews, tcp: {}, interval: 10s}'), { previous: before.snapshot });
  t.equal(same.cluster('reviews|80|'), before.cluster('reviews|80|'));
  const after = good(check('{host: reviews, tcp: {}, interval: 9s}'), { previous: before.snapshot });
  t.equal(after.cluster('reviews|80|')?.healthCheck?.intervalMs, 9_000);
});
