import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { silentLogger } from '../../src/lib/logger.ts';
import { maxQueued } from '../../src/pipeline/queued.ts';
import { createAcceptor } from '../../src/transport/acceptor.ts';
import type { AcceptorLimits } from '../../src/transport/limits.ts';
import { fakeClock } from '../support/fake-clock.ts';
import {
  parseAnswers,
  rawExchange,
  type TestInbound,
  type TestInboundOptions,
  testInbound,
} from '../support/inbound.ts';
import { until } from '../support/upstream.ts';

const get = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n';
const last = 'GET /fast HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n';

async function serve(t: Test, app: RequestListener, options: TestInboundOptions = {}): Promise<TestInbound> {
  const inbound = await testInbound(app, options);
  t.teardown(() => inbound.acceptor.close());
  return inbound;
}

/** Everything that the server says until it closes the connection. */
async function conversation(socket: Socket): Promise<string> {
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
  });
  socket.on('error', () => {});
  await once(socket, 'close');
  return text;
}

const hello: RequestListener = (request, response) => {
  request.resume().on('end', () => response.end('hello'));
};

t.test('headers that dribble in are answered 408', async (t) => {
  const { port } = await serve(t, hello, { limits: { headersTimeoutMs: 40 } });
  const socket = connect({ host: '127.0.0.1', port });
  socket.write('GET / HTTP/1.1\r\nHost:');
  t.match(await conversation(socket), /^HTTP\/1\.1 408 [\s\S]*x-inmesh-error: ERR_MESH_BAD_REQUEST/);
});

t.test('a body that stops coming is answered 408; a slow handler is left alone', async (t) => {
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const inbound = await serve(
    t,
    (request, response) => {
      if (request.url === '/slow') finished.then(() => response.end('took its time'));
      else hello(request, response);
    },
    { limits: { bodyIdleMs: 40 } },
  );
  const slow = rawExchange(inbound.port, 'POST /slow HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nbody');
  const unread = rawExchange(inbound.port, 'POST /slow HTTP/1.1\r\nHost: web\r\nContent-Length: 9\r\n\r\nbody');
  const socket = connect({ host: '127.0.0.1', port: inbound.port });
  socket.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 9\r\n\r\nbody');
  const [answer] = parseAnswers(await conversation(socket));
  t.match(answer, { status: 408, headers: { connection: 'close', 'x-inmesh-error': 'ERR_MESH_BAD_REQUEST' } });
  finish();
  t.equal((await slow)[0]?.body, 'took its time', 'it has its body');
  t.equal((await unread)[0]?.body, 'took its time', 'it did not ask for its body');
});

t.test('an application that answers when its body did not come does so in vain, and without an error', async (t) => {
  for (const way of ['writeHead', 'setHeader'] as const) {
    const { promise: answered, resolve } = Promise.withResolvers<unknown>();
    const { port } = await serve(
      t,
      async (request, response) => {
        try {
          for await (const _ of request);
        } catch {
          try {
            if (way === 'writeHead') response.writeHead(400);
            else response.setHeader('content-type', 'text/plain');
            response.end('the body did not come');
            resolve('answered');
          } catch (error) {
            resolve(error);
          }
        }
      },
      { limits: { bodyIdleMs: 30 } },
    );
    const socket = connect({ host: '127.0.0.1', port });
    socket.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 9\r\n\r\nbody');
    t.match(await conversation(socket), /^HTTP\/1\.1 408 /);
    t.equal(await answered, 'answered', way);
  }
});

t.test('a body that stops is no answer to the request before it', async (t) => {
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const { port } = await serve(
    t,
    (request, response) => {
      if (request.method === 'GET') finished.then(() => response.end('first'));
      else request.resume().on('close', finish);
    },
    { limits: { bodyIdleMs: 30 } },
  );
  const socket = connect({ host: '127.0.0.1', port });
  socket.write(`${get}POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 9\r\n\r\nbody`);
  t.notMatch(await conversation(socket), /^HTTP\/1\.1 408 /);
});

t.test('a body that stops after the response began can only be cut', async (t) => {
  const inbound = await serve(
    t,
    (request, response) => {
      response.write('half');
      request.resume();
    },
    { limits: { bodyIdleMs: 30 } },
  );
  const socket = connect({ host: '127.0.0.1', port: inbound.port });
  socket.write('POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 9\r\n\r\nbody');
  t.match(await conversation(socket), /^HTTP\/1\.1 200 [\s\S]*half/);
});

t.test('a time that the application sets itself is kept as Node keeps it', async (t) => {
  const heard: string[] = [];
  const inbound = await serve(t, (request, response) => {
    if (request.url === '/listens') {
      response.setTimeout(30, () => {
        heard.push('timeout');
        response.end('late');
      });
    } else response.setTimeout(30);
  });
  t.same(await rawExchange(inbound.port, get), [], 'cut');
  t.equal((await rawExchange(inbound.port, get.replace('/', '/listens')))[0]?.body, 'late');
  t.same(heard, ['timeout']);
});

