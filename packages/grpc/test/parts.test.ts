import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { userAgent } from '../src/client/channel-settings.ts';
import { FramingError, frameMessage, MessageReader, type RawMessage } from '../src/client/framing.ts';
import { readServiceConfig } from '../src/client/service-config.ts';
import { decodeMessage } from '../src/client/status.ts';
import { parseTarget } from '../src/client/target.ts';

t.test('messages come out as they went in, wherever the pieces are cut', async () => {
  const message = fc.record({ compressed: fc.boolean(), bytes: fc.uint8Array({ maxLength: 300 }) });
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      (sent, sizes) => {
        const wire = Buffer.concat(sent.map(({ bytes, compressed }) => frameMessage(bytes, compressed)));
        const reader = new MessageReader(300);
        const got: RawMessage[] = [];
        for (let at = 0, i = 0; at < wire.length; i++) {
          const size = sizes[i % sizes.length] as number;
          reader.push(wire.subarray(at, at + size), got);
          at += size;
        }
        return (
          !reader.partial &&
          got.length === sent.length &&
          got.every(({ bytes, compressed }, i) => compressed === sent[i]?.compressed && bytes.equals(sent[i].bytes))
        );
      },
    ),
  );
});

t.test('no piece of anything makes a reader keep more than has arrived, or throw what is no FramingError', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 50 })), (pieces) => {
      const reader = new MessageReader(1_000);
      const got: RawMessage[] = [];
      try {
        for (const piece of pieces) reader.push(Buffer.from(piece), got);
      } catch (error) {
        if (!(error instanceof FramingError)) return false;
      }
      const arrived = pieces.reduce((sum, { length }) => sum + length, 0);
      return got.reduce((sum, { bytes }) => sum + bytes.length + 5, 0) <= arrived;
    }),
  );
});

t.test('a message that comes in crumbs costs little more than its bytes', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const bytes = Buffer.alloc(200_000, 7);
  const wire = frameMessage(bytes, false);
  const reader = new MessageReader(1_000_000);
  const got: RawMessage[] = [];
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let at = 0; at < wire.length - 1; at++) reader.push(wire.subarray(at, at + 1), got);
  collect();
  t.ok(process.memoryUsage().heapUsed - before < 4_000_000, 'a buffer for each byte would be twenty');
  reader.push(wire.subarray(-1), got);
  t.ok(got[0]?.bytes.equals(bytes));
  t.notOk(reader.partial);
});

t.test('targets in the words of gRPC', async (t) => {
  const good = {
    'greeter:50051': ['http://greeter:50051', 'greeter:50051'],
    greeter: ['http://greeter:443', 'greeter'],
    'dns:50051': ['http://dns:50051', 'dns:50051'],
    'dns:greeter:50051': ['http://greeter:50051', 'greeter:50051'],
    'dns:///greeter:50051': ['http://greeter:50051', 'greeter:50051'],
    'xds:///greeter.shop:80': ['http://greeter.shop', 'greeter.shop:80'],
    'passthrough:///10.0.0.7:50051': ['http://10.0.0.7:50051', '10.0.0.7:50051'],
    'ipv4:10.0.0.7:50051': ['http://10.0.0.7:50051', '10.0.0.7:50051'],
    'ipv6:[::1]:50051': ['http://[::1]:50051', '[::1]:50051'],
    '::1': ['http://[::1]:443', '[::1]'],
    'unix:/run/a.sock': ['http://localhost', 'localhost', '/run/a.sock'],
    'unix:///run/a.sock': ['http://localhost', 'localhost', '/run/a.sock'],
    'unix:a.sock': ['http://localhost', 'localhost', 'a.sock'],
    'unix-abstract:a': ['http://localhost', 'localhost', '@a'],
  };
  for (const [text, [origin, authority, socketPath]] of Object.entries(good)) {
    t.match(parseTarget(text), { origin, authority, socketPath }, text);
  }
  for (const text of [
    '',
    'dns:',
    'dns:///',
    'dns://8.8.8.8/greeter:1',
    'dns://x',
    'unix:',
    'ipv4:1.2.3.4:1,5.6.7.8:1',
    'a/b:1',
    'a@b:1',
    'greeter:99999',
    'https://greeter:1',
  ]) {
    t.throws(() => parseTarget(text), { code: 'ERR_MESH_OPTION_INVALID' }, text);
  }
});

