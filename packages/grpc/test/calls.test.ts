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
import { echoServer, type Message, meshed, textsOf } from './support/echo.ts';

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
