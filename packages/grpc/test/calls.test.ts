import { once } from 'node:events';
import {
  Metadata,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import t from 'tap';
import { holdProcess } from '../../../src/lib/clock.ts';
import { shopMesh } from '../../../test/support/shop-mesh.ts';
import { until } from '../../../test/support/upstream.ts';
import { clientOf, echoServer, failure, type Message, meshed, textsOf } from './support/echo.ts';

type Unary = ServerUnaryCall<Message, Message>;
type Answer = sendUnaryData<Message>;

/** Answers with what was asked. */
const handlers = {
  unary(call: Unary, answer: Answer) {
    const seen = call.metadata.getMap();
    const metadata = new Metadata();
    metadata.set('saw', JSON.stringify({ ...seen, path: call.getPath(), host: call.getHost() }));
    metadata.set('raw-bin', Buffer.from([0, 255, 44]));
    call.sendMetadata(metadata);
    const trailers = new Metadata();
    trailers.add('end', 'a');
    trailers.add('end', 'b');
    answer(null, { text: call.request.text.toUpperCase() }, trailers);
  },
  gather(call: ServerReadableStream<Message, Message>, answer: Answer) {
    void textsOf(call).then((texts) => answer(null, { text: texts.join(' ') }));
  },
  scatter(call: ServerWritableStream<Message, Message>) {
    for (const text of call.request.text.split(' ')) call.write({ text });
    call.end();
  },
  chat(call: ServerDuplexStream<Message, Message>) {
    call.on('data', ({ text }: Message) => call.write({ text: `${text}!` }));
    call.on('end', () => call.end());
  },
};

const ways = [
  ['a cluster of gRPC', { cluster: { http2: 'always' } }],
  ['a cluster of which only HTTP is said', { cluster: {} }],
  ['a cluster that is called as its caller was', { cluster: { http2: 'asCaller' } }],
] as const;

for (const [name, changes] of ways) {
  t.test(`all four kinds of calls over ${name}`, async (t) => {
    const { client } = await meshed(t, [await echoServer(t, handlers)], changes);
    t.equal(await client.unary('pears'), 'PEARS');
    const { call, reply } = client.gather();
    for (const text of ['a', 'b', 'c']) call.write({ text });
    call.end();
    t.equal(await reply, 'a b c');
    t.same(await textsOf(client.scatter('x y z')), ['x', 'y', 'z']);
    const chat = client.chat();
    const first = once(chat, 'data');
    chat.write({ text: 'hello' });
    t.same(await first, [{ text: 'hello!' }], 'an answer comes before the request has ended');
    const second = once(chat, 'data');
    chat.write({ text: 'again' });
    t.same(await second, [{ text: 'again!' }]);
    chat.end();
    const [end] = await once(chat, 'status');
    t.equal(end.code, status.OK);
  });
}

t.test('targets lead where they say, with the policy of the mesh where there is one', async (t) => {
  const port = await echoServer(t, handlers);
  for (const target of [
    'greeter:80',
    'dns:///greeter:80',
    'xds:///greeter:80',
    'passthrough:///greeter:80',
    `127.0.0.1:${port}`,
    `ipv4:127.0.0.1:${port}`,
  ]) {
    const { client } = await meshed(t, [port], { target });
    t.equal(await client.unary('x'), 'X', target);
  }
});

t.test('what YAML says of calls over HTTP, holds for calls of gRPC', async (t) => {
  const served: string[] = [];
  const hanging: Answer[] = [];
  const named = (name: string) =>
    echoServer(t, {
      unary(call: Unary, answer: Answer) {
        served.push(`${name} ${call.request.text}`);
        if (call.request.text === 'hang') hanging.push(answer);
        else if (name === 'broken') answer({ code: status.UNAVAILABLE, details: 'broken' });
        else answer(null, { text: name });
      },
    });
  const [v1, v2, broken] = [await named('v1'), await named('v2'), await named('broken')];
  const entry = (name: string, ports: readonly (readonly [string, number])[]): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ${name}, namespace: shop}
spec:
  hosts: [${name}.shop]
  resolution: STATIC
  ports: [{number: 50051, name: grpc, protocol: GRPC}]
  endpoints:
${ports.map(([version, port]) => `  - {address: 127.0.0.1, ports: {grpc: ${port}}, labels: {version: ${version}}}`).join('\n')}
---`;
  const yaml = `
${entry('greeter', [
  ['v1', v1],
  ['v2', v2],
])}
${entry('flaky', [
  ['v1', v1],
  ['v1', broken],
])}
${entry('narrow', [['v1', v1]])}
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: greeter, namespace: shop}
spec:
  hosts: [greeter.shop]
  http:
  - match: [{uri: {exact: /test.Echo/Unary}, headers: {canary: {exact: 'yes'}}}]
    route: [{destination: {host: greeter.shop, subset: v2}}]
    headers: {response: {set: {answered: by-v2}}}
  - route: [{destination: {host: greeter.shop, subset: v1}}]
    mirror: {host: greeter.shop, subset: v2}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: greeter, namespace: shop}
spec:
  host: greeter.shop
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: flaky, namespace: shop}
spec:
  host: flaky.shop
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    outlierDetection: {consecutive5xxErrors: 3, maxEjectionPercent: 100}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: narrow, namespace: shop}
spec:
  host: narrow.shop
  trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}
`;
  const mesh = await shopMesh({ yaml });
  t.teardown(() => mesh.close());
  const release = holdProcess();
  t.teardown(release);

  const greeter = clientOf(t, mesh, 'greeter.shop:50051');
  t.equal(await greeter.unary('x'), 'v1');
  await until(() => served.includes('v2 x'), 'the copy');
  t.same(served, ['v1 x', 'v2 x'], 'routed, and mirrored');
  const canary = new Metadata();
  canary.set('canary', 'yes');
  t.equal(await greeter.unary('y', canary), 'v2', 'by path and metadata');

  const flaky = clientOf(t, mesh, 'flaky.shop:50051');
  for (let i = 0; i < 12; i++) t.equal(await flaky.unary('z'), 'v1', 'retried elsewhere');
  t.equal(served.filter((each) => each === 'broken z').length, 3, 'and who fails three times is out');

  const narrow = clientOf(t, mesh, 'narrow.shop:50051');
  const first = narrow.unary('hang');
  await until(() => hanging.length === 1, 'the first call');
  t.match(await failure(narrow.unary('one more')), { code: status.UNAVAILABLE, details: /ERR_MESH_OVERFLOW/ });
  hanging[0]?.(null, { text: 'done' });
  t.equal(await first, 'done');
});
