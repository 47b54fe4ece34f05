import { EventEmitter } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/lib/logger.ts';
import { createMesh } from '../../src/mesh.ts';
import type { Mesh } from '../../src/mesh-api.ts';
import { metricFamilies } from '../../src/metric-families.ts';
import type { MetricOverrides } from '../../src/model/metric-overrides.ts';
import { istioFamilies } from '../../src/telemetry/istio-families.ts';
import { createLineWriter } from '../../src/telemetry/line-writer.ts';
import { createMetricTags } from '../../src/telemetry/metric-tags.ts';
import { createMetrics, type Metrics, type SeriesLabels } from '../../src/telemetry/metrics.ts';
import { prometheusText } from '../../src/telemetry/prometheus.ts';
import { fakeClock } from '../support/fake-clock.ts';

const labels: SeriesLabels = {
  reporter: 'source',
  sourceWorkload: 'web',
  sourcePrincipal: 'unknown',
  destinationService: 'reviews',
  destinationWorkload: 'reviews-v1',
  destinationVersion: 'v1',
};
type Tags = Readonly<Record<string, string | undefined>>;
const overrides = (metric: 'requests_total' | 'request_bytes', tags: Tags, disabled = false): MetricOverrides => ({
  client: { disabled: false, metrics: new Map([[metric, { disabled, tags: new Map(Object.entries(tags)) }]]) },
  server: { disabled: false, metrics: new Map() },
});

t.test('samples whose labels an override makes the same are added up', async (t) => {
  const metrics = createMetrics();
  metrics.series(labels).record(200, '', 5, 10, 10);
  metrics.series({ ...labels, destinationVersion: 'v2' }).record(200, '', 7, 20, 10);
  metrics.series({ ...labels, reporter: 'destination' }).record(503, 'UH', 1);
  const of = (given: MetricOverrides, name: string) =>
    istioFamilies(metrics.snapshot(), [], given).find((family) => family.name === name)?.samples ?? [];
  const removed = of(overrides('requests_total', { destination_version: undefined }), 'istio_requests_total');
  t.same(
    removed.map(({ labels, value }) => [labels['reporter'], labels['destination_version'], value]),
    [
      ['source', undefined, 2],
      ['destination', 'v1', 1],
    ],
  );
  const other = of(overrides('requests_total', { destination_version: undefined }), 'istio_request_bytes');
  t.equal(other.length, 2, 'no other metric has changed');
  const [sizes] = of(overrides('request_bytes', { destination_version: undefined }), 'istio_request_bytes');
  t.match(sizes, { value: 30, histogram: { count: 2 } });
  t.equal(of(overrides('request_bytes', {}, true), 'istio_request_bytes').length, 0, 'disabled');
  const added = of(overrides('requests_total', { new_tag: 'request.host' }), 'istio_requests_total');
  t.equal(added[0]?.labels['new_tag'], 'unknown', 'counted before anybody asked');
  const all: MetricOverrides = { ...overrides('request_bytes', {}), client: { disabled: true, metrics: new Map() } };
  t.same(
    of(all, 'istio_requests_total').map((each) => each.labels['reporter']),
    ['destination'],
  );
});

const byHost = overrides('requests_total', { host: 'request.host' });
/** Host, version and value of all samples, in order. */
const hostsOf = (metrics: Metrics, given: MetricOverrides | undefined) =>
  (istioFamilies(metrics.snapshot(), [], given)[0]?.samples ?? [])
    .map(({ labels, value }) => [labels['host'], labels['destination_version'], value] as const)
    .sort((a, b) => (a.join() < b.join() ? -1 : 1));

t.test('no series leaves while sums are shown, and values of tags take no place from other destinations', async (t) => {
  const clock = fakeClock();
  const metrics = createMetrics({ clock, maxSeries: 10 });
  const tags = createMetricTags(metrics);
  tags.use(byHost);
  const record = (host: string, version = 'v1') =>
    tags.client
      ?.seriesOf(metrics.series({ ...labels, destinationVersion: version }), { authority: host } as never)
      .record(200, '', 1);
  for (let i = 0; i < 50; i++) record(`h${i}`);
  clock.advance(7_200_000);
  for (let i = 50; i < 100; i++) record(`h${i}`);
  record('h1', 'v2');
  t.same(hostsOf(metrics, byHost), [
    ['h0', 'v1', 1],
    ['h1', 'v1', 1],
    ['h2', 'v1', 1],
    ['h3', 'v1', 1],
    ['other', 'v1', 96],
    ['other', 'v2', 1],
  ]);
  tags.use(undefined);
  t.equal(tags.client, undefined);
});

