// TLS-033 and TLS-014: clients that go away, or stay, in the middle of a handshake.
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { type Socket, connect as tcpConnect } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { makeAuthority } from '../support/certificates.ts';
import { clientHello } from '../support/client-hello.ts';
import { rawExchange, type TestInbound, testInbound } from '../support/inbound.ts';

const authority = makeAuthority();
const good = authority.issue('spiffe://cluster.local/ns/shop/sa/cart');
const tls = { ca: authority.rootPem, credentials: good };
const get = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n';
const aborts = 1_000;
const atOnce = 20;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Goes away without a word, as a process that was killed; TLS has no part in it. */
function reset(socket: Socket): Promise<unknown> {
  socket.on('error', () => {});
  const closed = once(socket, 'close').catch(() => {});
  socket.resetAndDestroy();
  return closed;
}

async function connected(port: number): Promise<Socket> {
  const socket = tcpConnect({ host: '127.0.0.1', port });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** The underlying connection of a TLS client, reset when TLS says that it has come so far. */
async function afterTls(port: number, event: 'keylog' | 'secureConnect' | 'data', more: object = {}): Promise<void> {
  const raw = await connected(port);
  const { certificateChainPem: cert, privateKeyPem: key } = good;
  const options = { socket: raw, ca: authority.rootPem, cert, key, checkServerIdentity: () => undefined, ...more };
  const socket = tlsConnect(options);
  socket.on('error', () => {});
  const gone = once(raw, 'close').catch(() => {});
  socket.once(event, () => raw.resetAndDestroy());
  if (event === 'data') socket.write(get);
  await gone;
  socket.destroy();
}

const hello = clientHello();

/** Each flight of the handshake, and what is around it. */
const steps: Readonly<Record<string, (port: number) => Promise<unknown>>> = {
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
  "after the server's flight, TLS 1.3": (port) => afterTls(port, 'keylog'),
  'after garbage in the place of Finished': async (port) => {
    const socket = await connected(port);
    socket.write(hello);
    await once(socket, 'data');
    socket.write(Buffer.from('14030300010116030300100011223344556677', 'hex'));
    return reset(socket);
  },
  'after Finished, TLS 1.2': (port) => afterTls(port, 'secureConnect', { maxVersion: 'TLSv1.2' }),
  'after Finished, TLS 1.3': (port) => afterTls(port, 'secureConnect'),
  'with a certificate that is refused': (port) => afterTls(port, 'secureConnect', makeAuthority().issue(good.spiffeId)),
  'after the first byte of an answer': (port) => afterTls(port, 'data'),
};

async function repeat(count: number, action: () => Promise<unknown>): Promise<void> {
  for (let done = 0; done < count; done += atOnce) await Promise.all(Array.from({ length: atOnce }, action));
}

interface Footprint {
  readonly handles: number;
  readonly files: number;
  readonly heap: number;
}

/** After the last connection was noticed to be gone. */
async function footprint(inbound: TestInbound): Promise<Footprint> {
  // A whole exchange, and the event loop has seen every reset that came before it.
  for (let i = 0; i < 5; i++) await rawExchange(inbound.port, get, { tls });
  collect();
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  const handles = process.getActiveResourcesInfo().filter((name) => /TCP|TLS|Timeout/.test(name)).length;
  const files = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
  return { handles, files, heap: process.memoryUsage().heapUsed };
}

for (const [step, abort] of Object.entries(steps)) {
  t.test(`TLS-033 ${aborts} clients that go away ${step} leave nothing behind`, async (t) => {
    const inbound = await testInbound((_, response) => void response.end('here'), { authority });
    t.teardown(() => inbound.acceptor.close());
    const warnings: string[] = [];
    const warned = (warning: Error): void => void warnings.push(warning.message);
    process.on('warning', warned);
    t.teardown(() => process.off('warning', warned));
    await repeat(100, () => abort(inbound.port));
    const before = await footprint(inbound);
    await repeat(aborts, () => abort(inbound.port));
    const after = await footprint(inbound);
    t.ok(after.handles <= before.handles, `handles: ${before.handles}, then ${after.handles}`);
    t.ok(after.files <= before.files, `files: ${before.files}, then ${after.files}`);
    const grown = after.heap - before.heap;
    t.ok(grown < 2 ** 21, `heap: ${Math.round(grown / 1_024)} KiB more, ${Math.round(grown / aborts)} bytes a client`);
    t.same(warnings, [], 'no listener was added again and again');
    const [answer] = await rawExchange(inbound.port, get, { tls });
    t.equal(answer?.body, 'here', 'and it serves on');
  });
}

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
  t.equal((await rawExchange(inbound.port, get, { tls }))[0]?.body, 'here');
});
