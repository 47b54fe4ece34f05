import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { suppressTracing } from '@opentelemetry/core';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import t, { type Test } from 'tap';
import { createMesh, type Mesh, type MeshOptions } from '../../../src/index.ts';
import { defaultTracingPolicy } from '../../../src/model/tracing.ts';
import { modelMesh, ways } from '../../../test/support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../../../test/support/snapshot.ts';
import { until, upstream } from '../../../test/support/upstream.ts';
import { otelTracing } from '../src/index.ts';

const exporter = new InMemorySpanExporter();
// As an application does it that knows OpenTelemetry, and nothing of a mesh.
const sdk = new NodeSDK({
  serviceName: 'web',
  autoDetectResources: false,
  metricReaders: [],
  logRecordProcessors: [],
  spanProcessors: [new SimpleSpanProcessor({ exporter })],
});
sdk.start();
t.teardown(() => sdk.shutdown());
const tracer = trace.getTracer('application');

const parent = { trace: '0af7651916cd43dd8448eb211c80319c', span: 'b7ad6b7169203331' };
const traceparent = `00-${parent.trace}-${parent.span}-01`;

async function spans(count: number): Promise<readonly ReadableSpan[]> {
  await until(() => exporter.getFinishedSpans().length >= count);
  const found = [...exporter.getFinishedSpans()];
  exporter.reset();
  return found;
}

const parentId = (span: ReadableSpan | undefined): string | undefined => span?.parentSpanContext?.spanId;
const idOf = (span: ReadableSpan | undefined): string | undefined => span?.spanContext().spanId;

async function twoHops(t: Test, handler: (mesh: Mesh) => RequestListener, options: Partial<MeshOptions> = {}) {
  const heard: (string | undefined)[] = [];
  const ratings = await upstream(t, (incoming, outgoing) => {
    heard.push(incoming.headers['traceparent'] as string | undefined);
    outgoing.end('5');
  });
  const to = cluster('ratings', [endpoint(ratings.port)]);
  const config = snapshot({ ratings: [route(to.name)] }, [to]);
  const mesh = await modelMesh(t, config, { tracing: otelTracing({ samplingPercent: 100 }), ...options });
  const listener = handler(mesh);
  const server = createServer((incoming, outgoing) =>
    mesh.handle(incoming, outgoing, () => listener(incoming, outgoing)),
  );
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const ask = async (headers: Record<string, string> = {}) =>
    (await fetch(`http://127.0.0.1:${port}/a`, { headers })).text();
  return { ask, heard, mesh };
}

for (const [way, call] of Object.entries(ways)) {
  t.test(`${way}: mesh, application and mesh again are one trace`, async (t) => {
    const { ask, heard } = await twoHops(t, (mesh) => (_, outgoing) => {
      trace.getActiveSpan()?.setAttribute('by.handler', true);
      void tracer.startActiveSpan('work', async (work) => {
        await call(mesh, 'http://ratings/');
        work.end();
        outgoing.end('done');
      });
    });
    t.equal(await ask({ traceparent, tracestate: 'vendor=1', baggage: 'user=7' }), 'done');
    const found = await spans(3);
    t.equal(found.length, 3);
    const client = found.find(({ kind }) => kind === SpanKind.CLIENT);
    const work = found.find(({ name }) => name === 'work');
    const server = found.find(({ kind }) => kind === SpanKind.SERVER);
    t.ok(found.every((span) => span.spanContext().traceId === parent.trace));
    t.equal(parentId(server), parent.span);
    t.equal(server?.parentSpanContext?.isRemote, true);
    t.equal(parentId(work), idOf(server), "the handler's span is below that of the mesh");
    t.equal(parentId(client), idOf(work), 'and that of its call below it');
    t.equal(heard[0], `00-${parent.trace}-${idOf(client)}-01`);
    t.equal(server?.attributes['by.handler'], true, 'the active span of a handler is that of the mesh');
    t.match(client?.attributes, { 'http.response.status_code': 200, upstream_cluster: 'outbound|80||ratings' });
    t.equal(client?.name, 'ratings:80/*');
    t.equal(client?.status.code, SpanStatusCode.UNSET);
  });
}

t.test('a call under a span of the application, outside of any request, is below it', async (t) => {
  const { mesh, heard } = await twoHops(t, () => (_, outgoing) => void outgoing.end());
  await tracer.startActiveSpan('job', async (job) => {
    await ways['mesh.fetch']?.(mesh, 'http://ratings/');
    job.end();
  });
  const [client, job] = await spans(2);
  t.equal(parentId(client), idOf(job));
  t.match(heard[0], idOf(client));
  // Without one a trace begins, since the tracer says 100 percent.
  await ways['mesh.fetch']?.(mesh, 'http://ratings/');
  t.equal(parentId((await spans(1))[0]), undefined);
});

