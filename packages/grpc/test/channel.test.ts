import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  type CallOptions,
  compressionAlgorithms,
  connectivityState,
  credentials,
  InterceptingCall,
  type Interceptor,
  loadPackageDefinition,
  Metadata,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import t, { type Test } from 'tap';
import type { ConfigSink } from '../../../src/config/source.ts';
import { requestContext } from '../../../src/pipeline/request-context.ts';
import { runInScope } from '../../../src/pipeline/scope.ts';
import { http2Upstream } from '../../../test/support/http2-upstream.ts';
import { testMesh } from '../../../test/support/mesh-pair.ts';
import { modelMesh } from '../../../test/support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../../../test/support/snapshot.ts';
import { until } from '../../../test/support/upstream.ts';
import { MeshServer, meshChannel, meshChannelOptions, meshCredentials } from '../src/index.ts';
import { clientOf, echo, echoServer, failure, type Message, meshed } from './support/echo.ts';

type Unary = ServerUnaryCall<Message, Message>;
type Answer = sendUnaryData<Message>;

const upper = { unary: (call: Unary, answer: Answer) => answer(null, { text: call.request.text.toUpperCase() }) };

/** A server that notes what it sees and answers with metadata of its own. */
async function noting(t: Test) {
  const seen: Metadata[] = [];
  const port = await echoServer(t, {
    unary(call: Unary, answer: Answer) {
      seen.push(call.metadata);
      const first = new Metadata();
      first.set('raw-bin', Buffer.from([0, 255, 44]));
      call.sendMetadata(first);
      const last = new Metadata();
      last.add('end', 'a');
      last.add('end', 'b');
      answer(null, call.request, last);
    },
  });
  return { port, seen };
}

/** `greeter`, which speaks mTLS on this port. */
const greeterEntry = (port: number): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: greeter, namespace: shop}
spec:
  hosts: [greeter.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 50051, name: grpc, protocol: GRPC}]
  endpoints:
  - {address: 127.0.0.1, ports: {grpc: ${port}}, serviceAccount: greeter, labels: {app: greeter, security.istio.io/tlsMode: istio}}
