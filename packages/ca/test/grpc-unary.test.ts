import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { createCsr } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { makeKey } from '../../../test/support/certificates.ts';
import { type FakeClock, fakeClock } from '../../../test/support/fake-clock.ts';
import { type Authority, createAuthority, serveAuthority } from '../src/index.ts';
import { callIstio, istioPath, istioRequest } from './support/istio-client.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

interface Started {
  readonly authority: Authority;
  readonly port: number;
  readonly clock: FakeClock;
  close(): Promise<void>;
}

async function start(t: Test): Promise<Started> {
  const clock = fakeClock();
  const authority = createAuthority({ clock });
  const { port, close } = await serveAuthority(authority, { clock });
  t.teardown(close);
  return { authority, port, clock, close };
}

interface Answer {
  readonly headers: Readonly<Record<string, unknown>>;
  readonly trailers: Readonly<Record<string, unknown>>;
}

/** Sends what it is told over HTTP/2 and collects the head and the trailers of the answer. */
async function speak(t: Test, { authority, port }: Started, head: OutgoingHttpHeaders, body?: Buffer): Promise<Answer> {
  const session = connect(`https://127.0.0.1:${port}`, { ca: authority.rootPem, servername: 'localhost' });
  t.teardown(() => session.destroy());
  const stream = session.request({
    ':method': 'POST',
    ':path': istioPath,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...head,
  });
  stream.on('error', () => {});
  let trailers = {};
  stream.on('trailers', (given: object) => {
    trailers = given;
  });
  if (body === undefined) stream.end();
  else stream.end(body);
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  stream.resume();
  if (!stream.closed) await once(stream, 'close');
  session.close();
  return { headers, trailers };
}

/** Resolves when the server has read what was sent before: streams are served in their order. */
async function settled(session: ClientHttp2Session): Promise<void> {
  const stream = session.request({ ':method': 'POST', ':path': '/', 'content-type': 'application/grpc' });
  stream.on('error', () => {});
  stream.end();
  await once(stream, 'response');
  stream.resume();
  if (!stream.closed) await once(stream, 'close');
}

const frame = (message: Uint8Array, flag = 0, length = message.length): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = flag;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
};

t.test('what is no unary call of gRPC is refused as its specification says', async (t) => {
  const started = await start(t);
  const good = istioRequest({ csr: 'x' });
  const cases: readonly (readonly [string, OutgoingHttpHeaders, Buffer | undefined, object])[] = [
    ['another content type', { 'content-type': 'application/json' }, undefined, { ':status': 415 }],
    ['a name of Object.prototype', { ':path': '/constructor' }, frame(good), { 'grpc-status': '12' }],
    ['another codec', { 'content-type': 'application/grpc+json' }, frame(good), { 'grpc-status': '12' }],
    ['a compressed stream', { 'grpc-encoding': 'gzip' }, frame(good), { 'grpc-status': '12' }],
    ['a compressed message', {}, frame(good, 1), { 'grpc-status': '12' }],
    ['no message', {}, undefined, { 'grpc-status': '12' }],
    ['two messages', {}, Buffer.concat([frame(good), frame(good)]), { 'grpc-status': '12' }],
    ['half of a head', {}, Buffer.alloc(3), { 'grpc-status': '13' }],
    ['a message cut short', {}, frame(good, 0, good.length + 1), { 'grpc-status': '13' }],
    ['a length of 4 GiB', {}, frame(good, 0, 0xffff_ffff), { 'grpc-status': '13' }],
    ['a message too large', {}, frame(Buffer.alloc(24_577)), { 'grpc-status': '8' }],
    ['the largest message', {}, frame(Buffer.alloc(24_576)), { 'grpc-status': '13' }],
    ['identity as encoding', { 'grpc-encoding': 'identity' }, frame(good), { 'grpc-status': '16' }],
  ];
  for (const [what, head, body, expected] of cases)
    t.match((await speak(t, started, head, body)).headers, expected, what);
  const get = { ':method': 'GET' };
  t.match((await speak(t, started, get)).headers, { ':status': 405 }, 'another method');
});