t.test('where the mesh does not sample the application does not either, and all see one trace id', async (t) => {
  let seen: string | undefined;
  const { ask, heard } = await twoHops(
    t,
    (mesh) => (_, outgoing) => {
      void tracer.startActiveSpan('work', async (work) => {
        seen = work.spanContext().traceId;
        t.equal(work.isRecording(), false);
        await ways['mesh.dispatcher']?.(mesh, 'http://ratings/');
        work.end();
        outgoing.end('done');
      });
    },
    { tracing: otelTracing({ samplingPercent: 0 }) },
  );
  await ask();
  t.same(await spans(0), []);
  t.match(heard[0], new RegExp(`^00-${seen}-[0-9a-f]{16}-00$`));
});

t.test('baggage of a request is there for the handler', async (t) => {
  let user: string | undefined;
  const { ask } = await twoHops(t, () => (_, outgoing) => {
    user = propagation.getBaggage(context.active())?.getEntry('user')?.value;
    outgoing.end();
  });
  await ask({ traceparent, baggage: 'user=ann' });
  t.equal(user, 'ann');
  await spans(1);
});

t.test('what is done with tracing suppressed has no spans: exporters do not trace themselves', async (t) => {
  const { mesh, heard } = await twoHops(t, () => (_, outgoing) => void outgoing.end());
  await context.with(suppressTracing(context.active()), () => ways['mesh.dispatcher']?.(mesh, 'http://ratings/'));
  t.same(await spans(0), []);
  t.equal(heard[0], undefined);
});

t.test('a span that an instrumentation has begun for the request is that of the mesh', async (t) => {
  const mesh = createMesh({
    workload: { name: 'web', namespace: 'shop' },
    identity: false,
    tracing: otelTracing({ samplingPercent: 100 }),
  });
  t.teardown(() => mesh.close());
  await mesh.ready();
  const server = createServer((incoming, outgoing) => {
    // What @opentelemetry/instrumentation-http does before anybody hears of the request.
    const from = propagation.extract(context.active(), incoming.headers);
    const span = tracer.startSpan('GET', { kind: SpanKind.SERVER }, from);
    outgoing.on('close', () => span.end());
    context.with(trace.setSpan(from, span), () => mesh.handle(incoming, outgoing, () => void outgoing.end()));
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  for (const headers of [{ traceparent }, {}] as Record<string, string>[]) {
    await (await fetch(`http://127.0.0.1:${port}/x`, { headers })).text();
    const found = await spans(1);
    t.equal(found.length, 1, 'not two');
    t.match(found[0]?.attributes, { 'url.path': '/x', response_flags: '-', 'http.response.status_code': 200 });
    t.equal(found[0]?.name, 'GET');
  }
});

t.test('a client span that an instrumentation has begun for a request of node:http is that of the mesh', async (t) => {
  const { mesh, heard } = await twoHops(t, () => (_, outgoing) => void outgoing.end());
  const span = tracer.startSpan('GET', { kind: SpanKind.CLIENT });
  const headers: Record<string, string> = {};
  await context.with(trace.setSpan(context.active(), span), () => {
    propagation.inject(context.active(), headers);
    return ways['mesh.agent']?.(mesh, 'http://ratings/', { headers });
  });
  span.end();
  const found = await spans(1);
  t.equal(found.length, 1, 'not two');
  t.match(found[0]?.attributes, { upstream_cluster: 'outbound|80||ratings', 'http.response.status_code': 200 });
  t.equal(heard[0], headers['traceparent']);
  // The client span of something else is a parent.
  const query = tracer.startSpan('query', { kind: SpanKind.CLIENT });
  await context.with(trace.setSpan(context.active(), query), () => ways['mesh.agent']?.(mesh, 'http://ratings/'));
  query.end();
  const [client] = await spans(2);
  t.equal(parentId(client), idOf(query as unknown as ReadableSpan));
});

t.test('a sampler of the application has the last word about what begins here', async (t) => {
  const provider = {
    getTracer: () => ({ ...tracer, startSpan: () => trace.wrapSpanContext({ ...ids, traceFlags: 0 }) }),
  } as never;
  const ids = { traceId: parent.trace, spanId: parent.span };
  const tracing = otelTracing({ samplingPercent: 100, tracerProvider: provider });
  const { ask, heard } = await twoHops(
    t,
    (mesh) => (_, outgoing) => void ways['mesh.dispatcher']?.(mesh, 'http://ratings/').then(() => outgoing.end()),
    { tracing },
  );
  await ask();
  t.match(heard[0], /-00$/);
  t.equal(defaultTracingPolicy.server.samplingPercent, 1);
});
