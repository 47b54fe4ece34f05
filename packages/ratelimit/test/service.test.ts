import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { grpcRateLimitService } from '../src/index.ts';
import { readResponse, writeRequest } from '../src/messages.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

t.test('a question has the bytes that Envoy sends', async (t) => {
  const bytes = writeRequest({
    domain: 'shop',
    descriptors: [
      [{ key: 'k', value: 'v' }],
      [
        { key: 'a', value: '' },
        { key: 'b', value: 'é' },
      ],
    ],
  });
  // domain = 1, descriptors = 2, of entries = 1, of key = 1 and value = 2
  t.equal(bytes.toString('hex'), '0a0473686f7012080a060a016b12017612100a050a016112000a070a01621202c3a9');
});

t.test('an answer is read, whatever else is in it', async (t) => {
  // overall_code OVER_LIMIT; a status with current_limit { requests_per_unit 10, unit MINUTE }, limit_remaining 3,
  // duration_until_reset 1.5 s; a header for the caller, one for the application; field 15 is of a later version.
  const text = '0802121408021204080a10021803220808011080cab5ee011a070a01781202793422080a01791a03e97a317a0161';
  const answer = readResponse(hex(text));
  t.same(answer, {
    code: 'OVER_LIMIT',
    statuses: [{ code: 'OVER_LIMIT', limit: 10, remaining: 3, resetMs: 1_500 }],
    responseHeaders: [['x', 'y4']],
    requestHeaders: [['y', 'éz1']],
  });
  t.same(readResponse(hex('')), { code: 'UNKNOWN', statuses: [], responseHeaders: [], requestHeaders: [] });
  t.throws(() => readResponse(hex('0a')));
});

interface Answering {
  readonly service: string;
  readonly asked: Buffer[];
}

/** A real gRPC server that answers with these bytes. */
async function serve(t: Test, answer: () => Buffer | undefined): Promise<Answering> {
  const asked: Buffer[] = [];
  const server = new Server();
  const path = '/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit';
  const raw = (value: Buffer): Buffer => value;
  server.addService(
    {
      shouldRateLimit: {
        path,
        requestStream: false,
        responseStream: false,
        requestSerialize: raw,
        requestDeserialize: raw,
        responseSerialize: raw,
        responseDeserialize: raw,
      },
    },
    {
      shouldRateLimit: (call: { request: Buffer }, done: (error: object | null, value?: Buffer) => void) => {
        asked.push(call.request);
        const bytes = answer();
        if (bytes === undefined) done({ code: status.UNAVAILABLE, details: 'not now' });
        else if (bytes.length > 0) done(null, bytes);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  t.teardown(() => server.forceShutdown());
  return { service: `127.0.0.1:${port}`, asked };
}

function answerOf(code: number, statuses: readonly (readonly [limit: number, remaining: number])[] = []): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int32(code);
  for (const [limit, remaining] of statuses) {
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.Varint).int32(1);
    writer.tag(2, WireType.LengthDelimited).fork().tag(1, WireType.Varint).uint32(limit).join();
    writer.tag(3, WireType.Varint).uint32(remaining);
    writer.join();
  }
  return Buffer.from(writer.finish());
}

t.test('a service is asked over gRPC', async (t) => {
  let answer = answerOf(1, [
    [10, 7],
    [5, 2],
  ]);
  const { asked, service } = await serve(t, () => answer);
  const limits = grpcRateLimitService();
  t.teardown(() => limits.close?.());
  const question = { service, domain: 'shop', descriptors: [[{ key: 'k', value: 'v' }]], timeoutMs: 5_000 };
  t.same(await limits.shouldRateLimit(question), {
    limited: false,
    state: { limit: 5, remaining: 2, resetMs: 0 },
    responseHeaders: [],
    requestHeaders: [],
  });
  const reader = new BinaryReader(asked[0] as Buffer);
  t.same([reader.tag()[0], reader.string()], [1, 'shop']);
  answer = answerOf(2);
  t.same(await limits.shouldRateLimit(question), { limited: true, responseHeaders: [], requestHeaders: [] });
  answer = answerOf(0);
  t.match(await limits.shouldRateLimit(question), { limited: false }, 'as in Envoy');
});

t.test('headers that HTTP cannot carry are left out', async (t) => {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int32(1);
  for (const [name, value] of [
    ['x-good', '1'],
    ['x bad', '1'],
    ['x-worse', 'a\r\nb: c'],
  ] as const) {
    writer.tag(3, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(name).tag(2, WireType.LengthDelimited).string(value).join();
  }
  const bytes = Buffer.from(writer.finish());
  const { service } = await serve(t, () => bytes);
  const limits = grpcRateLimitService();
  t.teardown(() => limits.close?.());
  const verdict = await limits.shouldRateLimit({ service, domain: 'd', descriptors: [], timeoutMs: 5_000 });
  t.same(verdict.responseHeaders, [['x-good', '1']]);
});

t.test('no answer, a late one and an error all reject', async (t) => {
  const failing = await serve(t, () => undefined);
  const silent = await serve(t, () => Buffer.alloc(0));
  const limits = grpcRateLimitService();
  const ask = (service: string, timeoutMs: number) =>
    limits.shouldRateLimit({ service, domain: 'd', descriptors: [], timeoutMs });
  await t.rejects(ask(failing.service, 5_000), { code: status.UNAVAILABLE });
  await t.rejects(ask(silent.service, 50), { code: status.DEADLINE_EXCEEDED });
  await t.rejects(ask('127.0.0.1:1', 5_000), { code: status.UNAVAILABLE });
  limits.close?.();
  await t.rejects(ask(failing.service, 50), { code: 'ERR_MESH_CLOSED' });
});