t.test('texts of a status are decoded as far as they can be', async (t) => {
  for (const [text, decoded] of Object.entries({
    plain: 'plain',
    'a%20b': 'a b',
    '%E2%82%AC': '€',
    '%': '%',
    '%4': '%4',
    '%zz%41': '%zzA',
    '%FF': '\ufffd',
  })) {
    t.equal(decodeMessage(text), decoded, text);
  }
});

t.test('a service config is read, or refused with the field that is wrong', async (t) => {
  const retryPolicy = {
    maxAttempts: 3,
    initialBackoff: '0.1s',
    maxBackoff: '1s',
    backoffMultiplier: 2,
    retryableStatusCodes: ['UNAVAILABLE', 'aborted', 8],
  };
  const config = readServiceConfig(
    JSON.stringify({
      loadBalancingConfig: [{ round_robin: {} }],
      methodConfig: [
        { name: [{ service: 'a.B', method: 'C' }], timeout: '1.5s', waitForReady: true },
        { name: [{ service: 'a.B' }], retryPolicy, hedgingPolicy: {} },
        { name: [{}], timeout: { seconds: 2, nanos: 500_000_000 }, maxRequestBytes: 5 },
      ],
    }),
    true,
  );
  t.match(config.policyOf('/a.B/C'), { timeoutMs: 1_500, waitForReady: true, retry: undefined });
  t.match(config.policyOf('/a.B/D')?.retry, { maxAttempts: 3, initialBackoffMs: 100, maxBackoffMs: 1_000 });
  t.same([...(config.policyOf('/a.B/D')?.retry?.retryableStatusCodes ?? [])], [14, 10, 8]);
  t.match(config.policyOf('/x.Y/Z'), { timeoutMs: 2_500, maxRequestBytes: 5 });
  t.same(config.ignored, ['loadBalancingConfig', 'methodConfig[1].hedgingPolicy']);
  const wrong: readonly [unknown, RegExp][] = [
    [{ methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, maxAttempts: 1 } }] }, /maxAttempts/],
    [
      { methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, initialBackoff: '0s' } }] },
      /initialBackoff.*above/,
    ],
    [{ methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, maxBackoff: 5 } }] }, /maxBackoff.*is 5/],
    [{ methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, backoffMultiplier: 0 } }] }, /backoffMultiplier/],
    [{ methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, retryableStatusCodes: [] } }] }, /empty/],
    [{ methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, retryableStatusCodes: ['OK'] } }] }, /"OK"/],
    [{ methodConfig: [{ name: [{}] }, { name: [{}] }] }, /once/],
    [{ methodConfig: [{ name: [{ method: 'C' }] }] }, /without its service/],
    [{ methodConfig: {} }, /list/],
    [{ retryThrottling: { maxTokens: 2_000, tokenRatio: 1 } }, /maxTokens/],
    [{ retryThrottling: { maxTokens: 10, tokenRatio: 0 } }, /tokenRatio/],
    [[], /object/],
  ];
  for (const [given, message] of wrong) {
    t.throws(
      () => readServiceConfig(JSON.stringify(given), true),
      { code: 'ERR_MESH_OPTION_INVALID', message },
      String(message),
    );
  }
  t.throws(() => readServiceConfig('{', true), /JSON/);
});

t.test('the user agent has the version of the package', async (t) => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  t.ok(userAgent.endsWith(`/${version}`));
});
