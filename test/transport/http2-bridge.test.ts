import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { callOf } from '../../src/pipeline/server-call.ts';
import { makeAuthority } from '../support/certificates.ts';
import { http2Request, http2Session } from '../support/http2-client.ts';
import { frameTypes } from '../support/http2-frames.ts';
import { endHeaders, endStream, frameBytes, literals, rawHttp2, uint32 } from '../support/http2-raw-client.ts';
import { rawConnection, type TestInbound, type TestInboundOptions, testInbound } from '../support/inbound.ts';

const authority = makeAuthority();
const caller = authority.issue('spiffe://cluster.local/ns/shop/sa/cart');

async function serve(t: Test, app: RequestListener, options: TestInboundOptions = {}) {
  const inbound: TestInbound = await testInbound(app, { authority, ...options });
  const session = http2Session(inbound.port, { ca: authority.rootPem, credentials: caller });
  t.teardown(async () => {
    session.destroy();
    await inbound.acceptor.close();
  });
  return { inbound, session };
}

const echo: RequestListener = (request, response) => {
  request.pipe(response);
};

t.test('a stream arrives as an ordinary request with the identity of its connection', async (t) => {
  const { session, inbound } = await serve(t, (request, response) => {
    const socket = request.socket as Socket & { encrypted: boolean; authorized: boolean; alpnProtocol: string } & {
      getPeerCertificate(detailed?: boolean): { raw?: Buffer };
    };
    response.setHeader('x-seen', [
      request.httpVersion,
      request.method ?? '',
      request.url ?? '',
      callOf(request)?.peer?.spiffeId ?? '',
      String(socket.encrypted && socket.authorized),
      socket.alpnProtocol,
      String(socket.remoteAddress),
      String(socket.localPort),
      String(socket.getPeerCertificate().raw !== undefined && socket.getPeerCertificate(true).raw !== undefined),
      String(socket.remoteFamily),
      String((socket.remotePort ?? 0) > 0 && socket.localAddress !== undefined && 'port' in socket.address()),
    ]);
    socket.setTimeout(1).setNoDelay().setKeepAlive().ref().unref();
    response.end(JSON.stringify(request.headers));
  });
  const answer = await http2Request(session, {
    ':path': '/reviews/1?x=y',
    ':authority': 'reviews:9080',
    host: 'reviews:9080',
    cookie: ['a=1', 'b=2'],
    te: 'trailers',
    'x-many': ['1', '2'],
  });
  t.equal(answer.status, 200);
  t.equal(
    answer.headers['x-seen'],
    `1.1, GET, /reviews/1?x=y, ${caller.spiffeId}, true, h2, 127.0.0.1, ${inbound.port}, true, IPv4, true`,
  );
  t.match(JSON.parse(answer.body), { host: 'reviews:9080', cookie: 'a=1; b=2', te: 'trailers', 'x-many': '1, 2' });
  t.equal(answer.headers['connection'], undefined);
  t.equal(answer.headers['keep-alive'], undefined);
  t.equal(answer.headers['transfer-encoding'], undefined);
});

t.test('cleartext HTTP/2 by prior knowledge is the same, without an identity', async (t) => {
  const { inbound } = await serve(t, (request, response) => {
    const socket = request.socket as Socket & {
      encrypted: boolean;
      alpnProtocol: unknown;
      getPeerCertificate(): object;
    };
    const tls = [socket.encrypted, socket.alpnProtocol, Object.keys(socket.getPeerCertificate()).length];
    response.end(JSON.stringify([callOf(request)?.peer ?? null, ...tls]));
  });
  const session = http2Session(inbound.port);
  t.same(JSON.parse((await http2Request(session, {})).body), [null, false, false, 0]);
  session.destroy();
});

t.test('bodies stream both ways, whole and in order', async (t) => {
  const { session } = await serve(t, echo);
  const body = Buffer.alloc(3_000_000, 'the quick brown fox ').toString();
  const hash = (text: string): string => createHash('sha256').update(text).digest('hex');
  for (const headers of [{}, { 'content-length': body.length }]) {
    const answer = await http2Request(session, { ':method': 'POST', ...headers }, body);
    t.equal(answer.code, 0);
    t.equal(hash(answer.body), hash(body));
  }
  const { body: get } = await http2Request(session, { ':method': 'GET' }, 'a GET may have a body');
  t.equal(get, 'a GET may have a body');
});

