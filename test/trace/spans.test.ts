import { createServer, type IncomingHttpHeaders, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { createMeshTracing } from '../../src/mesh-tracing.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { defaultTracingPolicy, type TracingDirection } from '../../src/model/tracing.ts';
import { GuardedTracing } from '../../src/trace/guarded.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { modelMesh, ways } from '../support/model-mesh.ts';
import { recordingLogger } from '../support/recording-logger.ts';
import { type RecordingTracer, recordingTracer } from '../support/recording-tracer.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { until, upstream } from '../support/upstream.ts';

const trace = '0af7651916cd43dd8448eb211c80319c';
const span = 'b7ad6b7169203331';
const sampledParent = `00-${trace}-${span}-01`;

/** A server of the application's own behind `mesh.handle`. */
async function serve(t: Test, mesh: Mesh, handler: RequestListener): Promise<number> {
  const server = createServer((incoming, outgoing) => {
    mesh.handle(incoming, outgoing, () => handler(incoming, outgoing));
  });
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

const policy = (
  server: Partial<TracingDirection>,
  client: Partial<TracingDirection> = server,
): Snapshot['tracing'] => ({
  server: { ...defaultTracingPolicy.server, ...server },
  client: { ...defaultTracingPolicy.client, ...client },
});

const all = policy({ samplingPercent: 100 });
const nothing = policy({ samplingPercent: 0 });

/** Until the spans of requests have ended, which is when their responses are closed. */
const ended = (tracer: RecordingTracer, count: number): Promise<void> => until(() => tracer.spans.length >= count);

/** Calls `web`, whose handler calls `ratings`; tells what `ratings` was sent. */
async function twoHops(
  t: Test,
  tracing: Snapshot['tracing'],
  options: { readonly way?: keyof typeof ways; readonly mesh?: Partial<MeshOptions> } = {},
) {
  const call = ways[options.way ?? 'mesh.dispatcher'] as NonNullable<(typeof ways)[string]>;
  const heard: IncomingHttpHeaders[] = [];
  const seen: IncomingHttpHeaders[] = [];
  const ratings = await upstream(t, (incoming, outgoing) => {
    heard.push(incoming.headers);
    outgoing.end('5');
  });
  const to = cluster('ratings', [endpoint(ratings.port)]);
  const tracer = recordingTracer(options.mesh?.tracing as Partial<RecordingTracer>);
  const config = snapshot({ ratings: [route(to.name)] }, [to], tracing === undefined ? {} : { tracing });
  const mesh = await modelMesh(t, config, { ...options.mesh, tracing: tracer });
  const port = await serve(t, mesh, (incoming, outgoing) => {
    seen.push(incoming.headers);
    call(mesh, 'http://ratings/stars?token=secret').then(
      ({ text }) => outgoing.end(text),
      (error: unknown) => outgoing.writeHead(500).end(String(error)),
    );
  });
  const ask = async (headers: Record<string, string> = {}, path = '/?access_token=secret') => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers });
    await answer.text();
    return answer.status;
  };
  return { ask, heard, seen, tracer, mesh, port, ratings };
}

for (const way of Object.keys(ways) as (keyof typeof ways)[]) {
  t.test(`${way}: the span of a call is below that of the request that causes it`, async (t) => {
    const { ask, heard, seen, tracer } = await twoHops(t, all, { way });
    t.equal(await ask({ traceparent: sampledParent, tracestate: 'a=1' }), 200);
    await ended(tracer, 2);
    const [client, server] = tracer.spans;
    t.match(server, { kind: 'server', remote: true, error: undefined, parent: { traceId: trace, spanId: span } });
    t.match(client, { kind: 'client', remote: false, error: undefined, name: 'ratings:80/*' });
    t.equal(client?.parent?.spanId, server?.context.spanId);
    t.equal(
      heard[0]?.['traceparent'],
      `00-${trace}-${client?.context.spanId}-01`,
      'what goes out is the span of the call',
    );
    t.equal(heard[0]?.['tracestate'], 'a=1');
    t.equal(seen[0]?.['traceparent'], `00-${trace}-${server?.context.spanId}-01`, 'what the handler reads is its span');
    t.match(client?.attributes, {
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'server.address': 'ratings',
      'server.port': 80,
      upstream_cluster: 'outbound|80||ratings',
      response_flags: '-',
      'istio.canonical_service': 'web',
      'istio.namespace': 'shop',
    });
    t.match(client?.attributes['upstream_address'], /^127\.0\.0\.1:\d+$/);
    t.match(server?.attributes, {
      'http.request.method': 'GET',
      'http.response.status_code': 200,
      'url.path': '/',
      'url.scheme': 'http',
      'client.address': '127.0.0.1',
      'network.protocol.version': '1.1',
      component: 'proxy',
    });
    t.match(server?.name, /^web\.shop\.svc\.cluster\.local:\d+\/\*$/);
    t.notMatch(JSON.stringify(tracer.spans), /secret/, 'OBS-005 no query in a span');
  });
}

