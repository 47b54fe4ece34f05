// grpc-go's own interoperability server, called by a client of grpc-js through the mesh: gRPC's
// cases for clients (doc/interop-test-descriptions.md), as far as the server plays them.
import { type Client, credentials, loadPackageDefinition, Metadata, status } from '@grpc/grpc-js';
import { meshChannelOptions } from '@inmesh/grpc';
import t, { type Test } from 'tap';
import { freePorts } from '../../support/free-ports.ts';
import { modelMesh } from '../../support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../../support/snapshot.ts';
import { goProgram, startPeer } from '../peers.ts';
import { testServiceDefinition } from './test-service.ts';

interface Stream extends AsyncIterable<{ readonly payload: { readonly body: Buffer } }> {
  write(message: object): boolean;
  end(): void;
  cancel(): void;
  once(event: string, listener: (given: never) => void): unknown;
}

type Done = (error: Error | null, reply?: never) => void;

interface TestClient extends Client {
  emptyCall(message: object, metadata: Metadata, options: object, done: Done): unknown;
  unaryCall(message: object, metadata: Metadata, options: object, done: Done): Stream;
  unimplementedCall(message: object, metadata: Metadata, options: object, done: Done): unknown;
  streamingInputCall(metadata: Metadata, options: object, done: Done): Stream;
  streamingOutputCall(message: object, metadata: Metadata, options: object): Stream;
  fullDuplexCall(metadata: Metadata, options: object): Stream;
}

type UnaryName = 'emptyCall' | 'unaryCall' | 'unimplementedCall';

async function start(t: Test, program: string) {
  const [port = 0] = await freePorts(1);
  await startPeer(t, program, [`--port=${port}`], { port });
  const service = cluster('testing', [endpoint(port)], { http2: 'always' });
  const mesh = await modelMesh(t, snapshot({ testing: [route(service.name)] }, [service]));
  const { grpc } = loadPackageDefinition(testServiceDefinition) as never as {
    grpc: { testing: { TestService: new (...args: ConstructorParameters<typeof Client>) => TestClient } };
  };
  const client = (options: object = {}): TestClient => {
    const made = new grpc.testing.TestService(
      'testing:80',
      credentials.createInsecure(),
      meshChannelOptions(mesh, options),
    );
    t.teardown(() => made.close());
    return made;
  };
  return { client };
}

function ask(
  client: TestClient,
  name: UnaryName,
  message: object,
  metadata = new Metadata(),
  options = {},
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    client[name](message, metadata, options, (error, reply) => (error === null ? resolve(reply) : reject(error)));
  });
}

const bytes = (count: number) => ({ body: Buffer.alloc(count) });
const sizes = [31_415, 9, 2_653, 58_979];