t.test('how a body is framed for the application', async (t) => {
  const { session } = await serve(t, (request, response) => {
    const { 'content-length': length, 'transfer-encoding': coding } = request.headers;
    request.resume().on('end', () => response.end(JSON.stringify([length ?? null, coding ?? null])));
  });
  const framing = async (headers: object, body = ''): Promise<unknown> =>
    JSON.parse((await http2Request(session, headers as Record<string, string>, body)).body);
  t.same(await framing({ ':method': 'GET' }), [null, null]);
  t.same(await framing({ ':method': 'POST' }), ['0', null]);
  t.same(await framing({ ':method': 'POST' }, 'abc'), [null, 'chunked']);
  t.same(await framing({ ':method': 'POST', 'content-length': '3' }, 'abc'), ['3', null]);
  t.same(await framing({ ':method': 'POST', 'content-length': '3', trailer: 'x' }, 'abc'), [null, 'chunked']);
});

t.test('trailers pass in both directions', async (t) => {
  const { session } = await serve(t, (request, response) => {
    response.writeHead(200, { trailer: 'grpc-status' });
    request.resume().on('end', () => {
      response.write(JSON.stringify(request.trailers));
      response.addTrailers({ 'grpc-status': '0', 'x-end': 'yes' });
      response.end();
    });
  });
  const answer = await http2Request(session, { ':method': 'POST' }, 'body', { 'x-checksum': 'abc' });
  t.same(JSON.parse(answer.body), { 'x-checksum': 'abc' });
  t.match(answer.trailers, { 'grpc-status': '0', 'x-end': 'yes' });
  const sized = await http2Request(session, { ':method': 'POST', 'content-length': 4 }, 'body', {
    'x-checksum': 'abc',
  });
  t.same(JSON.parse(sized.body), {}, 'a body of announced length leaves no room for them');
  t.equal(sized.code, 0);
});

t.test('responses without a body have none, and keep their headers', async (t) => {
  const { session } = await serve(t, (request, response) => {
    const status = Number(request.url?.slice(1));
    response.writeHead(status, status === 204 ? {} : { 'content-length': 5, etag: '"x"' });
    response.end(request.method === 'HEAD' || status !== 200 ? undefined : 'hello');
  });
  for (const [method, status] of [
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
    ['GET', 200],
  ] as const) {
    const answer = await http2Request(session, { ':method': method, ':path': `/${status}` });
    t.equal(answer.status, status);
    t.equal(answer.body, method === 'GET' && status === 200 ? 'hello' : '', `${method} ${status}`);
    t.equal(answer.code, 0);
    if (status !== 204) t.match(answer.headers, { 'content-length': '5', etag: '"x"' });
  }
});

t.test('several Set-Cookie headers stay several', async (t) => {
  const { session } = await serve(t, (_request, response) => {
    response.setHeader('set-cookie', ['a=1', 'b=2', 'c=3']);
    response.end();
  });
  t.same((await http2Request(session, {})).headers['set-cookie'], ['a=1', 'b=2', 'c=3']);
});

t.test('informational responses arrive before the final one', async (t) => {
  const { session } = await serve(t, (request, response) => {
    response.writeEarlyHints({ link: '</style.css>; rel=preload' });
    request.resume().on('end', () => response.end('ok'));
  });
  const early = await http2Request(session, {});
  t.same(early.informational, [103]);
  const stream = session.request({ ':path': '/', ':method': 'POST', expect: '100-continue' });
  await once(stream, 'continue');
  stream.setEncoding('utf8');
  stream.end('now the body');
  t.equal((await once(stream, 'data'))[0], 'ok');
});

t.test('when the client resets a stream, the handler learns of it', async (t) => {
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const { promise: aborted, resolve: abort } = Promise.withResolvers<boolean>();
  const { session, inbound } = await serve(t, (_request, response) => {
    arrive();
    response.on('close', () => abort(!response.writableFinished));
  });
  const stream = session.request({ ':path': '/' });
  stream.on('error', () => {});
  await arrived;
  stream.close(constants.NGHTTP2_CANCEL);
  t.equal(await aborted, true);
  t.match(inbound.metrics.snapshot(), [{ flags: { DC: 1 }, statuses: { 0: 1 } }]);
});

