import fc from 'fast-check';
import { createExplainer, describeExplanation } from 'inmesh/explain';
import type { Cluster } from 'inmesh/model';
import t from 'tap';
import { readCluster } from '../../src/compile/cluster.ts';
import { type CompileContext, compileResources } from '../../src/compile/compile.ts';
import { readEndpoints } from '../../src/compile/endpoints.ts';
import { readListener } from '../../src/compile/listener.ts';
import { pack } from '../../src/proto/any.ts';
import { type Cluster as ClusterMessage, clusterSchema } from '../../src/proto/envoy/cluster.ts';
import { aggregateClusterConfigSchema } from '../../src/proto/envoy/cluster-parts.ts';
import {
  type ClusterLoadAssignment,
  clusterLoadAssignmentSchema,
  type LbEndpoint,
  type LocalityLbEndpoints,
} from '../../src/proto/envoy/endpoint.ts';
import { httpConnectionManagerSchema } from '../../src/proto/envoy/http-connection-manager.ts';
import { routerFilterSchema } from '../../src/proto/envoy/http-filters.ts';
import { httpProtocolOptionsSchema } from '../../src/proto/envoy/http-protocol-options.ts';
import * as balancers from '../../src/proto/envoy/lb-policies.ts';
import { type Listener, listenerSchema } from '../../src/proto/envoy/listener.ts';
import { proxyProtocolUpstreamTransportSchema } from '../../src/proto/envoy/proxy-protocol.ts';
import { tcpProxySchema } from '../../src/proto/envoy/tcp-proxy.ts';
import { type CommonTlsContext, upstreamTlsContextSchema } from '../../src/proto/envoy/tls-context.ts';
import { typedStructSchema } from '../../src/proto/envoy/typed-struct.ts';
import type { Input } from '../../src/proto/schema.ts';
import { ResourceError } from '../../src/resources.ts';
import {
  httpListener,
  istioCluster,
  istioContext,
  istioEndpoints,
  meshSocket,
  refusedField,
  resourceSet,
  workload,
} from '../support/envoy.ts';

const eds: Input<ClusterMessage> = { type: 'EDS', eds_cluster_config: { eds_config: { ads: {} } } };
const cluster = (more: Input<ClusterMessage>) => readCluster(pack(clusterSchema, { name: 'c', ...eds, ...more })).value;
const lb = (typed_config: ReturnType<typeof pack>): Input<ClusterMessage> => ({
  load_balancing_policy: { policies: [{ typed_extension_config: { name: 'p', typed_config } }] },
});
const tls = (common_tls_context: Input<CommonTlsContext>, sni = ''): Input<ClusterMessage> => ({
  transport_socket: {
    name: 'tls',
    typed_config: pack(upstreamTlsContextSchema, { sni, common_tls_context }),
  },
});
const mesh = {
  tls_certificate_sds_secret_configs: [{ name: 'default' }],
  validation_context_sds_secret_config: { name: 'ROOTCA' },
};
const raw = { name: 'envoy.transport_sockets.raw_buffer' };

t.test('names of clusters', async (t) => {
  const parts = (name: string) => {
    const { host, port, subset } = readCluster(pack(clusterSchema, { ...eds, name })).value.policy;
    return [host, port, subset];
  };
  t.strictSame(parts('outbound|80|v1|a.b.svc'), ['a.b.svc', 80, 'v1']);
  for (const other of [
    'a',
    'outbound|80|v1',
    'outbound|x|v1|a',
    'outbound|80||a|b',
    'outbound|99999||a',
    'inbound|80||',
  ]) {
    t.strictSame(parts(other), [other, 0, '']);
  }
});

t.test('what a cluster says of balancing', async (t) => {
  const cases: readonly (readonly [name: string, cluster: Input<ClusterMessage>, expected: object])[] = [
    ['nothing', {}, { balance: 'ROUND_ROBIN', hash: undefined, locality: undefined }],
    ['random', { lb_policy: 'RANDOM' }, { balance: 'RANDOM' }],
    ['a ring', { lb_policy: 'RING_HASH' }, { hash: { algorithm: { kind: 'ringHash', minimumRingSize: 1_024 } } }],
    ['a table', { lb_policy: 'MAGLEV' }, { hash: { algorithm: { kind: 'maglev', tableSize: 65_537 } } }],
    [
      'a bounded ring',
      { lb_policy: 'RING_HASH', common_lb_config: { consistent_hashing_lb_config: { hash_balance_factor: 150 } } },
      { hash: { algorithm: { kind: 'ringHash', minimumRingSize: 1_024 }, balanceFactor: 150 } },
    ],
    ['weights of localities', { common_lb_config: { locality_weighted_lb_config: {} } }, { locality: 'weighted' }],
    [
      'zones',
      { common_lb_config: { zone_aware_lb_config: { min_cluster_size: 3 } } },
      { locality: { minClusterSize: 3 } },
    ],
    [
      'zones that are off',
      { common_lb_config: { zone_aware_lb_config: { routing_enabled: { value: 0 } } } },
      { locality: undefined },
    ],
    [
      'round robin',
      lb(pack(balancers.roundRobinSchema, { slow_start_config: { slow_start_window: 5 } })),
      { balance: 'ROUND_ROBIN', warmup: { durationMs: 5, minimumPercent: 10, aggression: 1 } },
    ],
    [
      'least requests',
      lb(pack(balancers.leastRequestSchema, { locality_lb_config: { locality_weighted_lb_config: {} } })),
      { balance: 'LEAST_REQUEST', locality: 'weighted' },
    ],
    ['random as an extension', lb(pack(balancers.randomSchema, {})), { balance: 'RANDOM' }],
    [
      'a ring as an extension',
      lb(pack(balancers.ringHashSchema, { minimum_ring_size: 7 })),
      { hash: { algorithm: { kind: 'ringHash', minimumRingSize: 7 } } },
    ],
    [
      'a table as an extension',
      lb(pack(balancers.maglevSchema, { table_size: 11 })),
      { hash: { algorithm: { kind: 'maglev', tableSize: 11 } } },
    ],
    ['utilization', lb(pack(balancers.clientSideWeightedRoundRobinSchema, {})), { balance: 'UTILIZATION' }],
    ['the first', lb(pack(balancers.pickFirstSchema, {})), { balance: 'ROUND_ROBIN' }],
    [
      'localities by weight, and within them at random',
      lb(
        pack(balancers.wrrLocalitySchema, {
          endpoint_picking_policy: {
            policies: [{ typed_extension_config: { name: 'r', typed_config: pack(balancers.randomSchema, {}) } }],
          },
        }),
      ),
      { balance: 'RANDOM', locality: 'weighted' },
    ],
  ];
  for (const [name, given, expected] of cases) {
    const { hash, locality, policy } = cluster(given);
    const { balance, warmup } = policy;
    t.match({ balance, warmup, hash, locality }, expected, name);
  }
  const unknown = {
    typed_extension_config: { name: 'mine', typed_config: { type_url: 'x/my.Balancer', value: undefined } },
  };
  const known = { typed_extension_config: { name: 'random', typed_config: pack(balancers.randomSchema, {}) } };
  t.equal(
    cluster({ load_balancing_policy: { policies: [unknown, known] } }).policy.balance,
    'RANDOM',
    'the first that is known',
  );
});