t.test('a good call ends with a status in its trailers', async (t) => {
  const started = await start(t);
  const { token } = started.authority.createToken({ spiffeId: web });
  const body = frame(istioRequest({ csr: createCsr(web, makeKey()) }));
  const { headers, trailers } = await speak(t, started, { authorization: `Bearer ${token}` }, body);
  t.match(headers, { ':status': 200, 'content-type': 'application/grpc' });
  t.match(trailers, { 'grpc-status': '0' });
});

t.test('a reason goes as printable ASCII', async (t) => {
  const started = await start(t);
  const body = frame(istioRequest({ csr: 'x', members: { ImpersonatedIdentity: 'x' } }));
  const { headers } = await speak(t, started, { authorization: 'Bearer ä%\u{7f}' }, body);
  t.match(headers, { 'grpc-status': '16', 'grpc-message': /^[\x20-\x7e]+$/ });
});

t.test('a call whose message does not come in 15 seconds is ended', async (t) => {
  const { authority, clock, port } = await start(t);
  const session = connect(`https://127.0.0.1:${port}`, { ca: authority.rootPem, servername: 'localhost' });
  t.teardown(() => session.destroy());
  const stream = session.request({ ':method': 'POST', ':path': istioPath, 'content-type': 'application/grpc' });
  stream.on('error', () => {});
  stream.write(Buffer.alloc(3));
  await settled(session);
  clock.advance(14_999);
  t.notOk(stream.closed);
  clock.advance(1);
  const [headers] = (await once(stream, 'response')) as [object];
  t.match(headers, { 'grpc-status': '4', 'grpc-message': /no complete request within 15000 ms/ });
});

t.test('a connection without calls is closed after 30 seconds, one that never spoke as well', async (t) => {
  const { authority, clock, port } = await start(t);
  const session = connect(`https://127.0.0.1:${port}`, { ca: authority.rootPem, servername: 'localhost' });
  await once(session, 'connect');
  await settled(session);
  const silent: TLSSocket = connectTls({ host: '127.0.0.1', port, ca: authority.rootPem, ALPNProtocols: ['h2'] });
  await once(silent, 'secureConnect');
  silent.on('error', () => {});
  silent.resume();
  // What the server says first: its settings.
  await once(silent, 'data');
  clock.advance(29_999);
  t.notOk(session.closed || silent.destroyed);
  const ends = [once(session, 'close'), once(silent, 'close')];
  clock.advance(1);
  clock.advance(30_000);
  await Promise.all(ends);
  t.pass('both have ended');
});

t.test('a client that opens more streams than it may does no harm', async (t) => {
  const started = await start(t);
  const { authority, port } = started;
  const session = connect(`https://127.0.0.1:${port}`, { ca: authority.rootPem, servername: 'localhost' });
  t.teardown(() => session.destroy());
  session.on('error', () => {});
  await once(session, 'connect');
  const streams: ClientHttp2Stream[] = [];
  for (let i = 0; i < 200; i++) {
    const stream = session.request({ ':method': 'POST', ':path': istioPath, 'content-type': 'application/grpc' });
    stream.on('error', () => {});
    streams.push(stream);
  }
  for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
  await Promise.all(streams.map((stream) => stream.closed || once(stream, 'close')));
  const { token } = authority.createToken({ spiffeId: web });
  const csr = createCsr(web, makeKey());
  const { code } = await callIstio(port, { csr, token, ca: authority.rootPem });
  t.ok(code === 0 || code === 8, 'it is served, or told to wait');
});

t.test('closing lets go of connections that stay open', async (t) => {
  const { authority, clock, close, port } = await start(t);
  const session = connect(`https://127.0.0.1:${port}`, { ca: authority.rootPem, servername: 'localhost' });
  session.on('error', () => {});
  const stream = session.request({ ':method': 'POST', ':path': istioPath, 'content-type': 'application/grpc' });
  stream.on('error', () => {});
  stream.write(Buffer.alloc(3));
  await settled(session);
  const closing = close();
  clock.advance(5_000);
  await closing;
  t.pass('the server has closed');
});