`;

t.test('metadata goes both ways; what is reserved stays ours', async (t) => {
  const { port, seen } = await noting(t);
  const { client } = await meshed(t, [port], { options: { 'grpc.primary_user_agent': 'shop/1' } });
  const metadata = new Metadata();
  metadata.add('many', 'one');
  metadata.add('many', 'two');
  metadata.add('some-bin', Buffer.from([1, 2, 250]));
  metadata.add('some-bin', Buffer.from([3]));
  metadata.set('content-type', 'text/plain');
  metadata.set('grpc-timeout', '1n');
  metadata.set('te', 'gzip');
  const got: Record<string, unknown> = {};
  await new Promise<void>((resolve, reject) => {
    const call = client.makeUnaryRequest(
      '/test.Echo/Unary',
      (message: Message) => Buffer.from(JSON.stringify(message)),
      (bytes) => bytes,
      { text: 'x' },
      metadata,
      (error) => (error === null ? resolve() : reject(error)),
    );
    call.on('metadata', (given: Metadata) => {
      got['first'] = given.get('raw-bin');
      got['peer'] = call.getPeer();
    });
    call.on('status', (given) => (got['last'] = given.metadata.get('end')));
  });
  await until(() => got['last'] !== undefined);
  t.same(got, { first: [Buffer.from([0, 255, 44])], peer: `127.0.0.1:${port}`, last: ['a, b'] });
  const [arrived] = seen as [Metadata];
  t.same(arrived.get('many'), ['one, two']);
  t.same(arrived.get('some-bin'), [Buffer.from([1, 2, 250]), Buffer.from([3])]);
  t.match(arrived.get('user-agent'), [/^shop\/1 grpc-node-inmesh\/\d/]);
  t.same(arrived.get('x-envoy-attempt-count'), ['1'], 'and what calls over HTTP have, gRPC calls have too');
});

/** A server whose answers are compressed. */
async function gzipServer(t: Test): Promise<number> {
  const bytes = gzipSync('{"text":"zipped"}');
  const frame = Buffer.concat([Buffer.from([1, 0, 0, 0, bytes.length]), bytes]);
  const { port } = await http2Upstream(t, (stream) => {
    stream.respond(
      { ':status': 200, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.resume().end(frame);
  });
  return port;
}

t.test('messages are compressed as the channel says, both ways, and within limits', async (t) => {
  const long = 'pear'.repeat(50_000);
  const port = await echoServer(t, upper, {
    'grpc.default_compression_algorithm': compressionAlgorithms.gzip,
  } as object);
  for (const algorithm of [compressionAlgorithms.identity, compressionAlgorithms.deflate, compressionAlgorithms.gzip]) {
    const { client } = await meshed(t, [port], { options: { 'grpc.default_compression_algorithm': algorithm } });
    t.equal(await client.unary(long), long.toUpperCase());
    t.equal(await client.unary(long), long.toUpperCase());
  }
  const small = await meshed(t, [port], {
    options: { 'grpc.max_receive_message_length': 1_000, 'grpc.max_send_message_length': 300_000 },
  });
  t.match(
    await failure(small.client.unary(long)),
    { code: status.RESOURCE_EXHAUSTED, details: /1000/ },
    'too long to receive',
  );
  t.match(
    await failure(small.client.unary(long + long)),
    { code: status.RESOURCE_EXHAUSTED, details: /300000/ },
    'too long to send',
  );
  t.equal(await small.client.unary('x'), 'X', 'and the next one is fine');
  const endless = await meshed(t, [await gzipServer(t)], {
    options: { 'grpc.max_receive_message_length': Number.MAX_VALUE },
  });
  t.equal(await endless.client.unary('x'), 'zipped', 'a limit that no memory has');
  t.throws(
    () =>
      meshChannelOptions(small.mesh).channelFactoryOverride?.('a:1', credentials.createInsecure(), {
        'grpc.default_compression_algorithm': 9 as never,
      }),
    { code: 'ERR_MESH_OPTION_INVALID' },
  );
});

t.test('a reader that stops stops the server, and a server that does not read stops the writer', async (t) => {
  const text = 'x'.repeat(64_000);
  const all = 400;
  let written = 0;
  let read = 0;
  let open: () => void = () => {};
  const port = await echoServer(t, {
    ...upper,
    async scatter(call: ServerWritableStream<Message, Message>) {
      for (; written < all; written++)
        if (!call.write({ text })) await new Promise((resolve) => call.once('drain', resolve));
      call.end();
    },
    chat(call: ServerDuplexStream<Message, Message>) {
      open = () => {
        call.on('data', () => read++);
        call.on('end', () => call.end());
      };
    },
  });
  const { client } = await meshed(t, [port]);
  const stream = client.scatter('x');
  await new Promise((resolve) => stream.once('data', resolve));
  stream.pause();
  const chat = client.chat();
  let sent = 0;
  const writing = (async () => {
    for (; sent < all; sent++) if (!chat.write({ text })) await new Promise((resolve) => chat.once('drain', resolve));
    chat.end();
  })();
  // Others are not held up, and by then who is not stopped is done.
  for (let i = 0; i < 200; i++) await client.unary('x');
  t.ok(written < all, `the server wrote ${written} of ${all}`);
  t.ok(sent < all, `the client wrote ${sent} of ${all}`);
  stream.resume();
  let got = 1;
  stream.on('data', () => got++);
  await new Promise((resolve) => stream.once('end', resolve));
  t.equal(got, all);
  open();
  chat.resume();
  await writing;
  await new Promise((resolve) => chat.once('status', resolve));
  t.equal(read, all);
});

t.test('a deadline that is no time is none, as in grpc-js', async (t) => {
  const { client } = await meshed(t, [await echoServer(t, upper)]);
  for (const deadline of [new Date(Number.NaN), Number.NaN]) {
    t.equal(await client.unary('x', undefined, { deadline }), 'X');
  }
});

t.test('who cancels, or whose deadline passes, tells the server', async (t) => {
  let cancelled = 0;
  let arrived = 0;
  let deadline: number | Date = 0;
  const wait = (call: { on(event: 'cancelled', listener: () => void): unknown; getDeadline(): number | Date }) => {
    arrived++;
    deadline = call.getDeadline();
    call.on('cancelled', () => cancelled++);
  };
  const port = await echoServer(t, { unary: wait, chat: wait });
  const { client } = await meshed(t, [port]);
  const chat = client.chat();
  chat.write({ text: 'x' });
  await until(() => arrived === 1);
  chat.cancel();
  chat.on('data', () => {});
  t.match(await new Promise((resolve) => chat.on('error', resolve)), { code: status.CANCELLED });
  await until(() => cancelled === 1);
  const soon = Date.now() + 1_500;
  t.match(await failure(client.unary('x', undefined, { deadline: soon })), { code: status.DEADLINE_EXCEEDED });
  await until(() => cancelled === 2);
  t.ok(Math.abs(Number(deadline) - soon) < 30_000, 'the server was told of the deadline');
});

t.test('a call that another one causes ends with it', async (t) => {
  const seen: Unary[] = [];
  const last = await echoServer(t, { unary: (call: Unary) => void seen.push(call) });
  const { client, mesh } = await meshed(t, [last]);
  const failures: unknown[] = [];
  const first = await echoServer(t, {
    unary: (call: Unary) =>
      void failure(client.unary('x', undefined, { parent: call } as CallOptions)).then((error) => failures.push(error)),
  });
  const caller = clientOf(t, mesh, `127.0.0.1:${first}`);
  const call = caller.makeUnaryRequest(
    '/test.Echo/Unary',
    () => Buffer.from('{}'),
    (bytes) => bytes,
    {},
    new Metadata(),
    { deadline: Date.now() + 60_000 },
    () => {},
  );
  await until(() => seen.length === 1);
  t.ok(Number(seen[0]?.getDeadline()) < Date.now() + 61_000, 'its deadline is that of its cause');
  call.cancel();
  await until(() => failures.length === 1);
  t.match(failures, [{ code: status.CANCELLED, details: 'Cancelled by parent call' }]);

  const scope = { requestId: 'r-1', traceHeaders: [], deadline: performance.now() + 40 };
  const late = await runInScope(scope, () => failure(client.unary('x')));
  t.match(
    late,
    { code: status.DEADLINE_EXCEEDED, details: /ERR_MESH_DEADLINE_EXPIRED|Deadline/ },
    'and so it is with a request that the mesh serves',
  );
});

t.test(
  'a server of the mesh that calls another one: who calls, the time that is left, and the end of it',
  async (t) => {
    const slow: Unary[] = [];
    const last = await echoServer(t, { unary: (call: Unary) => void slow.push(call) });
    const world = testMesh(t);
    const serving = await world.join('greeter');
    const peers: unknown[] = [];
    const server = new MeshServer(serving);
    t.teardown(() => server.forceShutdown());
    let failed: Promise<unknown> | undefined;
    server.addService(echo, {
      unary(call: Unary, answer: Answer) {
        peers.push(requestContext().peer?.serviceAccount);
        if (call.request.text !== 'on') {
          answer(null, call.request);
          return;
        }
        failed = failure(clientOf(t, serving, `127.0.0.1:${last}`).unary('x'));
      },
    });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', undefined, (error, bound) => (error === null ? resolve(bound) : reject(error)));
    });
    world.write('greeter.yaml', greeterEntry(port));
    const client = clientOf(t, await world.join('web'), 'greeter.shop.svc.cluster.local:50051');
    t.equal(await client.unary('x'), 'x');
    const call = client.makeUnaryRequest(
      echo.unary.path,
      echo.unary.requestSerialize,
      echo.unary.responseDeserialize,
      { text: 'on' },
      new Metadata(),
      { deadline: Date.now() + 60_000 },
      () => {},
    );
    await until(() => slow.length === 1);
    t.same(peers, ['web', 'web']);
    t.ok(Number(slow[0]?.getDeadline()) < Date.now() + 61_000, 'the deadline went on');
    call.cancel();
    await until(() => slow[0]?.cancelled === true);
    t.match(await failed, { code: status.CANCELLED });
  },
);

t.test('a call that waits for ready waits until somebody is there; others fail at once', async (t) => {
  const port = await echoServer(t, upper);
  const at = (ports: readonly number[]) => {
    const greeter = cluster(
      'greeter',
      ports.map((each) => endpoint(each)),
    );
    return snapshot({ greeter: [route(greeter.name)] }, [greeter]);
  };
  let sink: ConfigSink | undefined;
  const mesh = await modelMesh(t, at([]), {
    config: {
      name: 'model',
      async run(given) {
        sink = given;
        given.update(at([]), { entries: [] });
      },
    },
  });
  const client = clientOf(t, mesh, 'greeter:80');
  t.match(await failure(client.unary('x')), { code: status.UNAVAILABLE });
  const patient = new Metadata({ waitForReady: true });
  t.match(await failure(client.unary('x', patient, { deadline: Date.now() + 20 })), { code: status.DEADLINE_EXCEEDED });
  const config = JSON.stringify({ methodConfig: [{ name: [{}], waitForReady: true }] });
  const waiting = [
    client.unary('x', patient),
    clientOf(t, mesh, 'greeter:80', { 'grpc.service_config': config }).unary('y'),
  ];
  const closed = clientOf(t, mesh, 'greeter:80');
  const never = failure(closed.unary('x', patient));
  await failure(client.unary('x'));
  closed.close();
  t.match(await never, { code: status.UNAVAILABLE, details: /closed/ });
  sink?.update(at([port]), { entries: [] });
  t.same(await Promise.all(waiting), ['X', 'Y']);
});

t.test('a channel tells of its state, and takes no calls when it is closed', async (t) => {
  const { client, mesh } = await meshed(t, [await echoServer(t, upper)]);
  const channel = client.getChannel();
  t.equal(channel.getTarget(), 'greeter:80');
  t.equal(channel.getConnectivityState(false), connectivityState.IDLE);
  await new Promise<void>((resolve, reject) =>
    client.waitForReady(Date.now() + 60_000, (error) => (error ? reject(error) : resolve())),
  );
  t.equal(channel.getConnectivityState(false), connectivityState.READY);
  const late = new Promise((resolve) =>
    channel.watchConnectivityState(connectivityState.READY, Date.now() + 10, resolve),
  );
  t.match(await late, { message: /Deadline passed/ });
  t.match(channel.getChannelzRef(), { name: 'greeter:80' });
  client.close();
  t.equal(channel.getConnectivityState(true), connectivityState.SHUTDOWN);
  t.throws(() => channel.createCall('/a/b', Infinity, null, null, null), /shut down/);
  const other = meshChannel(mesh, 'greeter:80');
  t.equal(other.getTarget(), 'greeter:80');
  other.close();
});

t.test('client interceptors see what they always see', async (t) => {
  const log: string[] = [];
  const interceptor: Interceptor = (options, next) =>
    new InterceptingCall(next(options), {
      start(metadata, _listener, go) {
        metadata.set('extra', 'yes');
        go(metadata, {
          onReceiveMetadata(given, on) {
            log.push('metadata');
            on(given);
          },
          onReceiveMessage(given, on) {
            log.push(`message ${given?.text}`);
            on(given);
          },
          onReceiveStatus(given, on) {
            log.push(`status ${given.code}`);
            on(given);
          },
        });
      },
      sendMessage: (message, go) => go({ text: `${message.text}!` }),
    });
  const { port, seen } = await noting(t);
  const { client } = await meshed(t, [port], { options: { interceptors: [interceptor] } });
  t.equal(await client.unary('x'), 'x!');
  t.same(log, ['metadata', 'message x!', 'status 0']);
  t.same(seen[0]?.get('extra'), ['yes']);
});

t.test('clients of @grpc/proto-loader, and Unix sockets', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const definition = fromJSON({
    nested: {
      shop: {
        nested: {
          Text: { fields: { text: { type: 'string', id: 1 } } },
          Greeter: { methods: { Greet: { requestType: 'Text', responseType: 'Text', comment: '' } } },
        },
      },
    },
  });
  const { shop } = loadPackageDefinition(definition) as never as {
    shop: { Greeter: typeof import('@grpc/grpc-js').Client & { service: never } };
  };
  const { Server } = await import('@grpc/grpc-js');
  const server = new Server();
  server.addService(shop.Greeter.service, {
    Greet: (call: Unary, answer: Answer) => answer(null, { text: `hello ${call.request.text}` }),
  });
  t.teardown(() => server.forceShutdown());
  const path = join(folder, 'greeter.sock');
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  const { mesh } = await meshed(t, []);
  for (const target of [`unix:${path}`, `unix://${path}`]) {
    const client = new shop.Greeter(target, credentials.createInsecure(), meshChannelOptions(mesh)) as never as {
      greet(message: Message, done: (error: Error | null, reply?: Message) => void): void;
      close(): void;
    };
    const reply = await new Promise((resolve, reject) =>
      client.greet({ text: 'you' }, (error, answer) => (error ? reject(error) : resolve(answer))),
    );
    t.same(reply, { text: 'hello you' });
    client.close();
  }
  const strict = await meshed(t, [], { target: `unix:${path}`, snapshot: { outboundPolicy: 'REGISTRY_ONLY' } });
  t.match(await failure(strict.client.unary('x')), { code: status.UNAVAILABLE, details: /ERR_MESH_HOST_UNKNOWN/ });
});

