import { readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import type { MeshHealth, MeshStats } from '../../src/mesh-api.ts';
import { meshMetricsText, metricFamilies } from '../../src/metric-families.ts';
import { istioFamilies } from '../../src/telemetry/istio-families.ts';
import type { MetricFamily } from '../../src/telemetry/metric-family.ts';
import { createMetrics, type SeriesLabels } from '../../src/telemetry/metrics.ts';
import { metricsFormat, prometheusText } from '../../src/telemetry/prometheus.ts';
import type { CountingStream } from '../../src/telemetry/tcp-series.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { root } from '../support/source-files.ts';

const labels = (changes: Partial<SeriesLabels> = {}): SeriesLabels => ({
  reporter: 'source',
  sourceWorkload: 'web',
  sourcePrincipal: 'unknown',
  destinationService: 'reviews',
  destinationWorkload: 'reviews-v1',
  destinationVersion: 'v1',
  ...changes,
});

/** A reader of the text format as strict as its grammar: names, labels and value of each sample. */
function read(text: string): { name: string; labels: Record<string, string>; value: string }[] {
  const samples = [];
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const found = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|[-+0-9.e]+)$/.exec(line);
    if (found === null) throw new Error(`no sample: ${line}`);
    const [, name = '', inside = '', value = ''] = found;
    const pairs: Record<string, string> = {};
    let rest = inside;
    while (rest !== '') {
      const pair = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/.exec(rest);
      if (pair === null) throw new Error(`no label: ${rest}`);
      pairs[pair[1] as string] = (pair[2] as string).replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
      rest = rest.slice(pair[0].length);
    }
    samples.push({ name, labels: pairs, value });
  }
  return samples;
}

const gauge = (name: string, samples: MetricFamily['samples'], help = 'Helps.'): MetricFamily => ({
  name,
  help,
  type: 'gauge',
  samples,
});

t.test(
  'a histogram of very many samples is written without its buckets, for no text could hold all of them',
  async (t) => {
    const histogram = { bounds: [1, 2], buckets: [3, 4, 5], count: 12 };
    const lines = (count: number): number => {
      const samples = Array.from({ length: count }, (_, i) => ({ labels: { a: String(i) }, value: 9, histogram }));
      const text = prometheusText([{ name: 'h', help: 'Helps.', type: 'histogram', samples }]);
      t.match(text, /^h_bucket\{a="7",le="\+Inf"\} 12\nh_sum\{a="7"\} 9\nh_count\{a="7"\} 12$/m);
      return text.trimEnd().split('\n').length - 2;
    };
    t.equal(lines(4_000), 4_000 * 5);
    t.equal(lines(4_001), 4_001 * 3);
  },
);

t.test('OBS-018 a name from configuration stays inside its label, whatever is in it', async (t) => {
  const hostile = [
    'a"} evil 1\n',
    '\\',
    '\\n',
    '\\"',
    'a\r\nevil 1',
    '{}',
    '#',
    '\u2028evil 1',
    '"} 1 # {a="b"} 2',
    '\ud800',
  ];
  for (const [at, name] of hostile.entries()) {
    for (const format of ['text', 'openmetrics'] as const) {
      const text = prometheusText([gauge('inmesh_a', [{ labels: { workload: name }, value: 1 }])], format);
      const samples = read(text);
      t.equal(samples.length, 1, `name ${at}`);
      t.equal(samples[0]?.name, 'inmesh_a');
      t.same(Object.keys(samples[0]?.labels ?? {}), ['workload']);
      t.notMatch(text, /^evil/m);
    }
  }
  const [exact] = read(prometheusText([gauge('a', [{ labels: { w: 'a"} evil 1\n' }, value: 1 }])]));
  t.equal(exact?.labels['w'], 'a"} evil 1\n', 'and can be read back');
});

t.test('a help text cannot begin a line', async (t) => {
  const text = prometheusText([gauge('a', [{ labels: {}, value: 1 }], 'one\nevil 1\\')]);
  t.equal(text, '# HELP a one\\nevil 1\\\\\n# TYPE a gauge\na 1\n');
});

