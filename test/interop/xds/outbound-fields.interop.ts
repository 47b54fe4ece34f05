// As `outbound-equal`, for fields that fewer people write: what a real istiod sends, and what we make of the YAML.
import t from 'tap';
import { comparable, plain, routesOf } from './compare.ts';
import { startTwin, workload } from './twin.ts';

const reviews = 'reviews.shop.svc.cluster.local';
const resource = (kind: string, name: string, spec: string, namespace = 'shop'): string => `
apiVersion: networking.istio.io/v1
kind: ${kind}
metadata: { name: ${name}, namespace: ${namespace} }
spec: ${spec}
`;
const all = (...texts: readonly string[]): string => texts.join('---');
const policy = (trafficPolicy: string): string =>
  resource('DestinationRule', 'reviews', `{ host: ${reviews}, trafficPolicy: ${trafficPolicy} }`);
const subsets = 'subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }]';
const http80 = 'ports: [{ number: 80, name: http, protocol: HTTP }]';
/** A service with two ports. */
const two = resource(
  'ServiceEntry',
  'two',
  `{ hosts: [two.shop.svc.cluster.local], resolution: STATIC, location: MESH_INTERNAL,
  ports: [{ number: 80, name: http, protocol: HTTP }, { number: 81, name: http-b, protocol: HTTP, targetPort: 8081 }],
  endpoints: [{ address: 127.0.0.11, serviceAccount: two }, { address: 127.0.0.12, serviceAccount: two, ports: { http-b: 9 } }] }`,
);
const both = ['two.shop.svc.cluster.local:80', 'two.shop.svc.cluster.local:81'];
const placed = resource(
  'ServiceEntry',
  'placed',
  `{ hosts: [placed.shop.svc.cluster.local], resolution: STATIC, location: MESH_INTERNAL, ${http80}, endpoints: [
  { address: 127.0.0.21, locality: eu/a/1, labels: { app: cart, version: v1 }, weight: 1 },
  { address: 127.0.0.22, locality: eu/a/2, labels: { app: cart, version: v2 }, weight: 2 },
  { address: 127.0.0.23, locality: eu/b, labels: { app: other, version: v1 }, weight: 3 },
  { address: 127.0.0.24, locality: us/c, labels: { app: other, version: v2 }, network: other } ] }`,
);
const toPlaced = (trafficPolicy: string): string =>
  all(
    placed,
    resource('DestinationRule', 'placed', `{ host: placed.shop.svc.cluster.local, trafficPolicy: ${trafficPolicy} }`),
  );
const placedHost = ['placed.shop.svc.cluster.local:80'];
const outlier = 'outlierDetection: { consecutive5xxErrors: 3 }';
const virtualService = (name: string, spec: string, namespace?: string): string =>
  resource('VirtualService', name, spec, namespace);
const to = (more = ''): string => `route: [{ destination: { host: ${reviews}${more} } }]`;

interface Case {
  readonly yaml: string;
  readonly hosts?: readonly string[];
  /** MeshConfig. */
  readonly mesh?: string;
}

