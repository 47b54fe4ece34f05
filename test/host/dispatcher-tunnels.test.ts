import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import t, { type Test } from 'tap';
import { type Dispatcher, upgrade, WebSocket } from 'undici';
import { defaultRetryPolicy, type Route } from '../../src/model/route.ts';
import { testClient } from '../support/client.ts';
import { assertIdle, counted, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { refusingPort, turns, until, upstream } from '../support/upstream.ts';

const meshOf = (ports: readonly number[], changes: Partial<Route> = {}) => {
  const a = cluster(
    'a',
    ports.map((port) => endpoint(port)),
    { balance: 'ROUND_ROBIN' },
  );
  return testClient(snapshot({ a: [route(a.name, changes)] }, [a]));
};

/** A server that takes upgrades and CONNECT and sends back what it gets. */
async function tunnels(t: Test) {
  const sockets = new Set<Socket>();
  const targets: string[] = [];
  const server = createServer((_incoming, outgoing) => void outgoing.writeHead(426).end('upgrade'));
  server.on('upgrade', (incoming, socket) => {
    targets.push(`${incoming.headers.upgrade} ${incoming.url}`);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\nx-a: b\r\n\r\nhello');
    socket.pipe(socket);
  });
  server.on('connect', (incoming, socket) => {
    targets.push(`CONNECT ${incoming.url}`);
    const status = incoming.url?.startsWith('refused') ? '503 No' : '200 OK';
    socket.write(`HTTP/1.1 ${status}\r\n\r\n`);
    socket.pipe(socket);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets, targets };
}

t.test('an upgrade hands over the connection, with what has already come on it', async (t) => {
  const server = await tunnels(t);
  const client = meshOf([server.port]);
  const { headers, socket } = await upgrade('http://a/room', { dispatcher: client.dispatcher, protocol: 'chat' });
  t.equal(headers['x-a'], 'b');
  t.same(server.targets, ['chat /room']);
  let text = '';
  socket.on('data', (chunk) => {
    text += chunk;
  });
  socket.write(' and back');
  await until(() => text === 'hello and back');
  t.same(counted(client), ['101 x1']);
  await assertIdle(t, client);
  t.notOk(socket.destroyed, 'closing the mesh leaves it to the application');
  socket.destroy();
  await until(() => server.sockets.size === 0);
});

t.test('a server that does not upgrade is an error of undici, with and without a body', async (t) => {
  for (const end of ['with a body', '']) {
    const server = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(404).end(end));
    const client = meshOf([server.port]);
    await t.rejects(upgrade('http://a/', { dispatcher: client.dispatcher }), { message: 'bad upgrade' });
    await assertIdle(t, client);
  }
});

t.test('an upgrade that fails on the way is an error, not a response', async (t) => {
  const client = meshOf([await refusingPort()]);
  await t.rejects(upgrade('http://a/', { dispatcher: client.dispatcher }), { code: 'ERR_MESH_CONNECT_FAILED' });
  await t.rejects(client.dispatcher.connect({ origin: 'http://a', path: 'b:1' }), {
    code: 'ERR_MESH_CONNECT_FAILED',
  });
  const unknown = testClient(snapshot({}, [], { outboundPolicy: 'REGISTRY_ONLY' }));
  await t.rejects(upgrade('http://b/', { dispatcher: unknown.dispatcher }), { code: 'ERR_MESH_HOST_UNKNOWN' });
  await assertIdle(t, client);
  await assertIdle(t, unknown);
});

t.test('an upgrade is never retried: who knows what the socket has seen', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.writeHead(503).end());
  const client = meshOf([server.port], { retry: { ...defaultRetryPolicy, retryOn: ['5xx'] } });
  await t.rejects(upgrade('http://a/', { dispatcher: client.dispatcher }), { message: 'bad upgrade' });
  t.equal(server.seen.length, 1);
  await assertIdle(t, client);
});

