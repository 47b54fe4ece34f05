// TLS-033 and TLS-014: clients that go away, or stay, in the middle of a handshake.
import { once } from 'node:events';
import t from 'tap';
import { clientHello } from '../support/client-hello.ts';
import { authority, connected, leavesNothing, reset, servesOn } from '../support/handshake-aborts.ts';
import { testInbound } from '../support/inbound.ts';

const hello = clientHello();

leavesNothing({
  'after connecting': async (port) => reset(await connected(port)),
  'after one byte': async (port) => {
    const socket = await connected(port);
    await new Promise((resolve) => socket.write(hello.subarray(0, 1), resolve));
    return reset(socket);
  },
  'in the middle of ClientHello': async (port) => {
    const socket = await connected(port);
    await new Promise((resolve) => socket.write(hello.subarray(0, 40), resolve));
    return reset(socket);
  },
  'after ClientHello': async (port) => {
    const socket = await connected(port);
    await new Promise((resolve) => socket.write(hello, resolve));
    return reset(socket);
  },
  "after the server's flight, TLS 1.2": async (port) => {
    const socket = await connected(port);
    socket.write(hello);
    await once(socket, 'data');
    return reset(socket);
  },
  'after garbage in the place of Finished': async (port) => {
    const socket = await connected(port);
    socket.write(hello);
    await once(socket, 'data');
    socket.write(Buffer.from('14030300010116030300100011223344556677', 'hex'));
    return reset(socket);
  },
});

t.test('TLS-014 who begins a handshake and does not go on is shown the door', async (t) => {
  const inbound = await testInbound((_, response) => void response.end('here'), {
    authority,
    limits: { handshakeTimeoutMs: 100 },
  });
  t.teardown(() => inbound.acceptor.close());
  for (const [what, bytes] of [
    ['one byte', hello.subarray(0, 1)],
    ['half of ClientHello', hello.subarray(0, 60)],
    ['ClientHello', hello],
  ] as const) {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => connected(inbound.port)));
    for (const socket of sockets) socket.resume().write(bytes);
    // Ends when the server has closed them all; the client does nothing.
    await Promise.all(sockets.map((socket) => once(socket, 'close').catch(() => {})));
    t.pass(what);
  }
  await servesOn(inbound);
});