const cases: Readonly<Record<string, Case>> = {
  'priorities by labels': {
    yaml: toPlaced(`{ ${outlier}, loadBalancer: { localityLbSetting: { failoverPriority: [app, version] } } }`),
    hosts: placedHost,
  },
  'priorities by a label with a value': {
    yaml: toPlaced(
      `{ ${outlier}, loadBalancer: { simple: ROUND_ROBIN, localityLbSetting: { failoverPriority: ['version=v1'] } } }`,
    ),
    hosts: placedHost,
  },
  'shares of places': {
    yaml: toPlaced(
      `{ loadBalancer: { localityLbSetting: { distribute: [{ from: '*', to: { 'eu/a/*': 60, 'eu/b': 30, us: 10 } }] } } }`,
    ),
    hosts: placedHost,
  },
  'places that do not matter': {
    yaml: toPlaced(`{ ${outlier}, loadBalancer: { localityLbSetting: { enabled: false } } }`),
    hosts: placedHost,
  },
  'settings of ports': {
    yaml: all(
      two,
      resource(
        'DestinationRule',
        'two',
        `{ host: two.shop.svc.cluster.local, trafficPolicy: { connectionPool: { http: { maxRetries: 7 } }, loadBalancer: { simple: RANDOM },
  tls: { mode: DISABLE }, portLevelSettings: [
    { port: { number: 81 }, tls: { mode: SIMPLE, sni: a.test, caCertificates: /ca.pem, subjectAltNames: [b.test] }, connectionPool: { tcp: { maxConnections: 3 } } } ] } }`,
      ),
    ),
    hosts: both,
  },
  'settings of a port of a subset': {
    yaml: all(
      two,
      resource(
        'DestinationRule',
        'two',
        `{ host: two.shop.svc.cluster.local, trafficPolicy: { outlierDetection: { interval: 3s }, portLevelSettings: [{ port: { number: 80 }, loadBalancer: { simple: RANDOM } }] },
  subsets: [{ name: v1, trafficPolicy: { tls: { mode: ISTIO_MUTUAL }, portLevelSettings: [{ port: { number: 81 }, outlierDetection: { consecutive5xxErrors: 1 } }] } }] }`,
      ),
      virtualService(
        'two',
        '{ hosts: [two.shop.svc.cluster.local], http: [{ route: [{ destination: { host: two.shop.svc.cluster.local, subset: v1 } }] }] }',
      ),
    ),
    hosts: both,
  },
  'outlier detection, all fields': {
    yaml: policy(
      `{ outlierDetection: { consecutive5xxErrors: 0, consecutiveGatewayErrors: 7, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 8,
  interval: 1.5s, baseEjectionTime: 90s, maxEjectionPercent: 100, minHealthPercent: 0 } }`,
    ),
  },
  'outlier detection without a word': { yaml: policy('{ outlierDetection: {} }') },
  'connection pool, all fields': {
    yaml: policy(
      `{ connectionPool: { tcp: { maxConnections: 1, connectTimeout: 250ms, idleTimeout: 7s, maxConnectionDuration: 8s, tcpKeepalive: { probes: 2, time: 10s, interval: 3s } },
  http: { http1MaxPendingRequests: 2, http2MaxRequests: 3, maxRequestsPerConnection: 4, maxRetries: 5, idleTimeout: 6s, h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 9 } } }`,
    ),
  },
  'an idle time of TCP alone': { yaml: policy('{ connectionPool: { tcp: { idleTimeout: 7s } } }') },
  'no upgrade': {
    yaml: policy('{ connectionPool: { http: { h2UpgradePolicy: DO_NOT_UPGRADE, useClientProtocol: true } } }'),
  },
  'PROXY protocol': { yaml: policy('{ proxyProtocol: { version: V2 } }') },
  'PROXY protocol of version 1, with TLS': {
    yaml: policy('{ proxyProtocol: {}, tls: { mode: SIMPLE, sni: a.test } }'),
  },
  'the address that was called': { yaml: policy('{ loadBalancer: { simple: PASSTHROUGH } }') },
  'a delegate, and who may see what': {
    yaml: all(
      virtualService(
        'root',
        `{ hosts: [${reviews}], exportTo: ['.'], http: [{ match: [{ uri: { prefix: /a } }], delegate: { name: inner, namespace: shop } }, { name: rest, ${to()} }] }`,
      ),
      virtualService(
        'inner',
        `{ http: [{ name: one, match: [{ uri: { prefix: /a/b }, headers: { x: { exact: z } } }], timeout: 2s, ${to(', subset: v1')} }, { name: two, ${to(', subset: v2')}, retries: { attempts: 1 } }] }`,
      ),
      resource('DestinationRule', 'subsets', `{ host: ${reviews}, ${subsets} }`),
      virtualService(
        'hidden',
        `{ hosts: [ratings.shop.svc.cluster.local], exportTo: ['.'], http: [{ timeout: 9s, route: [{ destination: { host: ratings.shop.svc.cluster.local } }] }] }`,
        'elsewhere',
      ),
    ),
    hosts: ['ratings.shop.svc.cluster.local:80'],
  },
  'two VirtualServices for one host, and a wildcard': {
    yaml: all(
      virtualService('b-second', `{ hosts: [${reviews}], http: [{ name: second, timeout: 2s, ${to()} }] }`),
      virtualService('a-first', `{ hosts: [${reviews}], http: [{ name: first, timeout: 1s, ${to()} }] }`),
      virtualService('wide', `{ hosts: ['*.shop.svc.cluster.local'], http: [{ name: wide, timeout: 3s, ${to()} }] }`),
    ),
    hosts: ['ratings.shop.svc.cluster.local:80', 'cart.shop.svc.cluster.local:80'],
  },
  'headers of destinations': {
    yaml: all(
      resource('DestinationRule', 'subsets', `{ host: ${reviews}, ${subsets} }`),
      virtualService(
        'reviews',
        `{ hosts: [${reviews}], http: [{ headers: { request: { set: { ':authority': all.test, a: all }, add: { b: all }, remove: [c] }, response: { set: { d: all } } }, route: [
  { destination: { host: ${reviews}, subset: v1 }, weight: 30, headers: { request: { set: { host: one.test, a: one }, remove: [e] }, response: { add: { d: one }, remove: [f] } } },
  { destination: { host: ${reviews}, subset: v2 }, weight: 70, headers: { request: { add: { a: two } } } } ] }] }`,
      ),
    ),
  },
  'mirrors of several kinds': {
    yaml: all(
      two,
      virtualService(
        'reviews',
        `{ hosts: [${reviews}], http: [
  { match: [{ uri: { prefix: /old } }], mirror: { host: two.shop.svc.cluster.local, port: { number: 81 } }, mirrorPercentage: { value: 0.5 }, ${to()} },
  { match: [{ uri: { prefix: /none } }], mirror: { host: two.shop.svc.cluster.local }, mirrorPercentage: { value: 0 }, ${to()} },
  { mirrors: [{ destination: { host: two.shop.svc.cluster.local } }, { destination: { host: ratings.shop.svc.cluster.local }, percentage: { value: 10 } }, { destination: { host: nowhere.test }, percentage: { value: 0 } }], ${to()} } ] }`,
      ),
    ),
  },
  'CORS of several kinds': {
    yaml: virtualService(
      'reviews',
      `{ hosts: [${reviews}], http: [
  { match: [{ uri: { prefix: /a } }], corsPolicy: { allowOrigins: [{ exact: '*' }], allowMethods: ['*'], allowCredentials: false, unmatchedPreflights: FORWARD }, ${to()} },
  { match: [{ uri: { prefix: /b } }], corsPolicy: { allowOrigin: ['https://a.test', 'https://b.test'], maxAge: 90s }, ${to()} },
  { corsPolicy: {}, ${to()} } ] }`,
    ),
  },
  'what a Sidecar lets be seen': {
    yaml: all(
      two,
      resource(
        'ServiceEntry',
        'far',
        `{ hosts: [far.test], resolution: STATIC, ${http80}, endpoints: [{ address: 127.0.0.41 }] }`,
        'elsewhere',
      ),
      resource(
        'Sidecar',
        'cart',
        `{ workloadSelector: { labels: { app: cart } }, egress: [{ hosts: ['./*'] }], outboundTrafficPolicy: { mode: REGISTRY_ONLY } }`,
      ),
    ),
    hosts: both,
  },
  'ports of a Sidecar': {
    yaml: all(
      two,
      resource(
        'Sidecar',
        'cart',
        `{ egress: [{ port: { number: 81, protocol: HTTP, name: http-81 }, hosts: ['./two.shop.svc.cluster.local'] }, { hosts: ['shop/*'] }] }`,
      ),
    ),
    hosts: both,
  },
  'services of all resolutions': {
    yaml: all(
      resource(
        'ServiceEntry',
        'a',
        `{ hosts: [a.test], resolution: DNS, ${http80}, endpoints: [{ address: b.test, weight: 2, locality: eu/a, ports: { http: 8080 } }, { address: c.test, weight: 5, locality: us }] }`,
      ),
      resource(
        'ServiceEntry',
        'd',
        `{ hosts: [d.test, e.test], addresses: [240.1.1.1], resolution: STATIC, ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 8000 }, { number: 443, name: https, protocol: HTTPS }], endpoints: [{ address: 127.0.0.31, weight: 7 }, { address: 127.0.0.32, ports: { https: 8443 } }] }`,
      ),
      resource('ServiceEntry', 'f', `{ hosts: [f.test], resolution: DNS_ROUND_ROBIN, ${http80} }`),
      resource('ServiceEntry', 'g', `{ hosts: [g.test], resolution: NONE, location: MESH_INTERNAL, ${http80} }`),
      resource(
        'ServiceEntry',
        'h',
        `{ hosts: [h.test], resolution: NONE, ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 8080 }] }`,
      ),
      resource(
        'ServiceEntry',
        'i',
        `{ hosts: [i.test], resolution: STATIC, location: MESH_INTERNAL, ports: [{ number: 9000, name: grpc, protocol: GRPC }], endpoints: [{ address: 'unix:///tmp/i.sock' }] }`,
      ),
    ),
    hosts: ['a.test:80', 'd.test:80', 'e.test:80', 'f.test:80', 'g.test:80', 'h.test:80', 'i.test:9000'],
  },
  'rules of the root namespace': {
    yaml: all(
      resource(
        'DestinationRule',
        'all',
        `{ host: '*.shop.svc.cluster.local', trafficPolicy: { connectionPool: { tcp: { maxConnections: 5 } }, ${outlier} } }`,
        'istio-system',
      ),
      resource(
        'DestinationRule',
        'own',
        `{ host: ratings.shop.svc.cluster.local, trafficPolicy: { loadBalancer: { simple: RANDOM } } }`,
      ),
    ),
    hosts: ['ratings.shop.svc.cluster.local:80'],
  },
  'rules that are taken together': {
    yaml: all(
      resource(
        'DestinationRule',
        'a',
        `{ host: ${reviews}, trafficPolicy: { loadBalancer: { simple: RANDOM } }, subsets: [{ name: v1, labels: { version: v1 } }] }`,
      ),
      resource(
        'DestinationRule',
        'b',
        `{ host: ${reviews}, trafficPolicy: { ${outlier} }, subsets: [{ name: v1, labels: { version: v2 } }, { name: v2, labels: { version: v2 }, trafficPolicy: { ${outlier} } }] }`,
      ),
      virtualService(
        'reviews',
        `{ hosts: [${reviews}], http: [{ match: [{ uri: { prefix: /1 } }], ${to(', subset: v1')} }, { ${to(', subset: v2')} }] }`,
      ),
    ),
  },
  'a rule for some workloads': {
    yaml: all(
      resource(
        'DestinationRule',
        'a',
        `{ host: ${reviews}, workloadSelector: { matchLabels: { app: cart } }, trafficPolicy: { loadBalancer: { simple: RANDOM } } }`,
      ),
      resource('DestinationRule', 'b', `{ host: ${reviews}, trafficPolicy: { ${outlier} }, ${subsets} }`),
      resource(
        'DestinationRule',
        'c',
        `{ host: ratings.shop.svc.cluster.local, workloadSelector: { matchLabels: { app: other } }, trafficPolicy: { loadBalancer: { simple: RANDOM } } }`,
      ),
      virtualService('reviews', `{ hosts: [${reviews}], http: [{ ${to(', subset: v2')} }] }`),
    ),
    hosts: ['ratings.shop.svc.cluster.local:80'],
  },
  'a rule that is for others': {
    yaml: all(
      resource(
        'DestinationRule',
        'a',
        `{ host: ${reviews}, exportTo: ['elsewhere'], trafficPolicy: { loadBalancer: { simple: RANDOM } } }`,
      ),
      resource(
        'DestinationRule',
        'b',
        `{ host: ratings.shop.svc.cluster.local, exportTo: ['.'], trafficPolicy: { loadBalancer: { simple: RANDOM } } }`,
        'elsewhere',
      ),
    ),
    hosts: ['ratings.shop.svc.cluster.local:80'],
  },
  'retries of the mesh': {
    yaml: all(
      two,
      virtualService(
        'reviews',
        `{ hosts: [${reviews}], http: [{ match: [{ uri: { prefix: /a } }], ${to()} }, { ${to()}, retries: { attempts: 1 } }] }`,
      ),
    ),
    hosts: both,
    mesh: 'defaultHttpRetryPolicy: { attempts: 5, retryOn: "503,reset", backoff: 1s, perTryTimeout: 2s, retryIgnorePreviousHosts: false }',
  },
  'suites and curves of TLS to servers outside, and no version': {
    yaml: policy('{ tls: { mode: SIMPLE, sni: a.test } }'),
    mesh: 'tlsDefaults: { minProtocolVersion: TLSV1_3, ecdhCurves: [P-256, X25519], cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256, AES128-SHA] }',
  },
  'TLS of the mesh, which says nothing of calls': {
    yaml: policy('{ tls: { mode: ISTIO_MUTUAL } }'),
    mesh: 'meshMTLS: { minProtocolVersion: TLSV1_3, cipherSuites: [ECDHE-RSA-AES128-GCM-SHA256] }, tlsDefaults: { ecdhCurves: [P-256] }',
  },
  'no retries in the mesh': { yaml: two, hosts: both, mesh: 'defaultHttpRetryPolicy: { attempts: 0 }' },
  'settings of the mesh': {
    yaml: two,
    hosts: both,
    mesh: '{ connectTimeout: 3s, tcpKeepalive: { time: 20s }, h2UpgradePolicy: UPGRADE, trustDomainAliases: [other.test], enableAutoMtls: false }',
  },
};

t.test('istiod says what the YAML says', async (t) => {
  const twin = await startTwin(t);
  if ('why' in twin) {
    t.comment(`skipped, there is no peer here: ${twin.why}`);
    return;
  }
  for (const [name, { hosts = [], mesh, yaml }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const both = await twin.both(yaml, mesh);
      t.equal(both.xds.outboundPolicy, both.yaml.outboundPolicy);
      for (const host of [`${reviews}:80`, ...hosts]) {
        t.ok(routesOf(both.yaml, host).length > 0, host);
        t.same(plain(routesOf(both.xds, host)), plain(routesOf(both.yaml, host)), host);
      }
      for (const [cluster, wanted] of both.yaml.clusters) {
        t.same(comparable(both.xds.clusters.get(cluster)), comparable(wanted), cluster);
      }
    });
  }
  t.same(twin.problems, [], `nothing that istiod sends to ${workload.name} is refused`);
});
