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
import { createMetrics, type SeriesLabels } from '../../src/telemetry/metrics.ts';
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

t.test('no series leaves while sums are shown, and values of tags do not make series without a bound', async (t) => {
  const clock = fakeClock();
  const metrics = createMetrics({ clock, maxSeries: 4 });
  const tags = createMetricTags(metrics);
  tags.use(overrides('requests_total', { host: 'request.host' }));
  const record = (host: string) =>
    tags.client?.seriesOf(metrics.series(labels), { authority: host } as never).record(200, '', 1);
  for (let i = 0; i < 50; i++) record(`h${i}`);
  clock.advance(7_200_000);
  for (let i = 50; i < 100; i++) record(`h${i}`);
  const samples =
    istioFamilies(metrics.snapshot(), [], overrides('requests_total', { host: 'request.host' }))[0]?.samples ?? [];
  const counts = samples.map(({ labels, value }) => [labels['host'], value] as const);
  t.same(counts, [
    ['h0', 1],
    ['h1', 1],
    ['h2', 1],
    ['other', 97],
  ]);
  tags.use(undefined);
  t.equal(tags.client, undefined);
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
      response.setHeader('x-a', 'b').end('hello');
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
      ?.samples.map(({ labels, value }) => [labels['where'], labels['secret'], labels['port'], value])
      .sort();
  const rows = (port: string, secret = '[redacted]') => [
    ['GET /bad?key=*', secret, port, 2],
    ['GET /good', secret, port, 2],
    ['GET /x?log=*', secret, port, 2],
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