t.test('a gRPC server in Go is called through the mesh', async (t) => {
  const program = goProgram('grpc-interop', 'google.golang.org/grpc/interop/server@v1.85.0');
  if ('why' in program) {
    t.comment(`skipped, there is no peer here: ${program.why}`);
    return;
  }
  const { client: make } = await start(t, program.path);
  const client = make();

  await t.test('empty_unary, large_unary', async (t) => {
    t.same(await ask(client, 'emptyCall', {}), {});
    const reply = (await ask(client, 'unaryCall', { responseSize: 314_159, payload: bytes(271_828) })) as {
      payload: { body: Buffer };
    };
    t.equal(reply.payload.body.length, 314_159);
  });

  await t.test('a server without gzip says so', async (t) => {
    const zipping = make({ 'grpc.default_compression_algorithm': 2 });
    const message = { responseSize: 10_000, payload: bytes(271_828) };
    await t.rejects(ask(zipping, 'unaryCall', message), { code: status.UNIMPLEMENTED, details: /gzip/ });
  });

  await t.test('client_streaming', async (t) => {
    const reply = await new Promise((resolve, reject) => {
      const stream = client.streamingInputCall(new Metadata(), {}, (error, given) =>
        error === null ? resolve(given) : reject(error),
      );
      for (const size of [27_182, 8, 1_828, 45_904]) stream.write({ payload: bytes(size) });
      stream.end();
    });
    t.match(reply, { aggregatedPayloadSize: 74_922 });
  });

  await t.test('server_streaming', async (t) => {
    const got: number[] = [];
    const stream = client.streamingOutputCall(
      { responseParameters: sizes.map((size) => ({ size })) },
      new Metadata(),
      {},
    );
    for await (const { payload } of stream) got.push(payload.body.length);
    t.same(got, sizes);
  });

  await t.test('ping_pong, empty_stream', async (t) => {
    const stream = client.fullDuplexCall(new Metadata(), {});
    const got: number[] = [];
    const ask = (i: number) => stream.write({ responseParameters: [{ size: sizes[i] }], payload: bytes(100) });
    ask(0);
    for await (const { payload } of stream) {
      got.push(payload.body.length);
      if (got.length < sizes.length) ask(got.length);
      else stream.end();
    }
    t.same(got, sizes);
    const empty = client.fullDuplexCall(new Metadata(), {});
    empty.end();
    for await (const _ of empty) t.fail('there was nothing to answer');
  });

  await t.test('custom_metadata', async (t) => {
    const metadata = new Metadata();
    metadata.set('x-grpc-test-echo-initial', 'test_initial_metadata_value');
    metadata.set('x-grpc-test-echo-trailing-bin', Buffer.from([0xab, 0xab, 0xab]));
    const seen: unknown[] = [];
    await new Promise<void>((resolve, reject) => {
      const call = client.unaryCall(
        { responseSize: 1, payload: bytes(1) },
        metadata,
        {},
        (error) => error && reject(error),
      );
      call.once('metadata', (given: Metadata) => seen.push(given.get('x-grpc-test-echo-initial')));
      call.once('status', (given: { metadata: Metadata }) => {
        seen.push(given.metadata.get('x-grpc-test-echo-trailing-bin'));
        resolve();
      });
    });
    t.same(seen, [['test_initial_metadata_value'], [Buffer.from([0xab, 0xab, 0xab])]]);
  });

  await t.test('status_code_and_message, special_status_message, unimplemented_method', async (t) => {
    for (const message of [
      'test status message',
      '\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1f608}\t\n',
    ]) {
      const expected = { code: 2, details: message };
      await t.rejects(ask(client, 'unaryCall', { responseStatus: { code: 2, message } }), expected);
      const stream = client.fullDuplexCall(new Metadata(), {});
      stream.write({ responseStatus: { code: 2, message } });
      stream.end();
      await t.rejects(
        (async () => {
          for await (const _ of stream) t.fail('there was nothing to answer');
        })(),
        expected,
      );
    }
    await t.rejects(ask(client, 'unimplementedCall', {}), { code: status.UNIMPLEMENTED });
  });

  await t.test('cancel_after_first_response, timeout_on_sleeping_server, and a message that is too long', async (t) => {
    const stream = client.fullDuplexCall(new Metadata(), {});
    stream.write({ responseParameters: [{ size: 31_415 }], payload: bytes(27_182) });
    await t.rejects(
      (async () => {
        for await (const _ of stream) stream.cancel();
      })(),
      { code: status.CANCELLED },
    );
    const slow = client.fullDuplexCall(new Metadata(), { deadline: Date.now() + 50 });
    slow.write({ responseParameters: [{ size: 1, intervalUs: 5_000_000 }] });
    await t.rejects(
      (async () => {
        for await (const _ of slow) t.fail('that was too fast');
      })(),
      { code: status.DEADLINE_EXCEEDED },
    );
    const small = make({ 'grpc.max_receive_message_length': 10_000 });
    await t.rejects(ask(small, 'unaryCall', { responseSize: 314_159, payload: bytes(1) }), {
      code: status.RESOURCE_EXHAUSTED,
    });
  });
});
