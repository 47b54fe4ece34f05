import t from 'tap';
import { createExplainer } from '../../src/explain/explainer.ts';
import type { ExplainRequest } from '../../src/explain/request.ts';
import { describeExplanation } from '../../src/explain/text.ts';
import { good, resourceYaml, serviceYaml, web } from '../config/support.ts';

const host = 'reviews.shop.svc.cluster.local';
const rule = (spec: string): string => resourceYaml('DestinationRule', 'reviews', `{host: reviews, ${spec}}`);
const subsets = rule('subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]');
const http = (rules: string): string =>
  resourceYaml('VirtualService', 'reviews', `{hosts: [reviews], http: [${rules}]}`);
const to = '{destination: {host: reviews, subset: v1}}';

interface Row {
  readonly name: string;
  /** Beside the service and its subsets. */
  readonly yaml: string;
  readonly request?: ExplainRequest;
  readonly expected: Readonly<Record<string, unknown>>;
}

const rows: readonly Row[] = [
  {
    name: 'a redirect keeps what it does not replace',
    yaml: http('{match: [{uri: {prefix: /old}}], redirect: {uri: /new, redirectCode: 302}}'),
    request: { path: '/old/x?q=1' },
    expected: { decision: 'redirect', redirect: { status: 302, location: 'http://reviews/new?q=1' } },
  },
  {
    name: 'a redirect to https',
    yaml: http('{redirect: {scheme: https, authority: other.example}}'),
    request: { path: '/a' },
    expected: { decision: 'redirect', redirect: { status: 301, location: 'https://other.example/a' } },
  },
  {
    name: 'a direct response',
    yaml: http('{directResponse: {status: 418, body: {string: teapot}}, headers: {response: {set: {x-a: "1"}}}}'),
    expected: {
      decision: 'direct',
      rule: 'VirtualService shop/reviews http[0]',
      direct: { status: 418, body: 'teapot' },
      responseHeaders: { set: { 'x-a': '1' }, add: {}, remove: [] },
    },
  },
  {
    name: 'a CORS preflight of an allowed origin is answered',
    yaml: http(`{route: [${to}], corsPolicy: {allowOrigins: [{exact: "https://a.example"}], allowMethods: [GET]}}`),
    request: { method: 'OPTIONS', headers: { origin: 'https://a.example', 'access-control-request-method': 'GET' } },
    expected: { decision: 'direct', direct: { status: 200 } },
  },
  {
    name: 'other requests of an allowed origin go on',
    yaml: http(`{route: [${to}], corsPolicy: {allowOrigins: [{exact: "https://a.example"}]}}`),
    request: { headers: { origin: 'https://a.example' } },
    expected: { decision: 'route', cors: { 'access-control-allow-origin': 'https://a.example' } },
  },
  {
    name: 'a delay that the number falls into, an abort that it does not',
    yaml: http(
      `{route: [${to}], fault: {delay: {percentage: {value: 50}, fixedDelay: 5s}, abort: {percentage: {value: 10}, httpStatus: 500}}}`,
    ),
    request: { random: 0.3 },
    expected: {
      fault: {
        delayMs: 5_000,
        abort: undefined,
        level: 'call',
        configured: {
          delay: { delayMs: 5_000, percentage: 50 },
          abort: { httpStatus: 500, percentage: 10 },
        },
      },
    },
  },
  {
    name: 'an abort with a status of HTTP',
    yaml: http(`{route: [${to}], fault: {abort: {percentage: {value: 10}, httpStatus: 500}}}`),
    request: { random: 0.0999 },
    expected: { decision: 'route', fault: { abort: { httpStatus: 500 } } },
  },
  {
    name: 'an abort with a status of gRPC',
    yaml: http(`{route: [${to}], fault: {abort: {percentage: {value: 100}, grpcStatus: UNAVAILABLE}}}`),
    request: { protocol: 'grpc' },
    expected: { fault: { abort: { grpcStatus: 14 } } },
  },
  {
    name: 'mirrors, with whether this request is copied',
    yaml: http(
      `{route: [${to}], mirrors: [{destination: {host: reviews, subset: v2}, percentage: {value: 20}}, {destination: {host: reviews, subset: v1}, percentage: {value: 50}}]}`,
    ),
    request: { random: 0.3 },
    expected: {
      mirrors: [
        { cluster: `outbound|80|v2|${host}`, host, subset: 'v2', port: 80, percentage: 20, applies: false },
        { subset: 'v1', percentage: 50, applies: true },
      ],
    },
  },
  {
    name: 'header edits of destination and rule; Host becomes the authority',
    yaml: http(
      `{route: [{destination: {host: reviews, subset: v1}, weight: 1, headers: {request: {set: {x-a: dest, x-b: dest}}}}, {destination: {host: reviews, subset: v2}, weight: 1}], headers: {request: {set: {x-a: rule, Host: edited.example}, add: {x-c: "1"}, remove: [x-b]}, response: {remove: [server]}}}`,
    ),
    expected: {
      authority: 'edited.example',
      requestHeaders: { set: { 'x-a': 'rule' }, add: { 'x-c': '1' }, remove: ['x-b'] },
      responseHeaders: { set: {}, add: {}, remove: ['server'] },
    },
  },
  {
    name: 'timeout and retries',
    yaml: http(
      `{route: [${to}], timeout: 3s, retries: {attempts: 3, perTryTimeout: 500ms, retryOn: "5xx,409", backoff: 10ms}}`,
    ),
    expected: {
      timeoutMs: 3_000,
      retries: {
        attempts: 3,
        perTryTimeoutMs: 500,
        retryOn: ['5xx', 'retriable-status-codes'],
        retriableStatusCodes: [409],
        backoffBaseMs: 10,
      },
    },
  },
  {
    name: 'no retries at all',
    yaml: http(`{route: [${to}], retries: {attempts: 0}}`),
    expected: { retries: { attempts: 0, retryOn: [] } },
  },
  {
    name: 'the defaults of the mesh',
    yaml: '{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {defaultHttpRetryPolicy: {attempts: 7, retryOn: reset}}}',
    expected: { rule: undefined, retries: { attempts: 7, retryOn: ['reset'] } },
  },
  {
    name: 'a subset that nobody defines has its name all the same',
    yaml: http('{route: [{destination: {host: reviews, subset: v9}}]}'),
    expected: { decision: 'route', cluster: `outbound|80|v9|${host}`, tls: undefined, notes: [/does not exist: 503/] },
  },
  {
    name: 'a rule of a delegate is named by the delegate',
    yaml:
      resourceYaml('VirtualService', 'root', '{hosts: [reviews], http: [{delegate: {name: leaf, namespace: shop}}]}') +
      resourceYaml('VirtualService', 'leaf', `{http: [{match: [{uri: {prefix: /a}}], route: [${to}]}]}`),
    request: { path: '/a/b' },
    expected: { rule: 'VirtualService shop/leaf http[0]' },
  },
  {
    name: 'rules that can never apply are named',
    yaml: http(
      `{match: [{port: 81}], route: [${to}]}, {match: [{sourceLabels: {app: api}}], route: [${to}]}, {route: [${to}]}`,
    ),
    expected: {
      rule: 'VirtualService shop/reviews http[2]',
      passedOver: [
        { rule: 'VirtualService shop/reviews http[0]', reasons: [/port/] },
        { rule: 'VirtualService shop/reviews http[1]', reasons: [/sourceLabels|label/] },
      ],
    },
  },
  {
    name: 'https as the scheme of a request whose content the mesh reads',
    yaml: http(`{match: [{scheme: {exact: https}}], route: [${to}]}`),
    request: { scheme: 'https', port: 80, protocol: 'http' },
    expected: { decision: 'route' },
  },
  {
    name: 'TLS of the application cannot go to an HTTP port',
    yaml: '',
    request: { scheme: 'https', port: 80 },
    expected: { decision: 'refused', notes: [/application would send TLS/, /encrypts by itself/] },
  },
];