t.test('when the client goes away in the middle of its body, so does the request', async (t) => {
  const { promise: failed, resolve: fail } = Promise.withResolvers<unknown>();
  const { session } = await serve(t, (request) => {
    request.on('error', fail).on('end', () => fail('half a body passed for a whole one'));
    request.on('data', () => session.destroy());
  });
  const stream = session.request({ ':path': '/', ':method': 'POST' });
  stream.on('error', () => {});
  stream.write('half of');
  t.match(await failed, { code: 'ECONNRESET' });
});

t.test('when the handler cuts the connection, the stream is reset, before and after headers', async (t) => {
  const { session } = await serve(t, (request, response) => {
    if (request.url === '/late') {
      response.write('half of', () => response.destroy());
    } else request.socket.destroy();
  });
  const early = await http2Request(session, { ':path': '/early' });
  t.match(early, { status: 0, code: constants.NGHTTP2_INTERNAL_ERROR });
  const late = await http2Request(session, { ':path': '/late' });
  t.match(late, { status: 200, code: constants.NGHTTP2_INTERNAL_ERROR });
  t.equal(session.destroyed, false, 'other streams go on');
});

t.test('an answer that does not wait for the body arrives whole, and the rest of the body is not wanted', async (t) => {
  for (const chunked of [false, true]) {
    const page = 'x'.repeat(200_000);
    const { session } = await serve(t, (_request, response) => {
      response.statusCode = 413;
      if (!chunked) response.setHeader('content-length', page.length);
      else response.addTrailers({ 'x-why': 'too large' });
      if (chunked) response.write('');
      response.end(page);
    });
    const stream = session.request({ ':path': '/', ':method': 'POST' });
    let body = '';
    let trailers = {};
    stream.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    stream.on('trailers', (given) => {
      trailers = given;
    });
    stream.write('the beginning of something endless');
    const [headers] = (await once(stream, 'response')) as [Record<string, string>];
    await once(stream, 'close');
    t.equal(headers[':status'], 413);
    t.equal(body.length, page.length);
    t.equal(stream.rstCode, 0);
    if (chunked) t.match(trailers, { 'x-why': 'too large' });
  }
});

t.test('a reader that does not read holds the writer back', async (t) => {
  let written = 0;
  let blocked = false;
  const chunk = Buffer.alloc(65_536, 'x');
  const { promise: full, resolve: fill } = Promise.withResolvers<void>();
  const { session } = await serve(t, (_request, response) => {
    const write = (): void => {
      while (!blocked && written < 64_000_000) {
        written += chunk.length;
        if (!response.write(chunk)) {
          blocked = true;
          setImmediate(() => setImmediate(fill));
          response.once('drain', () => {
            blocked = false;
            write();
          });
        }
      }
      if (written >= 64_000_000) response.end();
    };
    write();
  });
  const stream = session.request({ ':path': '/' });
  stream.on('error', () => {});
  await full;
  t.ok(written < 2_000_000, `${written} bytes are on their way`);
  stream.destroy();
});

t.test('connections in memory are used again, and never by another session', async (t) => {
  const sockets = new Set<unknown>();
  const { session, inbound } = await serve(t, (request, response) => {
    sockets.add(request.socket);
    response.end('ok');
  });
  for (let i = 0; i < 5; i++) await http2Request(session, {});
  t.equal(sockets.size, 1);
  const other = http2Session(inbound.port, { ca: authority.rootPem, credentials: caller });
  await http2Request(other, {});
  t.equal(sockets.size, 2);
  other.destroy();
});

t.test('a hundred streams at once', async (t) => {
  const { session } = await serve(t, echo);
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, i) => http2Request(session, { ':method': 'POST' }, `body ${i}`)),
  );
  t.same(
    answers.map(({ body }) => body),
    answers.map((_, i) => `body ${i}`),
  );
});