t.test('names that the format does not have are refused, not escaped', async (t) => {
  for (const name of ['', 'a b', '1a', 'a\n', 'a{']) {
    t.throws(() => prometheusText([gauge(name, [])]), TypeError, JSON.stringify(name));
    t.throws(() => prometheusText([gauge('a', [{ labels: { [name]: 'x' }, value: 1 }])]), TypeError);
  }
});

t.test('every name is explained once, and all is in the same order each time', async (t) => {
  const one = gauge('b', [
    { labels: { x: '2', a: '1' }, value: 1 },
    { labels: { x: '1' }, value: 2 },
  ]);
  const two = gauge('a', [{ labels: {}, value: 3 }]);
  const expected =
    '# HELP a Helps.\n# TYPE a gauge\na 3\n# HELP b Helps.\n# TYPE b gauge\nb{a="1",x="2"} 1\nb{x="1"} 2\n';
  t.equal(prometheusText([one, two]), expected);
  t.equal(prometheusText([two, { ...one, samples: [...one.samples].reverse() }]), expected);
  const parts = one.samples.map((sample) => gauge('b', [sample]));
  t.equal(prometheusText([...parts, two]), expected, 'families of one name are one');
  t.equal(prometheusText([one, one, two]), expected, 'no series is there twice');
  t.equal(prometheusText([gauge('empty', [])]), '\n', 'nothing to tell, nothing said');
});

t.test('numbers that are none have their own words', async (t) => {
  for (const [value, text] of [
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, '+Inf'],
    [Number.NEGATIVE_INFINITY, '-Inf'],
    [1e21, '1e+21'],
    [0.25, '0.25'],
  ] as const) {
    t.equal(read(prometheusText([gauge('a', [{ labels: {}, value }])]))[0]?.value, text);
  }
});

t.test('OpenMetrics names counters without _total, and ends', async (t) => {
  const counter = (name: string): MetricFamily => ({ ...gauge(name, [{ labels: {}, value: 1 }]), type: 'counter' });
  t.equal(
    prometheusText([counter('a_total'), counter('envoy_b')], 'openmetrics'),
    '# HELP a Helps.\n# TYPE a counter\na_total 1\n# HELP envoy_b Helps.\n# TYPE envoy_b unknown\nenvoy_b 1\n# EOF\n',
  );
  t.match(prometheusText([counter('a_total')]), '# TYPE a_total counter\n');
});

t.test('who asks for OpenMetrics gets it, everybody else the text', async (t) => {
  for (const [accept, format] of [
    [undefined, 'text'],
    ['', 'text'],
    ['*/*', 'text'],
    ['text/html', 'text'],
    ['application/openmetrics-text', 'openmetrics'],
    ['application/openmetrics-text; version=0.0.1', 'text'],
    [
      'application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2',
      'openmetrics',
    ],
    ['application/openmetrics-text;q=0.1,text/plain;q=0.2', 'text'],
    ['application/openmetrics-text;q=0', 'text'],
    ['application/openmetrics-text;q=x', 'text'],
    [','.repeat(10_000), 'text'],
  ] as const) {
    t.equal(metricsFormat(accept), format, String(accept).slice(0, 60));
  }
});