t.test('decisions', async (t) => {
  for (const { expected, name, request, yaml } of rows) {
    const { snapshot } = good([serviceYaml(), subsets, yaml]);
    const said = createExplainer({ snapshot, workload: web }).outbound({ authority: 'reviews', ...request });
    t.match(said, expected, name);
    t.match(describeExplanation(said), new RegExp(`^${said.decision}`), `${name}, in words`);
  }
});

t.test('what a consistent-hash balancer looks at', async (t) => {
  const hashOf = (spec: string) => {
    const { snapshot } = good(serviceYaml() + rule(`trafficPolicy: {loadBalancer: {consistentHash: {${spec}}}}`));
    return createExplainer({ snapshot, workload: web }).outbound({ authority: 'reviews' }).hash;
  };
  t.same(hashOf('httpHeaderName: x-user'), { header: 'x-user' });
  t.same(hashOf('useSourceIp: true'), { sourceIp: true });
  t.same(hashOf('httpQueryParameterName: user'), { queryParameter: 'user' });
  t.match(hashOf('httpCookie: {name: user, ttl: 1s}'), { cookie: 'user', ttlMs: 1_000 });
});

t.test('TLS that the mesh originates', async (t) => {
  const tlsOf = (spec: string) => {
    const { snapshot } = good(serviceYaml() + rule(`trafficPolicy: {tls: {${spec}}}`));
    return createExplainer({ snapshot, workload: web }).outbound({ authority: 'reviews' }).tls;
  };
  t.match(tlsOf('mode: SIMPLE, sni: a.example, subjectAltNames: [a.example]'), {
    mode: 'SIMPLE',
    sni: 'a.example',
    sans: ['a.example'],
  });
  t.match(tlsOf('mode: MUTUAL, clientCertificate: /a.pem, privateKey: /a.key'), { mode: 'MUTUAL', sni: 'reviews' });
  t.match(tlsOf('mode: ISTIO_MUTUAL, sni: own.example'), { mode: 'ISTIO_MUTUAL', sni: 'own.example' });
});

