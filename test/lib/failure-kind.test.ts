import { AssertionError, equal } from 'node:assert';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Readable } from 'node:stream';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { Agent, errors } from 'undici';
import { failureKind } from '../../src/lib/failure-kind.ts';

const coded = (code: string, more: object = {}): Error => Object.assign(new Error('x'), { code, ...more });

t.test(
  'errors of the network, of TLS and of undici; no more descriptors or ports is no connection (NET-09, RT-06)',
  async (t) => {
    const table: readonly (readonly [unknown, ReturnType<typeof failureKind>])[] = [
      [coded('ECONNREFUSED', { syscall: 'connect' }), 'connect'],
      // Modules that a test runner loads into a context of its own see errors of Node from outside.
      [runInNewContext('Object.assign(new Error("x"), { code: "ECONNREFUSED", syscall: "connect" })'), 'connect'],
      [coded('ETIMEDOUT', { syscall: 'connect' }), 'connect'],
      [coded('ECONNRESET', { syscall: 'connect' }), 'connect'],
      [coded('EADDRNOTAVAIL', { syscall: 'connect' }), 'connect'],
      [coded('EMFILE'), 'connect'],
      [coded('ENOTFOUND', { syscall: 'getaddrinfo' }), 'connect'],
      [coded('EAI_AGAIN', { syscall: 'getaddrinfo' }), 'connect'],
      [new errors.ConnectTimeoutError(), 'connect'],
      [coded('ECONNRESET', { host: 'a', port: 443 }), 'tls'],
      [coded('CERT_HAS_EXPIRED'), 'tls'],
      [coded('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), 'tls'],
      [coded('ERR_TLS_CERT_ALTNAME_INVALID'), 'tls'],
      [coded('ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC'), 'reset'],
      [coded('EPROTO', { syscall: 'write' }), 'reset'],
      [coded('ECONNRESET', { syscall: 'read' }), 'reset'],
      [coded('EPIPE', { syscall: 'write' }), 'reset'],
      [coded('ETIMEDOUT', { syscall: 'read' }), 'reset'],
      [new errors.SocketError('other side closed'), 'reset'],
      // A 100 or 101 that nobody has asked for.
      [new errors.SocketError('bad response'), 'protocol'],
      [new errors.SocketError('bad upgrade'), 'protocol'],
      [new errors.ClientDestroyedError(), 'reset'],
      [new errors.ResponseContentLengthMismatchError(), 'protocol'],
      [new errors.HeadersOverflowError(), 'protocol'],
      [new errors.HTTPParserError('not HTTP'), 'protocol'],
      [new errors.HeadersTimeoutError(), 'timeout'],
      [new errors.BodyTimeoutError(), 'timeout'],
    ];
    for (const [error, kind] of table) t.equal(failureKind(error), kind, String((error as { code: string }).code));
  },
);

t.test('what the application did is none of them', async (t) => {
  const own = [
    new Error('x'),
    new errors.RequestAbortedError(),
    new errors.InvalidArgumentError('x'),
    new errors.RequestContentLengthMismatchError(),
    new DOMException('x', 'AbortError'),
    new AssertionError({ message: 'assert(upgrade)' }),
    new AssertionError({ actual: 1, expected: 2, operator: 'strictEqual' }),
    // an inbound request, used as a body, that was cut off
    coded('ECONNRESET'),
    coded('EPIPE'),
    Object.assign(new Error('x'), { code: 7 }),
    { code: 'ECONNREFUSED' },
    'ECONNREFUSED',
    null,
    undefined,
  ];
  for (const error of own) t.equal(failureKind(error), undefined, String(error));
});

t.test('real errors look as the table has them', async (t) => {
  const refused = await new Promise((resolve) => connect(1, '127.0.0.1').on('error', resolve));
  t.equal(failureKind(refused), 'connect');
});

t.test(
  'what an application asserts while its body is sent, or a response is read, is none of the server',
  async (t) => {
    const server = createServer((request, response) => request.resume().on('end', () => response.end('x')));
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const agent = new Agent();
    t.teardown(async () => {
      await agent.destroy();
      server.close();
    });
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const wrong = (): never => {
      equal(1, 2);
      throw new Error('never');
    };
    async function* body(): AsyncGenerator<string> {
      yield 'a';
      wrong();
    }
    const failed = (method: 'GET' | 'POST', onResponseData: () => void): Promise<Error> =>
      new Promise((resolve) => {
        const sent = method === 'POST' ? { body: body() as unknown as Readable } : {};
        agent.dispatch(
          { origin, path: '/', method, ...sent },
          {
            onRequestStart: () => {},
            onResponseStart: () => {},
            onResponseData,
            onResponseEnd: () => resolve(new Error('nothing failed')),
            onResponseError: (_, error) => resolve(error),
          },
        );
      });
    for (const error of [await failed('POST', () => {}), await failed('GET', wrong)]) {
      t.match(error.stack, /client-h1/, 'the stack leads through undici');
      t.equal(failureKind(error), undefined);
    }
  },
);