t.test('credentials of calls travel over mTLS, and never in plaintext', async (t) => {
  const world = testMesh(t);
  const issued = world.authority.issue('spiffe://cluster.local/ns/shop/sa/greeter');
  const seen: { token: unknown; caller: unknown }[] = [];
  const secured = ServerCredentials.createSsl(
    Buffer.from(world.authority.rootPem),
    [{ cert_chain: Buffer.from(issued.certificateChainPem), private_key: Buffer.from(issued.privateKeyPem) }],
    true,
  );
  const handlers = {
    unary(call: Unary, answer: Answer) {
      const { sslPeerCertificate } = call.getAuthContext();
      seen.push({ token: call.metadata.get('authorization')[0], caller: sslPeerCertificate?.subjectaltname });
      answer(null, call.request);
    },
  };
  const port = await echoServer(t, handlers, {}, secured);
  world.write('greeter.yaml', greeterEntry(port));
  const mesh = await world.join('web');
  const token = credentials.createFromMetadataGenerator((_options, done) => {
    const metadata = new Metadata();
    metadata.set('authorization', 'Bearer s3cret');
    done(null, metadata);
  });
  const target = 'greeter.shop.svc.cluster.local:50051';
  const client = clientOf(t, mesh, target);
  t.equal(await client.unary('x'), 'x');
  t.equal(await client.unary('x', undefined, { credentials: token }), 'x');
  const all = clientOf(t, mesh, target, {}, credentials.combineChannelCredentials(meshCredentials(), token));
  t.equal(await all.unary('x'), 'x');
  const caller = 'URI:spiffe://cluster.local/ns/shop/sa/web';
  t.match(seen, [
    { token: undefined, caller },
    { token: 'Bearer s3cret', caller },
    { token: 'Bearer s3cret', caller },
  ]);

  const broken = credentials.createFromMetadataGenerator((_options, done) => done(new Error('no token today')));
  t.match(await failure(client.unary('x', undefined, { credentials: broken })), {
    code: status.UNAUTHENTICATED,
    details: /no token today/,
  });
  type Done = Parameters<Parameters<typeof credentials.createFromMetadataGenerator>[0]>[1];
  const failing: readonly (readonly [what: string, given: unknown, code: number])[] = [
    ['nothing at all', null, status.UNAUTHENTICATED],
    ['a text', 'no', status.UNAUTHENTICATED],
    ['a status of its own', { code: status.UNAVAILABLE, message: 'x' }, status.UNAVAILABLE],
    ['a status that says that all is well (gRFC A54)', { code: status.OK, message: 'x' }, status.INTERNAL],
    ['a status that only services have (gRFC A54)', { code: status.NOT_FOUND, message: 'x' }, status.INTERNAL],
    ['what is no status', { code: 99, message: 'x' }, status.INTERNAL],
  ];
  for (const [what, given, code] of failing) {
    const odd = credentials.createFromMetadataGenerator((_options, done: Done) => done(given as Error));
    t.match(await failure(client.unary('x', undefined, { credentials: odd })), { code }, what);
  }

  const open = await echoServer(t, handlers);
  const plain = await meshed(t, [open]);
  t.match(await failure(plain.client.unary('x', undefined, { credentials: token })), {
    code: status.UNAUTHENTICATED,
    details: /ERR_MESH_NOT_SECURE/,
  });
  t.match(await failure(clientOf(t, plain.mesh, `127.0.0.1:${open}`, {}, meshCredentials()).unary('x')), {
    code: status.UNAUTHENTICATED,
  });
  t.equal(seen.length, 3, 'nothing of it has arrived');
  t.throws(() => clientOf(t, plain.mesh, target, {}, credentials.createSsl()), {
    code: 'ERR_MESH_OPTION_INVALID',
    message: /createInsecure/,
  });
});