t.test("Istio's metrics have Istio's names, labels and buckets", async (t) => {
  const metrics = createMetrics();
  const series = metrics.series(labels({ destinationServiceNamespace: 'shop', securityPolicy: 'mutual_tls' }));
  series.record(200, '', 7, 10, 2_000);
  series.record(200, '', 8, 10, 2_000);
  series.record(503, 'UF,URX', 0.3);
  series.record(200, '', 1, 5, 5, 7);
  series.countMessages(3, 4);
  const samples = read(prometheusText(istioFamilies(metrics.snapshot(), [])));
  const totals = samples.filter(({ name }) => name === 'istio_requests_total');
  t.same(
    totals
      .map(({ labels, value }) => [
        labels['response_code'],
        labels['response_flags'],
        labels['request_protocol'],
        labels['grpc_response_status'],
        value,
      ])
      .sort(),
    [
      ['200', '-', 'grpc', '7', '1'],
      ['200', '-', 'http', '', '2'],
      ['503', 'UF,URX', 'http', '', '1'],
    ],
  );
  t.same(Object.keys(totals[0]?.labels ?? {}), [
    'connection_security_policy',
    'destination_app',
    'destination_canonical_revision',
    'destination_canonical_service',
    'destination_principal',
    'destination_service',
    'destination_service_name',
    'destination_service_namespace',
    'destination_version',
    'destination_workload',
    'destination_workload_namespace',
    'grpc_response_status',
    'reporter',
    'request_protocol',
    'response_code',
    'response_flags',
    'source_app',
    'source_canonical_revision',
    'source_canonical_service',
    'source_principal',
    'source_version',
    'source_workload',
    'source_workload_namespace',
  ]);
  t.equal(totals[0]?.labels['source_app'], 'unknown');
  const buckets = samples.filter(
    ({ labels, name }) =>
      name === 'istio_request_duration_milliseconds_bucket' &&
      labels['response_code'] === '200' &&
      labels['request_protocol'] === 'http',
  );
  t.same(
    buckets.map(({ labels, value }) => `${labels['le']} ${value}`),
    // 7 and 8 fall into different steps of ours, and into one of Istio's
    ['0.5', '1', '5']
      .map((le) => `${le} 0`)
      .concat(
        [
          '10',
          '25',
          '50',
          '100',
          '250',
          '500',
          '1000',
          '2500',
          '5000',
          '10000',
          '30000',
          '60000',
          '300000',
          '600000',
          '1800000',
          '3600000',
          '+Inf',
        ].map((le) => `${le} 2`),
      ),
  );
  const sizes = samples.filter(({ name }) => name === 'istio_request_bytes_count');
  t.same(
    sizes.map(({ labels, value }) => [labels['response_code'], value]).sort(),
    [
      ['200', '1'],
      ['200', '2'],
    ],
    'what nobody counted is left out',
  );
  t.equal(samples.find(({ name }) => name === 'istio_response_messages_total')?.value, '4');
});

t.test('connections count while they are open, and go on counting when they have closed', async (t) => {
  const metrics = createMetrics();
  let close = (): void => {};
  const stream = { bytesRead: 5, bytesWritten: 7, once: (_: 'close', listener: () => void) => void (close = listener) };
  metrics.tcp(labels()).watch(stream);
  t.match(
    metrics.connections(),
    [{ opened: 1, closed: 0, sentBytes: 5, receivedBytes: 7 }],
    'a caller reads what the server sends',
  );
  metrics.tcp(labels({ reporter: 'destination' })).watch({ ...stream, once: () => {} });
  stream.bytesRead = 50;
  close();
  stream.bytesRead = 0;
  t.match(metrics.connections(), [
    { opened: 1, closed: 1, sentBytes: 50, receivedBytes: 7 },
    { opened: 1, closed: 0, sentBytes: 7, receivedBytes: 5 },
  ]);
  const names = new Set(read(prometheusText(istioFamilies([], metrics.connections()))).map(({ name }) => name));
  t.same([...names].sort(), [
    'istio_tcp_connections_closed_total',
    'istio_tcp_connections_opened_total',
    'istio_tcp_received_bytes_total',
    'istio_tcp_sent_bytes_total',
  ]);
});

t.test('too many series: further ones share one, idle ones make place and come back with what they had', async (t) => {
  const clock = fakeClock();
  const metrics = createMetrics({ clock, maxSeries: 2, idleMs: 1_000 });
  const first = metrics.series(labels({ destinationService: 'a' }));
  first.record(200, '', 1);
  const second = metrics.series(labels({ destinationService: 'b' }));
  second.record(200, '', 1);
  const names = (): readonly string[] =>
    metrics.snapshot().map(({ labels, requests }) => `${labels.destinationService} ${requests}`);
  metrics.series(labels({ destinationService: 'c' })).record(200, '', 1);
  metrics.series(labels({ destinationService: 'd' })).record(200, '', 1);
  t.same(names(), ['a 1', 'b 1', 'other 2']);
  clock.advance(20_000);
  second.record(200, '', 1);
  metrics.series(labels({ destinationService: 'e' })).record(200, '', 1);
  t.same(names(), ['b 2', 'e 1', 'other 2'], 'a was idle, b was not');
  first.record(200, '', 1);
  t.same(names(), ['b 2', 'e 1', 'a 2', 'other 2']);
});

