// Prometheus scrapes a real service and its caller, and works out what Istio's dashboards show.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { adminServer } from '@inmesh/admin';
import { createMesh, type Mesh, meshMetricsText } from 'inmesh';
import { parseYaml } from 'inmesh/config';
import t, { type Test } from 'tap';
import { freePorts } from '../../support/free-ports.ts';
import { root } from '../../support/source-files.ts';
import { debianPackages, startPeer } from '../peers.ts';

const token = 'scraped-with-a-token';

const entry = (port: number): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: ${port}}, labels: {app: reviews, version: v1}}]
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: tags, namespace: shop}
spec:
  metrics:
  - overrides:
    - match: {metric: REQUEST_COUNT}
      tagOverrides:
        request_method: {value: request.method}
        outcome: {value: 'response.code >= 500 ? "bad" : "good"'}
        source_principal: {operation: REMOVE}
    - match: {metric: GRPC_REQUEST_MESSAGES}
      disabled: true
`;

function meshOf(t: Test, name: string, config: string): Mesh {
  const mesh = createMesh({ config, identity: false, workload: { name, namespace: 'shop', labels: { app: name } } });
  t.teardown(() => mesh.close());
  return mesh;
}

interface Result {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
}

const peer = debianPackages('prometheus', ['prometheus']);
const why = 'why' in peer ? `skipped, there is no Prometheus here: ${peer.why}` : undefined;
if (why !== undefined) t.comment(why);

t.test(
  "Prometheus scrapes a caller and a server, and Istio's rules work on both",
  { skip: why ?? false },
  async (t) => {
    const { folder: bin } = peer as { folder: string };
    const folder = mkdtempSync(join(tmpdir(), 'inmesh-prometheus-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));

    writeFileSync(join(folder, 'empty.yaml'), '# nothing\n');
    const reviews = meshOf(t, 'reviews', join(folder, 'empty.yaml'));
    const server = await reviews.listen(
      (request, response) => {
        response.statusCode = request.url === '/broken' ? 500 : 200;
        response.end('x'.repeat(2_000));
      },
      { port: 0, host: '127.0.0.1' },
    );
    writeFileSync(join(folder, 'mesh.yaml'), entry(server.port));
    const web = meshOf(t, 'web', join(folder, 'mesh.yaml'));
    const [ofWeb, ofReviews] = await Promise.all([
      adminServer(web, { port: 0, token }),
      adminServer(reviews, { port: 0, token }),
    ]);
    t.teardown(() => Promise.all([ofWeb.close(), ofReviews.close()]));
    await web.ready(10_000);

    let calls = 0;
    const call = async (): Promise<void> => {
      const broken = calls++ % 10 === 9;
      const answer = await web.fetch(`http://reviews.shop:9080/${broken ? 'broken' : ''}`, {
        method: 'POST',
        body: 'body',
      });
      await answer.arrayBuffer();
    };
    for (let i = 0; i < 20; i++) await call();

    // What promtool has to say of the page in both formats it knows of.
    for (const mesh of [web, reviews]) {
      const { status, stderr, stdout } = spawnSync(join(bin, 'usr/bin/promtool'), ['check', 'metrics'], {
        input: meshMetricsText(mesh).body,
        encoding: 'utf8',
      });
      t.notMatch(`${stdout}${stderr}`, /error (while|parsing)|text format|duplicate/i);
      // 3: its opinions on names, which are Istio's and Envoy's.
      t.ok(status === 0 || status === 3, `promtool: ${status} ${stderr}`);
    }

    writeFileSync(join(folder, 'token'), token);
    const rules =
      /```yaml fragment\n(groups:[\s\S]*?)```/.exec(readFileSync(`${root}docs/metrics.md`, 'utf8'))?.[1] ?? '';
    t.ok(parseYaml(rules, 'rules').documents.length === 1);
    writeFileSync(join(folder, 'rules.yaml'), rules.replaceAll('[5m]', '[10s]'));
    writeFileSync(
      join(folder, 'prometheus.yml'),
      JSON.stringify({
        global: { scrape_interval: '1s', evaluation_interval: '1s' },
        rule_files: ['rules.yaml'],
        scrape_configs: [
          {
            job_name: 'inmesh',
            authorization: { credentials_file: join(folder, 'token') },
            static_configs: [{ targets: [ofWeb, ofReviews].map(({ port }) => `127.0.0.1:${port}`) }],
          },
        ],
      }),
    );
    const [port] = await freePorts(1);
    await startPeer(
      t,
      join(bin, 'usr/bin/prometheus'),
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=warn',
      ],
      { port: port as number },
    );
    const query = async (text: string): Promise<readonly Result[]> => {
      const answer = await fetch(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(text)}`);
      // It answers 503 until it has begun.
      if (!answer.ok) return [];
      const { data } = (await answer.json()) as { data?: { result: readonly Result[] } };
      return data?.result ?? [];
    };
    /** Calls go on until a query has what is looked for. */
    const until = async (text: string, good: (results: readonly Result[]) => boolean): Promise<readonly Result[]> => {
      let results: readonly Result[] = [];
      for (let i = 0; i < 900; i++) {
        for (let each = 0; each < 10; each++) await call();
        results = await query(text);
        if (good(results)) break;
        await wait(100);
      }
      return results;
    };

    const up = await until(
      'up{job="inmesh"}',
      (results) => results.length === 2 && results.every(({ value }) => value[1] === '1'),
    );
    t.same(
      up.map(({ value }) => value[1]),
      ['1', '1'],
      'both targets are up',
    );

    const total = await until(
      'sum by (reporter, source_workload, destination_workload, destination_version, response_code, request_protocol) (istio_requests_total)',
      (r) => r.length >= 4,
    );
    const series = total.map(({ metric }) => metric);
    t.match(
      series.find((each) => each['reporter'] === 'source' && each['response_code'] === '200'),
      {
        source_workload: 'web',
        destination_version: 'v1',
        request_protocol: 'http',
      },
    );
    t.match(
      series.find((each) => each['reporter'] === 'destination' && each['response_code'] === '500'),
      {
        source_workload: 'unknown',
        destination_workload: 'reviews',
      },
    );
    const tagged = await until(
      'sum by (request_method, outcome, source_principal, response_code) (istio_requests_total{reporter="source"})',
      (r) => r.length >= 2,
    );
    t.same(
      new Set(tagged.map(({ metric }) => JSON.stringify(Object.entries(metric).sort()))),
      new Set([
        '[["outcome","bad"],["request_method","POST"],["response_code","500"]]',
        '[["outcome","good"],["request_method","POST"],["response_code","200"]]',
      ]),
      'tags of a Telemetry are added and removed',
    );
    const untouched = await query(
      'count(istio_request_duration_milliseconds_count{reporter="source",request_method!=""})',
    );
    t.same(untouched, [], 'no other metric has them');
    const ratio = await until('inmesh:success_ratio', (results) => Math.abs(Number(results[0]?.value[1]) - 0.9) < 0.05);
    t.ok(Math.abs(Number(ratio[0]?.value[1]) - 0.9) < 0.05, `success ${ratio[0]?.value[1]}`);
    t.equal(ratio[0]?.metric['destination_service'], 'reviews.shop.svc.cluster.local');
    const p99 = await until('inmesh:latency_milliseconds:p99', (results) => Number(results[0]?.value[1]) > 0);
    t.ok(Number(p99[0]?.value[1]) > 0, `p99 ${p99[0]?.value[1]} ms`);
    // Both ends count the same requests, and sizes that fit.
    const sizes = await until(
      'sum by (reporter) (istio_response_bytes_sum) / sum by (reporter) (istio_response_bytes_count)',
      (r) => r.length === 2,
    );
    for (const { metric, value } of sizes)
      t.ok(Number(value[1]) >= 2_000 && Number(value[1]) < 2_500, `${metric['reporter']} ${value[1]}`);
    const sent = await query(
      'sum by (reporter) (istio_request_bytes_sum) / sum by (reporter) (istio_request_bytes_count)',
    );
    for (const { metric, value } of sent) t.equal(Number(value[1]), 4, `${metric['reporter']} sends 4 bytes`);
  },
);