t.test('the forms of a trace that arrive go on, with the ids of the span of the call', async (t) => {
  const { ask, heard, tracer } = await twoHops(t, all);
  await ask({ b3: `${trace}-${span}-1` });
  await ask({ 'x-b3-traceid': trace.slice(16), 'x-b3-spanid': span, 'x-b3-sampled': '1' });
  await ended(tracer, 4);
  const [one, , several] = tracer.spans;
  t.equal(heard[0]?.['b3'], `${trace}-${one?.context.spanId}-1`);
  t.equal(heard[0]?.['traceparent'], `00-${trace}-${one?.context.spanId}-01`);
  t.match(heard[1], { 'x-b3-traceid': trace.slice(16).padStart(32, '0'), 'x-b3-spanid': several?.context.spanId });
  t.equal(heard[1]?.['x-b3-sampled'], '1');
  const withForms = await twoHops(t, all, { mesh: { tracing: recordingTracer({ forms: ['b3'] }) } });
  await withForms.ask();
  t.match(withForms.heard[0]?.['b3'], /^[0-9a-f]{32}-[0-9a-f]{16}-1$/);
  t.equal(withForms.heard[0]?.['traceparent'], undefined);
});

t.test('what is not sampled is told to those who are called, and costs no span', async (t) => {
  const { ask, heard, seen, tracer } = await twoHops(t, nothing);
  await ask();
  t.match(heard[0]?.['traceparent'], /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-00$/);
  t.equal(seen[0]?.['traceparent'], undefined);
  await ask({ traceparent: `00-${trace}-${span}-00`, tracestate: 'b=2' });
  t.match(heard[1], { traceparent: `00-${trace}-${span}-00`, tracestate: 'b=2' });
  await ask({ b3: '0' });
  t.match(heard[2]?.['b3'], /^[0-9a-f]{32}-[0-9a-f]{16}-0$/);
  t.equal(tracer.begun, 0);
  // A caller that does record is followed.
  await ask({ traceparent: sampledParent });
  await ended(tracer, 2);
  t.equal(tracer.spans.length, 2);
});

t.test('malformed headers begin a trace of their own, and throw nothing', async (t) => {
  const { ask, tracer } = await twoHops(t, all);
  const bad: Record<string, string>[] = [
    { traceparent: `00-${'0'.repeat(32)}-${span}-01` },
    { traceparent: `ff-${trace}-${span}-01` },
    { traceparent: `${sampledParent}${'x'.repeat(2_048)}` },
    { b3: 'x' },
    { 'x-b3-sampled': 'maybe' },
    { 'x-b3-traceid': 'zz', 'x-b3-spanid': span },
  ];
  for (const headers of bad) t.equal(await ask(headers), 200);
  await ended(tracer, bad.length * 2);
  for (const { kind, parent } of tracer.spans) if (kind === 'server') t.equal(parent, undefined);
  t.equal(tracer.spans.length, bad.length * 2);
});

t.test(
  'disableSpanReporting records nothing and changes no context; disableContextPropagation sends none',
  async (t) => {
    const off = await twoHops(t, policy({ enabled: false }));
    await off.ask({ traceparent: sampledParent });
    t.equal(off.heard[0]?.['traceparent'], sampledParent);
    await off.ask();
    t.equal(off.heard[1]?.['traceparent'], undefined);
    t.equal(off.tracer.begun, 0);

    const secret = await twoHops(t, policy({ samplingPercent: 100, propagate: false }));
    await secret.ask({ traceparent: sampledParent, baggage: 'a=1' });
    await ended(secret.tracer, 2);
    t.equal(secret.heard[0]?.['traceparent'], undefined);
    t.equal(secret.heard[0]?.['baggage'], 'a=1');
    t.equal(secret.tracer.spans.length, 2);

    const oneSide = await twoHops(t, policy({ enabled: false }, { samplingPercent: 100 }));
    await oneSide.ask();
    await ended(oneSide.tracer, 1);
    t.same(
      oneSide.tracer.spans.map(({ kind }) => kind),
      ['client'],
    );
  },
);