t.test("limits: Envoy's where nothing is said, none where it is the largest number", async (t) => {
  const { limits } = cluster({}).policy;
  t.match(limits, {
    maxConnections: 1_024,
    maxRequests: 1_024,
    maxPendingRequests: 1_024,
    maxRetries: 3,
    connectTimeoutMs: 5_000,
    idleTimeoutMs: 3_600_000,
  });
  const none = cluster({
    circuit_breakers: { thresholds: [{ max_requests: 4_294_967_295 }, { priority: 'HIGH', max_requests: 1 }] },
  });
  t.equal(none.policy.limits.maxRequests, Number.POSITIVE_INFINITY);
  t.strictSame(
    none.remarks.map(({ field }) => field),
    ['circuit_breakers.thresholds[1]'],
  );
  const http2 = cluster({
    typed_extension_protocol_options: new Map([
      [
        'envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        pack(httpProtocolOptionsSchema, {
          explicit_http_config: {
            http2_protocol_options: { max_concurrent_streams: 10, connection_keepalive: { interval: 5, timeout: 6 } },
          },
        }),
      ],
    ]),
  });
  t.equal(http2.policy.http2, 'always');
  t.match(http2.policy.limits, { maxConcurrentStreams: 10, http2Keepalive: { intervalMs: 5, timeoutMs: 6 } });
  t.equal(
    cluster({ http2_protocol_options: { max_concurrent_streams: 1_073_741_824 } }).policy.limits.maxConcurrentStreams,
    Number.POSITIVE_INFINITY,
  );
  t.equal(cluster({ protocol_selection: 'USE_DOWNSTREAM_PROTOCOL' }).policy.http2, 'asCaller');
  t.equal(cluster({ max_requests_per_connection: 4 }).policy.limits.maxRequestsPerConnection, 4);
});

t.test("outlier detection with all of Envoy's defaults", async (t) => {
  t.strictSame(cluster({ outlier_detection: {} }).policy.outlier, {
    consecutive5xx: 5,
    consecutiveGatewayErrors: 0,
    intervalMs: 10_000,
    baseEjectionMs: 30_000,
    maxEjectionPercent: 10,
    minHealthPercent: 50,
    successRate: { minimumHosts: 5, requestVolume: 100, stdevFactor: 1_900 },
  });
  t.match(
    cluster({
      outlier_detection: {
        enforcing_consecutive_5xx: 30,
        enforcing_success_rate: 0,
        enforcing_failure_percentage: 60,
        failure_percentage_threshold: 70,
        max_ejection_time: 90_000,
        max_ejection_time_jitter: 1_000,
        always_eject_one_host: true,
        successful_active_health_check_uneject_host: false,
      },
    }).policy.outlier,
    {
      consecutive5xx: 5,
      successRate: undefined,
      failurePercentage: { threshold: 70, minimumHosts: 5, requestVolume: 50 },
      enforcing: { consecutive_5xx: 30, failure_percentage: 60 },
      maxEjectionMs: 90_000,
      ejectionJitterMs: 1_000,
      alwaysEjectOne: true,
      healthCheckReturns: false,
    },
  );
});

t.test('health checks', async (t) => {
  const check = (more: NonNullable<Input<ClusterMessage>['health_checks']>[number]) =>
    cluster({
      health_checks: [{ timeout: 1_000, interval: 5_000, unhealthy_threshold: 3, healthy_threshold: 2, ...more }],
    }).policy.healthCheck;
  t.strictSame(check({ http_health_check: { path: '/ready', expected_statuses: [{ start: 200, end: 300 }] } }), {
    probe: {
      kind: 'http',
      method: 'GET',
      path: '/ready',
      host: 'c',
      headers: [],
      expected: [{ from: 200, to: 299 }],
      retriable: [],
    },
    intervalMs: 5_000,
    timeoutMs: 1_000,
    unhealthyThreshold: 3,
    healthyThreshold: 2,
    unhealthyIntervalMs: 5_000,
    unhealthyEdgeIntervalMs: 5_000,
    healthyEdgeIntervalMs: 5_000,
    initialJitterMs: 0,
    intervalJitterMs: 0,
    intervalJitterPercent: 0,
    ignoreNew: false,
    minHealthPercent: 50,
  });
  t.match(check({ alt_port: 81, tcp_health_check: { send: { text: '0aff' }, receive: [{ text: '00' }] } }), {
    port: 81,
    probe: { kind: 'tcp', send: new Uint8Array([10, 255]), receive: [new Uint8Array([0])] },
  });
  t.match(check({ grpc_health_check: { service_name: 's', authority: 'h' } })?.probe, {
    kind: 'grpc',
    service: 's',
    host: 'h',
  });
  t.equal(check({ custom_health_check: { name: 'redis' } }), undefined);
});