t.test('CONNECT: the target is not a path and is not rewritten', async (t) => {
  const server = await tunnels(t);
  const client = meshOf([server.port], { rewrite: { pathPrefix: '/v2/' } });
  const { socket, statusCode } = await client.dispatcher.connect({ origin: 'http://a', path: 'b.example:443' });
  t.equal(statusCode, 200);
  t.same(server.targets, ['CONNECT b.example:443']);
  socket.write('ping');
  const [chunk] = await once(socket, 'data');
  t.equal(String(chunk), 'ping');
  socket.destroy();
  t.same(counted(client), ['200 x1']);
  await assertIdle(t, client);
});

t.test('a CONNECT that is refused is tried again as the policy says; what was given up is closed', async (t) => {
  const server = await tunnels(t);
  const client = meshOf([server.port], { retry: { ...defaultRetryPolicy, retryOn: ['5xx'], backoffBaseMs: 0 } });
  const { socket, statusCode } = await client.dispatcher.connect({ origin: 'http://a', path: 'refused:1' });
  t.equal(statusCode, 503);
  t.equal(server.targets.length, 3);
  socket.destroy();
  await until(() => server.sockets.size === 0, 'all three are closed');
  await assertIdle(t, client);
});

t.test('aborted between the answer and its delivery: the socket is closed', async (t) => {
  const server = await tunnels(t);
  const client = meshOf([server.port]);
  for (const method of ['GET', 'CONNECT'] as const) {
    const options = method === 'GET' ? { upgrade: 'chat' } : { method, path: 'b:1' };
    const call = record(client.dispatcher, options as Partial<Dispatcher.DispatchOptions>, {
      onResponseStarted: (controller) => {
        // still within the read that brings the answer: it is there, and not yet handed on
        process.nextTick(() => controller.abort(new Error('mine')));
      },
    });
    t.equal(await call.done, 'error mine');
    t.equal(call.socket, undefined);
    await until(() => server.sockets.size === 0);
  }
  await assertIdle(t, client);
});

t.test('a handler that throws or aborts at the hand-over: the socket is closed, the error told', async (t) => {
  const server = await tunnels(t);
  const client = meshOf([server.port]);
  const actions = {
    throws: () => {
      throw new Error('mine');
    },
    aborts: (controller: Dispatcher.DispatchController) => controller.abort(new Error('mine')),
  };
  for (const [name, action] of Object.entries(actions)) {
    const call = record(client.dispatcher, { upgrade: 'chat' }, { onRequestUpgrade: action });
    await call.done;
    await turns();
    t.same(call.events, ['start', 'upgrade 101', 'error mine'], name);
    t.ok(call.socket?.destroyed, name);
  }
  await assertIdle(t, client);
});

t.test('after the hand-over the controller has no more power over the socket', async (t) => {
  const server = await tunnels(t);
  const client = meshOf([server.port]);
  const call = record(client.dispatcher, { upgrade: 'chat' });
  await call.done;
  call.controller.abort(new Error('late'));
  call.controller.pause();
  call.controller.resume();
  await turns();
  t.notOk(call.socket?.destroyed);
  t.equal(call.events.at(-1), 'upgrade 101');
  call.socket?.destroy();
  await assertIdle(t, client);
});

t.test('a WebSocket of undici runs through the mesh', async (t) => {
  const server = createServer();
  server.on('upgrade', (incoming, socket) => {
    const accept = createHash('sha1')
      .update(`${incoming.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest('base64');
    socket.on('error', () => {});
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
    );
    // one text frame, then a close frame
    socket.write(Buffer.from([0x81, 5, ...Buffer.from('hello')]));
    socket.end(Buffer.from([0x88, 0]));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const client = meshOf([(server.address() as AddressInfo).port]);
  const socket = new WebSocket('ws://a/', { dispatcher: client.dispatcher });
  const messages: unknown[] = [];
  socket.addEventListener('message', ({ data }) => messages.push(data));
  await new Promise((resolve) => socket.addEventListener('close', resolve));
  t.same(messages, ['hello']);
  await assertIdle(t, client);
});