t.test('idle connections are closed after the keep-alive time, busy ones are not', async (t) => {
  const inbound = await serve(t, hello, { limits: { keepAliveMs: 1 } });
  const socket = connect({ host: '127.0.0.1', port: inbound.port });
  socket.write(get);
  const [answer] = parseAnswers(await conversation(socket));
  t.match(answer, { status: 200, body: 'hello' });
});

t.test('bytes that are no request are answered, closed and counted', async (t) => {
  const errors: string[] = [];
  const acceptor = createAcceptor({
    identity: () => undefined,
    subscribe: () => () => {},
    mode: () => 'DISABLE',
    onRequest: hello,
    onProtocolError: (error) => errors.push(`${error.code} ${error.message}`),
    logger: silentLogger,
    clock: fakeClock(),
  });
  t.teardown(() => acceptor.close());
  const { port } = await acceptor.listen({ host: '127.0.0.1' });
  const [bad] = await rawExchange(port, 'this is no HTTP\r\n\r\n');
  t.match(bad, { status: 400, body: 'bad request', headers: { 'x-inmesh-error': 'ERR_MESH_BAD_REQUEST' } });
  const [large] = await rawExchange(port, `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`);
  t.match(large, { status: 431, headers: { 'x-inmesh-error': 'ERR_MESH_HEADERS_TOO_LARGE' } });
  const [tunnel] = await rawExchange(port, 'CONNECT elsewhere:80 HTTP/1.1\r\nHost: elsewhere:80\r\n\r\n');
  t.match(tunnel, { status: 405, headers: { 'x-inmesh-error': 'ERR_MESH_METHOD' } });
  t.equal(errors.length, 3);
  t.match(errors[0], /^ERR_MESH_BAD_REQUEST not an acceptable HTTP request: Parse Error/);
});

t.test('such refusals are in the metrics', async (t) => {
  const inbound = await serve(t, hello);
  await rawExchange(inbound.port, 'this is no HTTP\r\n\r\n');
  t.match(inbound.metrics.snapshot(), [{ statuses: { 400: 1 }, flags: { DPE: 1 } }]);
});

t.test('garbage after a response has begun cuts the connection and adds nothing to the response', async (t) => {
  const inbound = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 10 });
    response.write('hello');
  });
  const socket = connect({ host: '127.0.0.1', port: inbound.port });
  socket.write(get);
  const said = conversation(socket);
  await once(socket, 'data');
  socket.write('garbage\r\n\r\n');
  const text = await said;
  t.match(text, /hello$/);
  t.notMatch(text, /400/);
});

t.test('Expect: 100-continue is answered after policy has spoken, not before', async (t) => {
  const inbound = await serve(t, (request, response) => {
    if (request.url === '/refuse') response.writeHead(413).end();
    else hello(request, response);
  });
  const ask = async (path: string): Promise<readonly number[]> => {
    const head = `POST ${path} HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n`;
    const answers = await rawExchange(inbound.port, `${head}\r\nbody`, { answers: 2 });
    return answers.map(({ status }) => status);
  };
  t.same(await ask('/'), [100, 200]);
  t.same(await ask('/%00'), [400], 'refused: no body is asked for');
});

t.test('what was sent behind a request whose answer is the last of its connection is not served', async (t) => {
  const served: string[] = [];
  const answer: RequestListener = (request, response) => {
    served.push(request.url ?? '');
    if (request.url === '/late') response.write('late ');
    if (request.url === '/last' || request.url === '/late') response.shouldKeepAlive = false;
    hello(request, response);
  };
  const { pipeline, port } = await serve(t, answer);
  const own = createServer((request, response) => pipeline.handle(request, response, () => answer(request, response)));
  await once(own.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => own.close());
  const chunked = 'Host: web\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
  const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n';
  const ways = [
    ['mesh.listen', port],
    ['a server of its own', (own.address() as AddressInfo).port],
  ] as const;
  for (const [way, at] of ways) {
    for (const [first, status] of [
      ['GET / HTTP/1.1\r\nHost: web\r\nHost: other\r\n\r\n', '400'],
      [`TRACE / HTTP/1.1\r\n${chunked}`, '405'],
      [`POST /%zz HTTP/1.1\r\n${chunked}`, '400'],
    ] as const) {
      const socket = connect({ host: '127.0.0.1', port: at });
      socket.write(first + smuggled);
      t.match(
        await conversation(socket),
        new RegExp(`^HTTP/1\\.1 ${status} (?![\\s\\S]*HTTP/1\\.1)`),
        `${way}: one answer`,
      );
    }
    t.same(served, [], `${way}: the application has seen nothing`);
  }
  const socket = connect({ host: '127.0.0.1', port });
  socket.write(`GET /last HTTP/1.1\r\nHost: web\r\n\r\n${smuggled}`);
  t.match(await conversation(socket), /hello/);
  t.same(served, ['/last']);
  const late = connect({ host: '127.0.0.1', port });
  late.write(`GET /late HTTP/1.1\r\nHost: web\r\n\r\n${smuggled}`);
  t.match(await conversation(late), /hello/);
  t.same(served, ['/last', '/late'], 'said behind its head');
  const warnings: Error[] = [];
  const warn = (warning: Error): void => void warnings.push(warning);
  process.on('warning', warn);
  const many = connect({ host: '127.0.0.1', port });
  many.write(`GET /last HTTP/1.1\r\nHost: web\r\n\r\n${smuggled.repeat(100)}`);
  t.match(await conversation(many), /hello/);
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', warn);
  t.same(warnings, [], 'however many they are, nothing is kept for each');
  const [, again] = await inTurn(port, ['/late', '/again']);
  t.match(again, /^HTTP\/1\.1 200/, 'who waited for the answer is served');
});

