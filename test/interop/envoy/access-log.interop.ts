// Lines of access logs, and values of expressions: ours beside those of an Envoy, for the same requests.
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { silentLogger } from '../../../src/lib/logger.ts';
import { createMesh } from '../../../src/mesh.ts';
import { metricFamilies } from '../../../src/metric-families.ts';
import { istioJsonFormat, istioTextFormat } from '../../../src/telemetry/access-format.ts';
import { withEnvoy } from './binary.ts';
import { cluster, loopback, typed } from './bootstrap.ts';
import { httpFilter } from './http.ts';
import { accessLogFile, startEnvoy } from './run.ts';

/** Without `string()` and `+` of texts, which Envoy's access log does not know. */
const expressions: readonly string[] = [
  'request.method',
  'request.path',
  'request.url_path',
  'request.query',
  'request.host',
  'request.protocol',
  'request.useragent',
  'request.referer',
  'request.id',
  'request.size',
  'request.headers["X-A"]',
  'request.headers["x-none"]',
  'request.headers[":method"]',
  'has(request.headers.referer)',
  '"x-a" in request.headers',
  'response.code',
  'response.code >= 400 && response.code < 500',
  'response.flags',
  'response.headers["x-b"]',
  'response.code in [200, 404]',
  'response.grpc_status',
  'connection.mtls',
  'request.headers["x-none"] == "a" || request.method == "GET"',
  'request.headers["x-none"] == "a" && request.method == "GET"',
  '!(request.headers["x-none"] == "a")',
  'request.url_path.startsWith("/a") ? "yes" : "no"',
  'request.path.matches("^/[ab]")',
  'request.path.matches("b")',
  'request.path.size()',
  'size(request.method) * 3 - 7 / 2',
  '-7 / 2',
  '-7 - 2 * 3',
  '1 / 0',
  '9 == 9.0',
  'request.method < "H"',
  'request.method in ["GET", "POST"]',
  'request.duration < duration("1h")',
  'int("12") + 1',
  'double("1.5") > 1.0',
  '!true || !!true',
  'r"\\d"',
  '"\\x41\\101"',
  'request.url_path.contains("b") && request.url_path.endsWith("c")',
];

interface Asked {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly giveUp?: true;
}

const requests: readonly Asked[] = [
  { id: 'plain', method: 'GET', path: '/a' },
  {
    id: 'headers',
    method: 'GET',
    path: '/b/c',
    headers: { 'x-a': '1', 'user-agent': 'curl/8', referer: 'http://r/', 'x-forwarded-for': '10.0.0.9' },
  },
  { id: 'body', method: 'POST', path: '/a/b', body: 'x'.repeat(1_000) },
  { id: 'missing', method: 'GET', path: '/missing' },
  { id: 'broken', method: 'DELETE', path: '/broken' },
  { id: 'quotes', method: 'GET', path: '/a', headers: { 'user-agent': 'a"b\\c' } },
  { id: 'gone', method: 'GET', path: '/slow', giveUp: true },
];

/** `arrived`: when a caller who is to give up may do so. */
function ask(port: number, each: Asked, arrived: Promise<unknown>): Promise<void> {
  const { body, giveUp, headers, id, method, path } = each;
  return new Promise((resolve) => {
    const all = { ...headers, host: 'app.shop:80', 'x-request-id': id };
    const sent = request({ port, method, path, host: '127.0.0.1', headers: all, agent: false }, (answer) => {
      answer.resume().on('end', () => resolve());
    });
    sent.on('error', () => resolve()).end(body);
    if (giveUp) void arrived.then(() => sent.destroy());
  });
}

/** Requests that are not answered. */
const held = new EventEmitter();
let holding = 0;

const app: RequestListener = (incoming, outgoing) => {
  const { url = '' } = incoming;
  incoming.resume();
  if (url === '/slow') {
    // One comes by itself, one through the Envoy.
    if (++holding === 2) held.emit('both');
    return;
  }
  outgoing.statusCode = url === '/missing' ? 404 : url === '/broken' ? 503 : 200;
  outgoing.setHeader('x-b', 'two').end('hello');
};