t.test('connections: tcp and tls rules', async (t) => {
  const db = serviceYaml('db', 5432).replace('name: http, protocol: HTTP', 'name: tcp, protocol: TCP');
  const secure = serviceYaml('secure', 443).replace('name: http, protocol: HTTP', 'name: tls, protocol: TLS');
  const tcp = resourceYaml(
    'VirtualService',
    'db',
    '{hosts: [db], tcp: [{route: [{destination: {host: db, port: {number: 5432}}, weight: 20}, {destination: {host: secure, port: {number: 443}}, weight: 80}]}]}',
  );
  const tls = resourceYaml(
    'VirtualService',
    'secure',
    '{hosts: [secure.shop.svc.cluster.local], tls: [{match: [{sniHosts: [secure.shop.svc.cluster.local]}], route: [{destination: {host: db, port: {number: 5432}}}]}]}',
  );
  const { snapshot } = good([db, secure, tcp, tls]);
  const explainer = createExplainer({ snapshot, workload: web });
  const ask = (authority: string, port: number, more: ExplainRequest = {}) =>
    explainer.outbound({ authority, port, protocol: 'tcp', ...more });
  t.match(ask('db', 5432, { random: 0.5 }), {
    decision: 'route',
    rule: 'VirtualService shop/db tcp[0]',
    cluster: 'outbound|443||secure.shop.svc.cluster.local',
    destinations: [{ weight: 20 }, { weight: 80 }],
  });
  t.match(ask('secure.shop.svc.cluster.local', 443, { sni: 'secure.shop.svc.cluster.local' }), {
    rule: 'VirtualService shop/secure tls[0]',
    cluster: 'outbound|5432||db.shop.svc.cluster.local',
  });
  t.match(ask('secure', 443, { sni: 'other.example' }), { decision: 'no-route' });
  t.match(ask('elsewhere.example', 5432), { decision: 'passthrough', cluster: 'PassthroughCluster' });
});
