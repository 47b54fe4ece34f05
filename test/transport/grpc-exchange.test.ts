import { EventEmitter } from 'node:events';
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import t from 'tap';
import { beforeHead } from '../../src/pipeline/before-head.ts';
import { GrpcResponse } from '../../src/transport/grpc-exchange.ts';
import { fakeClock } from '../support/fake-clock.ts';

/** A stream as far as a response knows it; like that of Node it refuses some headers. */
class TestStream extends EventEmitter {
  sentHeaders: OutgoingHttpHeaders | undefined;
  closedWith: number | undefined;
  readonly closed = false;
  readonly destroyed = false;
  get headersSent(): boolean {
    return this.sentHeaders !== undefined;
  }
  respond(headers: OutgoingHttpHeaders): void {
    if ('connection' in headers || Array.isArray(headers['content-type'])) throw new Error('ERR_HTTP2');
    this.sentHeaders = headers;
  }
  close(code: number): void {
    this.closedWith = code;
  }
}

function made(): { readonly stream: TestStream; readonly response: GrpcResponse } {
  const stream = new TestStream();
  return { stream, response: new GrpcResponse(stream as unknown as ServerHttp2Stream, fakeClock()) };
}

t.test('what filters have set goes along with the head of the application, whose word counts', async (t) => {
  const { response, stream } = made();
  response.setHeader('X-Before', '1').setHeader('x-both', 'mesh').setHeader('Connection', 'close');
  beforeHead(response as never, () => {
    response.setHeader('x-edit', response.hasHeader('x-both') ? 'saw it' : '');
    response.appendHeader('vary', 'origin');
  });
  response.handOver();
  response.setHeader('x-late', '2');
  stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'x-both': 'application', vary: 'a' });
  t.same(
    { ...stream.sentHeaders },
    {
      ':status': 200,
      'content-type': 'application/grpc',
      'x-before': '1',
      'x-both': 'application',
      'x-edit': 'saw it',
      'x-late': '2',
      vary: ['a', 'origin'],
    },
  );
  t.equal(response.getHeader('x-both'), 'application');
  t.equal(response.statusCode, 200);
});

t.test('whatever a refusal would be for HTTP, it is a head with a status of gRPC', async (t) => {
  const { response, stream } = made();
  response.statusCode = 429;
  response.setHeader('content-length', 4).setHeader('content-type', 'application/json').end('wait');
  t.same(
    { ...stream.sentHeaders },
    { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '14', 'grpc-message': 'wait' },
  );
  t.equal(response.grpcStatus, 14);

  const broken = made();
  broken.stream.respond = () => {
    throw new Error('ERR_HTTP2_INVALID_HEADER_VALUE');
  };
  broken.response.end();
  t.equal(broken.stream.closedWith, 2, 'one that cannot be said is a reset, and no exception');
});