t.test('one caller or destination has at most 500 combinations of tags', async (t) => {
  const metrics = createMetrics();
  const tags = createMetricTags(metrics);
  tags.use(byHost);
  for (const version of ['v1', 'v2']) {
    const series = metrics.series({ ...labels, destinationVersion: version });
    for (let i = 0; i < 600; i++) tags.client?.seriesOf(series, { authority: `h${i}` } as never).record(200, '', 1);
  }
  const rows = hostsOf(metrics, byHost);
  t.same(
    rows.filter(([host]) => host === 'other'),
    [
      ['other', 'v1', 100],
      ['other', 'v2', 100],
    ],
  );
  t.equal(rows.length, 1_002);
});

t.test('other overrides free the places of tags that there were, and no count is lost', async (t) => {
  const metrics = createMetrics({ maxSeries: 10 });
  const tags = createMetricTags(metrics);
  const stream = Object.assign(new EventEmitter(), { bytesRead: 7, bytesWritten: 5 });
  const record = (host: string): void => {
    const facts = { authority: host, method: 'GET', upstreamHost: host } as never;
    const series = tags.client?.seriesOf(metrics.series(labels), facts) ?? metrics.series(labels);
    series.countMessages(1, 2);
    series.record(200, '', 1, 10, 20);
  };
  tags.use(byHost);
  const before = tags.client;
  for (let i = 0; i < 6; i++) record(`h${i}`);
  before?.connectionsOf(metrics.tcp(labels), { authority: 'h0' } as never).watch(stream);
  const byMethod = overrides('requests_total', { host: 'request.method' });
  for (let i = 0; i < 4; i++) {
    tags.use(byMethod);
    // A call that began before the configuration changed.
    before?.seriesOf(metrics.series(labels), { authority: 'h1' } as never).record(503, 'UF', 1);
    record('h9');
    t.same(
      hostsOf(metrics, byMethod),
      [
        ['GET', 'v1', 1],
        ['unknown', 'v1', 6 + i],
        ['unknown', 'v1', i + 1],
      ].sort((a, b) => (a.join() < b.join() ? -1 : 1)),
      'what was counted by hosts is known no more',
    );
    tags.use(undefined);
  }
  const families = istioFamilies(metrics.snapshot(), metrics.connections());
  const value = (name: string): number =>
    families.find((family) => family.name === name)?.samples.reduce((sum, sample) => sum + sample.value, 0) ?? 0;
  t.equal(value('istio_requests_total'), 14);
  t.equal(value('istio_request_bytes'), 100);
  t.equal(value('istio_request_messages_total'), 10);
  t.equal(value('istio_response_messages_total'), 20);
  t.equal(value('istio_tcp_connections_opened_total'), 1);
  t.equal(value('istio_tcp_received_bytes_total'), 5, 'of one that is open');
  stream.emit('close');
  const closed = metrics.connections();
  t.match(closed, [{ opened: 1, closed: 1, receivedBytes: 5, sentBytes: 7 }]);
  t.equal(metrics.snapshot().length, 1);
});

t.test('values that look the same on the page are the same, and a record that cannot be told is unknown', async (t) => {
  const metrics = createMetrics();
  const tags = createMetricTags(metrics);
  const header = overrides('requests_total', { who: 'request.headers["x"]' });
  tags.use(header);
  for (const value of ['a\x80', 'a\x81', 'a\ud800']) {
    const record = { requestHeader: () => value } as never;
    tags.client?.seriesOf(metrics.series(labels), record).record(200, '', 1);
  }
  const broken = {
    requestHeader() {
      throw new Error('gone');
    },
  };
  tags.client?.seriesOf(metrics.series(labels), broken as never).record(200, '', 1);
  const text = prometheusText(istioFamilies(metrics.snapshot(), [], header));
  t.same(
    [...text.matchAll(/^istio_requests_total.*who="([^"]*)"\} (\d+)$/gm)].map(([, who, count]) => [who, count]),
    [
      ['a\ufffd', '3'],
      ['unknown', '1'],
    ],
  );
});

const shop = (port: number): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}}]
---
`;

function folderOf(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-telemetry-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function meshOf(t: Test, folder: string, name: string, yaml: string): Promise<Mesh> {
  writeFileSync(join(folder, `${name}.yaml`), yaml || '# nothing\n');
  const mesh = createMesh({
    workload: { name, namespace: 'shop' },
    config: join(folder, `${name}.yaml`),
    identity: false,
    accessLogFolder: folder,
    logger: silentLogger,
  });
  t.teardown(() => mesh.close());
  await mesh.ready();
  return mesh;
}

const telemetry = (folder: string): string => `
apiVersion: inmesh.dev/v1
kind: MeshConfig
spec:
  extensionProviders:
  - name: calls
    envoyFileAccessLog:
      path: ${join(folder, 'calls.log')}
      logFormat: {labels: {path: '%REQ(:PATH)%', code: '%RESPONSE_CODE%', cluster: '%UPSTREAM_CLUSTER%', a: '%RESP(X-A)%', flags: '%RESPONSE_FLAGS%'}}
  - name: elsewhere
    envoyFileAccessLog: {path: /etc/inmesh-no.log}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: all, namespace: istio-system}