t.test('nothing is served behind a last answer that waits for those before it', async (t) => {
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const served: string[] = [];
  const answer: RequestListener = (request, response) => {
    served.push(request.url ?? '');
    finished.then(() => response.end('slow'));
  };
  const { pipeline, port } = await serve(t, answer);
  const own = createServer((request, response) => pipeline.handle(request, response, () => answer(request, response)));
  await once(own.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => own.close());
  const said = [port, (own.address() as AddressInfo).port].map((at) => {
    const socket = connect({ host: '127.0.0.1', port: at });
    socket.write(`${get}GET / HTTP/1.1\r\nHost: web\r\nHost: other\r\n\r\n${get.replace('/', '/smuggled')}`);
    return conversation(socket);
  });
  await until(() => served.length === 2);
  finish();
  for (const text of await Promise.all(said))
    t.match(text, /^HTTP\/1\.1 200 [\s\S]*slow[\s\S]*HTTP\/1\.1 400 (?![\s\S]*HTTP)/);
  t.same(served, ['/', '/']);
});

t.test('what is broken behind a request takes neither its answer nor the place of that', async (t) => {
  const cases: readonly (readonly [name: string, bytes: string, limits: Partial<AcceptorLimits>])[] = [
    ['garbage', 'garbage\r\n\r\n', {}],
    ['half a head that goes on no further', 'GET / HTTP/1.1\r\nHo', { headersTimeoutMs: 30 }],
    ['a head that is too long', `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, {}],
  ];
  for (const [name, bytes, limits] of cases) {
    const waiting: (() => void)[] = [];
    const inbound = await serve(t, (_, response) => void waiting.push(() => response.end('slow')), { limits });
    const socket = connect({ host: '127.0.0.1', port: inbound.port });
    socket.write(get + get + bytes);
    const said = conversation(socket);
    await until(() => inbound.metrics.snapshot().some(({ flags }) => flags['DPE'] === 1), 'it was seen');
    t.equal(waiting.length, 2);
    for (const answer of waiting) answer();
    const text = await said;
    t.equal(text.match(/HTTP\/1\.1 200 /g)?.length, 2, name);
    t.match(text, /connection: close/i, `${name}: the end is announced`);
    t.notMatch(text, /HTTP\/1\.1 4/, name);
  }
});

t.test('who goes away with requests in a line behind others is counted once for each', async (t) => {
  let served = 0;
  const closed: string[] = [];
  const inbound = await serve(t, (request, response) => {
    served++;
    response.on('close', () => closed.push(request.url ?? ''));
    if (request.url === '/b') response.end('in vain');
  });
  const socket = connect({ host: '127.0.0.1', port: inbound.port });
  socket.write(['/a', '/b', '/c'].map((path) => get.replace('/', path)).join(''));
  await until(() => served === 3);
  socket.destroy();
  await until(() => closed.length === 3);
  await new Promise((resolve) => setImmediate(resolve));
  t.same(closed.sort(), ['/a', '/b', '/c']);
  t.match(inbound.metrics.snapshot(), [{ flags: { DC: 3 } }]);
});

t.test('a connection that asks for too much at once is cut; one that gets its answers is not', async (t) => {
  let served = 0;
  const inbound = await serve(t, (request, response) => {
    served++;
    if (request.url === '/fast') response.end('fast');
  });
  const slow = connect({ host: '127.0.0.1', port: inbound.port });
  slow.write(get.repeat(1_000));
  t.equal(await conversation(slow), '');
  t.equal(served, maxQueued, 'the first, and those behind it but one');
  const fast = connect({ host: '127.0.0.1', port: inbound.port });
  fast.write(get.replace('/', '/fast').repeat(1_000) + last);
  t.equal((await conversation(fast)).match(/fast/g)?.length, 1_001);
});

/** Asks for one after the other on one connection, each when the one before was answered. */
async function inTurn(port: number, paths: readonly string[]): Promise<readonly string[]> {
  const socket = connect({ host: '127.0.0.1', port });
  const answers: string[] = [];
  for (const path of paths) {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: web\r\n\r\n`);
    let text = '';
    while (!/hello(\r\n0\r\n\r\n)?$/.test(text)) text += String((await once(socket, 'data'))[0]);
    answers.push(text);
  }
  socket.destroy();
  return answers;
}
