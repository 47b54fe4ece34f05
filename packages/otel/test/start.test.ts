import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { type Metadata, Server, ServerCredentials } from '@grpc/grpc-js';
import { context, diag, propagation, trace } from '@opentelemetry/api';
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, type SpanExporter } from '@opentelemetry/sdk-trace';
import t, { type Test } from 'tap';
import type { TracingProvider } from '../../../src/index.ts';
import type { Snapshot } from '../../../src/model/snapshot.ts';
import { defaultTracingPolicy } from '../../../src/model/tracing.ts';
import { fakeClock } from '../../../test/support/fake-clock.ts';
import { modelMesh, ways } from '../../../test/support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../../../test/support/snapshot.ts';
import { until, upstream } from '../../../test/support/upstream.ts';
import { boundedProcessor } from '../src/bounded-processor.ts';
import { meshMetrics, type StartOtelOptions, startOtel, zipkinExporter } from '../src/index.ts';

/** Each test starts an SDK, which makes itself that of the process. */
function afresh(t: Test): void {
  t.teardown(() => {
    for (const api of [trace, context, propagation, diag]) api.disable();
  });
}

const collectorAt = (port: number, more: Partial<TracingProvider> = {}): TracingProvider =>
  ({
    kind: 'zipkin',
    name: 'zipkin',
    service: '127.0.0.1',
    port,
    path: '/api/v2/spans',
    headers: [],
    w3c: false,
    ...more,
  }) as TracingProvider;

function policy(provider?: TracingProvider): NonNullable<Snapshot['tracing']> {
  const direction = {
    ...defaultTracingPolicy.server,
    samplingPercent: 100,
    ...(provider === undefined ? {} : { provider }),
  };
  return { server: direction, client: direction };
}

/** A collector that keeps what it is sent. */
async function collector(t: Test, status = 202) {
  const bodies: string[] = [];
  const requests: IncomingMessage[] = [];
  const server = createHttp((incoming: IncomingMessage, outgoing: ServerResponse) => {
    requests.push(incoming);
    void text(incoming).then((body) => {
      bodies.push(body);
      outgoing.writeHead(status, { 'content-type': 'application/json' }).end('{}');
    });
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  return { port: (server.address() as AddressInfo).port, bodies, requests };
}

async function calling(t: Test, tracing: NonNullable<Snapshot['tracing']>, options: StartOtelOptions = {}) {
  afresh(t);
  const server = await upstream(t);
  const to = cluster('ratings', [endpoint(server.port)]);
  const otel = startOtel({ environment: {}, ...options });
  const config = snapshot({ ratings: [route(to.name)] }, [to], { tracing });
  const workload = { name: 'web-1', namespace: 'shop', labels: { app: 'web', version: 'v2' } };
  const mesh = await modelMesh(t, config, { tracing: otel, workload });
  const call = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const answer = await ways['mesh.dispatcher']?.(mesh, 'http://ratings/stars?token=secret');
      if (answer?.status !== 200) throw new Error(`status ${answer?.status}`);
    }
  };
  return { otel, mesh, call, server };
}

t.test(
  'spans go to the Zipkin that Istio names, with what the workload is, and are all there after close',
  async (t) => {
    const zipkin = await collector(t);
    const headers = [{ name: 'x-tenant', value: 'shop' }];
    const { call, mesh, otel } = await calling(t, policy(collectorAt(zipkin.port, { headers })));
    await call(3);
    await mesh.close();
    const spans = zipkin.bodies.flatMap((body) => JSON.parse(body));
    t.equal(spans.length, 3);
    t.match(spans[0], {
      kind: 'CLIENT',
      name: 'ratings:80/*',
      localEndpoint: { serviceName: 'web' },
      remoteEndpoint: { ipv4: '127.0.0.1' },
      tags: {
        'http.response.status_code': '200',
        upstream_cluster: 'outbound|80||ratings',
        'service.namespace': 'shop',
        'service.version': 'v2',
        'istio.canonical_service': 'web',
      },
    });
    t.ok(spans[0].timestamp > 1e15 && spans[0].duration >= 1, 'microseconds');
    t.notMatch(zipkin.bodies.join(), /secret/);
    t.equal(zipkin.requests[0]?.headers['x-tenant'], 'shop');
    t.equal(zipkin.requests[0]?.url, '/api/v2/spans');
    t.same(otel.counts(), { exported: 3, dropped: 0, failed: 0, queued: 0, sending: 0 });
    t.equal(otel.target, `http://127.0.0.1:${zipkin.port}/api/v2/spans`);
  },
);

