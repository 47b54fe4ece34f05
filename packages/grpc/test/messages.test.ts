import { credentials } from '@grpc/grpc-js';
import type { Mesh } from 'inmesh';
import t, { type Test } from 'tap';
import { request } from 'undici';
import type { DirectionMetrics } from '../../../src/model/metric-overrides.ts';
import { until } from '../../../test/support/upstream.ts';
import { meshChannelOptions } from '../src/index.ts';
import { meshed } from './support/echo.ts';
import { EchoClient, type EchoHandlers } from './support/echo-service.ts';
import { drained, type Echo, serveEcho, unary } from './support/served.ts';

type Both = readonly [requests: number, responses: number];

const counted = (mesh: Mesh): Both => {
  const { requests } = mesh.stats();
  return [
    requests.reduce((sum, { requestMessages }) => sum + requestMessages, 0),
    requests.reduce((sum, { responseMessages }) => sum + responseMessages, 0),
  ];
};

interface Pair {
  readonly client: Echo;
  readonly calling: Mesh;
  readonly serving: Mesh;
}

/** A client and a server of gRPC, each with a mesh of its own. */
async function pair(t: Test, yaml = '', changes = {}, handlers: Partial<EchoHandlers> = {}): Promise<Pair> {
  const { mesh: serving, port } = await serveEcho(t, { yaml, handlers });
  const { mesh: calling } = await meshed(t, [port], changes);
  return { client: clientOf(t, calling), calling, serving };
}

function clientOf(t: Test, mesh: Mesh, options = {}): Echo {
  const client = new EchoClient('greeter:80', credentials.createInsecure(), meshChannelOptions(mesh, options));
  t.teardown(() => client.close());
  return client as unknown as Echo;
}

const collect = (client: Echo, texts: readonly string[]): Promise<unknown> =>
  new Promise((resolve) => {
    const call = client.collect((_error: unknown, message: string) => resolve(message));
    for (const text of texts) call.write(text);
    call.end();
  });
const chat = (client: Echo, texts: readonly string[]): Promise<unknown> => {
  const call = client.chat();
  for (const text of texts) call.write(text);
  call.end();
  return drained(call);
};

const kinds: readonly (readonly [string, (client: Echo) => Promise<unknown>, Both])[] = [
  ['unary', (client) => unary(client, 'a'), [1, 1]],
  ['a message without content', (client) => chat(client, ['', '']), [2, 2]],
  ['unary, in many pieces', (client) => unary(client, 'x'.repeat(300_000)), [1, 1]],
  ['a stream of requests', (client) => collect(client, ['a', 'b', 'c']), [3, 1]],
  ['a stream of no requests', (client) => collect(client, []), [0, 1]],
  ['a stream of responses', (client) => drained(client.repeat('a')), [1, 3]],
  ['streams both ways', (client) => chat(client, ['a', 'b']), [2, 2]],
  ['streams both ways, of nothing', (client) => chat(client, []), [0, 0]],
];

for (const [name, call, expected] of kinds) {
  t.test(`both sides count the messages of calls: ${name}`, async (t) => {
    const { calling, client, serving } = await pair(t);
    await call(client);
    t.same([counted(calling), counted(serving)], [expected, expected]);
    await call(clientOf(t, calling, { 'grpc.default_compression_algorithm': 2 }));
    const twice = expected.map((count) => 2 * count);
    t.same([counted(calling), counted(serving)], [twice, twice], 'compressed');
  });
}

t.test('calls of gRPC that are made as HTTP count as well, and other calls have none', async (t) => {
  const { calling, serving } = await pair(t);
  const body = Buffer.from([0, 0, 0, 0, 1, 97]);
  for (const type of ['application/grpc+proto', 'application/json']) {
    const headers = { 'content-type': type, te: 'trailers' };
    const options = { dispatcher: calling.dispatcher, method: 'POST' as const, headers, body };
    await (await request('http://greeter/test.Echo/Unary', options)).body.dump();
    t.same([counted(calling), counted(serving)], Array(2).fill([1, 1]), type);
  }
});

t.test('messages of a call count while it runs, once', async (t) => {
  const { calling, client, serving } = await pair(t);
  const call = client.chat();
  const texts: string[] = [];
  call.on('data', (text: string) => void texts.push(text));
  for (const text of ['a', 'b']) {
    call.write(text);
    await until(() => texts.length === (text === 'a' ? 1 : 2));
    const now = [texts.length, texts.length];
    t.same([counted(calling), counted(serving)], [now, now]);
  }
  const ended = drained(call);
  call.end();
  await ended;
  t.same([counted(calling), counted(serving)], Array(2).fill([2, 2]));
});

t.test('a failure is no message, and what is refused reaches no handler', async (t) => {
  const failing = await pair(t, '', {}, { unary: (_call, reply) => reply({ code: 5, details: 'none' }) });
  t.match(await unary(failing.client, 'a'), { code: 5 });
  t.same([counted(failing.calling), counted(failing.serving)], Array(2).fill([1, 0]));
  const spec = '{action: DENY, rules: [{to: [{operation: {paths: [/test.Echo/Unary]}}]}]}';
  const refusing = await pair(
    t,
    `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: no, namespace: shop}\nspec: ${spec}\n`,
  );
  t.match(await unary(refusing.client, 'a'), { code: 7 });
  t.same(counted(refusing.calling), [1, 0], 'it was sent');
  t.same(counted(refusing.serving), [0, 0]);
  const { mesh } = await meshed(t, []);
  t.match(await unary(clientOf(t, mesh), 'a'), { code: 14 });
  t.same(counted(mesh), [0, 0], 'nothing was sent');
});

t.test('messages of a call that is sent again count once', async (t) => {
  let asked = 0;
  const { calling, serving } = await pair(
    t,
    '',
    {},
    {
      unary: (call, reply) => (++asked < 3 ? reply({ code: 14, details: 'again' }) : reply(null, call.request)),
    },
  );
  const channel = clientOf(t, calling, {
    'grpc.service_config': JSON.stringify({
      methodConfig: [
        {
          name: [{}],
          retryPolicy: {
            maxAttempts: 3,
            initialBackoff: '0.001s',
            maxBackoff: '0.001s',
            backoffMultiplier: 1,
            retryableStatusCodes: ['UNAVAILABLE'],
          },
        },
      ],
    }),
  });
  t.match(await unary(channel, 'a'), { code: 0 });
  t.equal(asked, 3);
  t.same(
    [counted(calling), counted(serving)],
    [
      [1, 1],
      [3, 1],
    ],
  );
});

t.test('tags of Telemetries have messages, too', async (t) => {
  const yaml = `
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: all, namespace: shop}
spec:
  metrics:
  - overrides:
    - match: {metric: GRPC_REQUEST_MESSAGES}
      tagOverrides: {where: {value: request.path}}
`;
  const tagged: DirectionMetrics = {
    disabled: false,
    metrics: new Map([['request_messages_total', { disabled: false, tags: new Map([['where', 'request.path']]) }]]),
  };
  const changes = { snapshot: { metricOverrides: { client: tagged, server: tagged } } };
  const { calling, client, serving } = await pair(t, yaml, changes);
  await chat(client, ['a', 'b', 'c']);
  for (const mesh of [calling, serving]) {
    const messagesOf = () =>
      mesh
        .stats()
        .requests.filter(({ requests }) => requests > 0)
        .map((each) => [each.labels.tags?.['request.path'], each.requestMessages, each.responseMessages]);
    await until(() => messagesOf().length > 0);
    t.same(messagesOf(), [['/test.Echo/Chat', 3, 3]]);
  }
});