t.test('OBS-012 traces that callers force are bounded, and whom this process calls is not forced either', async (t) => {
  const clock = fakeClock();
  const { ask, heard, seen, tracer } = await twoHops(t, nothing, { mesh: { clock } });
  const forcing: Record<string, string>[] = [
    { traceparent: sampledParent },
    { b3: `${trace}-${span}-1` },
    { b3: `${trace}-${span}-d` },
    { 'x-b3-traceid': trace, 'x-b3-spanid': span, 'x-b3-sampled': '1' },
    { 'x-b3-traceid': trace, 'x-b3-spanid': span, 'x-b3-flags': '1' },
    { b3: '1' },
    { 'x-request-id': '2dc5dd1b-6b9b-9c0f-8f7e-6d3b4f7e2a10' },
    { 'x-request-id': '2dc5dd1b-6b9b-ac0f-8f7e-6d3b4f7e2a10' },
    { 'x-request-id': '2dc5dd1b-6b9b-bc0f-8f7e-6d3b4f7e2a10' },
    { traceparent: sampledParent, 'x-b3-flags': '1' },
  ];
  for (const headers of forcing) await ask(headers);
  await ended(tracer, 20);
  t.equal(tracer.spans.length, 20, 'ten of them, with a call each');
  for (let i = 0; i < 3; i++) for (const headers of forcing) await ask(headers);
  t.equal(tracer.begun, 20, 'no more within a second');
  for (const headers of heard.slice(10)) t.match(headers['traceparent'], /-00$/);
  for (const headers of seen.slice(10)) t.notMatch(`${headers['traceparent']} ${headers['b3']}`, /-01|-1$|-d/);
  clock.advance(200);
  for (const headers of forcing) await ask(headers);
  await ended(tracer, 24);
  t.equal(tracer.begun, 24, 'two more after a fifth of a second');
});

t.test('OBS-012 x-envoy-force-trace is nobody’s to set: it forces nothing and is removed', async (t) => {
  const { ask, heard, seen, tracer } = await twoHops(t, nothing);
  await ask({ 'x-envoy-force-trace': 'true', 'x-client-trace-id': 'mine' });
  t.equal(tracer.begun, 0);
  t.equal(seen[0]?.['x-envoy-force-trace'], undefined);
  t.equal(heard[0]?.['x-envoy-force-trace'], undefined);
});

t.test('errors and statuses: 5xx for servers, 4xx for clients too, flags and codes', async (t) => {
  const cases: readonly [status: number, server: string | undefined, client: string | undefined][] = [
    [204, undefined, undefined],
    [302, undefined, undefined],
    [404, undefined, '404'],
    [429, undefined, '429'],
    [500, '500', '500'],
    [503, '503', '503'],
  ];
  const tracer = recordingTracer();
  let answer = 200;
  const inbound = await modelMesh(t, snapshot({}, [], { tracing: all as never }), { tracing: tracer });
  const port = await serve(t, inbound, (_, outgoing) => void outgoing.writeHead(answer).end());
  const to = cluster('web', [endpoint(port)]);
  const none = { retry: undefined } as never;
  const calling = recordingTracer();
  const mesh = await modelMesh(t, snapshot({ web: [route(to.name, none)] }, [to], { tracing: all as never }), {
    tracing: calling,
  });
  for (const [status, server, client] of cases) {
    answer = status;
    await ways['mesh.dispatcher']?.(mesh, 'http://web/');
    await ended(tracer, 1);
    t.match(
      tracer.spans.pop(),
      { error: server, attributes: { 'http.response.status_code': status } },
      `server ${status}`,
    );
    t.match(
      calling.spans.pop(),
      { error: client, attributes: { 'http.response.status_code': status } },
      `client ${status}`,
    );
  }
  const nobody = cluster('nobody', [endpoint(1)]);
  const lost = await modelMesh(
    t,
    snapshot({ nobody: [route(nobody.name, none)] }, [nobody], { tracing: all as never }),
    {
      tracing: calling,
    },
  );
  for (const way of Object.values(ways)) {
    await way(lost, 'http://nobody/').catch(() => {});
    t.match(calling.spans.pop(), {
      error: 'ERR_MESH_CONNECT_FAILED',
      attributes: { response_flags: 'UF', 'error.type': 'ERR_MESH_CONNECT_FAILED', upstream_cluster: nobody.name },
    });
  }
  await ways['mesh.dispatcher']?.(mesh, 'http://unknown.invalid/').catch(() => {});
  t.match(calling.spans.pop(), { name: 'unknown.invalid/*', attributes: { upstream_cluster: 'PassthroughCluster' } });
});