t.test('OTLP over HTTP, from Istio (protobuf) and from the environment (JSON), which goes first', async (t) => {
  const otlp = await collector(t, 200);
  const provider = { kind: 'opentelemetry', protocol: 'http', path: '/v1/traces' } as Partial<TracingProvider>;
  const first = await calling(t, policy(collectorAt(otlp.port, provider)));
  await first.call(1);
  await first.mesh.close();
  t.equal(otlp.requests[0]?.headers['content-type'], 'application/x-protobuf');
  t.match(otlp.bodies[0], /ratings:80/);
  for (const api of [trace, context, propagation]) api.disable();

  const variables = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${otlp.port}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
  };
  Object.assign(process.env, variables);
  t.teardown(() => {
    for (const name of Object.keys(variables)) delete process.env[name];
  });
  const environment = { ...variables, KUBERNETES_SERVICE_HOST: '10.0.0.1', POD_NAME: 'web-1-x' };
  const second = await calling(t, policy(collectorAt(1)), { environment });
  await second.call(2);
  await second.mesh.close();
  const { resourceSpans } = JSON.parse(otlp.bodies[1] ?? '{}');
  const attributes = Object.fromEntries(
    resourceSpans[0].resource.attributes.map(({ key, value }: { key: string; value: { stringValue: string } }) => [
      key,
      value.stringValue,
    ]),
  );
  t.match(attributes, {
    'service.name': 'web',
    'k8s.namespace.name': 'shop',
    'k8s.pod.name': 'web-1-x',
    'deployment.environment.name': 'test',
  });
  t.notOk(
    Object.keys(attributes).some((name) => name.startsWith('process.')),
    'no command line',
  );
  t.equal(resourceSpans[0].scopeSpans[0].spans.length, 2);
});