t.test('a server that ends a stream early ends it for the client, after what it has sent', async (t) => {
  let refused = 0;
  const port = await echoServer(t, {
    scatter(call: ServerWritableStream<Message, Message>) {
      for (const text of ['a', 'b', 'c']) call.write({ text });
      call.emit('error', { code: status.ABORTED, details: 'enough' });
    },
    chat(call: ServerDuplexStream<Message, Message>) {
      call.once('data', ({ text }: Message) => {
        refused++;
        if (text === 'stop') call.emit('error', { code: status.ABORTED, details: 'enough' });
        else call.end();
      });
    },
  });
  const { client } = await meshed(t, [port]);
  const got: string[] = [];
  const read = async (stream: AsyncIterable<Message>): Promise<void> => {
    for await (const { text } of stream) got.push(text);
  };
  t.match(await failure(read(client.scatter('x'))), { code: status.ABORTED, details: 'enough' });
  t.same(got, ['a', 'b', 'c']);
  for (const first of ['stop', 'end']) {
    const chat = client.chat();
    const over = new Promise<{ readonly code: number }>((resolve) => chat.on('status', resolve));
    chat.on('error', () => {});
    chat.resume();
    chat.write({ text: first });
    const large = 'x'.repeat(100_000);
    let written = 0;
    const write = (): void => {
      if (++written < 50) chat.write({ text: large }, write);
    };
    write();
    t.equal((await over).code, first === 'stop' ? status.ABORTED : status.OK);
    // Nobody is left waiting for room that will never be.
    await until(() => written === 50 || chat.destroyed);
  }
  t.equal(refused, 2);
});
