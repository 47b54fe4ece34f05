import { compile, parseYaml } from 'inmesh/config';
import type { Cluster, Route, Snapshot } from 'inmesh/model';
import t from 'tap';
import { compileResources } from '../../src/compile/compile.ts';
import { pack } from '../../src/proto/any.ts';
import type { Cluster as ClusterMessage } from '../../src/proto/envoy/cluster.ts';
import { corsPolicySchema, httpFaultSchema } from '../../src/proto/envoy/http-filters.ts';
import { httpProtocolOptionsSchema } from '../../src/proto/envoy/http-protocol-options.ts';
import { proxyProtocolUpstreamTransportSchema } from '../../src/proto/envoy/proxy-protocol.ts';
import type { Route as RouteMessage } from '../../src/proto/envoy/route-config.ts';
import { upstreamTlsContextSchema } from '../../src/proto/envoy/tls-context.ts';
import type { Input } from '../../src/proto/schema.ts';
import {
  httpListener,
  istioCluster,
  istioContext,
  istioEndpoints,
  istioRetry,
  meshSocket,
  resourceSet,
  workload,
} from '../support/envoy.ts';

/** The same intent as Istio YAML, and as what istiod makes of it for a sidecar. */
const reviews = 'reviews.bookinfo.svc.cluster.local';
const name = (subset: string): string => `outbound|9080|${subset}|${reviews}`;

const base = `
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: bookinfo}
spec:
  clusterIP: 10.96.0.7
  ports: [{name: http, port: 9080}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ratings, namespace: bookinfo}
spec:
  hosts: [ratings.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{name: http, number: 9080}]
  endpoints:
    - {address: 10.1.0.1, labels: {version: v1, security.istio.io/tlsMode: istio}, locality: r1/z1}
    - {address: 10.1.0.2, labels: {version: v1, security.istio.io/tlsMode: istio}, locality: r1/z1}
`;

function fromYaml(yaml: string): Snapshot {
  const { documents } = parseYaml(base + yaml, 'mesh.yaml') as { documents: Parameters<typeof compile>[0] };
  const result = compile(documents, { workload });
  if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join('; '));
  return result.snapshot;
}

function fromXds(
  routes: readonly Input<RouteMessage>[],
  clusters: readonly Input<ClusterMessage>[] = [],
  endpoints: Parameters<typeof resourceSet>[0]['endpoints'] = [],
): Snapshot {
  const set = resourceSet({
    listeners: [httpListener(9_080)],
    routes: [
      {
        name: '9080',
        ignore_port_in_host_matching: true,
        max_direct_response_body_size_bytes: 1_048_576,
        virtual_hosts: [
          {
            name: `${reviews}:9080`,
            domains: [reviews, `${reviews}.`, 'reviews', 'reviews.bookinfo.svc', 'reviews.bookinfo', '10.96.0.7'],
            routes,
          },
          {
            name: 'allow_any',
            domains: ['*'],
            routes: [
              { name: 'allow_any', match: { prefix: '/' }, route: { cluster: 'PassthroughCluster', timeout: 0 } },
            ],
          },
        ],
      },
    ],
    clusters,
    endpoints,
  });
  const { problems, snapshot } = compileResources(set, istioContext, '1');
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return snapshot;
}

const isPart = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);

