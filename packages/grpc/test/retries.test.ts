import {
  Metadata,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import type { RetryOn } from '../../../src/model/route.ts';
import { RetryThrottleBucket } from '../../../src/retry/throttle.ts';
import { echoServer, failure, type Message, meshed, textsOf } from './support/echo.ts';

type Unary = ServerUnaryCall<Message, Message>;
type Answer = sendUnaryData<Message>;

/** Fails the first calls with this status, headers only, and counts all. */
async function failing(t: Test, code: status, times: number, metadata?: () => Metadata) {
  const seen: Metadata[] = [];
  const port = await echoServer(t, {
    unary(call: Unary, answer: Answer) {
      seen.push(call.metadata);
      if (seen.length > times) answer(null, call.request);
      else answer({ code, details: 'not now', ...(metadata === undefined ? {} : { metadata: metadata() }) });
    },
  });
  return { port, seen };
}

const policy = (...retryOn: RetryOn[]) => ({ attempts: 3, retryOn, retriableStatusCodes: [], backoffBaseMs: 1 });
const unlimited = { retryBudget: 'off' } as const;

t.test("Envoy's words for statuses of gRPC repeat just those", async (t) => {
  const words = {
    cancelled: status.CANCELLED,
    'deadline-exceeded': status.DEADLINE_EXCEEDED,
    internal: status.INTERNAL,
    'resource-exhausted': status.RESOURCE_EXHAUSTED,
    unavailable: status.UNAVAILABLE,
  } as const;
  for (const [word, code] of Object.entries(words)) {
    for (const other of [status.UNKNOWN, code]) {
      const { port, seen } = await failing(t, other, 2);
      const { client } = await meshed(t, [port], { route: { retry: policy(word as RetryOn) } });
      if (other === code) t.equal(await client.unary('x'), 'x', word);
      else t.match(await failure(client.unary('x')), { code: other, details: 'not now' }, `${word}, and it is not`);
      t.equal(seen.length, other === code ? 3 : 1);
      t.same(
        seen.map((metadata) => metadata.get('grpc-previous-rpc-attempts')),
        [[], ['1'], ['2']].slice(0, seen.length),
      );
    }
  }
});

t.test('a call whose response has begun is not repeated, however it ends', async (t) => {
  let calls = 0;
  const port = await echoServer(t, {
    unary(call: Unary, answer: Answer) {
      calls++;
      call.sendMetadata(new Metadata());
      setImmediate(() => answer({ code: status.UNAVAILABLE, details: 'after all' }));
    },
    scatter(call: ServerWritableStream<Message, Message>) {
      calls++;
      call.write({ text: 'one' });
      setImmediate(() => call.emit('error', { code: status.UNAVAILABLE, details: 'after one' }));
    },
  });
  const { client } = await meshed(t, [port], { route: { retry: policy('unavailable') } });
  t.match(await failure(client.unary('x')), { code: status.UNAVAILABLE, details: 'after all' });
  t.match(await failure(textsOf(client.scatter('x'))), { code: status.UNAVAILABLE, details: 'after one' });
  t.equal(calls, 2);
});

t.test('a stream of messages is sent again as far as 64 KiB of it were kept', async (t) => {
  for (const [kib, expected] of [
    [40, 'ok'],
    [80, 'failed'],
  ] as const) {
    let calls = 0;
    const port = await echoServer(t, {
      gather(call: ServerReadableStream<Message, Message>, answer: Answer) {
        const number = ++calls;
        // Once all of it has arrived.
        void textsOf(call).then((texts) => {
          if (number === 1) answer({ code: status.UNAVAILABLE, details: 'not now' });
          else answer(null, { text: String(texts.join('').length) });
        });
      },
    });
    const { client } = await meshed(t, [port], { route: { retry: policy('unavailable') } });
    const { call, reply } = client.gather();
    for (let i = 0; i < kib / 10; i++) call.write({ text: 'x'.repeat(10_240) });
    call.end();
    if (expected === 'ok') t.equal(await reply, String(kib * 1_024));
    else t.match(await failure(reply), { code: status.UNAVAILABLE });
    t.equal(calls, expected === 'ok' ? 2 : 1);
  }
});

t.test('grpc-retry-pushback-ms of a server is obeyed: -1 is no retry (ABUSE-005)', async (t) => {
  const config = serviceConfig({ maxAttempts: 4 });
  for (const [text, tries] of [
    ['-1', 1],
    ['', 1],
    ['soon', 1],
    ['999999999999999999', 1],
    ['0', 4],
    ['1', 4],
  ] as const) {
    for (const options of [{}, { 'grpc.service_config': config }]) {
      const pushback = () => {
        const metadata = new Metadata();
        metadata.set('grpc-retry-pushback-ms', text);
        return metadata;
      };
      const { port, seen } = await failing(t, status.UNAVAILABLE, 100, pushback);
      const own = 'grpc.service_config' in options ? {} : { route: { retry: policy('unavailable') } };
      const { client } = await meshed(t, [port], { ...own, options, mesh: unlimited });
      t.match(await failure(client.unary('x')), { code: status.UNAVAILABLE }, text);
      t.equal(seen.length, tries, JSON.stringify(text));
    }
  }
});

function serviceConfig(changes: object = {}, more: object = {}): string {
  const retryPolicy = {
    maxAttempts: 3,
    initialBackoff: '0.001s',
    maxBackoff: '0.002s',
    backoffMultiplier: 2,
    retryableStatusCodes: ['UNAVAILABLE', 10],
    ...changes,
  };
  return JSON.stringify({ methodConfig: [{ name: [{ service: 'test.Echo' }], retryPolicy }], ...more });
}

t.test("a client's service config holds where an operator has said nothing of retries", async (t) => {
  const cases = [
    ['with a code that no word names', status.ABORTED, {}, {}, 3],
    ['with one that it does not name', status.INTERNAL, {}, {}, 1],
    ['where the route has retries', status.ABORTED, { retry: policy('unavailable') }, {}, 1],
    ['where the route has none by intent', status.ABORTED, { retry: undefined }, {}, 1],
    ['where the client does without', status.ABORTED, {}, { 'grpc.enable_retries': 0 }, 1],
    [
      'with more tries than gRPC makes',
      status.ABORTED,
      {},
      { 'grpc.service_config': serviceConfig({ maxAttempts: 9 }) },
      5,
    ],
  ] as const;
  for (const [name, code, route, options, tries] of cases) {
    const { port, seen } = await failing(t, code, 100);
    const all = { 'grpc.service_config': serviceConfig(), ...options };
    const { client } = await meshed(t, [port], { route: route as object, options: all, mesh: unlimited });
    t.match(await failure(client.unary('x')), { code }, name);
    t.equal(seen.length, tries, name);
  }
  const down = await failing(t, status.OK, 0);
  const { client } = await meshed(t, [1, down.port], {
    options: { 'grpc.service_config': serviceConfig() },
    mesh: unlimited,
    cluster: { balance: 'ROUND_ROBIN', http2: 'always' },
  });
  for (let i = 0; i < 4; i++) t.equal(await client.unary('x'), 'x', 'who cannot be reached is UNAVAILABLE');
});

t.test('retry throttling stops retries at half of the tokens (POL-06)', async (t) => {
  const bucket = new RetryThrottleBucket({ maxTokens: 10, tokenRatio: 0.1 });
  const trace: [boolean, number][] = [];
  for (let i = 0; i < 6; i++) trace.push([bucket.failed(), bucket.tokens]);
  t.same(trace, [
    [true, 9],
    [true, 8],
    [true, 7],
    [true, 6],
    [false, 5],
    [false, 4],
  ]);
  for (let i = 0; i < 20; i++) bucket.succeeded();
  t.equal(bucket.tokens, 6, 'twenty good calls pay for two');
  t.equal(bucket.failed(), false, 'five are half of ten');
  for (let i = 0; i < 11; i++) bucket.succeeded();
  t.equal(bucket.tokens, 6.1);
  t.equal(bucket.failed(), true, 'and 5.1 are more');
  for (let i = 0; i < 1_000; i++) bucket.succeeded();
  t.equal(bucket.tokens, 10, 'never more than all');
  for (let i = 0; i < 20; i++) bucket.failed();
  t.equal(bucket.tokens, 0, 'never less than none');

  // The same over the wire: 3 tries, then 2, then one each.
  let broken = true;
  let calls = 0;
  const port = await echoServer(t, {
    unary(call: Unary, answer: Answer) {
      calls++;
      if (broken) answer({ code: status.UNAVAILABLE, details: 'broken' });
      else answer(null, call.request);
    },
  });
  const config = serviceConfig({}, { retryThrottling: { maxTokens: 10, tokenRatio: 0.1 } });
  const { client } = await meshed(t, [port], { options: { 'grpc.service_config': config }, mesh: unlimited });
  const triesOf = async (call: () => Promise<unknown>): Promise<number> => {
    const before = calls;
    await call().catch(() => {});
    return calls - before;
  };
  const tries: number[] = [];
  for (let i = 0; i < 5; i++) tries.push(await triesOf(() => client.unary('x')));
  // Tokens: 9, 8, 7 | 6, 5 | 4 | 3 | 2.
  t.same(tries, [3, 2, 1, 1, 1]);
  broken = false;
  for (let i = 0; i < 41; i++) await client.unary('x');
  broken = true;
  // 2 and 41 tenths are 6.1: 5.1, then 4.1.
  t.equal(await triesOf(() => client.unary('x')), 2);
});

t.test('fields of a service config that have no effect in a mesh are said', async (t) => {
  const port = await echoServer(t, {});
  const warned = new Promise<Error>((resolve) => process.once('warning', resolve));
  const config = serviceConfig({}, { loadBalancingConfig: [{ round_robin: {} }] });
  await meshed(t, [port], { options: { 'grpc.service_config': config } });
  t.match(await warned, { message: /greeter:80.*loadBalancingConfig/, code: 'INMESH_SERVICE_CONFIG' });
});