spec:
  metrics:
  - overrides:
    - match: {metric: REQUEST_COUNT}
      tagOverrides:
        where: {value: 'request.method + " " + request.path'}
        secret: {value: 'request.headers["authorization"]'}
        port: {value: 'string(destination.port)'}
        a: {value: 'response.headers["x-a"]'}
        destination_version: {operation: REMOVE}
  accessLogging:
  - providers: [{name: calls}, {name: elsewhere}]
    match: {mode: CLIENT}
    filter: {expression: 'response.code >= 400 || request.path.contains("log=me")'}
---
`;

t.test('tags and filters of Telemetries see calls of every kind, and requests; secrets are not shown', async (t) => {
  const folder = folderOf(t);
  const inbound = await meshOf(t, folder, 'a', telemetry(folder));
  const server = await inbound.listen(
    (request, response) => {
      response.statusCode = request.url?.startsWith('/bad') === true ? 404 : 200;
      response.writeHead(response.statusCode, { 'X-A': 'b' }).end('hello');
    },
    { port: 0, host: '127.0.0.1' },
  );
  const mesh = await meshOf(t, folder, 'web', shop(server.port) + telemetry(folder));
  const headers = { authorization: 'Bearer abcdefghijk' };
  for (const path of ['/good', '/bad?key=1', '/x?log=me']) {
    await (await mesh.fetch(`http://a.shop${path}`, { headers })).text();
    await new Promise<void>((resolve, reject) => {
      request(`http://a.shop${path}`, { agent: mesh.agent, headers }, (response) => {
        response.resume().on('close', resolve);
      })
        .on('error', reject)
        .end();
    });
  }
  const counted = (of: Mesh) =>
    metricFamilies(of, { process: false })
      .find(({ name }) => name === 'istio_requests_total')
      ?.samples.map(({ labels, value }) => [labels['where'], labels['secret'], labels['port'], labels['a'], value])
      .sort();
  const rows = (port: string, secret = '[redacted]') => [
    ['GET /bad?key=*', secret, port, 'b', 2],
    ['GET /good', secret, port, 'b', 2],
    ['GET /x?log=*', secret, port, 'b', 2],
  ];
  t.same(counted(mesh), rows('80'));
  t.same(counted(inbound), rows(String(server.port)));
  await mesh.close();
  await inbound.close();
  const lines = readFileSync(join(folder, 'calls.log'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const line = (path: string, code: number) => ({
    path,
    code,
    cluster: 'outbound|80||a.shop.svc.cluster.local',
    a: 'b',
    flags: '-',
  });
  t.same(lines, [line('/bad?key=*', 404), line('/bad?key=*', 404), line('/x?log=*', 200), line('/x?log=*', 200)]);
});

t.test('what node:http asks for and never gets is logged, too', async (t) => {
  const folder = folderOf(t);
  const mesh = await meshOf(t, folder, 'web', shop(1) + telemetry(folder).replace(/filter: .*/, ''));
  const ask = (url: string) =>
    new Promise<void>((resolve) => {
      const asked = request(url, { agent: mesh.agent })
        .on('error', () => resolve())
        .on('close', resolve);
      asked.end();
    });
  await ask('http://a.shop/refused');
  await mesh.close();
  const lines = readFileSync(join(folder, 'calls.log'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.match(lines, [{ path: '/refused', code: 0, flags: 'UF', a: null }]);
});

t.test('a file that was renamed is left alone, and a new one is begun', async (t) => {
  const folder = folderOf(t);
  const file = join(folder, 'a.log');
  const clock = fakeClock();
  const writer = createLineWriter(file, clock, silentLogger);
  const write = async (line: string): Promise<void> => {
    writer.write(line);
    await writer.flush();
  };
  const lines = { one: 0, two: 0 };
  // It is opened behind our back, and what was written may stand there later.
  for (; !existsSync(file); lines.one++) await write('one\n');
  renameSync(file, `${file}.1`);
  for (; !existsSync(file); lines.two++) await write('two\n');
  await write('three\n');
  await writer.close();
  const [before, after] = [`${file}.1`, file].map((each) => readFileSync(each, 'utf8'));
  t.equal(`${before}${after}`, `${'one\n'.repeat(lines.one)}${'two\n'.repeat(lines.two)}three\n`, 'nothing is lost');
  t.match(after, /three\n$/);
});