t.test('a refused request has a span, with what refused it', async (t) => {
  const tracer = recordingTracer();
  const inbound = { mtls: { mode: 'STRICT', ports: new Map() }, authorization: [] } as Snapshot['inbound'];
  const mesh = await modelMesh(t, snapshot({}, [], { inbound, tracing: all as never }), { tracing: tracer });
  const port = await serve(t, mesh, (_, outgoing) => void outgoing.end());
  const { status } = await fetch(`http://127.0.0.1:${port}/`);
  await ended(tracer, 1);
  t.match(tracer.spans[0]?.attributes, { 'http.response.status_code': status, 'url.path': '/' });
  t.not(tracer.spans[0]?.attributes['response_flags'], '');
  t.ok(status >= 400);
});

t.test('a try after the first is a span below that of its call, and its server is below that', async (t) => {
  const parents: string[] = [];
  let failing = 1;
  const server = await upstream(t, (incoming, outgoing) => {
    parents.push(String(incoming.headers['traceparent']));
    outgoing.writeHead(failing-- > 0 ? 503 : 200).end();
  });
  const other = await upstream(t, (incoming, outgoing) => {
    parents.push(String(incoming.headers['traceparent']));
    outgoing.writeHead(failing-- > 0 ? 503 : 200).end();
  });
  const to = cluster('ratings', [endpoint(server.port), endpoint(other.port)]);
  const retry = { attempts: 2, retryOn: ['5xx'], retriableStatusCodes: [], backoffBaseMs: 1 } as const;
  const tracer = recordingTracer();
  const config = snapshot({ ratings: [route(to.name, { retry })] }, [to], { tracing: all as never });
  const mesh = await modelMesh(t, config, { tracing: tracer });
  t.equal((await ways['mesh.dispatcher']?.(mesh, 'http://ratings/'))?.status, 200);
  const [second, call] = tracer.spans;
  t.equal(tracer.spans.length, 2);
  t.equal(second?.parent?.spanId, call?.context.spanId);
  t.same(
    parents.map((each) => each.slice(36, 52)),
    [call?.context.spanId, second?.context.spanId],
  );
  t.match(second?.attributes, { 'http.request.resend_count': 1, 'http.response.status_code': 200 });
  t.match(call?.attributes, { 'http.request.resend_count': 1, 'http.response.status_code': 200 });
  t.match(call?.events, [{ name: 'try failed', attributes: { 'inmesh.try': 1, 'http.response.status_code': 503 } }]);
  t.equal(call?.error, undefined);
});