/** A collector that takes OTLP over gRPC. */
async function grpcCollector(t: Test) {
  const taken: { readonly metadata: Metadata; readonly body: Buffer }[] = [];
  const server = new Server();
  const raw = (body: Buffer): Buffer => body;
  const export_ = {
    path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
    requestStream: false,
    responseStream: false,
    requestSerialize: raw,
    requestDeserialize: raw,
    responseSerialize: raw,
    responseDeserialize: raw,
  };
  server.addService(
    { Export: export_ },
    {
      Export(
        { metadata, request }: { metadata: Metadata; request: Buffer },
        answer: (error: null, body: Buffer) => void,
      ) {
        taken.push({ metadata, body: request });
        answer(null, Buffer.alloc(0));
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  t.teardown(() => server.forceShutdown());
  return { port, taken };
}

t.test('OTLP over gRPC, from Istio with its initialMetadata, and from the environment', async (t) => {
  const otlp = await grpcCollector(t);
  const headers = [
    { name: 'X-Tenant', value: 'shop' },
    { name: 'x-key', variable: 'COLLECTOR_KEY' },
    { name: 'x-raw-bin', value: 'AAEC' },
    { name: 'not a name', value: 'x' },
  ];
  const provider = { kind: 'opentelemetry', protocol: 'grpc', path: '', headers } as Partial<TracingProvider>;
  const environment = { COLLECTOR_KEY: 'k-1' };
  const first = await calling(t, policy(collectorAt(otlp.port, provider)), { environment });
  await first.call(2);
  await first.mesh.close();
  t.match(first.otel.counts(), { exported: 2, failed: 0 });
  t.equal(otlp.taken.length, 1);
  t.match(otlp.taken[0]?.body.toString('latin1'), /ratings:80/);
  const metadata = otlp.taken[0]?.metadata;
  t.same(metadata?.get('x-tenant'), ['shop']);
  t.same(metadata?.get('x-key'), ['k-1']);
  t.same(metadata?.get('x-raw-bin'), [Buffer.from([0, 1, 2])]);
  for (const api of [trace, context, propagation]) api.disable();

  const variables = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${otlp.port}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
  };
  Object.assign(process.env, variables);
  t.teardown(() => {
    for (const name of Object.keys(variables)) delete process.env[name];
  });
  const second = await calling(t, policy(), { environment: variables });
  await second.call(1);
  await second.mesh.close();
  t.match(second.otel.counts(), { exported: 1, failed: 0 });
  t.equal(otlp.taken.length, 2);
});

t.test('variables that are wrong are refused at once', async (t) => {
  const wrong: Record<string, string>[] = [
    { OTEL_TRACES_EXPORTER: 'jaeger' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x', OTEL_EXPORTER_OTLP_PROTOCOL: 'carrier-pigeon' },
    { OTEL_EXPORTER_ZIPKIN_ENDPOINT: 'not a url' },
  ];
  for (const environment of wrong) t.throws(() => startOtel({ environment }), { code: 'ERR_MESH_OPTION_INVALID' });
  t.doesNotThrow(() => startOtel({ environment: { OTEL_TRACES_EXPORTER: 'none' } }));
});

t.test(
  'another provider in the configuration gets the spans from then on; none: they are counted as failed',
  async (t) => {
    afresh(t);
    const [one, two] = [await collector(t), await collector(t)];
    const otel = startOtel({ environment: {}, scheduledDelayMs: 1 });
    const settings = { workload: { name: 'web', namespace: 'shop' } as never, service: 'web', revision: 'latest' };
    const span = (): void => trace.getTracer('application').startSpan('work').end();
    const sent = (count: number): Promise<void> => until(() => otel.counts().exported + otel.counts().failed >= count);
    otel.configure?.({ ...settings, policy: policy(collectorAt(one.port)) });
    span();
    await sent(1);
    otel.configure?.({ ...settings, policy: policy(collectorAt(two.port)) });
    span();
    await sent(2);
    otel.configure?.({ ...settings, policy: policy() });
    span();
    await sent(3);
    t.equal(otel.target, 'nowhere');
    t.match(otel.counts(), { exported: 2, failed: 1 });
    t.equal(one.bodies.length, 1);
    t.equal(two.bodies.length, 1);
    await otel.close();
  },
);

t.test('OTEL_SDK_DISABLED turns everything off but the traces of others', async (t) => {
  const zipkin = await collector(t);
  const environment = { OTEL_SDK_DISABLED: 'TRUE' };
  const { call, mesh, otel, server } = await calling(t, policy(collectorAt(zipkin.port)), { environment });
  await call(2);
  t.match(server.requests[0]?.headers, { traceparent: /-00$/ }, 'nobody is asked to record anything');
  await mesh.close();
  t.equal(otel.target, undefined);
  t.same(otel.counts(), { exported: 0, dropped: 0, failed: 0, queued: 0, sending: 0 });
  t.equal(zipkin.requests.length, 0);
});

t.test('a collector that the configuration leaves gets to take what it was sent', async (t) => {
  afresh(t);
  const asked = Promise.withResolvers<ServerResponse>();
  const server = createHttp((incoming: IncomingMessage, outgoing: ServerResponse) => {
    incoming.resume().on('end', () => asked.resolve(outgoing));
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  const otel = startOtel({ environment: {}, scheduledDelayMs: 1 });
  const settings = { workload: { name: 'web', namespace: 'shop' } as never, service: 'web', revision: 'latest' };
  otel.configure?.({ ...settings, policy: policy(collectorAt((server.address() as AddressInfo).port)) });
  trace.getTracer('application').startSpan('work').end();
  const answer = await asked.promise;
  otel.configure?.({ ...settings, policy: policy() });
  await new Promise(setImmediate);
  answer.writeHead(202).end();
  while (otel.counts().sending > 0) await new Promise(setImmediate);
  t.match(otel.counts(), { exported: 1, failed: 0 });
  await otel.close();
});

t.test(
  'spans of the application outside of requests are sampled as asked for, those of the mesh as decided',
  async (t) => {
    const exporter = new InMemorySpanExporter();
    const { call, mesh } = await calling(t, policy(), { exporter, applicationSamplingPercent: 0 });
    for (let i = 0; i < 20; i++) trace.getTracer('application').startSpan('work').end();
    await call(2);
    const kept: string[] = [];
    const { export: take } = exporter;
    exporter.export = (spans, done) => {
      kept.push(...spans.map(({ name }) => name));
      take.call(exporter, spans, done);
    };
    await mesh.close();
    t.same(kept, ['ratings:80/*', 'ratings:80/*']);
  },
);

/** Takes connections and nothing else, or drops them at once. */
async function deadCollector(t: Test, kind: 'never answers' | 'drops') {
  const open = new Set<Socket>();
  let accepted = 0;
  const server = createTcp((socket) => {
    accepted++;
    open.add(socket);
    socket.on('error', () => {}).on('close', () => open.delete(socket));
    if (kind === 'drops') socket.destroy();
    else socket.resume();
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, open, accepted: () => accepted };
}

for (const kind of ['never answers', 'drops'] as const) {
  for (const protocol of ['zipkin', 'opentelemetry', 'opentelemetry over gRPC'] as const) {
    t.test(`POL-21 a ${protocol} collector that ${kind}: calls are good, memory and close are bounded`, async (t) => {
      const dead = await deadCollector(t, kind);
      const more = {
        kind: protocol === 'zipkin' ? protocol : 'opentelemetry',
        protocol: protocol.endsWith('gRPC') ? 'grpc' : 'http',
        path: '/v1/traces',
        timeoutMs: 60_000,
      } as Partial<TracingProvider>;
      const { call, mesh, otel, server } = await calling(t, policy(collectorAt(dead.port, more)), {
        maxQueueSize: 50,
        maxExportBatchSize: 10,
        scheduledDelayMs: 1,
        shutdownTimeoutMs: 100,
      });
      await call(200);
      t.equal(server.seen.length, 200, 'every call, and none twice');
      const { dropped, exported, failed, queued, sending } = otel.counts();
      t.equal(exported, 0);
      t.equal(dropped + failed + queued + sending, 200, 'every span is accounted for');
      t.ok(queued <= 50 && sending <= 10, `${queued} wait and ${sending} are sent: no more than may`);
      if (kind === 'never answers') t.ok(dropped >= 140, `${dropped} were dropped`);
      await mesh.close();
      // What waits for an answer over gRPC nobody can cut: it ends with the provider's timeout.
      if (!protocol.endsWith('gRPC')) await until(() => dead.open.size === 0, 'the end of its connections');
    });
  }
}

t.test('the exporter for Zipkin gives up what takes too long, what is refused and what never ends', async (t) => {
  const span = { spanContext: () => ({ traceId: 'a', spanId: 'b' }) };
  const spans = [
    {
      ...span,
      name: 'x',
      kind: 0,
      startTime: [1, 0],
      duration: [0, 0],
      attributes: {},
      events: [{ name: 'try failed', time: [1, 0], attributes: { n: 1 } }],
      resource: { attributes: {} },
      instrumentationScope: { name: 's' },
      status: { code: 2 },
    },
  ] as never;
  const result = (port: number, timeoutMs = 60_000) =>
    new Promise<string>((resolve) => {
      const exporter = zipkinExporter({ url: `http://127.0.0.1:${port}/`, timeoutMs });
      exporter.export(spans, ({ error }) => resolve(error?.message ?? 'good'));
    });
  t.match(await result((await deadCollector(t, 'never answers')).port, 20), /no answer of .* in 20 ms/);
  t.match(await result((await collector(t, 413)).port), /answers 413/);
  const endless = createHttp((_, outgoing) => void outgoing.end(Buffer.alloc(200_000)));
  endless.listen(0, '127.0.0.1');
  await new Promise((resolve) => endless.once('listening', resolve));
  t.teardown(() => endless.close());
  t.match(await result((endless.address() as AddressInfo).port), /without an end/);
  const good = await collector(t);
  t.equal(await result(good.port), 'good');
  t.match(JSON.parse(good.bodies[0] ?? ''), [
    { annotations: [{ value: '"try failed": {"n":1}' }], tags: { error: 'true' }, duration: 1 },
  ]);
});

t.test('a header that cannot be sent fails its batches, and nothing else', async (t) => {
  const exporter = zipkinExporter({ url: 'http://127.0.0.1:1/', headers: { 'x-key': 'abc\n' }, timeoutMs: 1_000 });
  const result = await new Promise<{ code: number; error?: Error }>((resolve) => exporter.export([], resolve));
  t.match(result, { code: 1, error: { code: 'ERR_INVALID_CHAR' } });
  await exporter.shutdown();
  const zipkin = await collector(t);
  const headers = [{ name: 'x-key', variable: 'KEY' }];
  const environment = { KEY: 'abc\n' };
  const { call, mesh } = await calling(t, policy(collectorAt(zipkin.port, { headers })), { environment });
  await call(1);
  await mesh.close();
  t.equal(zipkin.requests[0]?.headers['x-key'], 'abc', 'as it came out of a file');
});

t.test('metrics: what the mesh counts, under the names of Istio, with whole histograms', async (t) => {
  const { call, mesh } = await calling(t, policy());
  await call(4);
  const reader = new PeriodicExportingMetricReader({
    exporter: { shutdown: async () => {}, forceFlush: async () => {} } as never,
    metricProducers: [meshMetrics(mesh, { process: false })],
  });
  reader.setMetricProducer(meshMetrics(mesh, { process: false }));
  const { resourceMetrics } = await reader.collect();
  const metrics = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
  const find = (name: string) => metrics.find(({ descriptor }) => descriptor.name === name);
  t.match(find('istio_requests_total')?.dataPoints[0], { value: 4, attributes: { reporter: 'source' } });
  const duration = find('istio_request_duration_milliseconds');
  t.match(duration?.dataPoints[0], { value: { count: 4 } });
  t.equal(duration?.descriptor.unit, 'ms');
  await reader.shutdown();
});

t.test('an exporter that holds on to batches for longer than it may is given no more than a queue', async (t) => {
  const never: SpanExporter = { export: () => {}, shutdown: async () => {} };
  const bounds = { maxQueueSize: 4, maxExportBatchSize: 2, scheduledDelayMs: 1, exportTimeoutMs: 1 };
  const processor = boundedProcessor(never, bounds);
  const span = { spanContext: () => ({ traceFlags: 1 }), resource: {} } as never;
  await until(() => {
    processor.onEnd(span);
    return processor.counts().failed > 0;
  });
  const { failed, queued, sending } = processor.counts();
  t.ok(failed > 0 && queued <= 4 && sending <= 6, `${failed} failed, ${queued} wait, ${sending} are sent`);
});

t.test('an exporter that throws at batches holds none of them, and gets those that come later', async (t) => {
  const clock = fakeClock();
  let broken = true;
  const exporter: SpanExporter = {
    export(_, done) {
      if (broken) throw new Error('cannot be written');
      done({ code: 0 });
    },
    shutdown: async () => {},
  };
  const processor = boundedProcessor(exporter, { maxQueueSize: 4, maxExportBatchSize: 1, clock });
  const span = { spanContext: () => ({ traceFlags: 1 }), resource: {} } as never;
  const batches = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      processor.onEnd(span);
      await processor.forceFlush().catch(() => {});
    }
  };
  await batches(20);
  t.same(processor.counts(), { exported: 0, dropped: 0, failed: 20, queued: 0, sending: 0 });
  broken = false;
  clock.advance(5_000);
  await batches(20);
  t.same(processor.counts(), { exported: 20, dropped: 0, failed: 20, queued: 0, sending: 0 });
  await processor.shutdown();
});

t.test(
  'POL-21 a collector that takes nothing is asked now and then only, and again as before once it takes a batch',
  async (t) => {
    const clock = fakeClock();
    let asked = 0;
    let takes = false;
    const exporter: SpanExporter = {
      export(_, done) {
        asked++;
        done({ code: takes ? 0 : 1 });
      },
      shutdown: async () => {},
    };
    const bounds = { maxQueueSize: 8, maxExportBatchSize: 1, scheduledDelayMs: 1, clock };
    const processor = boundedProcessor(exporter, bounds);
    const span = { spanContext: () => ({ traceFlags: 1 }), resource: {} } as never;
    const batches = async (count: number): Promise<number> => {
      const before = asked;
      for (let i = 0; i < count; i++) {
        processor.onEnd(span);
        // The SDK tells of batches that were not taken.
        await processor.forceFlush().catch(() => {});
      }
      return asked - before;
    };
    t.equal(await batches(20), 3, 'three of twenty: then there is a pause');
    for (const pauseMs of [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]) {
      clock.advance(pauseMs - 1);
      t.equal(await batches(3), 0, `none before ${pauseMs} ms`);
      clock.advance(1);
      t.equal(await batches(3), 1, `one after ${pauseMs} ms`);
    }
    takes = true;
    clock.advance(5_000);
    t.equal(await batches(20), 20);
    const { dropped, exported, failed, queued, sending } = processor.counts();
    t.same(
      { dropped, exported, failed, queued, sending },
      { dropped: 0, exported: 20, failed: 62, queued: 0, sending: 0 },
    );
    await processor.shutdown();
  },
);
