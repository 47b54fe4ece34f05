import t from 'tap';
import { type Cluster, defaultConnectionLimits } from '../../src/model/cluster.ts';
import { good, resourceYaml, serviceYaml } from './support.ts';

const rule = (spec: string): string =>
  resourceYaml('DestinationRule', 'reviews', `{host: reviews.shop.svc.cluster.local, ${spec}}`);
const clusterOf = (policy: string, service = serviceYaml()) =>
  good(service + rule(`trafficPolicy: {${policy}}`)).cluster('reviews|80') as Cluster;

/** One field each: what is written, and what of the cluster it makes. */
const fields: Readonly<Record<string, readonly (readonly [policy: string, expected: object])[]>> = {
  'loadBalancer.simple': [
    ['loadBalancer: {}', { balance: 'LEAST_REQUEST' }],
    ['loadBalancer: {simple: UNSPECIFIED}', { balance: 'LEAST_REQUEST' }],
    ['loadBalancer: {simple: LEAST_REQUEST}', { balance: 'LEAST_REQUEST' }],
    ['loadBalancer: {simple: LEAST_CONN}', { balance: 'LEAST_REQUEST' }],
    ['loadBalancer: {simple: ROUND_ROBIN}', { balance: 'ROUND_ROBIN' }],
    ['loadBalancer: {simple: RANDOM}', { balance: 'RANDOM' }],
    ['loadBalancer: {simple: PASSTHROUGH}', { discovery: { kind: 'original' } }],
  ],
  'loadBalancer.consistentHash': [
    [
      'loadBalancer: {consistentHash: {httpHeaderName: X-User}}',
      {
        balance: 'LEAST_REQUEST',
        hash: { key: { kind: 'header', name: 'x-user' }, algorithm: { kind: 'ringHash', minimumRingSize: 1_024 } },
      },
    ],
    [
      'loadBalancer: {consistentHash: {httpQueryParameterName: User}}',
      { hash: { key: { kind: 'query', name: 'User' }, algorithm: { kind: 'ringHash', minimumRingSize: 1_024 } } },
    ],
    ['loadBalancer: {consistentHash: {useSourceIp: true}}', { hash: { key: { kind: 'sourceIp' } } }],
    [
      'loadBalancer: {consistentHash: {useSourceIp: false}}',
      { hash: { algorithm: { kind: 'ringHash', minimumRingSize: 1_024 } } },
    ],
    [
      'loadBalancer: {consistentHash: {httpCookie: {name: user}}}',
      { hash: { key: { kind: 'cookie', name: 'user', path: '', attributes: [] } } },
    ],
    [
      'loadBalancer: {consistentHash: {httpCookie: {name: user, path: /a, ttl: 0s, attributes: [{name: Secure}, {name: SameSite, value: Lax}]}}}',
      {
        hash: {
          key: {
            kind: 'cookie',
            name: 'user',
            path: '/a',
            ttlMs: 0,
            attributes: [
              { name: 'Secure', value: '' },
              { name: 'SameSite', value: 'Lax' },
            ],
          },
        },
      },
    ],
    [
      'loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 2048}}}',
      { hash: { algorithm: { kind: 'ringHash', minimumRingSize: 2_048 } } },
    ],
    [
      'loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {}}}',
      { hash: { algorithm: { kind: 'ringHash', minimumRingSize: 1_024 } } },
    ],
    [
      'loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 4096}}',
      { hash: { algorithm: { kind: 'ringHash', minimumRingSize: 4_096 } } },
    ],
    [
      'loadBalancer: {consistentHash: {useSourceIp: true, maglev: {tableSize: 10007}}}',
      { hash: { algorithm: { kind: 'maglev', tableSize: 10_007 } } },
    ],
  ],
  'loadBalancer.warmup': [
    ['loadBalancer: {warmup: {duration: 30s}}', { warmup: { durationMs: 30_000, minimumPercent: 10, aggression: 1 } }],
    [
      'loadBalancer: {warmup: {duration: 1m, minimumPercent: 0, aggression: 0.5}}',
      { warmup: { durationMs: 60_000, minimumPercent: 0, aggression: 0.5 } },
    ],
    ['loadBalancer: {warmupDurationSecs: 20s}', { warmup: { durationMs: 20_000, minimumPercent: 10, aggression: 1 } }],
    ['loadBalancer: {warmupDurationSecs: 20s, warmup: {duration: 5s}}', { warmup: { durationMs: 5_000 } }],
  ],
  'connectionPool.tcp': [
    ['connectionPool: {tcp: {}}', { limits: defaultConnectionLimits }],
    ['connectionPool: {tcp: {maxConnections: 10}}', { limits: { maxConnections: 10 } }],
    ['connectionPool: {tcp: {maxConnections: 0}}', { limits: { maxConnections: Number.POSITIVE_INFINITY } }],
    ['connectionPool: {tcp: {connectTimeout: 1ms}}', { limits: { connectTimeoutMs: 1 } }],
    ['connectionPool: {tcp: {maxConnectionDuration: 1h}}', { limits: { maxConnectionMs: 3_600_000 } }],
    ['connectionPool: {tcp: {idleTimeout: 5s}}', { limits: { idleTimeoutMs: 5_000 } }],
    ['connectionPool: {tcp: {idleTimeout: 0s}}', { limits: { idleTimeoutMs: 0 } }],
    ['connectionPool: {tcp: {idleTimeout: 5s}, http: {idleTimeout: 6s}}', { limits: { idleTimeoutMs: 6_000 } }],
    ['connectionPool: {tcp: {tcpKeepalive: {}}}', { limits: { tcpKeepalive: {} } }],
    [
      'connectionPool: {tcp: {tcpKeepalive: {probes: 3, time: 2h, interval: 75s}}}',
      { limits: { tcpKeepalive: { probes: 3, timeMs: 7_200_000, intervalMs: 75_000 } } },
    ],
  ],
  'connectionPool.http': [
    ['connectionPool: {http: {}}', { limits: defaultConnectionLimits }],
    ['connectionPool: {http: {http1MaxPendingRequests: 1}}', { limits: { maxPendingRequests: 1 } }],
    ['connectionPool: {http: {http2MaxRequests: 20}}', { limits: { maxRequests: 20 } }],
    ['connectionPool: {http: {http2MaxRequests: 0}}', { limits: { maxRequests: Number.POSITIVE_INFINITY } }],
    ['connectionPool: {http: {maxRequestsPerConnection: 1}}', { limits: { maxRequestsPerConnection: 1 } }],
    ['connectionPool: {http: {maxRetries: 3}}', { limits: { maxRetries: 3 } }],
    ['connectionPool: {http: {idleTimeout: 30s}}', { limits: { idleTimeoutMs: 30_000 } }],
    ['connectionPool: {http: {maxConcurrentStreams: 100}}', { limits: { maxConcurrentStreams: 100 } }],
    ['connectionPool: {http: {h2UpgradePolicy: UPGRADE}}', { http2: 'always' }],
    ['connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}', {}],
    ['connectionPool: {http: {h2UpgradePolicy: DEFAULT}}', {}],
    ['connectionPool: {http: {useClientProtocol: true}}', { http2: 'asCaller' }],
    [
      'connectionPool: {http: {http2KeepAlive: {interval: 10s, timeout: 1s}}}',
      { limits: { http2Keepalive: { intervalMs: 10_000, timeoutMs: 1_000 } } },
    ],
  ],
  outlierDetection: [
    ['outlierDetection: {consecutive5xxErrors: 0}', { outlier: { consecutive5xx: 0 } }],
    ['outlierDetection: {consecutiveGatewayErrors: 3}', { outlier: { consecutiveGatewayErrors: 3 } }],
    ['outlierDetection: {consecutiveErrors: 3}', { outlier: { consecutive5xx: 5, consecutiveGatewayErrors: 0 } }],
    ['outlierDetection: {interval: 5m}', { outlier: { intervalMs: 300_000 } }],
    ['outlierDetection: {baseEjectionTime: 15m}', { outlier: { baseEjectionMs: 900_000 } }],
    ['outlierDetection: {maxEjectionPercent: 100}', { outlier: { maxEjectionPercent: 100 } }],
    ['outlierDetection: {maxEjectionPercent: 0}', { outlier: { maxEjectionPercent: 10 } }],
    ['outlierDetection: {minHealthPercent: 50}', { outlier: { minHealthPercent: 50 } }],
    ['outlierDetection: {splitExternalLocalOriginErrors: true}', { outlier: { consecutiveLocalOriginFailures: 5 } }],
    [
      'outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2}',
      { outlier: { consecutiveLocalOriginFailures: 2 } },
    ],
    ['outlierDetection: {outlierDetectionHttpErrorCodes: [429, 503]}', { outlier: { errorCodes: [429, 503] } }],
  ],
  tls: [
    ['tls: {}', { tls: 'disable' }],
    ['tls: {mode: DISABLE}', { tls: 'disable' }],
    ['tls: {mode: ISTIO_MUTUAL}', { tls: 'mutual', serverIdentities: ['spiffe://cluster.local/ns/shop/sa/reviews'] }],
    [
      'tls: {mode: ISTIO_MUTUAL, sni: outbound_.80_._.gateway}',
      { tls: 'mutual', serverName: 'outbound_.80_._.gateway' },
    ],
    [
      'tls: {mode: ISTIO_MUTUAL, subjectAltNames: ["spiffe://a/b"]}',
      { tls: 'mutual', serverIdentities: ['spiffe://a/b'] },
    ],
    ['tls: {mode: SIMPLE}', { tls: { mode: 'simple', subjectAltNames: [], verify: true } }],
    ['tls: {mode: SIMPLE, sni: a.test}', { tls: { serverName: 'a.test' } }],
    ['tls: {mode: SIMPLE, sni: ""}', { tls: { mode: 'simple', serverName: undefined } }],
    ['tls: {mode: SIMPLE, subjectAltNames: [a.test, b.test]}', { tls: { subjectAltNames: ['a.test', 'b.test'] } }],
    ['tls: {mode: SIMPLE, caCertificates: /etc/roots.pem}', { tls: { rootFile: '/etc/roots.pem' } }],
    ['tls: {mode: SIMPLE, caCertificates: system}', { tls: { mode: 'simple', rootFile: undefined } }],
    ['tls: {mode: SIMPLE, caCrl: /etc/crl.pem}', { tls: { revocationFile: '/etc/crl.pem' } }],
    ['tls: {mode: SIMPLE, insecureSkipVerify: true}', { tls: { verify: false } }],
    ['tls: {mode: SIMPLE, insecureSkipVerify: false}', { tls: { verify: true } }],
    ['tls: {mode: SIMPLE, clientCertificate: /c, privateKey: /k}', { tls: { mode: 'simple', client: undefined } }],
    [
      'tls: {mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem}',
      { tls: { mode: 'mutual', client: { certificateFile: '/c.pem', keyFile: '/k.pem' }, verify: true } },
    ],
    ['tls: {mode: SIMPLE, credentialName: secret}', { tls: { mode: 'simple', unavailable: /credentialName secret/ } }],
    [
      'tls: {mode: MUTUAL, credentialName: secret}',
      { tls: { mode: 'mutual', client: undefined, unavailable: /secret/ } },
    ],
  ],
  tunnel: [
    [
      'tunnel: {targetHost: a.test, targetPort: 443}',
      { tunnel: { method: 'CONNECT', targetHost: 'a.test', targetPort: 443 } },
    ],
    [
      'tunnel: {protocol: POST, targetHost: 10.0.0.1, targetPort: 443}',
      { tunnel: { method: 'POST', targetHost: '10.0.0.1' } },
    ],
  ],
  proxyProtocol: [
    ['proxyProtocol: {}', { proxyProtocol: 1 }],
    ['proxyProtocol: {version: V1}', { proxyProtocol: 1 }],
    ['proxyProtocol: {version: V2}', { proxyProtocol: 2 }],
  ],
  retryBudget: [
    ['retryBudget: {}', { retryBudget: { percent: 20, intervalMs: 0, minRetryConcurrency: 3 } }],
    [
      'retryBudget: {percent: 12.5, budgetInterval: 10s, minRetryConcurrency: 5}',
      { retryBudget: { percent: 12.5, intervalMs: 10_000, minRetryConcurrency: 5 } },
    ],
  ],
};

