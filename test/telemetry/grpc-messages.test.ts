import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, request as request1 } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { peekBody } from '../../src/ext-authz/request-body.ts';
import { CallMessages, countRequest, MessageReader } from '../../src/pipeline/call-messages.ts';
import { http2Request, http2Session } from '../support/http2-client.ts';
import type { TestPipeline } from '../support/inbound.ts';
import { inboundSnapshot, testInbound, testPipeline } from '../support/inbound.ts';
import { until } from '../support/upstream.ts';

const message = (length: number, compressed = false): Buffer => {
  const bytes = Buffer.alloc(5 + length, 1);
  bytes.writeUInt8(compressed ? 1 : 0);
  bytes.writeUInt32BE(length, 1);
  return bytes;
};

t.test('a message counts once, however many are in a piece and however many pieces one is in', async () => {
  const messages = fc.array(fc.record({ length: fc.nat(40), compressed: fc.boolean() }), { maxLength: 30 });
  fc.assert(
    fc.property(messages, fc.array(fc.nat(60)), (all, cuts) => {
      const sent = Buffer.concat(all.map(({ compressed, length }) => message(length, compressed)));
      const reader = new MessageReader();
      let at = 0;
      for (const cut of cuts) {
        reader.read(sent.subarray(at, at + cut));
        at += cut;
      }
      reader.read(sent.subarray(Math.min(at, sent.length)));
      return reader.count === all.length;
    }),
  );
});

t.test('a message has begun with its first byte, and its length is of four bytes', async (t) => {
  const reader = new MessageReader();
  reader.read(Buffer.from([0]));
  t.equal(reader.count, 1);
  // 4 GiB less one byte: nothing in it is another one.
  reader.read(Buffer.from([255, 255, 255, 255]));
  for (let i = 0; i < 9; i++) reader.read(Buffer.alloc(70_000));
  t.equal(reader.count, 1);
});

t.test('messages are told once: those of a request that is sent again, and those told while it runs', async (t) => {
  const told: string[] = [];
  const sink = { countMessages: (...counts: number[]) => void told.push(counts.join()) };
  const messages = new CallMessages<string>((call) => (call === 'here' ? sink : undefined));
  messages.restart();
  messages.readRequest(Buffer.concat([message(3), message(0)]));
  messages.begin('nowhere yet');
  t.same(told, []);
  messages.restart();
  messages.readRequest(message(3));
  messages.answered(200, 'application/grpc+proto');
  messages.readResponse(message(9).subarray(0, 7));
  messages.begin('here');
  messages.readRequest(message(0));
  messages.readRequest(message(1));
  messages.readResponse(message(9).subarray(7));
  messages.tell(sink);
  t.same(told, ['1,1', '1,0', '1,0']);
});

t.test('what answers with HTTP only has no messages', async (t) => {
  for (const [status, type] of [
    [503, 'application/grpc'],
    [200, 'text/html'],
    [200, 'application/grpc-web'],
    [200, undefined],
  ] as const) {
    const messages = new CallMessages<undefined>(() => undefined);
    messages.answered(status, type);
    messages.readResponse(message(1));
    messages.tell({ countMessages: () => t.fail(`${status} ${type}`) });
  }
});

t.test('messages that an authorizer is shown first count once, and so do those after it', async (t) => {
  const request = Object.assign(new PassThrough(), { headers: {}, httpVersionMajor: 2 }) as unknown as IncomingMessage;
  const told: number[] = [];
  const messages = new CallMessages<undefined>(() => undefined);
  request.push(message(2));
  countRequest(messages, request);
  const shown = peekBody(request, { allowPartial: true, asBytes: true, maxBytes: 20 });
  request.push(Buffer.concat([message(3), message(30)]));
  t.equal((await shown).partial, true);
  request.push(message(0));
  messages.tell({ countMessages: (requests) => void told.push(requests) });
  t.same(told, [4]);
});

/** How requests come to an application that serves gRPC over HTTP itself. */
const servers: Readonly<Record<string, (t: Test, app: RequestListener) => Promise<TestPipeline & { port: number }>>> = {
  async 'the acceptor'(t, app) {
    const inbound = await testInbound(app);
    t.teardown(() => inbound.acceptor.close());
    return inbound;
  },
  async 'a server of HTTP/1 of its own'(t, app) {
    const parts = testPipeline();
    const server = createServer((request, response) => {
      parts.pipeline.handle(request, response, () => app(request, response));
    });
    t.teardown(() => void server.close().closeAllConnections());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return { ...parts, port: (server.address() as AddressInfo).port };
  },
  async 'a server of HTTP/2 of its own'(t, app) {
    const parts = testPipeline();
    const server = createHttp2Server((request, response) => {
      const [asked, answer] = [request as never, response as never];
      parts.pipeline.handle(asked, answer, () => app(asked, answer));
    });
    t.teardown(() => void server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return { ...parts, port: (server.address() as AddressInfo).port };
  },
};

/** A request with a body, in as many pieces as it has; resolves when it is answered. */
function post(port: number, http1: boolean, type: string, pieces: readonly Buffer[]): Promise<unknown> {
  if (!http1) {
    const session = http2Session(port);
    const headers = { ':method': 'POST', ':path': '/a.B/C', 'content-type': type, te: 'trailers' };
    return http2Request(session, headers, Buffer.concat(pieces)).finally(() => session.destroy());
  }
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': type };
    const sent = request1({ port, host: '127.0.0.1', method: 'POST', path: '/a.B/C', headers, agent: false });
    sent.on('response', (response) => response.resume().on('close', resolve)).on('error', reject);
    for (const piece of pieces) sent.write(piece);
    sent.end();
  });
}

for (const [name, serve] of Object.entries(servers)) {
  const http1 = name.includes('HTTP/1');
  t.test(`messages count that an application serves over HTTP: ${name}`, async (t) => {
    const app: RequestListener = (request, response) => {
      request.resume().on('end', () => {
        const [first, second] = [message(20), message(4, true)];
        response.writeHead(200, { 'content-type': request.headers['content-type'] });
        response.write(Buffer.concat([first, second.subarray(0, 3)]));
        response.write(second.subarray(3).toString('latin1'), 'latin1');
        response.end(message(0));
      });
    };
    const { metrics, port, use } = await serve(t, app);
    const counted = () =>
      metrics.snapshot().map((each) => [each.requests, each.requestMessages, each.responseMessages]);
    const big = message(100_000);
    await post(port, http1, 'application/grpc', [big.subarray(0, 3), big.subarray(3), Buffer.concat([big, big])]);
    await until(() => metrics.snapshot()[0]?.requests === 1);
    t.same(counted(), [[1, 3, 3]]);
    // Not gRPC: the same bytes are no messages.
    await post(port, http1, 'application/grpc-web+proto', [message(2)]);
    await until(() => metrics.snapshot()[0]?.requests === 2);
    t.same(counted(), [[2, 3, 3]]);
    // Refused: the application has not been given any.
    const provenance = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'nobody' };
    use(inboundSnapshot({ authorization: [{ action: 'ALLOW', rules: [], provenance }] }));
    await post(port, http1, 'application/grpc', [message(2)]).catch(() => {});
    await until(() => metrics.snapshot()[0]?.requests === 3);
    t.same(counted(), [[3, 3, 3]]);
  });
}