t.test('a hedged try is a span of its own; that of a try that lost ends with it', async (t) => {
  const heard: string[] = [];
  // Whoever is asked second answers.
  const answer: RequestListener = (incoming, outgoing) => {
    if (heard.push(String(incoming.headers['traceparent'])) === 2) outgoing.end('good');
  };
  const servers = [await upstream(t, answer), await upstream(t, answer)];
  const to = cluster(
    'ratings',
    servers.map(({ port }) => endpoint(port)),
  );
  const retry = { attempts: 2, retryOn: ['5xx'], retriableStatusCodes: [], backoffBaseMs: 0 } as const;
  const hedge = { when: { kind: 'after', ms: 20 } } as const;
  const tracer = recordingTracer();
  const config = snapshot({ ratings: [route(to.name, { retry, hedge })] }, [to], { tracing: all as never });
  const mesh = await modelMesh(t, config, { tracing: tracer });
  t.equal((await ways['mesh.dispatcher']?.(mesh, 'http://ratings/'))?.status, 200);
  await ended(tracer, 2);
  t.equal(tracer.spans.length, 2, 'the call, and the try beside its first');
  const call = tracer.spans.find(({ parent }) => parent === undefined);
  const hedged = tracer.spans.find(({ parent }) => parent !== undefined);
  t.equal(hedged?.parent?.spanId, call?.context.spanId);
  t.same(
    heard.map((each) => each.slice(36, 52)),
    [call?.context.spanId, hedged?.context.spanId],
    'each server is below its own try',
  );
  t.match(hedged?.attributes, { 'http.response.status_code': 200 });
  t.match(call?.attributes, { 'http.response.status_code': 200, 'http.request.resend_count': 1 });
  t.match(call?.events, [{ name: 'try failed', attributes: { 'inmesh.try': 1 } }]);
});

t.test('gRPC calls say so, and how they ended', async (t) => {
  const { ask, tracer } = await twoHops(t, all);
  await ask({ 'content-type': 'application/grpc+proto' }, '/shop.Cart/Add');
  await ended(tracer, 2);
  const server = tracer.spans.find(({ kind }) => kind === 'server');
  t.match(server?.attributes, { 'rpc.system.name': 'grpc', 'rpc.method': 'shop.Cart/Add' });
  const to = await upstream(t, (_, outgoing) => void outgoing.writeHead(200, { 'grpc-status': '14' }).end());
  const calling = recordingTracer();
  const target = cluster('cart', [endpoint(to.port)]);
  const config = snapshot({ cart: [route(target.name, { retry: undefined } as never)] }, [target], {
    tracing: all as never,
  });
  const mesh = await modelMesh(t, config, { tracing: calling });
  const headers = { 'content-type': 'application/grpc' };
  await ways['mesh.dispatcher']?.(mesh, 'http://cart/shop.Cart/Add', { method: 'POST', headers });
  t.match(calling.spans[0], {
    error: 'UNAVAILABLE',
    attributes: { 'rpc.method': 'shop.Cart/Add', 'rpc.status_code': 'UNAVAILABLE' },
  });
});

t.test('custom tags: literals, the environment, headers; bounded', async (t) => {
  process.env['TRACE_TEST_ZONE'] = 'b';
  t.teardown(() => delete process.env['TRACE_TEST_ZONE']);
  const customTags: TracingDirection['customTags'] = [
    { kind: 'literal', name: 'team', value: 'cart' },
    { kind: 'environment', name: 'zone', variable: 'TRACE_TEST_ZONE', fallback: 'a' },
    { kind: 'environment', name: 'rack', variable: 'TRACE_TEST_RACK', fallback: 'none' },
    { kind: 'environment', name: 'empty', variable: 'TRACE_TEST_RACK', fallback: '' },
    { kind: 'header', name: 'user', header: 'end-user', fallback: '-' },
    { kind: 'header', name: 'tenant', header: 'x-tenant', fallback: 'all' },
    { kind: 'header', name: 'via', header: 'x-via', fallback: '' },
  ];
  const { ask, tracer } = await twoHops(
    t,
    policy({ samplingPercent: 100, customTags, istioTags: false, maxPathLength: 8 }),
  );
  await ask({ 'end-user': 'j'.repeat(1_000), 'x-via': 'Bearer hunter2hunter2' }, '/long/path/of/a/request');
  await ended(tracer, 2);
  const server = tracer.spans.find(({ kind }) => kind === 'server')?.attributes;
  t.match(server, {
    team: 'cart',
    zone: 'b',
    rack: 'none',
    tenant: 'all',
    via: 'Bearer [redacted]',
    user: 'j'.repeat(256),
    'url.path': '/long/pa',
  });
  t.notOk(Object.keys(server ?? {}).some((name) => name.startsWith('istio.') || name === 'empty'));
});

