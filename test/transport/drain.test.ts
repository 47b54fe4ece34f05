import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import t, { type Test } from 'tap';
import { makeAuthority } from '../support/certificates.ts';
import { type FakeClock, fakeClock } from '../support/fake-clock.ts';
import { parseAnswers, rawExchange, type TestInbound, testInbound } from '../support/inbound.ts';

const get = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n';
const authority = makeAuthority();

async function serve(t: Test, app: RequestListener): Promise<TestInbound & { readonly clock: FakeClock }> {
  const clock = fakeClock();
  const inbound = await testInbound(app, { clock, authority });
  t.teardown(() => inbound.acceptor.close());
  return { ...inbound, clock };
}

function client(inbound: TestInbound): Socket {
  return connect({ host: '127.0.0.1', port: inbound.port })
    .setEncoding('latin1')
    .on('error', () => {});
}

const hello: RequestListener = (_request, response) => void response.end('hello');

t.test('with nobody connected draining takes no time', async (t) => {
  const { acceptor } = await serve(t, hello);
  await acceptor.drain(10_000);
  t.pass('no timer had to run');
});

t.test('no new connections are taken, running requests finish, their connections are closed', async (t) => {
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const inbound = await serve(t, (_request, response) => {
    arrive();
    finished.then(() => response.end('done'));
  });
  const answer = rawExchange(inbound.port, get);
  await arrived;
  const drained = inbound.acceptor.drain(10_000);
  t.same(await rawExchange(inbound.port, get), [], 'refused');
  inbound.clock.advance(5_000);
  finish();
  t.match(await answer, [{ status: 200, body: 'done', headers: { connection: 'close' } }]);
  await drained;
});

t.test('a request that was on its way when draining began is served', async (t) => {
  const inbound = await serve(t, hello);
  const socket = client(inbound);
  socket.write(get);
  await once(socket, 'data');
  const drained = inbound.acceptor.drain(10_000);
  inbound.clock.advance(100);
  socket.write(get);
  const [answer] = parseAnswers((await once(socket, 'data'))[0] as string);
  t.match(answer, { status: 200, headers: { connection: 'close' } });
  await drained;
});

t.test('idle connections are closed after a moment, silent ones as well', async (t) => {
  const inbound = await serve(t, hello);
  const idle = client(inbound);
  idle.write(get);
  await once(idle, 'data');
  const silent = client(inbound);
  await once(silent, 'connect');
  await rawExchange(inbound.port, get);
  const drained = inbound.acceptor.drain(10_000);
  const closed = Promise.all([once(idle, 'close'), once(silent, 'close')]);
  inbound.clock.advance(249);
  t.equal(idle.destroyed || silent.destroyed, false);
  inbound.clock.advance(1);
  await closed;
  await drained;
});

t.test('a response whose headers are out ends its connection when it is complete', async (t) => {
  const { promise: begun, resolve: begin } = Promise.withResolvers<() => void>();
  const inbound = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 10 });
    response.write('hello');
    begin(() => response.end('world'));
  });
  const socket = client(inbound);
  socket.write(get);
  const end = await begun;
  await once(socket, 'data');
  const drained = inbound.acceptor.drain(10_000);
  inbound.clock.advance(300);
  end();
  t.equal((await once(socket, 'data'))[0], 'world');
  await drained;
});

t.test('what has not finished within the grace time is cut', async (t) => {
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const inbound = await serve(t, () => arrive());
  const answer = rawExchange(inbound.port, get);
  await arrived;
  const drained = inbound.acceptor.drain(1_000);
  inbound.clock.advance(1_000);
  t.same(await answer, []);
  await drained;
});

t.test('out of patience in the middle of a grace time', async (t) => {
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>();
  const inbound = await serve(t, () => arrive());
  const answer = rawExchange(inbound.port, get);
  await arrived;
  const drained = inbound.acceptor.drain(60_000);
  await inbound.acceptor.drain(0);
  t.same(await answer, []);
  await drained;
});

t.test('a connection that completes its handshake while draining is served once', async (t) => {
  const inbound = await serve(t, hello);
  const { certificateChainPem: cert, privateKeyPem: key } = authority.issue('spiffe://cluster.local/ns/shop/sa/cart');
  const secure = (): Socket =>
    connectTls({
      host: '127.0.0.1',
      port: inbound.port,
      ca: authority.rootPem,
      cert,
      key,
      checkServerIdentity: () => undefined,
    });
  const socket = secure().setEncoding('latin1');
  await once(socket, 'secureConnect');
  const drained = inbound.acceptor.drain(10_000);
  socket.write(get);
  t.match((await once(socket, 'data'))[0], /connection: close/i);
  await drained;
});