t.test('requests that HTTP/1 would not know are answered without the application', async (t) => {
  let calls = 0;
  const { session } = await serve(t, (_request, response) => {
    calls++;
    response.end();
  });
  const status = async (headers: object, body = ''): Promise<number> =>
    (await http2Request(session, headers as Record<string, string>, body)).status;
  // Some of it nghttp2 does not let pass: then the stream is reset.
  const refused = async (headers: object): Promise<boolean> => [0, 400].includes(await status(headers));
  t.equal(await status({ ':method': 'get' }), 400, 'methods are upper case');
  t.equal(await status({ ':method': 'BREW' }), 400);
  t.equal(await status({ ':method': 'get' }, 'with a body'), 400);
  t.ok(await refused({ ':path': '/a b' }));
  t.ok(await refused({ ':path': 'admin' }));
  t.equal(await status({ ':path': '/%00' }), 400);
  t.equal(await status({ ':authority': 'a', host: 'b' }), 400, 'two hosts');
  t.ok(await refused({ ':authority': 'user@a' }));
  const connect = session.request({ ':method': 'CONNECT', ':authority': 'elsewhere:80' });
  connect.on('error', () => {});
  t.equal(((await once(connect, 'response')) as [Record<string, number>])[0][':status'], 405);
  t.equal(await status(Object.fromEntries(Array.from({ length: 105 }, (_, i) => [`x-${i}`, '1']))), 431);
  t.ok(await refused({ 'x-large': 'x'.repeat(17_000) }));
  t.equal(calls, 0, 'the application has seen nothing of it');
  t.equal(await status({}), 200);
  t.equal(calls, 1);
});

t.test('a response that HTTP/2 cannot carry resets its stream only', async (t) => {
  const { session } = await serve(t, (request, response) => {
    if (request.url === '/bad') response.writeHead(200, ['content-type', 'a/b', 'content-type', 'c/d']);
    response.end('ok');
  });
  t.match(await http2Request(session, { ':path': '/bad' }), { status: 0, code: constants.NGHTTP2_INTERNAL_ERROR });
  t.equal((await http2Request(session, {})).body, 'ok');
});

t.test('a flood of resets ends the session, and others are served', async (t) => {
  const { inbound } = await serve(t, (_request, response) => void response.end('ok'));
  const attacker = http2Session(inbound.port);
  await once(attacker, 'remoteSettings');
  let opened = 0;
  const { promise: closed, resolve: onClose } = Promise.withResolvers<void>();
  attacker.on('close', onClose);
  while (!attacker.destroyed && !attacker.closed && opened < 20_000) {
    const stream = attacker.request({ ':path': '/' });
    stream.on('error', () => {});
    stream.close(constants.NGHTTP2_CANCEL);
    if (++opened % 50 === 0) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  t.ok(opened < 20_000, `closed after ${opened} streams`);
  attacker.destroy();
  await closed;
  const { session } = await serve(t, (_request, response) => void response.end('ok'));
  t.equal((await http2Request(session, {})).body, 'ok');
});

t.test('drain: running streams finish, the client is told to go elsewhere', async (t) => {
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const { session, inbound } = await serve(t, (_request, response) => {
    arrive();
    finished.then(() => response.end('done'));
  });
  const goaway = once(session, 'goaway');
  const answer = http2Request(session, {});
  await arrived;
  const drained = inbound.acceptor.drain(10_000);
  t.match(await goaway, [constants.NGHTTP2_NO_ERROR]);
  finish();
  t.equal((await answer).body, 'done');
  await drained;
});

t.test('an idle session is closed after the keep-alive time', async (t) => {
  const { session } = await serve(t, (_request, response) => void response.end('ok'), { limits: { keepAliveMs: 40 } });
  const closed = once(session, 'close');
  t.equal((await http2Request(session, {})).body, 'ok');
  await closed;
});

t.test('a body that stops coming is answered 408 over HTTP/2, too; a slow handler is left alone', async (t) => {
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const { session } = await serve(
    t,
    (request, response) => {
      if (request.url === '/slow') finished.then(() => response.end('took its time'));
      else request.resume().on('end', () => response.end('whole'));
    },
    { limits: { bodyIdleMs: 30 } },
  );
  const slow = http2Request(session, { ':path': '/slow' });
  const stream = session.request({ ':method': 'POST' });
  stream.on('error', () => {});
  stream.write('half');
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  t.match(headers, { ':status': 408, 'x-inmesh-error': 'ERR_MESH_BAD_REQUEST' });
  finish();
  t.equal((await slow).body, 'took its time');
});

t.test('a response that the client does not take is reset, one that is taken slowly is not', async (t) => {
  const { inbound } = await serve(t, (_request, response) => void response.end('x'.repeat(1_000)), {
    limits: { responseIdleMs: 40 },
  });
  const client = rawHttp2(inbound.port, { settings: { 4: 0 } });
  const head = [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'web'],
  ] as const;
  client.request(1, head);
  await client.until(() => client.streams.get(1)?.reset !== undefined);
  t.match(client.streams.get(1), { status: 200, body: '', reset: constants.NGHTTP2_CANCEL });
  client.request(3, head);
  await client.until(() => client.streams.get(3) !== undefined);
  const window = Buffer.alloc(4);
  window.writeUInt32BE(1_000);
  client.send(frameTypes.window, 0, 3, window);
  await client.until(() => client.streams.get(3)?.ended === true);
  t.equal(client.streams.get(3)?.body.length, 1_000, 'others on the connection are served');
  client.destroy();
});