t.test('what comes back takes no place from who has it meanwhile: counters go on', async (t) => {
  const clock = fakeClock();
  const metrics = createMetrics({ clock, maxSeries: 2, idleMs: 1_000 });
  const named = (destinationService: string) => metrics.series(labels({ destinationService }));
  const kept = named('a');
  kept.record(200, '', 1);
  kept.countMessages(1, 1);
  named('b');
  clock.advance(20_000);
  metrics.snapshot();
  clock.advance(20_000);
  named('c');
  // Idle, and gone; somebody else asks for the same one meanwhile, and both go on with theirs.
  const other = named('a');
  t.not(other, kept);
  for (let i = 0; i < 5; i++) other.record(200, '', 1);
  kept.record(200, '', 1);
  kept.countMessages(0, 2);
  other.record(200, '', 1);
  const found = metrics.snapshot().filter((each) => each.labels.destinationService === 'a');
  t.equal(found.length, 1);
  t.equal(found[0]?.requests, 7, 'none of them is lost, and it has never gone down');
  t.equal(found[0]?.responseMessages, 2);

  const conn = (): CountingStream & { end(): void } => {
    let closed = (): void => {};
    return {
      bytesRead: 5,
      bytesWritten: 7,
      once: (_: 'close', listener: () => void) => (closed = listener),
      end: () => closed(),
    };
  };
  const tcp = createMetrics({ clock, maxSeries: 1, idleMs: 1_000 });
  const first = tcp.tcp(labels({ destinationService: 'a' }));
  const stream = conn();
  first.watch(stream);
  clock.advance(20_000);
  tcp.connections();
  clock.advance(20_000);
  tcp.tcp(labels({ destinationService: 'b' }));
  clock.advance(20_000);
  tcp.connections();
  clock.advance(20_000);
  const again = tcp.tcp(labels({ destinationService: 'a' }));
  again.watch(conn());
  stream.end();
  const opened = tcp.connections().filter((each) => each.labels.destinationService === 'a');
  t.equal(opened.length, 1);
  t.match(opened[0], { opened: 1, closed: 1 });
});

t.test('a server that answers with all status codes there are fills no memory', async (t) => {
  const metrics = createMetrics();
  const series = metrics.series(labels());
  for (let status = 100; status < 600; status++) series.record(status, '', 1);
  series.record(200, '', 1, -1, -1, Number.NaN);
  const [got] = metrics.snapshot();
  t.equal(got?.outcomes.length, 65);
  t.equal(got?.outcomes.at(-1)?.status, 'other');
  t.equal(
    got?.outcomes.reduce((sum, { requests }) => sum + requests, 0),
    501,
  );
});