t.test(
  ...withEnvoy('access logs and expressions say of requests what Envoy says', async (t, program) => {
    const folder = mkdtempSync(join(tmpdir(), 'inmesh-lines-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const tags = Object.fromEntries(expressions.map((value, at) => [`e${at}`, { value }]));
    const telemetry = {
      apiVersion: 'telemetry.istio.io/v1',
      kind: 'Telemetry',
      metadata: { name: 'all', namespace: 'shop' },
      spec: {
        metrics: [
          {
            overrides: [{ match: { metric: 'REQUEST_COUNT' }, tagOverrides: { id: { value: 'request.id' }, ...tags } }],
          },
        ],
      },
    };
    writeFileSync(join(folder, 'mesh.json.yaml'), JSON.stringify(telemetry));
    const own: string[] = [];
    const mesh = createMesh({
      workload: { name: 'app', namespace: 'shop' },
      config: join(folder, 'mesh.json.yaml'),
      identity: false,
      accessLog: {
        to: (line) => void own.push(line),
        encoding: 'json',
        format: { ...istioJsonFormat, line: istioTextFormat.trim() },
        query: 'keep',
      },
      logger: silentLogger,
    });
    t.teardown(() => mesh.close());
    const { port } = await mesh.listen(app, { host: '127.0.0.1', port: 0 });

    const behind = createServer(app).listen(0, '127.0.0.1');
    t.teardown(() => {
      behind.closeAllConnections();
      behind.close();
    });
    await new Promise((resolve) => behind.once('listening', resolve));
    const formatters = [{ name: 'envoy.formatter.cel', typed_config: typed('envoy.extensions.formatter.cel.v3.Cel') }];
    const values = Object.fromEntries(expressions.map((text, at) => [`e${at}`, `%CEL(${text})%`]));
    const envoy = await startEnvoy(t, program, (files) => ({
      listeners: [
        {
          name: 'in',
          address: loopback(0),
          filter_chains: [
            {
              filters: [
                httpFilter('inbound|80||', {
                  manager: {
                    access_log: [
                      {
                        name: 'envoy.access_loggers.file',
                        typed_config: typed('envoy.extensions.access_loggers.file.v3.FileAccessLog', {
                          path: join(files, accessLogFile),
                          log_format: {
                            json_format: { ...istioJsonFormat, line: istioTextFormat.trim(), ...values },
                            formatters,
                          },
                        }),
                      },
                    ],
                  },
                }),
              ],
            },
          ],
        },
      ],
      clusters: [cluster('inbound|80||', [(behind.address() as AddressInfo).port])],
    }));

    const arrived = once(held, 'both');
    for (const each of requests) await Promise.all([envoy.port('in'), port].map((to) => ask(to, each, arrived)));
    for (let i = 0; i < 1_200 && (envoy.accessLog().length < requests.length || own.length < requests.length); i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const theirs = new Map(envoy.accessLog().map((line) => [line['request_id'], line]));
    const ours = new Map(own.map((line) => JSON.parse(line)).map((line) => [line['request_id'], line]));
    t.equal(theirs.size, requests.length);
    t.equal(ours.size, requests.length);
    const samples = metricFamilies(mesh, { process: false }).find(
      ({ name }) => name === 'istio_requests_total',
    )?.samples;
    const counted = new Map(samples?.map(({ labels }) => [labels['id'], labels]));
    for (const { id } of requests) {
      const [a, b] = [ours.get(id) ?? {}, theirs.get(id) ?? {}];
      for (const name of Object.keys(istioJsonFormat)) {
        if (!differing.has(name)) t.equal(a[name], b[name], `${id}: ${name}`);
      }
      // The text differs in the same fields; all others stand at the same places.
      const [text, wanted] = [words(a.line), words(String(b['line']))];
      if (id !== 'quotes') t.equal(text.length, wanted.length, `${id}: as many fields`);
      // A quote in a value ends its field here; a log of text, which is not inside JSON, escapes it.
      const own = new Set([8, 9, 10, 15, 16, 17, 18, 19, 21]);
      for (const [at, word] of id === 'quotes' ? [] : wanted.entries()) {
        if (at > 0 && !own.has(at)) t.equal(text[at], word, `${id}: field ${at} of the text`);
      }
      for (const [at, expression] of expressions.entries()) {
        const theirs = b[`e${at}`];
        const value = counted.get(id)?.[`e${at}`];
        t.equal(value, theirs === null || theirs === '-' ? 'unknown' : String(theirs), `${id}: ${expression}`);
      }
    }
  }),
);

/** Fields of a text: those in quotes and brackets, and words. */
const words = (line: string): readonly string[] => line.match(/"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\S+/g) ?? [];

/** What cannot be the same of two processes, and what is documented to differ (docs/access-logs.md). */
const differing: ReadonlySet<string> = new Set([
  'bytes_sent',
  'downstream_local_address',
  'downstream_remote_address',
  'duration',
  'route_name',
  'start_time',
  'upstream_cluster',
  'upstream_host',
  'upstream_local_address',
  'upstream_service_time',
]);