t.test('TLS: the identity of the mesh, files, or no connection at all', async (t) => {
  const of = (more: Input<ClusterMessage>) => cluster(more).policy;
  t.equal(of({}).tls, 'disable');
  t.equal(of({ transport_socket: raw }).tls, 'disable');
  t.match(of(tls(mesh)), { tls: 'mutual', serverIdentities: [] });
  t.match(
    of({ ...tls(mesh, 'c'), name: 'c' }),
    { serverName: undefined },
    'the name of the cluster is no name of a server',
  );
  const instance = { instance_name: 'default', certificate_name: 'default' };
  t.match(
    of(
      tls({
        tls_certificate_provider_instance: instance,
        combined_validation_context: {
          default_validation_context: {
            ca_certificate_provider_instance: instance,
            match_subject_alt_names: [{ exact: 'spiffe://td/ns/b/sa/b' }, { exact: 'spiffe://td/ns/a/sa/a' }],
          },
        },
      }),
    ),
    { tls: 'mutual', serverIdentities: ['spiffe://td/ns/a/sa/a', 'spiffe://td/ns/b/sa/b'] },
    'gRPC (A29)',
  );
  t.match(
    of(
      tls(
        {
          validation_context: {
            trusted_ca: { filename: '/ca' },
            match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'a' } }],
          },
        },
        'a',
      ),
    ).tls,
    {
      mode: 'simple',
      serverName: 'a',
      subjectAltNames: ['a'],
      rootFile: '/ca',
      verify: true,
    },
  );
  t.match(of(tls({ validation_context: { system_root_certs: {} } })).tls, {
    mode: 'simple',
    verify: true,
    rootFile: undefined,
  });
  const hosts = { upstream_http_protocol_options: { auto_sni: true, auto_san_validation: true } };
  const newer: Input<ClusterMessage> = {
    typed_extension_protocol_options: new Map([
      [
        'envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        pack(httpProtocolOptionsSchema, { ...hosts, explicit_http_config: { http_protocol_options: {} } }),
      ],
    ]),
  };
  const named = { validation_context: { system_root_certs: {}, match_subject_alt_names: [{ exact: 'a' }] } };
  const nameless = { validation_context: { system_root_certs: {} } };
  for (const options of [hosts, newer]) {
    t.match(of({ ...tls(named), ...options }).tls, { subjectAltNames: ['a'], verifyHost: true }, 'Envoy asks for both');
    t.match(of({ ...tls(nameless, 'a'), ...options }).tls, { serverName: 'a', verifyHost: true });
    t.notOk('verifyHost' in (of({ ...tls(nameless), ...options }).tls as object), 'the host is asked for anyway');
    t.throws(() => of({ ...tls(mesh), ...options }), { message: /auto_san_validation/ });
  }
  t.notOk('verifyHost' in (of(tls(named)).tls as object));
  const suites = ['ECDHE-ECDSA-AES128-GCM-SHA256', 'AES128-SHA'];
  const tls_params = {
    cipher_suites: suites,
    ecdh_curves: ['P-256'],
    tls_minimum_protocol_version: 'TLSv1_2',
  } as const;
  const spoken = { cipherSuites: suites, curves: ['P-256'] };
  t.match(of(tls({ ...named, tls_params })), { tlsParameters: spoken });
  t.match(
    of(tls({ ...mesh, tls_params })).tlsParameters,
    { ...spoken, cipherSuites: [suites[0]] },
    'none that are weak',
  );
  const newest = { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' } as const;
  t.same(of(tls({ ...mesh, tls_params: newest })).tlsParameters, { minVersion: 'TLSv1.3' });
  for (const version of ['TLS_AUTO', 'TLSv1_0', 'TLSv1_2'] as const) {
    const usual = { tls_minimum_protocol_version: version, tls_maximum_protocol_version: 'TLSv1_3' } as const;
    t.notOk('tlsParameters' in of(tls({ ...mesh, tls_params: usual })), `${version}: what is so anyway is not said`);
  }
  const proxy = (version: 'V1' | 'V2', transport_socket: Input<ClusterMessage>['transport_socket']) => ({
    name: 'envoy.transport_sockets.upstream_proxy_protocol',
    typed_config: pack(proxyProtocolUpstreamTransportSchema, { config: { version }, transport_socket }),
  });
  t.match(of({ transport_socket: proxy('V1', raw) }), { tls: 'disable', proxyProtocol: 1 });
  t.match(of({ transport_socket: proxy('V2', tls(named).transport_socket) }), {
    tls: { subjectAltNames: ['a'] },
    proxyProtocol: 2,
  });
  const forMesh = (version: 'V1' | 'V2') => ({
    transport_socket_matches: [
      { name: 'a', match: { tlsMode: 'istio' }, transport_socket: proxy('V1', tls(mesh).transport_socket) },
      { name: 'b', match: {}, transport_socket: proxy(version, raw) },
    ],
  });
  t.match(of(forMesh('V1')), { tls: 'auto', proxyProtocol: 1 });
  t.throws(() => of(forMesh('V2')), { message: /the same PROXY protocol/ });
  t.throws(() => of({ transport_socket: proxy(7 as never, raw) }), { message: /config.version: expected V1 or V2/ });
  t.match(
    of(
      tls({
        tls_certificates: [{ certificate_chain: { filename: '/c' }, private_key: { filename: '/k' } }],
        validation_context: { trusted_ca: { filename: '/ca' }, crl: { filename: '/crl' } },
      }),
    ).tls,
    {
      mode: 'mutual',
      client: { certificateFile: '/c', keyFile: '/k' },
      revocationFile: '/crl',
    },
  );
  const unavailable: readonly Input<CommonTlsContext>[] = [
    {
      tls_certificate_sds_secret_configs: [{ name: 'kubernetes://a' }],
      validation_context_sds_secret_config: { name: 'ROOTCA' },
    },
    { validation_context_sds_secret_config: { name: 'my-roots' } },
    { validation_context: { trusted_ca: { inline_string: 'PEM' } } },
    {
      tls_certificates: [{ certificate_chain: { inline_string: 'PEM' }, private_key: { inline_string: 'PEM' } }],
      validation_context: { trusted_ca: { filename: '/ca' } },
    },
    {
      tls_certificate_sds_secret_configs: [{ name: 'default' }],
      validation_context: { trusted_ca: { filename: '/ca' } },
    },
  ];
  for (const each of unavailable) t.match(of(tls(each)).tls, { unavailable: String }, JSON.stringify(each));
  const unverified = cluster(tls({ validation_context: {} }));
  t.match(unverified.policy.tls, { verify: false });
  t.match(unverified.remarks, [{ status: 'approximated' }]);
  const auto = (criteria: Record<string, string>, rest = raw) => ({
    transport_socket_matches: [
      { name: 'hbone', match: { tunnel: 'http' }, transport_socket: raw },
      { name: 'm', match: criteria, transport_socket: meshSocket('') },
      { name: 'r', match: {}, transport_socket: rest },
    ],
  });
  t.match(cluster(auto({ tlsMode: 'istio' })), { policy: { tls: 'auto' }, speaksMtls: { tlsMode: 'istio' } });
  t.equal(of(auto({})).tls, 'mutual', 'without a condition it is for all');
});

