// Routes and clusters of what a real istiod sends, and of the YAML that it was told: the same, part by part.
import t from 'tap';
import { comparable, plain, routesOf } from './compare.ts';
import { startTwin } from './twin.ts';

const reviews = 'reviews.shop.svc.cluster.local';

const rule = (http: string): string => `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: shop }
spec:
  hosts: [${reviews}]
  http:
${http.trim().replace(/^/gm, '  ')}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: subsets, namespace: shop }
spec: { host: ${reviews}, subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }] }
`;
const policy = (trafficPolicy: string): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: reviews, namespace: shop }
spec: { host: ${reviews}, trafficPolicy: ${trafficPolicy} }
`;
const hash = 'loadBalancer: { consistentHash: { httpHeaderName: X-User } }';
const hashed = (consistentHash: string): string => policy(`{ loadBalancer: { consistentHash: ${consistentHash} } }`);
/** A service with a DestinationRule and one route. */
const routed = (trafficPolicy: string, route: string): string => `${policy(trafficPolicy)}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: reviews, namespace: shop }
spec: { hosts: [${reviews}], http: [${route}] }
`;
const to = `route: [{ destination: { host: ${reviews} } }]`;
const toPort = `route: [{ destination: { host: ${reviews}, port: { number: 80 } } }]`;
const ofPort = `portLevelSettings: [{ port: { number: 80 }, ${hash} }]`;
const entry = (name: string, spec: string): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${name}, namespace: shop }
spec: ${spec}
`;
const tlsTo = (name: string, tls: string): string => `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: ${name}, namespace: shop }
spec: { host: ${name}.example.com, trafficPolicy: { tls: ${tls} } }
`;