t.test('a tracer that throws is logged once and hurts no call', async (t) => {
  const logger = recordingLogger();
  const broken = (): never => {
    throw new Error('broken');
  };
  const tracing = recordingTracer({
    start: broken,
    active: broken,
    instrumented: broken,
    configure: broken,
    close: broken,
  });
  const { ask, mesh } = await twoHops(t, all, { mesh: { tracing, logger } });
  for (let i = 0; i < 3; i++) t.equal(await ask({ traceparent: sampledParent }), 200);
  await mesh.close();
  t.equal(logger.messages('warn').filter((message) => message.startsWith('the tracer has failed')).length, 1);
});

for (const how of ['run', 'suppress'] as const) {
  t.test(
    `a tracer whose ${how} throws hurts no call and no request either; what handlers throw is theirs`,
    async (t) => {
      const fails = (): never => {
        throw new Error('tracer');
      };
      const { ask, tracer } = await twoHops(t, all, { mesh: { tracing: { [how]: fails } as never } });
      t.equal(await ask(), 200);
      await ended(tracer, 2);
      t.equal(tracer.spans.length, 2);
      const guarded = new GuardedTracing(recordingTracer() as never, recordingLogger());
      let runs = 0;
      const action = (): never => {
        runs++;
        throw new RangeError('of the application');
      };
      t.throws(
        () =>
          guarded[how](
            ...((how === 'run' ? [tracer.spans[0]?.context, undefined, action] : [action]) as [never, never, never]),
          ),
        RangeError,
      );
      t.equal(runs, 1);
    },
  );
}

t.test('contexts of a tracer that no header can say count as none', async (t) => {
  const good = { traceId: 'a'.repeat(32), spanId: 'b'.repeat(16), sampled: true };
  const bad: readonly object[] = [
    { ...good, traceId: `a\r\nx: ${'b'.repeat(26)}`.slice(0, 32) },
    { ...good, spanId: 'B'.repeat(16) },
    { ...good, traceState: 'a=b\r\nx-admin: 1' },
  ];
  for (const context of bad) {
    const start = () => ({ context, set() {}, event() {}, end() {} });
    const { ask, heard } = await twoHops(t, all, { mesh: { tracing: { start, active: () => context } as never } });
    t.equal(await ask(), 200, JSON.stringify(context));
    t.equal(heard.length, 1);
    t.equal(heard[0]?.['x-admin'], undefined);
  }
});

t.test('a tracer that never closes does not hold the mesh up for ever', async (t) => {
  const clock = fakeClock();
  const mesh = createMeshTracing(recordingTracer({ close: () => new Promise(() => {}) }), {
    workload: {
      name: 'web',
      namespace: 'shop',
      serviceAccount: 'web',
      labels: {},
      trustDomain: 'td',
      clusterDomain: 'c',
    },
    clock,
    random: () => 0,
    logger: recordingLogger(),
    environment: {},
  });
  const closed = mesh.close();
  clock.advance(30_000);
  await closed;
  t.pass('closed');
});

t.test('the tracer hears who it works for and what is configured, and is closed with the mesh', async (t) => {
  const { mesh, tracer } = await twoHops(t, all, {
    mesh: { workload: { name: 'web-7', namespace: 'shop', labels: { app: 'web', version: 'v2' } } },
  });
  t.match(tracer.settings, [{ service: 'web', revision: 'v2', policy: all, workload: { namespace: 'shop' } }]);
  await mesh.close();
  t.equal(tracer.closed, 1);
});

t.test(
  'useRequestIdForTraceSampling: the same request is sampled everywhere or nowhere; without it at random',
  async (t) => {
    const ids = ['00000000-0000-4000-8000-000000000000', '0000270f-0000-4000-8000-000000000000'];
    const byId = await twoHops(t, policy({ samplingPercent: 50 }));
    for (const id of ids) await byId.ask({ 'x-request-id': id });
    await ended(byId.tracer, 2);
    t.equal(byId.tracer.spans.length, 2);
    t.ok(byId.tracer.spans.every(({ attributes }) => attributes['guid:x-request-id'] === ids[0]));
    let drawn = 0.7;
    const random = await twoHops(t, policy({ samplingPercent: 50, byRequestId: false }), {
      mesh: { random: () => drawn },
    });
    await random.ask({ 'x-request-id': ids[0] as string });
    t.equal(random.tracer.begun, 0);
    drawn = 0.4;
    await random.ask({ 'x-request-id': ids[1] as string });
    await ended(random.tracer, 2);
    t.equal(random.tracer.begun, 2);
  },
);