/** Something in everything that is counted. */
const stats: MeshStats = {
  workload: {
    name: 'a"} evil 1\n',
    namespace: 'shop',
    serviceAccount: 's',
    labels: {},
    trustDomain: 'td',
    clusterDomain: 'cd',
  },
  configVersion: '7',
  config: { accepted: 7, rejected: 2, lost: 1, acceptedAt: 5_000 },
  identity: undefined,
  identityHealth: { state: 'due', expirySeconds: 90_000, updates: 3, rejected: 1, lost: 2 },
  requests: [],
  tcp: [],
  accessLogDropped: 0,
  endpoints: [{ cluster: 'c', address: '10.0.0.1:80', workload: 'w', healthy: false, inFlight: 2, ejections: 4 }],
  clusters: [
    {
      cluster: 'c',
      endpoints: 3,
      healthy: 2,
      active: 5,
      retries: { active: 1, made: 6, overflow: 7 },
      outlierDetection: { active: 1, enforced: { consecutive_5xx: 4 }, detected: { consecutive_5xx: 8 }, overflow: 9 },
      healthCheck: { healthy: 2, attempt: 10, success: 8, failure: 2, networkFailure: 1, passiveFailure: 1 },
    },
    { cluster: 'd', endpoints: 0, healthy: 0, active: 0, retries: { active: 0, made: 0, overflow: 0 } },
  ],
  breakers: [{ cluster: 'c', state: 'open', calls: 10, failures: 9, openings: 2, refusals: 20 }],
  faults: { active: 1, delays: 2, aborts: 3, overflow: 4 },
  routes: [{ virtualHost: 'v:80', statPrefix: 'p', requests: 9, retries: 2, timeouts: 1, classes: { 2: 5, 5: 2 } }],
  egress: [{ policy: 'shop/e', action: 'ALLOW', result: 'allowed', dryRun: false, requests: 11 }],
  rateLimits: [{ name: 'shop/r all', limited: 12 }],
  jwks: [{ from: 'uri', url: 'https://issuer/keys', keys: 2, generation: 1, fetches: 5, failures: 1 }],
  authorizers: [{ name: 'opa', asked: 4, allowed: 1, denied: 2, failed: 1, failedOpen: 1 }],
  overload: {
    limit: 100,
    active: 3,
    waiting: 1,
    refusals: { full: 1, share: 0, timeout: 0, displaced: 0, 'event-loop': 2 },
    adaptive: { measuring: false, minRttMs: 3, sampleRttMs: 4, gradient: 0.75 },
    eventLoop: { delayMs: 12, share: 0.5 },
  },
  authorization: [{ policy: 'none', action: 'ALLOW', result: 'denied', dryRun: true, requests: 13 }],
  connections: { accepted: 14, plaintextRefused: 1, tlsRefused: 2, handshakesFailed: 3, handshakeFailures: { ERR: 3 } },
};
const health: MeshHealth = { ready: true, reasons: [], warnings: ['w'], identity: undefined };
const mesh = { stats: () => stats, health: () => health };