t.test('PING without measure ends the session, also of who takes the answers', async (t) => {
  const { inbound } = await serve(t, (_request, response) => void response.end('ok'));
  const client = rawHttp2(inbound.port);
  for (let i = 0; i < 900; i++) client.send(frameTypes.ping, 0, 0, Buffer.alloc(8));
  t.ok(await client.until(() => client.pongs() === 900), 'some are answered');
  for (let i = 0; i < 1_000; i++) client.send(frameTypes.ping, 0, 0, Buffer.alloc(8));
  await client.closed;
  t.ok(client.pongs() < 1_900, 'the rest is not');
});

t.test('a PING beside each response, as clients of gRPC send them, is no flood', async (t) => {
  const { inbound } = await serve(t, (_request, response) => void response.end('ok'));
  const client = rawHttp2(inbound.port, { tls: { ca: authority.rootPem, credentials: caller } });
  let sent = 0;
  while (sent < 1_800 && !client.isClosed()) {
    for (let i = 0; i < 60; i++) {
      client.request(2 * sent + 1, [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/'],
        [':authority', 'web'],
      ]);
      client.send(frameTypes.ping, 0, 0, Buffer.alloc(8));
      sent++;
    }
    const answered = () => client.pongs() === sent && client.streams.get(2 * sent - 1)?.ended === true;
    await client.until(() => client.isClosed() || answered());
  }
  t.equal(client.pongs(), 1_800, 'each is answered');
  client.destroy();
});

t.test('a stream that is refused, and reset before anybody looked at it, is forgotten', async (t) => {
  const { inbound } = await serve(t, (_request, response) => response.end('ok'));
  const fields = (method: string) =>
    literals([
      [':method', method],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'a'],
    ]);
  const head = (stream: number, block: Buffer): Buffer =>
    frameBytes(frameTypes.headers, endStream | endHeaders, stream, block);
  const reset = (stream: number): Buffer => frameBytes(frameTypes.rst, 0, stream, uint32(8));
  const connect = literals([
    [':method', 'CONNECT'],
    [':authority', 'a:80'],
  ]);
  const bytes = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frameBytes(frameTypes.settings, 0, 0),
    ...[connect, fields('BREW'), fields('get'), fields('GET')].flatMap((block, i) => [
      head(2 * i + 1, block),
      reset(2 * i + 1),
    ]),
    head(9, fields('GET')),
  ]);
  const socket = rawConnection(inbound.port);
  let answer = Buffer.alloc(0);
  const { promise: answered, resolve } = Promise.withResolvers<void>();
  socket.on('data', (chunk) => {
    answer = Buffer.concat([answer, chunk]);
    if (answer.includes('ok')) resolve();
  });
  socket.on('close', () => resolve());
  // All in one piece: what is read at once is looked at when all of it was read.
  socket.write(bytes);
  await answered;
  t.ok(answer.includes('ok'), 'the last stream is served');
  socket.destroy();
});

t.test('trailers and early hints that HTTP/2 cannot carry reset their stream, and nothing else', async (t) => {
  const { session } = await serve(t, (request, response) => {
    request.resume().on('end', () => {
      if (request.url === '/hints') {
        (response as unknown as { _writeRaw(text: string): void })._writeRaw(
          'HTTP/1.1 103 Early Hints\r\nte: gzip\r\n\r\n',
        );
      } else {
        // As a proxy hands on what the other side says.
        response.writeHead(200, { trailer: 'te' });
        response.write('body');
        response.addTrailers(
          request.url === '/te'
            ? { te: 'gzip' }
            : [
                ['etag', 'a'],
                ['etag', 'b'],
              ],
        );
      }
      response.end('done');
    });
  });
  for (const path of ['/te', '/twice']) {
    t.match(
      await http2Request(session, { ':path': path }),
      { status: 200, code: constants.NGHTTP2_INTERNAL_ERROR },
      path,
    );
  }
  t.match(await http2Request(session, { ':path': '/hints' }), { code: constants.NGHTTP2_INTERNAL_ERROR });
  t.equal(session.destroyed, false);
});