t.test('a cluster that cannot be used is refused by the name of the field', async (t) => {
  const assignment: Input<ClusterLoadAssignment> = { cluster_name: 'c', endpoints: [] };
  const path = 'transport_socket.typed_config.common_tls_context';
  const cases: readonly (readonly [field: string, cluster: Input<ClusterMessage>, unenforceable?: true])[] = [
    ['name', { name: '' }],
    ['eds_cluster_config', { type: 'EDS', eds_cluster_config: undefined }],
    ['eds_cluster_config.eds_config', { eds_cluster_config: { eds_config: {} } }],
    ['load_assignment', { type: 'STRICT_DNS' }],
    ['load_assignment', { type: 'LOGICAL_DNS', load_assignment: assignment }],
    ['type', { type: 9 }],
    ['cluster_type', { cluster_type: { name: 'envoy.clusters.redis' } }],
    [
      'cluster_type.typed_config.clusters',
      { cluster_type: { name: 'a', typed_config: pack(aggregateClusterConfigSchema, {}) } },
    ],
    [
      'original_dst_lb_config.use_http_header',
      { type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED', original_dst_lb_config: { use_http_header: true } },
      true,
    ],
    ['lb_policy', { lb_policy: 'LOAD_BALANCING_POLICY_CONFIG' }],
    ['load_balancing_policy.policies', { load_balancing_policy: {} }],
    [
      'ring_hash_lb_config.minimum_ring_size',
      { lb_policy: 'RING_HASH', ring_hash_lb_config: { minimum_ring_size: 9, maximum_ring_size: 8 } },
    ],
    [
      'ring_hash_lb_config.maximum_ring_size',
      { lb_policy: 'RING_HASH', ring_hash_lb_config: { maximum_ring_size: 8_388_609 } },
    ],
    ['maglev_lb_config.table_size', { lb_policy: 'MAGLEV', maglev_lb_config: { table_size: 100 } }],
    ['connect_timeout', { connect_timeout: 0 }],
    ['outlier_detection.enforcing_success_rate', { outlier_detection: { enforcing_success_rate: 101 } }],
    ['outlier_detection.interval', { outlier_detection: { interval: 0 } }],
    ['outlier_detection.max_ejection_percent', { outlier_detection: { max_ejection_percent: 101 } }],
    ['health_checks[0].interval', { health_checks: [{ timeout: 1, tcp_health_check: {} }] }],
    ['health_checks[0].timeout', { health_checks: [{ interval: 1, tcp_health_check: {} }] }],
    ['health_checks[0]', { health_checks: [{ interval: 1, timeout: 1 }] }],
    ...['unhealthy_interval', 'unhealthy_edge_interval', 'healthy_edge_interval'].map(
      (field) =>
        [
          `health_checks[0].${field}`,
          { health_checks: [{ interval: 1, timeout: 1, tcp_health_check: {}, [field]: 0 }] },
        ] as const,
    ),
    [
      'health_checks[0].alt_port',
      { health_checks: [{ interval: 1, timeout: 1, tcp_health_check: {}, alt_port: 65_536 }] },
    ],
    [
      'health_checks[0].http_health_check.request_headers_to_add[0].header',
      {
        health_checks: [
          {
            interval: 1,
            timeout: 1,
            http_health_check: { path: '/', request_headers_to_add: [{ header: { key: 'a b', value: 'c' } }] },
          },
        ],
      },
    ],
    [
      'health_checks[0].http_health_check.path',
      { health_checks: [{ interval: 1, timeout: 1, http_health_check: {} }] },
    ],
    [
      'health_checks[0].tcp_health_check.receive[0].text',
      { health_checks: [{ interval: 1, timeout: 1, tcp_health_check: { receive: [{ text: 'zz' }] } }] },
    ],
    [
      'transport_socket.typed_config',
      { transport_socket: { name: 'quic', typed_config: { type_url: 'x/a.Quic', value: undefined } } },
      true,
    ],
    [path, { transport_socket: { name: 't', typed_config: pack(upstreamTlsContextSchema, {}) } }, true],
    [
      `${path}.validation_context.match_subject_alt_names[0]`,
      tls({ validation_context: { match_subject_alt_names: [{ prefix: 'a' }] } }),
      true,
    ],
    [
      `${path}.validation_context.verify_certificate_spki`,
      tls({ validation_context: { verify_certificate_spki: ['a'] } }),
      true,
    ],
    [
      `${path}.validation_context.verify_certificate_hash`,
      tls({ validation_context: { verify_certificate_hash: ['a'] } }),
      true,
    ],
    [`${path}.validation_context.crl`, tls({ validation_context: { crl: { inline_string: 'PEM' } } }), true],
    [
      `${path}.tls_params.tls_maximum_protocol_version`,
      tls({ tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_2' } }),
      true,
    ],
    [`${path}.tls_params.cipher_suites[0]`, tls({ tls_params: { cipher_suites: ['FOO'] } }), true],
    [`${path}.tls_params.ecdh_curves[0]`, tls({ tls_params: { ecdh_curves: ['P-512'] } }), true],
    [`${path}.custom_handshaker`, tls({ custom_handshaker: { name: 'a' } }), true],
    [
      'transport_socket_matches',
      { transport_socket_matches: [{ name: 'a', match: { a: 'b' }, transport_socket: raw }] },
      true,
    ],
    [
      'transport_socket_matches[0].match.a',
      { transport_socket_matches: [{ name: 'a', match: { a: 1 }, transport_socket: raw }] },
      true,
    ],
    [
      'load_assignment.endpoints[0].lb_endpoints[0].endpoint',
      { type: 'STATIC', load_assignment: { cluster_name: 'c', endpoints: [{ lb_endpoints: [{}] }] } },
    ],
  ];
  for (const [field, given, unenforceable = false] of cases) {
    const read = () => cluster(given);
    t.equal(refusedField(read), field);
    try {
      read();
    } catch (error) {
      t.equal((error as ResourceError).unenforceable, unenforceable, `${field}: is it for security?`);
    }
  }
});

const socket = (address: string, port_value = 80) => ({ address: { socket_address: { address, port_value } } });
const group = (
  lb_endpoints: readonly Input<LbEndpoint>[],
  more: Input<LocalityLbEndpoints> = {},
): Input<LocalityLbEndpoints> => ({
  lb_endpoints,
  ...more,
});
const assigned = (...endpoints: readonly Input<LocalityLbEndpoints>[]) =>
  readEndpoints(pack(clusterLoadAssignmentSchema, { cluster_name: 's', endpoints })).value;

t.test('endpoints', async (t) => {
  const addresses = (read: ReturnType<typeof assigned>) => read.endpoints.map(({ address }) => address);
  const health = ['UNKNOWN', 'HEALTHY', 'UNHEALTHY', 'DRAINING', 'TIMEOUT', 'DEGRADED'] as const;
  const all = health.map((health_status, index) => ({ endpoint: socket(`10.0.0.${index}`), health_status }));
  t.strictSame(addresses(assigned(group(all))), ['10.0.0.0', '10.0.0.1'], 'those that are well');
  t.strictSame(addresses(assigned(group(all.slice(2)))), ['10.0.0.5'], 'the degraded, where there are no others');
  const one = assigned(
    group(
      [
        {
          endpoint: socket('10.0.0.1', 8_080),
          load_balancing_weight: 3,
          metadata: { filter_metadata: new Map([['istio', { workload: 'w;ns;reviews;v1;c' }]]) },
        },
      ],
      {
        priority: 1,
        load_balancing_weight: 7,
        locality: { region: 'r', zone: 'z' },
      },
    ),
  );
  t.strictSame(one.endpoints, [
    {
      address: '10.0.0.1',
      port: 8_080,
      weight: 3,
      labels: { 'service.istio.io/canonical-name': 'reviews', 'service.istio.io/canonical-revision': 'v1' },
      locality: 'r/z',
      priority: 1,
      workload: 'w',
      socket: undefined,
    },
  ]);
  t.strictSame(one.weights, [{ priority: 1, locality: 'r/z', weight: 7 }]);
  const pipe = assigned(group([{ endpoint: { address: { pipe: { path: '/run/s' } } } }]));
  t.match(pipe.endpoints, [{ address: 'unix:///run/s', port: 0 }]);
  const named = readEndpoints(
    pack(clusterLoadAssignmentSchema, {
      cluster_name: 's',
      endpoints: [group([{ endpoint_name: 'n' }])],
      named_endpoints: new Map([['n', { ...socket('10.0.0.9'), hostname: '' }]]) as never,
    }),
  );
  t.match(named.value.endpoints, [{ address: '10.0.0.9' }]);
  const remarks = (...given: readonly Input<LocalityLbEndpoints>[]) =>
    assigned(...given).remarks.map(({ field, status }) => `${status} ${field}`);
  t.strictSame(
    remarks(
      group([{ endpoint: { address: { envoy_internal_address: { server_listener_name: 'connect_originate' } } } }]),
    ),
    ['ignored endpoints[0].lb_endpoints[0].endpoint.address.envoy_internal_address'],
  );
  t.strictSame(remarks(group([{ endpoint: { ...socket('10.0.0.1'), additional_addresses: [socket('10.0.0.2')] } }])), [
    'ignored endpoints[0].lb_endpoints[0].endpoint.additional_addresses',
  ]);
  const policy = readEndpoints(
    pack(clusterLoadAssignmentSchema, {
      cluster_name: 's',
      policy: { overprovisioning_factor: 200, drop_overloads: [{ category: 'lb', drop_percentage: { numerator: 5 } }] },
    }),
  );
  t.strictSame(
    policy.value.remarks.map(({ field, status }) => `${status} ${field}`),
    ['approximated policy.overprovisioning_factor'],
  );
  t.strictSame(policy.value.drops, [{ category: 'lb', percent: 5 }]);
  const refused: readonly (readonly [field: string, group: Parameters<typeof group>])[] = [
    ['endpoints[0].priority', [[], { priority: 129 }]],
    ['endpoints[0].lb_endpoints[0].endpoint', [[{ endpoint_name: 'n' }]]],
    ['endpoints[0].lb_endpoints[0].endpoint.address', [[{ endpoint: {} }]]],
    [
      'endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value',
      [[{ endpoint: socket('10.0.0.1', 0) }]],
    ],
    ['endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address', [[{ endpoint: socket('a b') }]]],
    ['endpoints[0].lb_endpoints[0].endpoint.address.pipe.path', [[{ endpoint: { address: { pipe: { path: 'a' } } } }]]],
    [
      'endpoints[0].lb_endpoints[0].load_balancing_weight',
      [[{ endpoint: socket('10.0.0.1'), load_balancing_weight: 0 }]],
    ],
  ];
  for (const [field, given] of refused)
    t.equal(
      refusedField(() => assigned(group(...given))),
      field,
    );
});

const route = (name: string, domains: readonly string[], to = name) => ({
  name,
  domains,
  routes: [{ match: { prefix: '/' }, route: { cluster: to, timeout: 0 } }],
});
const names = (given: Parameters<typeof resourceSet>[0], context: CompileContext = istioContext) => {
  const { snapshot } = compileResources(resourceSet(given), context, '1');
  return {
    hosts: Object.fromEntries([...snapshot.hosts].map(([name, host]) => [name, host.name])),
    wildcards: snapshot.wildcardHosts.map(({ port, suffix, virtualHost }) => `${suffix}:${port} ${virtualHost.name}`),
    policy: snapshot.outboundPolicy,
  };
};

t.test('domains become hosts of the port of their listener', async (t) => {
  const found = names({
    listeners: [httpListener(80)],
    routes: [
      {
        name: '80',
        virtual_hosts: [
          route('a', ['A.example.com', 'a.example.com.', 'fd00::1', '[fd00::2]:80', '10.0.0.1', 'a.example.com:81']),
          route('wide', ['*.example.com', '*.b.example.com', 'x.*']),
          route('rest', ['*']),
        ].map((host) =>
          host.name === 'a' ? { ...host, domains: host.domains.filter((each) => each !== 'a.example.com.') } : host,
        ),
      },
    ],
  });
  t.strictSame(found.hosts, { 'a.example.com:80': 'a', '[fd00::1]:80': 'a', '[fd00::2]:80': 'a', '10.0.0.1:80': 'a' });
  t.strictSame(found.wildcards, ['.b.example.com:80 wide', '.example.com:80 wide', ':80 rest']);
  t.equal(found.policy, 'ALLOW_ANY');
});

t.test('calls whose routes are refused or do not come fail, and do not go past the mesh', async (t) => {
  const found = names({ listeners: [httpListener(80), httpListener(81)], routes: [] });
  t.strictSame(found.wildcards, [':80 *:80', ':81 *:81']);
  t.equal(found.policy, 'ALLOW_ANY');
});

t.test('what other hosts get: of istiod, whatever it says anywhere', async (t) => {
  const rest = (name: string, more: object) => ({
    name,
    domains: ['*'],
    routes: [{ match: { prefix: '/' }, ...more }],
  });
  const open = rest('allow_any', { route: { cluster: 'PassthroughCluster' } });
  const closed = rest('block_all', { direct_response: { status: 502 } });
  const of = (...hosts: readonly ReturnType<typeof rest>[]) =>
    names({
      listeners: hosts.map((_host, index) => httpListener(80 + index)),
      routes: hosts.map((host, index) => ({ name: String(80 + index), virtual_hosts: [host] })),
    });
  t.strictSame(of(open), { hosts: {}, wildcards: [], policy: 'ALLOW_ANY' });
  t.strictSame(of(closed), { hosts: {}, wildcards: [], policy: 'REGISTRY_ONLY' });
  t.equal(of(open, closed).policy, 'REGISTRY_ONLY');
  const virtual = (to: string): Input<Listener> => ({
    name: 'virtualOutbound',
    use_original_dst: true,
    address: { socket_address: { address: '0.0.0.0', port_value: 15_001 } },
    default_filter_chain: { filters: [{ name: 'tcp', typed_config: pack(tcpProxySchema, { cluster: to }) }] },
  });
  t.equal(names({ listeners: [virtual('BlackHoleCluster')] }).policy, 'REGISTRY_ONLY');
  t.equal(names({ listeners: [virtual('PassthroughCluster')] }).policy, 'ALLOW_ANY');
});

t.test('connections whose content is not read', async (t) => {
  const db = 'outbound|3306||db.bookinfo.svc.cluster.local';
  const tcp = (to: string, match = {}) => ({
    filter_chain_match: match,
    filters: [{ name: 'tcp', typed_config: pack(tcpProxySchema, { cluster: to }) }],
  });
  const listener = (
    address: string,
    port_value: number,
    filter_chains: NonNullable<Input<Listener>['filter_chains']>,
  ): Input<Listener> => ({
    name: `${address}_${port_value}`,
    address: { socket_address: { address, port_value } },
    filter_chains,
  });
  const { snapshot } = compileResources(
    resourceSet({
      listeners: [
        listener('10.96.0.9', 3_306, [tcp(db)]),
        listener('0.0.0.0', 443, [
          tcp('outbound|443||a.example.com', { server_names: ['a.example.com'] }),
          tcp('outbound|443||w.example.com', { server_names: ['*.w.example.com'] }),
          tcp('PassthroughCluster'),
        ]),
        listener('0.0.0.0', 444, [
          tcp('one', {
            server_names: ['b.example.com'],
            prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }],
          }),
          tcp('two', { server_names: ['b.example.com'] }),
        ]),
      ],
      clusters: [istioCluster(db)],
    }),
    istioContext,
    '1',
  );
  t.strictSame([...snapshot.hosts.keys()].sort(), [
    '10.96.0.9:3306',
    'a.example.com:443',
    'b.example.com:444',
    'db.bookinfo.svc.cluster.local:3306',
    'db.bookinfo.svc:3306',
    'db.bookinfo:3306',
    'db:3306',
  ]);
  const host = snapshot.hosts.get('db:3306');
  t.match(host, {
    name: 'db.bookinfo.svc.cluster.local:3306',
    routes: [{ name: 'default', matches: [], destinations: [{ cluster: db, weight: 1 }] }],
    connections: undefined,
  });
  t.equal(snapshot.clusters.get(db)?.protocol, 'tcp');
  t.match(snapshot.hosts.get('b.example.com:444')?.connections, [
    { sniHosts: ['b.example.com'], destinationSubnets: ['10.0.0.0/8'], destinations: [{ cluster: 'one' }] },
    { sniHosts: ['b.example.com'], destinations: [{ cluster: 'two' }] },
  ]);
  t.match(snapshot.wildcardHosts, [{ suffix: '.w.example.com', port: 443 }]);
});

t.test('a listener that cannot be used is refused; filters without meaning here are told of', async (t) => {
  const manager = (more: Input<NonNullable<typeof httpConnectionManagerSchema.type>>) => () =>
    readListener(pack(listenerSchema, httpListener(80, more))).value;
  const at = 'filter_chains[0].filters[0].typed_config';
  const filter = (type: string, more = {}) => ({
    name: 'f',
    typed_config: { type_url: `x/${type}`, value: undefined },
    ...more,
  });
  const rbac = 'envoy.extensions.filters.http.rbac.v3.RBAC';
  t.equal(refusedField(manager({ rds: undefined })), at);
  t.equal(refusedField(manager({ http_filters: [filter(rbac)] })), `${at}.http_filters[0]`);
  const wrapped = { name: 'f', typed_config: pack(typedStructSchema, { type_url: `x/${rbac}` }) };
  t.equal(refusedField(manager({ http_filters: [wrapped] })), `${at}.http_filters[0]`, 'within a TypedStruct too');
  t.equal(
    refusedField(manager({ rds: undefined, route_config: { virtual_hosts: [{ name: 'h' }] } })),
    `${at}.route_config.virtual_hosts[0].domains`,
  );
  const fields = (more: Parameters<typeof manager>[0]) => manager(more)().outbound?.remarks.map(({ field }) => field);
  t.strictSame(fields({ http_filters: [{ name: 'router', typed_config: pack(routerFilterSchema, {}) }] }), []);
  t.strictSame(fields({ http_filters: [filter(rbac, { disabled: true })] }), []);
  t.strictSame(fields({ http_filters: [filter(rbac, { is_optional: true }), filter('a.Lua')] }), [
    `${at}.http_filters[0]`,
    `${at}.http_filters[1]`,
  ]);
  const api = { name: 'a:80', api_listener: { api_listener: { type_url: 'x/a.B', value: undefined } } };
  t.equal(
    refusedField(() => readListener(pack(listenerSchema, api))),
    'api_listener.api_listener',
  );
});

t.test('gRPC: a listener for each service, and its best virtual host', async (t) => {
  const context: CompileContext = {
    ...istioContext,
    profile: 'grpc',
    services: ['a.b.svc:80', 'c:81', 'd:82', 'none:1'],
  };
  const api = (
    name: string,
    manager: Input<NonNullable<typeof httpConnectionManagerSchema.type>>,
  ): Input<Listener> => ({
    name,
    api_listener: { api_listener: pack(httpConnectionManagerSchema, manager) },
  });
  const { snapshot, wanted } = compileResources(
    resourceSet({
      listeners: [
        api('a.b.svc:80', { rds: { route_config_name: 'r' } }),
        api('c:81', {
          route_config: { virtual_hosts: [route('any', ['*']), route('prefix', ['c:*']), route('other', ['x'])] },
        }),
        api('d:82', { rds: { route_config_name: 'missing' } }),
        api('unasked:1', { rds: { route_config_name: 'unasked' } }),
      ],
      routes: [
        {
          name: 'r',
          virtual_hosts: [route('wide', ['*.svc:80']), route('exact', ['a.b.svc:80']), route('any', ['*'])],
        },
      ],
      clusters: [{ ...eds, name: 'exact' }],
    }),
    context,
    '1',
  );
  t.strictSame(
    [...snapshot.hosts].map(([name, host]) => [name, host.routes[0]?.destinations[0]?.cluster]),
    [
      ['a.b.svc:80', 'exact'],
      ['c:81', 'prefix'],
      ['d:82', undefined],
      ['none:1', undefined],
    ],
  );
  // Asked for and not there: never called past the mesh.
  for (const name of ['d:82', 'none:1']) t.equal(snapshot.hosts.get(name)?.routes[0]?.direct?.status, 503, name);
  t.strictSame([...wanted.routes], ['r', 'missing']);
  t.strictSame([...wanted.clusters].sort(), ['exact', 'prefix']);
  t.strictSame([...wanted.endpoints], ['exact']);
  // Calls of gRPC go over HTTP/2 all the same.
  t.match(snapshot.clusters.get('exact'), { protocol: 'http', http2: undefined });
});

t.test('aggregate clusters: endpoints of the others one after another', async (t) => {
  const aggregate = (name: string, ...clusters: readonly string[]): Input<ClusterMessage> => ({
    name,
    lb_policy: 'CLUSTER_PROVIDED',
    cluster_type: { name: 'envoy.clusters.aggregate', typed_config: pack(aggregateClusterConfigSchema, { clusters }) },
  });
  const member = (name: string): Input<ClusterMessage> => ({ ...eds, name });
  const set = resourceSet({
    clusters: [
      aggregate('top', 'inner', 'b', 'mtls', 'missing'),
      aggregate('inner', 'a'),
      aggregate('loop', 'loop2'),
      aggregate('loop2', 'loop'),
      // As many ways through it as there are particles somewhere.
      ...Array.from({ length: 15 }, (_, i) =>
        aggregate(`many${i}`, ...Array<string>(100).fill(i === 14 ? 'a' : `many${i + 1}`)),
      ),
      member('a'),
      member('b'),
      { ...member('mtls'), ...tls(mesh) },
    ],
    endpoints: [
      {
        cluster_name: 'a',
        endpoints: [
          group([{ endpoint: socket('10.0.0.1') }]),
          group([{ endpoint: socket('10.0.0.2') }], { priority: 1 }),
        ],
      },
      { cluster_name: 'b', endpoints: [group([{ endpoint: socket('10.0.0.3') }])] },
      { cluster_name: 'mtls', endpoints: [group([{ endpoint: socket('10.0.0.4') }])] },
    ],
  });
  const { problems, report, snapshot } = compileResources(set, istioContext, '1');
  const { discovery } = snapshot.clusters.get('top') as Cluster;
  t.strictSame(
    discovery.kind === 'static' && discovery.endpoints.map(({ address, priority = 0 }) => `${address} ${priority}`),
    ['10.0.0.1 0', '10.0.0.2 1', '10.0.0.3 2'],
  );
  const many = snapshot.clusters.get('many0')?.discovery;
  t.equal(many?.kind === 'static' && many.endpoints.length, 2, 'each cluster once, where it comes first (gRFC A37)');
  t.match(
    report.entries.find(({ note }) => note?.startsWith('mtls')),
    { field: 'cluster_type.typed_config.clusters', warning: true },
  );
  t.strictSame(
    problems.map(({ resource, value }) => `${resource} ${value}`),
    ['loop loop', 'loop2 loop2'],
  );
});

t.test('aggregate clusters follow their first member in all that it says of connections', async (t) => {
  const clusters = pack(aggregateClusterConfigSchema, { clusters: ['leaf'] });
  const top: Input<ClusterMessage> = {
    name: 'top',
    lb_policy: 'CLUSTER_PROVIDED',
    cluster_type: { name: 'envoy.clusters.aggregate', typed_config: clusters },
  };
  const leaf = { ...eds, name: 'leaf' };
  const before = resourceSet({ clusters: [top, leaf], endpoints: [istioEndpoints('leaf', [['10.0.0.1', 80]])] });
  t.match(compileResources(before, istioContext, '1').snapshot.clusters.get('top'), { tls: 'disable' });
  const secured = resourceSet({ clusters: [{ ...leaf, ...tls(mesh) }] }).clusters;
  const after = { ...before, clusters: new Map([...before.clusters, ...secured]) };
  t.match(compileResources(after, istioContext, '2').snapshot.clusters.get('top'), { tls: 'mutual' });
});

t.test('calls that the control plane says are too many: of the cluster that has the endpoints', async (t) => {
  const policy = {
    drop_overloads: [{ category: 'lb', drop_percentage: { numerator: 2_500, denominator: 'TEN_THOUSAND' } }],
  };
  const named = (name: string) => ({ ...istioEndpoints(name, [['10.0.0.1', 80]]), policy }) as never;
  const both = pack(aggregateClusterConfigSchema, { clusters: ['leaf'] });
  const { report, snapshot } = compileResources(
    resourceSet({
      clusters: [
        istioCluster('leaf'),
        istioCluster('plain'),
        {
          name: 'top',
          lb_policy: 'CLUSTER_PROVIDED',
          cluster_type: { name: 'envoy.clusters.aggregate', typed_config: both },
        },
      ],
      endpoints: [named('leaf'), istioEndpoints('plain', [['10.0.0.1', 80]])],
    }),
    istioContext,
    '1',
  );
  t.strictSame(snapshot.clusters.get('leaf')?.drops, [{ category: 'lb', percent: 25 }]);
  t.equal(snapshot.clusters.get('plain')?.drops, undefined);
  t.equal(snapshot.clusters.get('top')?.drops, undefined, 'Envoy asks the cluster that a route names');
  t.strictSame(
    report.entries.filter(({ field }) => field.includes('drop')),
    [],
  );
});

t.test('what did not change keeps its identity', async (t) => {
  const cluster = (index: number) => `outbound|80||s${index}.bookinfo.svc.cluster.local`;
  const all = [0, 1, 2].map(cluster);
  const set = resourceSet({
    listeners: [httpListener(80)],
    routes: [{ name: '80', virtual_hosts: all.map((name, index) => route(`s${index}:80`, [`s${index}`], name)) }],
    clusters: all.map((name) => istioCluster(name)),
    endpoints: all.map((name) => istioEndpoints(name, [['10.0.0.1', 80]])),
  });
  const before = compileResources(set, istioContext, '1').snapshot;
  const endpoints = new Map(set.endpoints);
  endpoints.set(cluster(1), pack(clusterLoadAssignmentSchema, istioEndpoints(cluster(1), [['10.0.0.2', 80]])));
  const after = compileResources({ ...set, endpoints }, istioContext, '2').snapshot;
  t.equal(after.hosts, before.hosts);
  t.equal(after.clusters.get(cluster(0)), before.clusters.get(cluster(0)));
  t.not(after.clusters.get(cluster(1)), before.clusters.get(cluster(1)));
  const changed = after.clusters.get(cluster(1))?.discovery;
  t.equal(changed?.kind === 'static' && changed.endpoints[0]?.address, '10.0.0.2');
});

t.test('explain says which resource a route is from', async (t) => {
  const set = resourceSet({
    listeners: [httpListener(80)],
    routes: [{ name: '80', virtual_hosts: [route('s:80', ['s'], 'outbound|80||s')] }],
    clusters: [istioCluster('outbound|80||s')],
    endpoints: [istioEndpoints('outbound|80||s', [['10.0.0.1', 80]])],
  });
  const { snapshot } = compileResources(set, istioContext, '1');
  const explained = createExplainer({ snapshot, workload }).outbound({ method: 'GET', url: 'http://s/' });
  t.match(explained.at, { kind: 'RouteConfiguration', name: '80', field: 'virtual_hosts[0].routes[0]' });
  t.match(describeExplanation(explained), /RouteConfiguration/);
});

t.test('any bytes and any damage end in a value or in an error that says where', async () => {
  const samples = [
    [
      readCluster,
      pack(
        clusterSchema,
        istioCluster('outbound|80||s', {
          health_checks: [{ interval: 1, timeout: 1, tcp_health_check: {} }],
          outlier_detection: {},
        }),
      ),
    ],
    [readEndpoints, pack(clusterLoadAssignmentSchema, istioEndpoints('s', [['10.0.0.1', 80]]))],
    [readListener, pack(listenerSchema, httpListener(80))],
  ] as const;
  for (const [read, { type_url, value = new Uint8Array() }] of samples) {
    const survives = (bytes: Uint8Array): boolean => {
      try {
        read({ type_url, value: bytes });
        return true;
      } catch (error) {
        return error instanceof ResourceError && error.message !== '';
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), survives), { numRuns: 200 });
    const change = fc.tuple(fc.nat(value.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const copy = value.slice();
        for (const [index, byte] of changes) copy[index] = byte;
        return survives(copy);
      }),
      { numRuns: 400 },
    );
  }
});