t.test('everything that a mesh counts has a name and is told', async (t) => {
  const samples = read(meshMetricsText(mesh).body);
  const value = (name: string, labels: Record<string, string> = {}): string | undefined =>
    samples.find(
      (sample) => sample.name === name && Object.entries(labels).every(([key, each]) => sample.labels[key] === each),
    )?.value;
  for (const [name, wanted, of] of [
    ['inmesh_ready', '1'],
    ['inmesh_warnings', '1'],
    ['inmesh_config_info', '1', { version: '7' }],
    ['inmesh_config_rejections_total', '2'],
    ['inmesh_config_accepted_timestamp_seconds', '5'],
    ['istio_agent_cert_expiry_seconds', '90000', { resource_name: 'default' }],
    ['envoy_server_days_until_first_cert_expiring', '1'],
    ['inmesh_identity_state', '1', { state: 'due' }],
    ['inmesh_identity_state', '0', { state: 'valid' }],
    ['envoy_vhost_route_upstream_rq_total', '9', { envoy_virtual_host: 'v:80', envoy_route: 'p' }],
    ['envoy_vhost_route_upstream_rq_retry', '2', { envoy_route: 'p' }],
    ['envoy_vhost_route_upstream_rq_timeout', '1', { envoy_route: 'p' }],
    ['envoy_vhost_route_upstream_rq_xx', '5', { envoy_route: 'p', envoy_response_code_class: '2' }],
    ['envoy_vhost_route_upstream_rq_xx', '2', { envoy_route: 'p', envoy_response_code_class: '5' }],
    ['envoy_cluster_membership_total', '3', { cluster_name: 'c' }],
    ['envoy_cluster_membership_healthy', '2', { cluster_name: 'c' }],
    ['envoy_cluster_upstream_rq_active', '5', { cluster_name: 'c' }],
    ['envoy_cluster_upstream_rq_retry', '6', { cluster_name: 'c' }],
    ['envoy_cluster_upstream_rq_retry_overflow', '7', { cluster_name: 'c' }],
    ['envoy_cluster_outlier_detection_ejections_active', '1', { cluster_name: 'c' }],
    ['envoy_cluster_outlier_detection_ejections_enforced_consecutive_5xx', '4', { cluster_name: 'c' }],
    ['envoy_cluster_outlier_detection_ejections_detected_consecutive_5xx', '8', { cluster_name: 'c' }],
    ['envoy_cluster_outlier_detection_ejections_overflow', '9', { cluster_name: 'c' }],
    ['envoy_cluster_health_check_failure', '2', { cluster_name: 'c' }],
    ['inmesh_endpoint_healthy', '0', { address: '10.0.0.1:80', workload: 'w' }],
    ['inmesh_endpoint_ejections_total', '4'],
    ['inmesh_breaker_state', '1', { state: 'open' }],
    ['inmesh_breaker_state', '0', { state: 'closed' }],
    ['inmesh_breaker_refusals_total', '20'],
    ['envoy_http_fault_aborts_injected', '3'],
    ['inmesh_egress_decisions_total', '11', { policy: 'shop/e', result: 'allowed' }],
    ['inmesh_rate_limited_total', '12', { limit: 'shop/r all' }],
    ['inmesh_jwks_keys', '2', { url: 'https://issuer/keys' }],
    ['inmesh_jwks_fetches_total', '4', { result: 'success' }],
    ['inmesh_authorizer_answers_total', '2', { authorizer: 'opa', result: 'denied' }],
    ['inmesh_overload_refusals_total', '2', { reason: 'event-loop' }],
    ['inmesh_overload_gradient', '0.75'],
    ['inmesh_authorization_decisions_total', '13', { policy: 'none', result: 'denied', dry_run: 'true' }],
    ['envoy_listener_downstream_cx_total', '14'],
    ['inmesh_connections_refused_total', '1', { protocol: 'plaintext' }],
    ['inmesh_handshake_failures_total', '3', { reason: 'ERR' }],
  ] as readonly [string, string, Record<string, string>?][]) {
    t.equal(value(name, of), wanted, `${name} ${JSON.stringify(of ?? {})}`);
  }
  t.equal(value('inmesh_workload_info', { workload: 'a"} evil 1\n' }), '1');
  t.ok(Number(value('process_resident_memory_bytes')) > 1e6);
  const without = metricFamilies(mesh, { process: false }).map(({ name }) => name);
  t.notOk(without.some((name) => name.startsWith('process_') || name.startsWith('nodejs_')));
  t.match(meshMetricsText(mesh, 'application/openmetrics-text'), {
    contentType: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
    body: /# EOF\n$/,
  });
});

t.test('docs/metrics.md names every metric with its labels', async (t) => {
  const metrics = createMetrics();
  const series = metrics.series(labels());
  series.record(200, '', 1, 1, 1, 0);
  series.countMessages(1, 1);
  metrics.tcp(labels()).watch({ once: () => {} });
  const all = metricFamilies({
    ...mesh,
    stats: () => ({ ...stats, requests: metrics.snapshot(), tcp: metrics.connections() }),
  });
  const rows = all.map(({ help, name, samples, type }) => {
    const names = [...new Set(samples.flatMap((sample) => Object.keys(sample.labels)))].sort();
    t.ok(names.length > 0 || samples.length === 1, `${name} has a sample here`);
    const standard = name.startsWith('istio_') && names.includes('reporter');
    const own = standard ? names.filter((each) => ['response_code', 'grpc_response_status'].includes(each)) : names;
    const shown = [...(standard ? ["Istio's"] : []), ...own.map((each) => `\`${each}\``)].join(', ');
    return `| \`${name.replace(/consecutive_5xx$/, '<cause>')}\` | ${type} | ${shown} | ${help} |`;
  });
  const table = ['| name | type | labels | meaning |', '|---|---|---|---|', ...rows].join('\n');
  const page = `${root}docs/metrics.md`;
  const text = readFileSync(page, 'utf8');
  const [begin, end] = ['<!-- metrics: generated', '<!-- end of metrics -->'].map((mark) => text.indexOf(mark)) as [
    number,
    number,
  ];
  const from = text.indexOf('\n', begin) + 1;
  const expected = `${text.slice(0, from)}\n${table}\n\n${text.slice(end)}`;
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(page, expected);
  else t.equal(text, expected);
});