/** Without what only says where something was written. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!isPart(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== 'provenance')
      .map(([key, inner]) => [key, plain(inner)]),
  );
}

const routesIn = (snapshot: Snapshot): readonly Route[] => snapshot.hosts.get('reviews:9080')?.routes ?? [];

const rule = (text: string): string => `
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: bookinfo}
spec:
  hosts: [reviews]
  http:
${text.replace(/^/gm, '    ')}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: bookinfo}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
`;

const origin = {
  filter_metadata: new Map([
    ['istio', { config: '/apis/networking.istio.io/v1/namespaces/bookinfo/virtual-service/reviews' }],
  ]),
};
const to = (subset: string, more: NonNullable<Input<RouteMessage>['route']> = {}): Input<RouteMessage> => ({
  metadata: origin,
  route: { cluster: name(subset), timeout: 0, max_grpc_timeout: 0, retry_policy: istioRetry, ...more },
});
const million = (numerator: number) => ({ numerator, denominator: 'MILLION' as const });

const routeTwins: readonly {
  readonly name: string;
  readonly yaml: string;
  readonly routes: readonly Input<RouteMessage>[];
}[] = [
  {
    name: 'no VirtualService',
    yaml: '',
    routes: [
      {
        name: 'default',
        match: { prefix: '/' },
        route: { cluster: name(''), timeout: 0, max_grpc_timeout: 0, retry_policy: istioRetry },
      },
    ],
  },
  {
    name: 'matches of every kind, two entries of one rule',
    yaml: rule(`
- name: canary
  match:
    - uri: {prefix: /api}
      headers: {end-user: {exact: jason}, x-any: {}}
      queryParams: {debug: {exact: "1"}}
    - uri: {regex: "/v[0-9]+/.*"}
      method: {exact: POST}
      ignoreUriCase: false
      withoutHeaders: {x-old: {prefix: a}}
  route: [{destination: {host: reviews, subset: v2}}]
- match: [{uri: {exact: /health}, ignoreUriCase: true, authority: {prefix: rev}}]
  route: [{destination: {host: reviews, subset: v1}}]
- route: [{destination: {host: reviews}}]`),
    routes: [
      {
        ...to('v2'),
        name: 'canary',
        match: {
          prefix: '/api',
          headers: [
            { name: 'end-user', string_match: { exact: 'jason' } },
            { name: 'x-any', present_match: true },
          ],
          query_parameters: [{ name: 'debug', string_match: { exact: '1' } }],
        },
      },
      {
        ...to('v2'),
        name: 'canary',
        match: {
          safe_regex: { regex: '/v[0-9]+/.*' },
          headers: [
            { name: ':method', string_match: { exact: 'POST' } },
            {
              name: 'x-old',
              string_match: { prefix: 'a' },
              invert_match: true,
              treat_missing_header_as_empty: true,
            },
          ],
        },
      },
      {
        ...to('v1'),
        match: {
          path: '/health',
          case_sensitive: false,
          headers: [{ name: ':authority', string_match: { prefix: 'rev' } }],
        },
      },
      { ...to(''), match: { prefix: '/' } },
    ],
  },
  {
    name: 'a split with header edits, a timeout and retries',
    yaml: rule(`
- route:
    - destination: {host: reviews, subset: v1}
      weight: 80
      headers: {request: {set: {x-version: one}}, response: {add: {x-from: one}}}
    - {destination: {host: reviews, subset: v2}, weight: 20}
  headers: {request: {add: {x-all: "yes"}, remove: [x-secret]}}
  timeout: 3s
  retries: {attempts: 3, perTryTimeout: 1s, retryOn: "5xx,503", backoff: 100ms, retryIgnorePreviousHosts: false}`),
    routes: [
      {
        metadata: origin,
        match: { prefix: '/' },
        request_headers_to_add: [{ header: { key: 'x-all', value: 'yes' }, append_action: 'APPEND_IF_EXISTS_OR_ADD' }],
        request_headers_to_remove: ['x-secret'],
        route: {
          timeout: 3_000,
          max_grpc_timeout: 3_000,
          weighted_clusters: {
            clusters: [
              {
                name: name('v1'),
                weight: 80,
                request_headers_to_add: [
                  { header: { key: 'x-version', value: 'one' }, append_action: 'OVERWRITE_IF_EXISTS_OR_ADD' },
                ],
                response_headers_to_add: [
                  { header: { key: 'x-from', value: 'one' }, append_action: 'APPEND_IF_EXISTS_OR_ADD' },
                ],
              },
              { name: name('v2'), weight: 20 },
            ],
          },
          retry_policy: {
            retry_on: '5xx,retriable-status-codes',
            retriable_status_codes: [503],
            num_retries: 3,
            per_try_timeout: 1_000,
            retry_back_off: { base_interval: 100 },
          },
        },
      },
    ],
  },
  {
    name: 'rewrites of path and authority, mirrors',
    yaml: rule(`
- match: [{uri: {prefix: /old}}]
  rewrite: {uri: /new, authority: other.example.com}
  mirrors: [{destination: {host: reviews, subset: v2}, percentage: {value: 12.5}}]
  route: [{destination: {host: reviews, subset: v1}}]
- rewrite: {uriRegexRewrite: {match: "^/a/(.*)", rewrite: '/b/\\1'}}
  route: [{destination: {host: reviews}}]`),
    routes: [
      {
        ...to('v1', {
          prefix_rewrite: '/new',
          host_rewrite_literal: 'other.example.com',
          request_mirror_policies: [
            {
              cluster: name('v2'),
              runtime_fraction: { default_value: million(125_000) },
              trace_sampled: false,
            } as never,
          ],
        }),
        match: { prefix: '/old' },
      },
      {
        ...to('', { regex_rewrite: { pattern: { regex: '^/a/(.*)' }, substitution: '/b/\\1' } }),
        match: { prefix: '/' },
      },
    ],
  },
  {
    name: 'redirects and direct responses',
    yaml: rule(`
- match: [{uri: {exact: /moved}}]
  redirect: {uri: /here, authority: there.example.com, scheme: https, port: 8443, redirectCode: 308}
- match: [{uri: {prefix: /teapot}}]
  directResponse: {status: 418, body: {string: short and stout}}
- route: [{destination: {host: reviews}}]`),
    routes: [
      {
        metadata: origin,
        match: { path: '/moved' },
        redirect: {
          host_redirect: 'there.example.com',
          path_redirect: '/here',
          scheme_redirect: 'https',
          port_redirect: 8_443,
          response_code: 'PERMANENT_REDIRECT',
        },
      },
      {
        metadata: origin,
        match: { prefix: '/teapot' },
        direct_response: { status: 418, body: { inline_string: 'short and stout' } },
      },
      { ...to(''), match: { prefix: '/' } },
    ],
  },
  {
    name: 'faults and CORS',
    yaml: rule(`
- fault:
    delay: {fixedDelay: 7s, percentage: {value: 50}}
    abort: {httpStatus: 503, percentage: {value: 0.1}}
  corsPolicy:
    allowOrigins: [{exact: "https://example.com"}, {regex: "https://.*\\\\.example\\\\.org"}]
    allowMethods: [GET, POST]
    allowHeaders: [x-a]
    exposeHeaders: [x-b]
    maxAge: 24h
    allowCredentials: true
    unmatchedPreflights: IGNORE
  route: [{destination: {host: reviews}}]`),
    routes: [
      {
        ...to(''),
        match: { prefix: '/' },
        typed_per_filter_config: new Map([
          [
            'envoy.filters.http.fault',
            pack(httpFaultSchema, {
              delay: { fixed_delay: 7_000, percentage: million(500_000) },
              abort: { http_status: 503, percentage: million(1_000) },
            }),
          ],
          [
            'envoy.filters.http.cors',
            pack(corsPolicySchema, {
              allow_origin_string_match: [
                { exact: 'https://example.com' },
                { safe_regex: { regex: 'https://.*\\.example\\.org' } },
              ],
              allow_methods: 'GET,POST',
              allow_headers: 'x-a',
              expose_headers: 'x-b',
              max_age: '86400',
              allow_credentials: true,
              forward_not_matching_preflights: false,
              filter_enabled: { default_value: { numerator: 100 } },
            }),
          ],
        ]),
      },
    ],
  },
];

t.test('the routes of istiod are those of the same YAML', async (t) => {
  for (const twin of routeTwins) {
    const wanted = routesIn(fromYaml(twin.yaml));
    t.ok(wanted.length > 0);
    t.strictSame(plain(routesIn(fromXds(twin.routes))), plain(wanted), twin.name);
  }
});

t.test('the hosts are the same, and what other hosts get', async (t) => {
  const routes = routeTwins[0]?.routes ?? [];
  const xds = fromXds(routes);
  const yaml = fromYaml('');
  const names = (snapshot: Snapshot) => [...snapshot.hosts.keys()].filter((each) => !each.startsWith('ratings')).sort();
  t.strictSame(names(xds), names(yaml));
  t.equal(new Set(xds.hosts.values()).size, 1, 'all names share one virtual host');
  t.equal(xds.hosts.get('reviews:9080')?.name, yaml.hosts.get('reviews:9080')?.name);
  t.equal(xds.outboundPolicy, yaml.outboundPolicy);
  t.strictSame(xds.wildcardHosts, []);
});

const ratings = 'outbound|9080||ratings.example.com';
const policy = (text: string): string => `
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings, namespace: bookinfo}
spec: {host: ratings.example.com, trafficPolicy: ${text}}
`;
const options = (value: Input<NonNullable<typeof httpProtocolOptionsSchema.type>>) =>
  new Map([['envoy.extensions.upstreams.http.v3.HttpProtocolOptions', pack(httpProtocolOptionsSchema, value)]]);
const unlimited = 4_294_967_295;

const clusterTwins: readonly {
  readonly name: string;
  readonly yaml: string;
  readonly cluster: Input<ClusterMessage>;
  readonly keys?: NonNullable<Input<RouteMessage>['route']>['hash_policy'];
}[] = [
  { name: 'no DestinationRule: automatic mTLS', yaml: '', cluster: {} },
  {
    name: 'limits, idle times, keepalive',
    yaml: policy(`{connectionPool: {tcp: {maxConnections: 10, connectTimeout: 2s, maxConnectionDuration: 60s,
      tcpKeepalive: {probes: 3, time: 60s, interval: 5s}},
      http: {http1MaxPendingRequests: 5, http2MaxRequests: 7, maxRetries: 2, maxRequestsPerConnection: 9, idleTimeout: 30s}}}`),
    cluster: {
      connect_timeout: 2_000,
      circuit_breakers: {
        thresholds: [{ max_connections: 10, max_pending_requests: 5, max_requests: 7, max_retries: 2 }],
      },
      upstream_connection_options: {
        tcp_keepalive: { keepalive_probes: 3, keepalive_time: 60, keepalive_interval: 5 },
      },
      typed_extension_protocol_options: options({
        common_http_protocol_options: {
          idle_timeout: 30_000,
          max_requests_per_connection: 9,
          max_connection_duration: 60_000,
        },
        explicit_http_config: { http_protocol_options: {} },
      }),
    },
  },
  {
    name: 'outlier detection',
    yaml: policy(`{outlierDetection: {consecutive5xxErrors: 3, consecutiveGatewayErrors: 2, interval: 1s, baseEjectionTime: 4s,
      maxEjectionPercent: 50, minHealthPercent: 20}}`),
    cluster: {
      outlier_detection: {
        consecutive_5xx: 3,
        enforcing_consecutive_5xx: 100,
        consecutive_gateway_failure: 2,
        enforcing_consecutive_gateway_failure: 100,
        interval: 1_000,
        base_ejection_time: 4_000,
        max_ejection_percent: 50,
        enforcing_success_rate: 0,
      },
      common_lb_config: { healthy_panic_threshold: { value: 20 } },
    },
  },
  {
    name: 'outlier detection with failures of our own apart',
    yaml: policy('{outlierDetection: {splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 4}}'),
    cluster: {
      outlier_detection: {
        enforcing_success_rate: 0,
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: 4,
        enforcing_consecutive_local_origin_failure: 100,
        enforcing_local_origin_success_rate: 0,
      },
      common_lb_config: { healthy_panic_threshold: { value: 0 } },
    },
  },
  {
    name: 'round robin with warmup',
    yaml: policy('{loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 60s, minimumPercent: 5, aggression: 2}}}'),
    cluster: {
      lb_policy: 'ROUND_ROBIN',
      round_robin_lb_config: {
        slow_start_config: {
          slow_start_window: 60_000,
          aggression: { default_value: 2 },
          min_weight_percent: { value: 5 },
        },
      },
    },
  },
  {
    name: 'a consistent hash of a header',
    yaml: policy('{loadBalancer: {consistentHash: {httpHeaderName: X-User, ringHash: {minimumRingSize: 2048}}}}'),
    cluster: { lb_policy: 'RING_HASH', ring_hash_lb_config: { minimum_ring_size: 2_048 } },
    keys: [{ header: { header_name: 'x-user' } }],
  },
  {
    name: 'a consistent hash of a cookie, maglev',
    yaml: policy(
      '{loadBalancer: {consistentHash: {httpCookie: {name: user, path: /p, ttl: 5s}, maglev: {tableSize: 101}}}}',
    ),
    cluster: { lb_policy: 'MAGLEV', maglev_lb_config: { table_size: 101 } },
    keys: [{ cookie: { name: 'user', path: '/p', ttl: 5_000 } }],
  },
  {
    name: 'ISTIO_MUTUAL with names',
    yaml: policy('{tls: {mode: ISTIO_MUTUAL, sni: other, subjectAltNames: ["spiffe://cluster.local/ns/a/sa/b"]}}'),
    cluster: {
      transport_socket_matches: [],
      transport_socket: meshSocket('other', ['spiffe://cluster.local/ns/a/sa/b']),
    },
  },
  { name: 'no TLS', yaml: policy('{tls: {mode: DISABLE}}'), cluster: { transport_socket_matches: [] } },
  {
    name: 'TLS with files of its own',
    yaml: policy(`{tls: {mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem, caCertificates: /ca.pem,
      sni: a.example.com, subjectAltNames: [a.example.com]}}`),
    cluster: {
      transport_socket_matches: [],
      transport_socket: {
        name: 'envoy.transport_sockets.tls',
        typed_config: pack(upstreamTlsContextSchema, {
          sni: 'a.example.com',
          common_tls_context: {
            tls_certificate_sds_secret_configs: [{ name: 'file-cert:/c.pem~/k.pem' }],
            combined_validation_context: {
              default_validation_context: { match_subject_alt_names: [{ exact: 'a.example.com' }] },
              validation_context_sds_secret_config: { name: 'file-root:/ca.pem' },
            },
          },
        }),
      },
    },
  },
  {
    name: 'TLS without verification',
    yaml: policy('{tls: {mode: SIMPLE, insecureSkipVerify: true}}'),
    cluster: {
      transport_socket_matches: [],
      transport_socket: {
        name: 'envoy.transport_sockets.tls',
        typed_config: pack(upstreamTlsContextSchema, { common_tls_context: { validation_context: {} } }),
      },
    },
  },
  {
    name: 'suites and curves of TLS for the whole mesh, and the PROXY protocol',
    yaml: `${policy('{proxyProtocol: {version: V2}, tls: {mode: SIMPLE, insecureSkipVerify: true}}')}
---
{apiVersion: inmesh.dev/v1, kind: MeshConfig, spec: {tlsDefaults: {minProtocolVersion: TLSV1_3, ecdhCurves: [P-256],
  cipherSuites: [AES128-SHA, ECDHE-RSA-AES128-GCM-SHA256]}, meshMTLS: {minProtocolVersion: TLSV1_3}}}`,
    cluster: {
      transport_socket_matches: [],
      transport_socket: {
        name: 'envoy.transport_sockets.upstream_proxy_protocol',
        typed_config: pack(proxyProtocolUpstreamTransportSchema, {
          config: { version: 'V2' },
          transport_socket: {
            name: 'envoy.transport_sockets.tls',
            typed_config: pack(upstreamTlsContextSchema, {
              common_tls_context: {
                tls_params: {
                  tls_minimum_protocol_version: 'TLSv1_2',
                  tls_maximum_protocol_version: 'TLSv1_3',
                  cipher_suites: ['AES128-SHA', 'ECDHE-RSA-AES128-GCM-SHA256'],
                  ecdh_curves: ['P-256'],
                },
                validation_context: {},
              },
            }),
          },
        }),
      },
    },
  },
  {
    name: 'a retry budget',
    yaml: policy('{retryBudget: {percent: 30, minRetryConcurrency: 5}}'),
    cluster: {
      circuit_breakers: {
        thresholds: [
          {
            max_connections: unlimited,
            max_pending_requests: unlimited,
            max_requests: unlimited,
            max_retries: unlimited,
            retry_budget: { budget_percent: { value: 30 }, min_retry_concurrency: 5 },
          },
        ],
      },
    },
  },
];

/** What an endpoint assignment does not say: labels, accounts. */
function comparable(cluster: Cluster | undefined): unknown {
  if (cluster === undefined) return undefined;
  const { discovery } = cluster;
  if (discovery.kind === 'original') return cluster;
  const endpoints = discovery.endpoints.map(({ labels: _, spiffeId: _id, workload: _name, ...rest }) => rest);
  return { ...cluster, discovery: { ...discovery, endpoints } };
}

t.test('the clusters of istiod are those of the same YAML', async (t) => {
  for (const twin of clusterTwins) {
    const route = { cluster: ratings, timeout: 0, ...(twin.keys === undefined ? {} : { hash_policy: twin.keys }) };
    const xds = fromXds(
      [{ name: 'default', match: { prefix: '/' }, route }],
      [istioCluster(ratings, twin.cluster)],
      [
        istioEndpoints(ratings, [
          ['10.1.0.1', 9_080],
          ['10.1.0.2', 9_080],
        ]),
      ],
    );
    const yaml = fromYaml(twin.yaml);
    t.equal(yaml.clusters.get(ratings)?.discovery.kind, 'static');
    t.strictSame(comparable(xds.clusters.get(ratings)), comparable(yaml.clusters.get(ratings)), twin.name);
  }
});