/** Resources; `hosts` that are looked at beside that of the reviews. */
const cases: Readonly<Record<string, { readonly yaml: string; readonly hosts?: readonly string[] }>> = {
  'matches of every kind': {
    yaml: rule(`
- match:
  - uri: { prefix: /api }
    headers: { end-user: { exact: jason }, x-any: {}, x-re: { regex: 'a|b' } }
    queryParams: { debug: { exact: '1' }, q: { regex: 'x.*' } }
  - uri: { regex: '/v[0-9]+/.*' }
    method: { exact: POST }
    withoutHeaders: { x-old: { prefix: a }, x-gone: {} }
  route: [{ destination: { host: ${reviews}, subset: v2 } }]
- name: named
  match: [{ uri: { exact: /Health }, ignoreUriCase: true, authority: { prefix: rev }, scheme: { exact: http } }]
  route: [{ destination: { host: ${reviews}, subset: v1 } }]
- route: [{ destination: { host: ${reviews} } }]`),
  },
  'splits, header edits, timeouts, retries': {
    yaml: rule(`
- match: [{ uri: { prefix: /one } }]
  route:
  - { destination: { host: ${reviews}, subset: v1 }, headers: { request: { set: { x-only: 'yes', host: other.example.com } } } }
  headers: { request: { add: { x-all: 'yes' }, remove: [x-secret] }, response: { set: { x-r: '1' }, remove: [server] } }
  timeout: 3s
  retries: { attempts: 3, perTryTimeout: 1s, retryOn: '5xx,503', backoff: 100ms, retryIgnorePreviousHosts: false }
- match: [{ uri: { prefix: /none } }]
  retries: { attempts: 0 }
  route: [{ destination: { host: ${reviews} } }]
- match: [{ uri: { prefix: /far } }]
  retries: { attempts: 1, retryOn: gateway-error, retryRemoteLocalities: true }
  route: [{ destination: { host: ${reviews} } }]
- route:
  - { destination: { host: ${reviews}, subset: v1 }, weight: 80, headers: { request: { set: { x-version: one } } } }
  - { destination: { host: ${reviews}, subset: v2 }, weight: 20, headers: { response: { add: { x-from: two } } } }`),
  },
  'rewrites, mirrors, faults, CORS': {
    yaml: rule(`
- match: [{ uri: { prefix: /old/ } }, { uri: { exact: /was } }]
  rewrite: { uri: /new/, authority: other.example.com }
  mirrors: [{ destination: { host: ${reviews}, subset: v2 }, percentage: { value: 12.5 } }]
  route: [{ destination: { host: ${reviews}, subset: v1 } }]
- match: [{ uri: { prefix: /re } }]
  rewrite: { uriRegexRewrite: { match: '^/re/(.*)', rewrite: '/b/\\1' } }
  route: [{ destination: { host: ${reviews} } }]
- fault:
    delay: { fixedDelay: 7s, percentage: { value: 50 } }
    abort: { grpcStatus: UNAVAILABLE, percentage: { value: 0.1 } }
  corsPolicy:
    allowOrigins: [{ exact: 'https://example.com' }, { regex: 'https://.*' }, { prefix: 'http://a' }]
    allowMethods: [GET, POST]
    allowHeaders: [x-a]
    exposeHeaders: [x-b]
    maxAge: 24h
    allowCredentials: true
    unmatchedPreflights: IGNORE
  rewrite: { uri: / }
  route: [{ destination: { host: ${reviews} } }]`),
  },
  'redirects and direct answers': {
    yaml: rule(`
- match: [{ uri: { exact: /moved } }]
  redirect: { uri: /here, authority: there.example.com, scheme: https, port: 8443, redirectCode: 308 }
- match: [{ uri: { prefix: /port } }]
  redirect: { authority: there.example.com, derivePort: FROM_REQUEST_PORT }
- match: [{ uri: { prefix: /teapot } }]
  directResponse: { status: 418, body: { string: short and stout } }
  headers: { response: { set: { x-kind: pot } } }
- route: [{ destination: { host: ${reviews} } }]`),
  },
  limits: {
    yaml: policy(`{ connectionPool: {
    tcp: { maxConnections: 10, connectTimeout: 2s, maxConnectionDuration: 60s, tcpKeepalive: { probes: 3, time: 60s, interval: 5s } },
    http: { http1MaxPendingRequests: 5, http2MaxRequests: 7, maxRetries: 2, maxRequestsPerConnection: 9, idleTimeout: 30s } } }`),
  },
  'outlier detection': {
    yaml: policy(
      '{ outlierDetection: { consecutive5xxErrors: 3, consecutiveGatewayErrors: 2, interval: 1s, baseEjectionTime: 4s, maxEjectionPercent: 50, minHealthPercent: 20 } }',
    ),
  },
  'outlier detection, failures of our own apart': {
    yaml: policy('{ outlierDetection: { splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 4 } }'),
  },
  'round robin, slowly at first': {
    yaml: policy(
      '{ loadBalancer: { simple: ROUND_ROBIN, warmup: { duration: 60s, minimumPercent: 5, aggression: 2 } } }',
    ),
  },
  random: { yaml: policy('{ loadBalancer: { simple: RANDOM } }') },
  'a hash of a header': {
    yaml: hashed('{ httpHeaderName: X-User, ringHash: { minimumRingSize: 2048 } }'),
  },
  'a hash of a cookie': {
    yaml: hashed('{ httpCookie: { name: user, path: /p, ttl: 5s }, maglev: { tableSize: 101 } }'),
  },
  'a hash of the address': { yaml: hashed('{ useSourceIp: true }') },
  'a hash of a parameter': { yaml: hashed('{ httpQueryParameterName: u }') },
  'a hash, and a route': { yaml: routed(`{ ${hash} }`, `{ ${to} }`) },
  'a hash, and retries': { yaml: routed(`{ ${hash} }`, `{ ${to}, retries: { attempts: 3 } }`) },
  'a hash, and retries that go on': {
    yaml: routed(`{ ${hash} }`, `{ ${to}, retries: { attempts: 3, retryIgnorePreviousHosts: true } }`),
  },
  'no hash, and retries that stay': {
    yaml: routed('{ tls: { mode: DISABLE } }', `{ ${to}, retries: { attempts: 3, retryIgnorePreviousHosts: false } }`),
  },
  'no hash, and retries that go on': {
    yaml: routed('{ tls: { mode: DISABLE } }', `{ ${to}, retries: { attempts: 3, retryIgnorePreviousHosts: true } }`),
  },
  'a hash of the port, which the route names': { yaml: routed(`{ ${ofPort} }`, `{ ${toPort} }`) },
  'no hash for the port, which the route names': {
    yaml: routed(`{ ${hash}, portLevelSettings: [{ port: { number: 80 }, tls: { mode: DISABLE } }] }`, `{ ${toPort} }`),
  },
  'a hash, and a route that splits': {
    yaml: `${rule(`
- route: [{ destination: { host: ${reviews}, subset: v1 }, weight: 1 }, { destination: { host: ${reviews}, subset: v2 }, weight: 3 }]
- match: [{ uri: { prefix: /v1 } }]
  route: [{ destination: { host: ${reviews}, subset: v1 } }]`).replace(
      '{ name: v2,',
      `{ name: v2, trafficPolicy: { ${hash} },`,
    )}`,
  },
  ISTIO_MUTUAL: {
    yaml: policy('{ tls: { mode: ISTIO_MUTUAL, sni: other, subjectAltNames: ["spiffe://cluster.local/ns/a/sa/b"] } }'),
  },
  'no TLS': { yaml: policy('{ tls: { mode: DISABLE } }') },
  'TLS of the system': {
    yaml: policy('{ tls: { mode: SIMPLE, sni: a.example.com, subjectAltNames: [a.example.com] } }'),
  },
  'TLS with files': {
    yaml: policy(
      '{ tls: { mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem, caCertificates: /ca.pem, subjectAltNames: [a.example.com] } }',
    ),
  },
  'TLS to a host with accounts and names': {
    yaml: `${entry(
      'out',
      `{ hosts: [out.example.com], resolution: STATIC, ports: [{ number: 80, name: http, protocol: HTTP }], subjectAltNames: [b.example.com],
  endpoints: [{ address: 127.0.0.5, serviceAccount: b }, { address: 127.0.0.6, serviceAccount: a }, { address: 127.0.0.7 }] }`,
    )}---
${entry(
  'dns',
  `{ hosts: [dns.example.com], resolution: DNS, ports: [{ number: 80, name: http, protocol: HTTP }],
  endpoints: [{ address: a.example.com, serviceAccount: d }] }`,
)}---
${entry('bare', '{ hosts: [bare.example.com], resolution: STATIC, ports: [{ number: 80, name: http, protocol: HTTP }], endpoints: [{ address: 127.0.0.8 }] }')}---
${tlsTo('out', '{ mode: SIMPLE }')}---
${tlsTo('dns', '{ mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem, sni: sni.example.com }')}---
${tlsTo('bare', '{ mode: SIMPLE }')}`,
    hosts: ['out.example.com:80', 'dns.example.com:80', 'bare.example.com:80'],
  },
  'TLS to services of the mesh, by their accounts': { yaml: policy('{ tls: { mode: SIMPLE, sni: r.example.com } }') },
  'TLS without verification': { yaml: policy('{ tls: { mode: SIMPLE, insecureSkipVerify: true } }') },
  'a retry budget': { yaml: policy('{ retryBudget: { percent: 30, minRetryConcurrency: 5 } }') },
  'the version of the caller': { yaml: policy('{ connectionPool: { http: { useClientProtocol: true } } }') },
  'names that are resolved': {
    yaml: `${entry('dns', '{ hosts: [dns.example.com], resolution: DNS, ports: [{ number: 80, name: http, protocol: HTTP }] }')}---
${entry('dns1', '{ hosts: [one.example.com], resolution: DNS_ROUND_ROBIN, ports: [{ number: 80, name: http, protocol: HTTP }], endpoints: [{ address: a.example.com, ports: { http: 8080 } }] }')}---
${entry('none', '{ hosts: ["*.wide.example.com"], resolution: NONE, ports: [{ number: 80, name: http, protocol: HTTP }] }')}`,
    hosts: ['dns.example.com:80', 'one.example.com:80'],
  },
  'HTTP/2, gRPC and connections': {
    yaml: `${entry('h2', '{ hosts: [h2.shop.svc.cluster.local], resolution: STATIC, location: MESH_INTERNAL, ports: [{ number: 80, name: http2, protocol: HTTP2 }], endpoints: [{ address: 127.0.0.7 }] }')}---
${entry('tcp', '{ hosts: [db.shop.svc.cluster.local], addresses: [240.0.0.9], resolution: STATIC, location: MESH_INTERNAL, ports: [{ number: 3306, name: tcp, protocol: TCP }], endpoints: [{ address: 127.0.0.8 }] }')}---
${entry('tls', '{ hosts: [api.example.com], resolution: STATIC, ports: [{ number: 443, name: tls, protocol: TLS }], endpoints: [{ address: 127.0.0.6 }] }')}`,
    hosts: ['h2.shop.svc.cluster.local:80', 'db.shop.svc.cluster.local:3306', 'api.example.com:443'],
  },
};

t.test('istiod says what the YAML says', async (t) => {
  const twin = await startTwin(t);
  if ('why' in twin) {
    t.comment(`skipped, there is no peer here: ${twin.why}`);
    return;
  }
  for (const [name, { hosts = [], yaml }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const both = await twin.both(yaml);
      for (const host of [`${reviews}:80`, ...hosts]) {
        t.ok(routesOf(both.yaml, host).length > 0, host);
        t.same(plain(routesOf(both.xds, host)), plain(routesOf(both.yaml, host)), host);
      }
      for (const [cluster, wanted] of both.yaml.clusters) {
        t.same(comparable(both.xds.clusters.get(cluster)), comparable(wanted), cluster);
      }
    });
  }
  t.same(twin.problems, [], 'nothing that istiod sends is refused');
});
