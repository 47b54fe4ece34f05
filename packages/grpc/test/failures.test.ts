import { constants, type ServerHttp2Stream } from 'node:http2';
import { gzipSync } from 'node:zlib';
import { type Metadata, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import type { MeshErrorCode } from '../../../src/errors.ts';
import { MeshError } from '../../../src/errors.ts';
import { grpcStatusOfError } from '../../../src/lib/grpc-failure.ts';
import { frameServer } from '../../../test/support/http2-frames.ts';
import { http2Upstream } from '../../../test/support/http2-upstream.ts';
import { echoServer, failure, type Message, meshed, textsOf } from './support/echo.ts';

const noRetries = { attempts: 0, retryOn: [], retriableStatusCodes: [], backoffBaseMs: 1 } as const;

/** A client of a server that answers as the test says. */
async function against(t: Test, answer: (stream: ServerHttp2Stream) => void, options = {}) {
  const server = await http2Upstream(t, (stream) => {
    stream.resume();
    answer(stream);
  });
  const { client } = await meshed(t, [server.port], { route: { retry: noRetries }, options });
  return { client, server };
}

const grpc = { ':status': 200, 'content-type': 'application/grpc' } as const;

/** One message as it goes over the wire; `length` and `flag` may lie. */
function frame(text: string | Buffer, flag = 0, length?: number): Buffer {
  const bytes = Buffer.from(text as string);
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(length ?? bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

const good = frame('{"text":"good"}');

function respond(stream: ServerHttp2Stream, headers: object, trailers: object, body: Buffer = good): void {
  stream.respond({ ...grpc, ...headers }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers(trailers as never));
  stream.end(body);
}

t.test('how a call ends is what its trailers say, or a response of headers only', async (t) => {
  const cases: readonly [string, object, number, string | RegExp][] = [
    ['a text in UTF-8', { 'grpc-status': '5', 'grpc-message': 'no %C3%A4pples, 100%25' }, 5, 'no äpples, 100%'],
    ['a text that is badly encoded', { 'grpc-status': '5', 'grpc-message': '50% off %zz' }, 5, '50% off %zz'],
    ['no text', { 'grpc-status': '7' }, 7, ''],
    ['a code that nobody knows', { 'grpc-status': '77' }, 2, /77/],
    ['what is no code', { 'grpc-status': 'abc', 'grpc-message': 'odd' }, 2, 'odd'],
    ['a code that is negative', { 'grpc-status': '-1' }, 2, /-1/],
  ];
  for (const [name, fields, code, details] of cases) {
    for (const only of [false, true]) {
      const { client } = await against(t, (stream) => {
        if (only) stream.respond({ ...grpc, ...fields, extra: 'x' }, { endStream: true });
        else respond(stream, {}, { ...fields, extra: 'x' });
      });
      const failed = await failure(client.unary('x'));
      t.match(failed, { code, details }, `${name}${only ? ', headers only' : ''}`);
      t.same(failed.metadata.get('extra'), ['x']);
      t.same(failed.metadata.get('grpc-status'), []);
    }
  }
});

t.test('metadata that gRPC cannot carry is left out, and nobody reads it on stderr', async (t) => {
  const { client } = await against(t, (stream) => {
    respond(
      stream,
      { 'x-bad': 's\u00e9cret', 'x-good': 'yes', 'a-bin': 'AQ, Ag==' },
      { 'grpc-status': '5', 'x-odd': 'tab\there' },
    );
  });
  const said: unknown[] = [];
  const { error } = console;
  console.error = (...args) => void said.push(args);
  t.teardown(() => {
    console.error = error;
  });
  const first = new Promise<Metadata>((resolve) =>
    client
      .scatter('x')
      .on('error', () => {})
      .on('metadata', resolve),
  );
  const failed = await failure(client.unary('x'));
  const metadata = await first;
  t.same([metadata.get('x-bad'), metadata.get('x-good')], [[], ['yes']]);
  t.same(metadata.get('a-bin'), [Buffer.from([1]), Buffer.from([2])]);
  t.same([failed.code, failed.metadata.get('x-odd')], [5, []]);
  t.same(said, []);
});

t.test('a response that is none of gRPC has the status that its HTTP status stands for', async (t) => {
  const codes = {
    400: 13,
    401: 16,
    403: 7,
    404: 12,
    429: 14,
    500: 2,
    502: 14,
    503: 14,
    504: 14,
    418: 2,
    200: 2,
    302: 2,
  };
  for (const [given, code] of Object.entries(codes)) {
    const { client } = await against(t, (stream) => {
      stream.respond({ ':status': Number(given), 'content-type': 'text/html', 'x-inmesh-error': 'ERR_MESH_FORBIDDEN' });
      stream.end('<html>'.repeat(100));
    });
    t.match(await failure(client.unary('x')), { code, details: new RegExp(`${given}.*ERR_MESH_FORBIDDEN`) }, given);
  }
  const { client } = await against(t, (stream) => {
    stream.respond({ ':status': 503, 'grpc-status': '8', 'grpc-message': 'mine' }, { endStream: true });
  });
  t.match(await failure(client.unary('x')), { code: 8, details: 'mine' }, 'what gRPC says goes first');
});

t.test('a response that is none of gRPC, and has no end, keeps no stream', async (t) => {
  const closed: Promise<unknown>[] = [];
  const { client } = await against(t, (stream) => {
    closed.push(new Promise((resolve) => stream.on('close', resolve)));
    stream.respond({ ':status': 200, 'content-type': 'text/event-stream' });
    stream.write('data: 1');
  });
  const chat = client.chat();
  const ended = new Promise((resolve) => chat.on('error', resolve));
  chat.resume();
  chat.write({ text: 'x' });
  t.match(await ended, { code: status.UNKNOWN });
  t.match(await failure(client.unary('x')), { code: status.UNKNOWN });
  await Promise.all(closed);
  t.equal(closed.length, 2);
});

t.test('a status in the head of a response counts, whatever follows or does not, and keeps no stream', async (t) => {
  const closed: Promise<unknown>[] = [];
  for (const rest of [
    (stream: ServerHttp2Stream) => stream.write(Buffer.alloc(200_000)),
    (stream: ServerHttp2Stream) => stream.write(frame('{"text":"late"}')),
    () => {},
  ]) {
    const { client } = await against(t, (stream) => {
      closed.push(new Promise((resolve) => stream.on('close', resolve)));
      stream.on('error', () => {});
      stream.respond({ ...grpc, 'grpc-status': '5', 'grpc-message': 'mine' });
      rest(stream);
    });
    t.match(await failure(client.unary('x')), { code: 5, details: 'mine' });
  }
  await Promise.all(closed);
  t.equal(closed.length, 3);
});

t.test('a reset has the status that its code stands for, before and after the response has begun', async (t) => {
  const codes: Readonly<Record<string, readonly [number, number]>> = {
    NGHTTP2_PROTOCOL_ERROR: [13, 13],
    NGHTTP2_INTERNAL_ERROR: [13, 13],
    NGHTTP2_FLOW_CONTROL_ERROR: [13, 13],
    NGHTTP2_REFUSED_STREAM: [14, 14],
    NGHTTP2_CANCEL: [1, 1],
    NGHTTP2_ENHANCE_YOUR_CALM: [8, 8],
    NGHTTP2_INADEQUATE_SECURITY: [7, 7],
  };
  for (const [name, [before, after]] of Object.entries(codes)) {
    const code = constants[name as 'NGHTTP2_CANCEL'];
    const details = name === 'NGHTTP2_PROTOCOL_ERROR' ? /ERR_MESH_UPSTREAM_PROTOCOL/ : /ERR_MESH_STREAM_/;
    const early = await against(t, (stream) => stream.close(code));
    t.match(await failure(early.client.unary('x')), { code: before, details }, `${name} before`);
    // Frame by frame: node:http2 ends a body before it resets the stream.
    const late = await frameServer(t, (connection, stream) => {
      const type = 'application/grpc';
      const block = Buffer.concat([Buffer.from([0x88, 0x0f, 0x10, type.length]), Buffer.from(type)]);
      const head = Buffer.from([0, 0, block.length, 1, 4, 0, 0, 0, stream]);
      connection.socket.write(Buffer.concat([head, block]));
      connection.data(stream, good.toString('latin1'), 'open');
      connection.reset(stream, code);
    });
    const { client } = await meshed(t, [late.port], { route: { retry: noRetries } });
    t.match(await failure(client.unary('x')), { code: after, details }, `${name} after`);
  }
});

t.test('a response that ends too early is no good answer', async (t) => {
  const cases: readonly [string, (stream: ServerHttp2Stream) => void, number, RegExp][] = [
    ['without a status', (stream) => respond(stream, {}, {}), 13, /without a gRPC status/],
    [
      'in the middle of a message',
      (stream) => respond(stream, {}, { 'grpc-status': '0' }, good.subarray(0, 9)),
      13,
      /middle/,
    ],
    [
      'in the middle of a prefix',
      (stream) => respond(stream, {}, { 'grpc-status': '0' }, Buffer.concat([good, good.subarray(0, 3)])),
      13,
      /middle/,
    ],
    ['without a message', (stream) => respond(stream, {}, { 'grpc-status': '0' }, Buffer.alloc(0)), 12, /No message/],
    [
      'with two messages',
      (stream) => respond(stream, {}, { 'grpc-status': '0' }, Buffer.concat([good, good])),
      12,
      /Too many/,
    ],
    ['with a connection', (stream) => stream.session?.destroy(), 14, /ERR_MESH_UPSTREAM_RESET/],
  ];
  for (const [name, answer, code, details] of cases) {
    const { client } = await against(t, answer);
    t.match(await failure(client.unary('x')), { code, details }, name);
  }
});

t.test('a message that is too long or no message ends the call before anything is kept of it (H2-020)', async (t) => {
  const bomb = gzipSync(Buffer.alloc(8_000_000));
  const cases: readonly [string, object, Buffer, number, RegExp][] = [
    ['4 MiB and one byte, of which only the prefix comes', {}, frame('', 0, 4_194_305), 8, /4194305/],
    ['4 GiB', {}, frame('', 0, 0xff_ff_ff_ff), 8, /4294967295/],
    ['8 MB in 8 kB', { 'grpc-encoding': 'gzip' }, frame(bomb, 1), 8, /4194304/],
    ['a flag that nobody knows', {}, frame('{}', 7), 13, /begins with 7/],
    ['compressed, and it was not said how', {}, frame(bomb, 1), 13, /says it is not/],
    ['compressed in a way that we do not know', { 'grpc-encoding': 'br' }, frame(bomb, 1), 13, /not known/],
    ['compressed, and broken', { 'grpc-encoding': 'gzip' }, frame('xxxx', 1), 13, /inflate/],
  ];
  for (const [name, headers, body, code, details] of cases) {
    const { client, server } = await against(t, (stream) => {
      stream.respond({ ...grpc, ...headers });
      stream.write(body);
    });
    t.match(await failure(client.unary('x')), { code, details }, name);
    t.equal(server.open(), 1, 'the connection goes on');
  }
});

t.test('faults that are injected reach the caller as the status that they name', async (t) => {
  const port = await echoServer(t, {});
  const faults = [
    [{ status: 200, grpcStatus: 8, percent: 100 }, 8],
    [{ status: 503, percent: 100 }, 14],
    [{ status: 418, percent: 100 }, 2],
  ] as const;
  for (const [abort, code] of faults) {
    const { client } = await meshed(t, [port], { route: { fault: { level: 'call', abort } } });
    t.match(await failure(client.unary('x')), { code, details: 'fault filter abort' });
    t.match(await failure(textsOf(client.scatter('x'))), { code });
  }
});

t.test('what the mesh itself fails has the status and the code of it', async (t) => {
  const port = await echoServer(t, {
    unary: (_call: ServerUnaryCall<Message, Message>, _answer: sendUnaryData<Message>) => {},
  });
  const refusing = { outboundPolicy: 'REGISTRY_ONLY' } as const;
  const cases = [
    ['nobody there', await meshed(t, []), {}, 14, /ERR_MESH_NO_HEALTHY_ENDPOINT/],
    ['no connection', await meshed(t, [1], { route: { retry: noRetries } }), {}, 14, /ERR_MESH_CONNECT_FAILED/],
    [
      'the time of the route',
      await meshed(t, [port], { route: { timeoutMs: 20 } }),
      {},
      4,
      /ERR_MESH_TIMEOUT|Deadline exceeded/,
    ],
    ['the deadline', await meshed(t, [port]), { deadline: 30 }, 4, /eadline|ERR_MESH_TIMEOUT/],
    ['a deadline that has passed', await meshed(t, [port]), { deadline: -1 }, 4, /Deadline exceeded/],
    [
      'a deadline in the delay of a fault',
      await meshed(t, [port], { route: { fault: { level: 'call', delay: { delayMs: 60_000, percent: 100 } } } }),
      { deadline: 30 },
      4,
      /Deadline exceeded/,
    ],
    [
      'a host that is unknown',
      await meshed(t, [port], { target: 'nobody:80', snapshot: refusing }),
      {},
      14,
      /ERR_MESH_HOST_UNKNOWN/,
    ],
    [
      'no route',
      await meshed(t, [port], { route: { matches: [{ path: { kind: 'exact', value: '/x' } }] as never } }),
      {},
      12,
      /ERR_MESH_NO_ROUTE/,
    ],
  ] as const;
  for (const [name, { client }, { deadline = undefined } = {}, code, details] of cases as readonly (readonly [
    string,
    Awaited<ReturnType<typeof meshed>>,
    { readonly deadline?: number },
    number,
    RegExp,
  ])[]) {
    const options = deadline === undefined ? {} : { deadline: Date.now() + deadline };
    t.match(await failure(client.unary('x', undefined, options)), { code, details }, name);
  }
});

t.test('each failure of the mesh has a status of gRPC', async (t) => {
  const codes: Partial<Record<MeshErrorCode, status>> = {
    ERR_MESH_NO_HEALTHY_ENDPOINT: status.UNAVAILABLE,
    ERR_MESH_OVERFLOW: status.UNAVAILABLE,
    ERR_MESH_CIRCUIT_OPEN: status.UNAVAILABLE,
    ERR_MESH_CONNECT_FAILED: status.UNAVAILABLE,
    ERR_MESH_UPSTREAM_RESET: status.UNAVAILABLE,
    ERR_MESH_UPSTREAM_PROTOCOL: status.UNAVAILABLE,
    ERR_MESH_TIMEOUT: status.DEADLINE_EXCEEDED,
    ERR_MESH_TRY_TIMEOUT: status.DEADLINE_EXCEEDED,
    ERR_MESH_DEADLINE_EXPIRED: status.DEADLINE_EXCEEDED,
    ERR_MESH_NO_ROUTE: status.UNIMPLEMENTED,
    ERR_MESH_NOT_SECURE: status.UNAUTHENTICATED,
    ERR_MESH_RATE_LIMITED: status.RESOURCE_EXHAUSTED,
    ERR_MESH_FORBIDDEN: status.PERMISSION_DENIED,
    ERR_MESH_CONFIG_INVALID: status.UNKNOWN,
  };
  for (const [code, expected] of Object.entries(codes)) {
    t.equal(grpcStatusOfError(new MeshError(code as MeshErrorCode, 'x')), expected, code);
  }
});