for (const [field, cases] of Object.entries(fields)) {
  t.test(`trafficPolicy.${field}`, async (t) => {
    for (const [policy, expected] of cases) t.match(clusterOf(policy), expected, policy);
  });
}

t.test('TLS to a server outside takes the names of its ServiceEntry, where the rule has none', async (t) => {
  const external = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  subjectAltNames: [a.example.com]
  endpoints: [{address: 10.0.0.1}]
---
`;
  t.match(clusterOf('tls: {mode: SIMPLE}', external).tls, { subjectAltNames: ['a.example.com'], verifyHost: true });
  const named = clusterOf('tls: {mode: SIMPLE, sni: b.test}', external).tls;
  t.match(named, { subjectAltNames: ['a.example.com'], serverName: 'b.test' });
  t.notOk(
    typeof named === 'object' && 'verifyHost' in named,
    'Envoy asks for the host only without an SNI of the rule',
  );
  t.strictSame(clusterOf('tls: {mode: SIMPLE}', external.replace('subjectAltNames: [a.example.com]', '')).tls, {
    mode: 'simple',
    subjectAltNames: [],
    verify: true,
  });
  const files = 'clientCertificate: /c, privateKey: /k';
  const accounts = external.replace(
    '{address: 10.0.0.1}',
    '{address: 10.0.0.1, serviceAccount: b}, {address: 10.0.0.2, serviceAccount: a}, {address: 10.0.0.3, serviceAccount: b}',
  );
  for (const policy of ['tls: {mode: SIMPLE}', `tls: {mode: MUTUAL, ${files}}`]) {
    t.match(clusterOf(policy, accounts).tls, {
      subjectAltNames: ['a.example.com', 'spiffe://cluster.local/ns/shop/sa/a', 'spiffe://cluster.local/ns/shop/sa/b'],
      verifyHost: true,
    });
  }
  t.strictSame(clusterOf('tls: {mode: SIMPLE, subjectAltNames: [b.test]}', accounts).tls, {
    mode: 'simple',
    subjectAltNames: ['b.test'],
    verify: true,
  });
  t.match(clusterOf('tls: {mode: SIMPLE, insecureSkipVerify: true}', external).tls, { subjectAltNames: [] });
  t.equal(clusterOf('outlierDetection: {}', external).tls, 'disable');
});

t.test('accounts of a Kubernetes service are no names of TLS servers', async (t) => {
  const service = `
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop, annotations: {alpha.istio.io/kubernetes-serviceaccounts: reviews}}
spec: {ports: [{name: http, port: 80}]}
---
`;
  t.match(clusterOf('tls: {mode: SIMPLE}', service).tls, { subjectAltNames: [] });
  t.same(clusterOf('tls: {mode: ISTIO_MUTUAL}', service).serverIdentities, [
    'spiffe://cluster.local/ns/shop/sa/reviews',
  ]);
});

/** The policy of the rule, of the subset; what of the subset's cluster comes of both. */
const merged: readonly (readonly [what: string, policy: string, subset: string, expected: object])[] = [
  [
    'a part of the subset replaces that part as a whole',
    'connectionPool: {tcp: {maxConnections: 1}, http: {maxRetries: 1}}, outlierDetection: {interval: 1s}',
    'connectionPool: {tcp: {maxConnections: 2}}',
    { limits: { maxConnections: 2, maxRetries: Number.POSITIVE_INFINITY }, outlier: { intervalMs: 1_000 } },
  ],
  [
    'all parts of the rule hold where the subset has none',
    'loadBalancer: {simple: RANDOM}, tls: {mode: SIMPLE}, retryBudget: {percent: 1}, proxyProtocol: {version: V2}',
    'outlierDetection: {}',
    { balance: 'RANDOM', tls: { mode: 'simple' }, retryBudget: { percent: 1 }, proxyProtocol: 2 },
  ],
  [
    'settings of the rule for the port end all others of the rule',
    'loadBalancer: {simple: RANDOM}, retryBudget: {}, proxyProtocol: {}, portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]',
    'outlierDetection: {}',
    { balance: 'LEAST_REQUEST', tls: 'disable', retryBudget: undefined, proxyProtocol: undefined, outlier: {} },
  ],
  [
    'a tunnel holds for every port',
    'tunnel: {targetHost: a.test, targetPort: 443}, portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]',
    'outlierDetection: {}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}]',
    { balance: 'RANDOM', tunnel: { targetHost: 'a.test' } },
  ],
  [
    'settings of the subset for the port end the four parts of the rule, and no others',
    'loadBalancer: {simple: RANDOM}, tls: {mode: DISABLE}, outlierDetection: {}, retryBudget: {percent: 1}, proxyProtocol: {version: V2}',
    'retryBudget: {percent: 2}, portLevelSettings: [{port: {number: 80}, connectionPool: {http: {maxRetries: 4}}}]',
    {
      balance: 'LEAST_REQUEST',
      tls: 'auto',
      outlier: undefined,
      limits: { maxRetries: 4 },
      retryBudget: { percent: 1 },
      proxyProtocol: 2,
    },
  ],
  [
    'of two settings for one port the first count',
    'outlierDetection: {}',
    'portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: RANDOM}}, {port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]',
    { balance: 'RANDOM' },
  ],
  [
    'settings for other ports do not matter',
    'loadBalancer: {simple: RANDOM}, portLevelSettings: [{port: {number: 81}, tls: {mode: DISABLE}}]',
    'portLevelSettings: [{port: {number: 8080}, tls: {mode: DISABLE}}]',
    { balance: 'RANDOM', tls: 'auto' },
  ],
];

for (const [what, policy, subset, expected] of merged) {
  t.test(`policies of rule, port and subset: ${what}`, async (t) => {
    const yaml =
      serviceYaml() +
      rule(`trafficPolicy: {${policy}}, subsets: [{name: v1, labels: {version: v1}, trafficPolicy: {${subset}}}]`) +
      resourceYaml(
        'VirtualService',
        'r',
        '{hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}',
      );
    t.match(good(yaml).cluster('reviews|80|v1'), expected);
  });
}

t.test('settings of a balancing kind that is not carried out are named in the report', async (t) => {
  const { remarks } = good(
    serviceYaml() +
      rule(
        'trafficPolicy: {proxyProtocol: {version: V1}, retryBudget: {}, outlierDetection: {}, loadBalancer: {consistentHash: {httpHeaderName: x}, warmup: {duration: 1s}}}',
      ),
  );
  t.same(
    remarks().map((remark) => remark.replace(/^DestinationRule spec\.trafficPolicy\./, '').replace(/:.*$/, '')),
    ['loadBalancer.warmup ignored (warning)'],
  );
});
