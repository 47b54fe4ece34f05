import { type AddressInfo, createServer as createTcpServer, Socket } from 'node:net';
import {
  createSecureContext,
  createServer,
  getCACertificates,
  setDefaultCACertificates,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import t, { type Test } from 'tap';
import { MeshError } from '../../src/errors.ts';
import { meshTlsOptions } from '../../src/identity/tls-options.ts';
import { peerOfSocket } from '../../src/identity/verify-peer.ts';
import { type Clock, systemClock } from '../../src/lib/clock.ts';
import { type ConnectionSecurity, type ConnectTarget, openConnection } from '../../src/transport/connector.ts';
import { type Attempt, type Done, eitherFamily } from '../../src/transport/either-family.ts';
import { chaosProxy } from '../chaos/proxy.ts';
import { keyPem, makeAuthority, makeCertificate, makeKey, toPem } from '../support/certificates.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { rawUpstream, refusingPort, turns, until } from '../support/upstream.ts';

const authority = makeAuthority();
const client = authority.issue('spiffe://cluster.local/ns/default/sa/client');
const server = authority.issue('spiffe://cluster.local/ns/default/sa/server');

type Outcome =
  | { readonly socket: Socket; readonly error?: never }
  | { readonly error: MeshError; readonly socket?: never };

/** Opens one connection; what is opened ends with the test. */
function open(
  t: Test,
  port: number,
  security: ConnectionSecurity,
  more: Partial<ConnectTarget> = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    let answers = 0;
    const target = {
      cluster: 'outbound|80||svc',
      address: '127.0.0.1',
      port,
      timeoutMs: 10_000,
      clock: systemClock,
      security: () => security,
      ...more,
    };
    openConnection(target, (error, socket) => {
      t.equal(++answers, 1, 'answers once');
      if (socket === null) resolve({ error: error as MeshError });
      else {
        t.teardown(() => socket.destroy());
        resolve({ socket });
      }
    });
  });
}

const mutual = (verify: (socket: TLSSocket) => void = () => {}, credentials = client): ConnectionSecurity => ({
  kind: 'mutual',
  context: createSecureContext(meshTlsOptions(credentials)),
  serverName: 'outbound_.80_._.a',
  verify,
});

/** A TLS server of the mesh; keeps what its clients said in the handshake. */
async function tlsServer(t: Test, credentials = server, options: TlsOptions & { greeting?: Buffer } = {}) {
  const seen: { serverName: unknown; offered: readonly string[]; subject: unknown }[] = [];
  const offers: string[][] = [];
  const listening = createServer({
    ...meshTlsOptions(credentials),
    requestCert: true,
    rejectUnauthorized: true,
    ALPNCallback: ({ protocols }) => {
      offers.push([...protocols]);
      return protocols.find((protocol) => protocol === 'http/1.1');
    },
    ...options,
  });
  listening.on('secureConnection', (socket) => {
    socket.on('error', () => {});
    seen.push({
      serverName: socket.servername,
      offered: offers.at(-1) ?? [],
      subject: socket.getPeerCertificate().subjectaltname,
    });
    socket.write(options.greeting ?? 'hello');
  });
  listening.on('tlsClientError', () => {});
  const sockets = new Set<Socket>();
  listening.on('connection', (socket) => sockets.add(socket));
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    listening.close();
  });
  return { port: (listening.address() as { port: number }).port, seen };
}

t.test('plaintext: connected, without delay', async (t) => {
  const { port } = await rawUpstream(t, (socket) => socket.end('hello'));
  const { socket } = await open(t, port, { kind: 'plaintext' });
  t.ok(socket?.writable);
  t.equal(socket?.listenerCount('error'), 0, 'errors after hand-over belong to whoever has it');
});

t.test('nobody listens: the connection failed (EP-01)', async (t) => {
  const port = await refusingPort();
  const { error } = await open(t, port, { kind: 'plaintext' });
  t.match(error, { code: 'ERR_MESH_CONNECT_FAILED', flag: 'UF', endpoint: `127.0.0.1:${port}` });
  t.match(error?.message, /ECONNREFUSED/);
  t.match(error?.cause, { code: 'ECONNREFUSED' });
});

t.test('a name with several addresses that all refuse names each (EP-26)', async (t) => {
  const port = await refusingPort();
  const { error } = await open(t, port, { kind: 'plaintext' }, { address: 'localhost' });
  t.equal(error?.code, 'ERR_MESH_CONNECT_FAILED');
  t.match(error?.message, /ECONNREFUSED .*127\.0\.0\.1/);
});

t.test('the other family answers where the address does not: at once when it is refused', async (t) => {
  const six = createTcpServer((socket) => socket.end('six'));
  const listening = await new Promise<boolean>((resolve) => {
    six.once('error', () => resolve(false)).listen(0, '::1', () => resolve(true));
  });
  if (!listening) return t.comment('no IPv6 here');
  t.teardown(() => six.close());
  const { port } = six.address() as AddressInfo;
  const { socket } = await open(t, port, { kind: 'plaintext' }, { otherFamily: '::1' });
  t.equal(socket?.remoteAddress, '::1');
  const { socket: first } = await open(
    t,
    (await rawUpstream(t, (each) => each.end('four'))).port,
    { kind: 'plaintext' },
    {
      otherFamily: '::1',
    },
  );
  t.equal(first?.remoteAddress, '127.0.0.1', 'where it does, nothing changes');
  const refused = await refusingPort();
  const both = await open(t, refused, { kind: 'plaintext' }, { otherFamily: '::1' });
  t.match(both.error, { code: 'ERR_MESH_CONNECT_FAILED', endpoint: `127.0.0.1:${refused}` });
  t.match(both.error?.message, /127\.0\.0\.1.*::1/s);
  return undefined;
});

t.test('the other family is tried beside the address, and not instead of it, where that needs longer', async (t) => {
  const { port } = await rawUpstream(t, (each) => each.end('four'));
  const opening = open(t, port, { kind: 'plaintext' }, { otherFamily: '::1' });
  // The attempt has begun, and its time passes before its answer is read: as with a server that is far away.
  await turns(1);
  for (const until = performance.now() + 1_200; performance.now() < until; );
  const { error, socket } = await opening;
  t.equal(error, undefined);
  t.equal(socket?.remoteAddress, '127.0.0.1');
});

t.test('of two families the one that is there first is taken, and the other is left', async (t) => {
  for (const winner of [0, 1]) {
    const clock = fakeClock();
    const attempts: { done: Done; left: boolean }[] = [];
    const attempt: Attempt = (done) => {
      const made = { done, left: false };
      attempts.push(made);
      return () => void (made.left = true);
    };
    const outcomes: unknown[] = [];
    const won = new Socket();
    t.teardown(() => won.destroy());
    eitherFamily(clock, attempt, attempt, (error, socket) => outcomes.push(error ?? socket));
    clock.advance(249);
    t.equal(attempts.length, 1);
    clock.advance(1);
    t.equal(attempts.length, 2, 'beside it');
    attempts[winner]?.done(null, won);
    t.strictSame(
      attempts.map(({ left }) => left),
      [winner === 1, winner === 0],
    );
    t.equal(outcomes.length, 1);
    t.equal(outcomes[0], won);
  }
});

t.test('a tunnel that cannot be used is closed, whatever the proxy does then', async (t) => {
  const closed = new Promise<void>((resolve) => {
    void rawUpstream(t, (proxy) => {
      proxy.on('data', () => proxy.write('HTTP/1.1 200 OK\r\n\r\n')).on('close', () => resolve());
    }).then(({ port }) => {
      const policy = { method: 'CONNECT', targetHost: 'far.test', targetPort: 443 } as const;
      const security = (): ConnectionSecurity => {
        throw new MeshError('ERR_MESH_NO_IDENTITY', 'there is no certificate yet');
      };
      const tunnel = { policy, security: () => ({ kind: 'plaintext' }) as const };
      return open(t, port, { kind: 'plaintext' }, { tunnel, security }).then(({ error }) =>
        t.equal(error?.code, 'ERR_MESH_NO_IDENTITY'),
      );
    });
  });
  await closed;
  const resetting = await rawUpstream(t, (proxy) => {
    proxy.once('data', () => {
      proxy.write('HTTP/1.1 200 OK\r\n\r\n');
      proxy.once('data', () => proxy.resetAndDestroy());
    });
  });
  const policy = { method: 'CONNECT', targetHost: 'far.test', targetPort: 443 } as const;
  const tunnel = { policy, security: () => ({ kind: 'plaintext' }) as const };
  const { error } = await open(t, resetting.port, { kind: 'tls', serverName: 'far.test' }, { tunnel });
  t.equal(error?.code, 'ERR_MESH_TLS_FAILED', 'a reset within TLS');
});

t.test('a tunnel that opens in the moment in which its time is over is told of once', async (t) => {
  const fake = fakeClock();
  // What comes after input that waits comes after the answer of the proxy.
  const late: (() => void)[] = [];
  const clock: Clock = { ...fake, afterIo: (action) => void late.push(action) };
  const { port } = await rawUpstream(t, (proxy) => {
    proxy.on('data', () => {
      fake.advance(10_000);
      proxy.write('HTTP/1.1 200 OK\r\n\r\n');
    });
  });
  const policy = { method: 'CONNECT', targetHost: 'far.test', targetPort: 443 } as const;
  const tunnel = { policy, security: () => ({ kind: 'plaintext' }) as const };
  const { error, socket } = await open(t, port, { kind: 'plaintext' }, { clock, tunnel });
  t.equal(error, undefined);
  t.equal(late.length, 1, 'its time was over');
  for (const action of late) action();
  t.equal(socket?.destroyed, false);
});

t.test('an IPv6 endpoint is written with brackets', async (t) => {
  const { error } = await open(t, await refusingPort(), { kind: 'plaintext' }, { address: '::1' });
  t.match(error?.endpoint, /^\[::1\]:\d+$/);
});

t.test('mTLS: the wire speaks as an Istio sidecar does', async (t) => {
  const { port, seen } = await tlsServer(t);
  const { socket } = await open(t, port, mutual());
  t.equal((socket as TLSSocket).alpnProtocol, 'http/1.1');
  await until(() => seen.length === 1);
  t.same(seen[0], {
    serverName: 'outbound_.80_._.a',
    offered: ['istio-http/1.1', 'istio', 'http/1.1'],
    subject: 'URI:spiffe://cluster.local/ns/default/sa/client',
  });
});

t.test('mTLS for what is not HTTP offers the name of Istio for bytes, which leads past the HTTP chains', async (t) => {
  const { port, seen } = await tlsServer(t, server, { ALPNCallback: ({ protocols }) => protocols.join(' ') });
  const { socket } = await open(t, port, mutual(), { bytes: true });
  t.equal((socket as TLSSocket).alpnProtocol, 'istio');
  await until(() => seen.length === 1);
});

t.test('a byte that was changed on the way ends the connection (NET-10)', async (t) => {
  const { port } = await tlsServer(t, server, { greeting: Buffer.alloc(100_000, 'x') });
  const proxy = await chaosProxy(port, { fate: { kind: 'pass', responses: { corruptAt: 60_000 } } });
  t.teardown(() => proxy.close());
  const { socket } = await open(t, proxy.port, mutual());
  let received = 0;
  socket?.on('data', (bytes) => (received += bytes.length));
  const failed = new Promise((resolve) => socket?.once('error', resolve));
  await new Promise((resolve) => socket?.once('close', resolve));
  t.match(await failed, { code: 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC' });
  t.ok(received > 0 && received < 60_000);
});

t.test('the server must prove its identity before a byte is sent (EP-22)', async (t) => {
  const { port } = await tlsServer(t);
  const refusal = new MeshError('ERR_MESH_PEER_IDENTITY', 'not the one');
  let verified = 0;
  const { error } = await open(
    t,
    port,
    mutual((socket) => {
      verified++;
      t.equal(peerOfSocket(socket, client.trustBundles, systemClock)?.spiffeId, server.spiffeId);
      t.equal(socket.bytesWritten, 0);
      throw refusal;
    }),
  );
  t.equal(error, refusal);
  t.equal(verified, 1);
});

t.test('a certificate of another authority fails the handshake', async (t) => {
  const stranger = makeAuthority().issue('spiffe://cluster.local/ns/default/sa/server');
  const { port } = await tlsServer(t, stranger, { requestCert: false });
  const { error } = await open(t, port, mutual());
  t.match(error, { code: 'ERR_MESH_TLS_FAILED', flag: 'UF' });
});

t.test('NODE_TLS_REJECT_UNAUTHORIZED cannot turn the verification off', async (t) => {
  const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
  });
  const emitWarning = process.emitWarning;
  process.emitWarning = () => {};
  t.teardown(() => {
    process.emitWarning = emitWarning;
  });
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  const stranger = makeAuthority().issue('spiffe://cluster.local/ns/default/sa/server');
  const { port } = await tlsServer(t, stranger, { requestCert: false });
  const { error } = await open(t, port, mutual());
  t.equal(error?.code, 'ERR_MESH_TLS_FAILED');
});

t.test('a server that speaks no TLS, or hangs up in the handshake', async (t) => {
  for (const act of [
    (socket: Socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
    (socket: Socket) => socket.once('data', () => socket.destroy()),
    (socket: Socket) => socket.once('data', () => socket.resetAndDestroy()),
    (socket: Socket) => socket.end(),
  ]) {
    const { port } = await rawUpstream(t, act);
    const { error } = await open(t, port, mutual());
    t.equal(error?.code, 'ERR_MESH_TLS_FAILED');
  }
});

t.test('a handshake that stalls ends with the time to connect (EP-03)', async (t) => {
  const clock = fakeClock();
  const { port, open: connections } = await rawUpstream(t, (socket) => void socket.resume());
  const outcome = open(t, port, mutual(), { clock, timeoutMs: 1_000 });
  await until(() => connections() === 1);
  clock.advance(999);
  t.equal(connections(), 1);
  clock.advance(1);
  const { error } = await outcome;
  t.match(error, { code: 'ERR_MESH_CONNECT_FAILED', message: /within 1000 ms/ });
  await until(() => connections() === 0, 'the connection is given up');
  t.equal(clock.pending(), 0);
});

t.test('a process that was busy for long lets the handshakes go on that it has held up itself', async (t) => {
  const clock = fakeClock();
  let fire = (): void => {};
  // Its timers fire when the test says so, however late that is.
  const late: Clock = {
    ...clock,
    after(_, action) {
      fire = action;
      return () => {};
    },
  };
  for (const [lateMs, passes] of [
    [500, true],
    [50, false],
  ] as const) {
    const { port } = await tlsServer(t);
    const outcome = open(t, port, mutual(), { clock: late, timeoutMs: 300 });
    clock.advance(300 + lateMs);
    fire();
    const { error } = await outcome;
    t.equal(error?.code, passes ? undefined : 'ERR_MESH_CONNECT_FAILED', `${lateMs} ms late`);
  }
  // It is no reason to wait for ever.
  const silent = await rawUpstream(t, (socket) => void socket.resume());
  const outcome = open(t, silent.port, mutual(), { clock: late, timeoutMs: 300 });
  clock.advance(5_000);
  fire();
  await until(() => silent.open() === 1);
  fire();
  t.equal((await outcome).error?.code, 'ERR_MESH_CONNECT_FAILED');
});

t.test('the timer ends with the connection', async (t) => {
  const clock = fakeClock();
  const { port } = await rawUpstream(t, () => {});
  await open(t, port, { kind: 'plaintext' }, { clock });
  t.equal(clock.pending(), 0);
});

t.test('without an identity there is no connection, and no answer before the question is over', async (t) => {
  const refusal = new MeshError('ERR_MESH_NO_IDENTITY', 'no certificate');
  let asked = true;
  const { port, accepted } = await rawUpstream(t, () => {});
  const { error } = await new Promise<{ error: Error | null }>((resolve) => {
    const security = (): never => {
      throw refusal;
    };
    const target = { cluster: 'c', address: '127.0.0.1', port, timeoutMs: 1, clock: fakeClock(), security };
    openConnection(target, (error, socket) => {
      t.notOk(asked);
      t.equal(socket, null);
      resolve({ error });
    });
    asked = false;
  });
  t.equal(error, refusal);
  await turns();
  t.equal(accepted(), 0);
});

t.test("TLS of the application: the name that it called, by Node's own rules", async (t) => {
  const key = makeKey();
  const sans = [{ dns: 'example.test' }, { ip: [10, 0, 0, 1] }];
  const pem = toPem(makeCertificate(key, { name: 'example', sans, ca: true, keyUsage: null }));
  const { port, seen } = await tlsServer(t, server, { cert: pem, key: keyPem(key), requestCert: false, ca: pem });
  const untrusted = await open(t, port, { kind: 'tls', serverName: 'example.test' });
  t.match(untrusted.error, { code: 'ERR_MESH_TLS_FAILED', cause: { code: /SELF_SIGNED|UNABLE_TO/ } });
  t.equal(seen.length, 0);

  const roots = getCACertificates('default');
  setDefaultCACertificates([pem]);
  t.teardown(() => setDefaultCACertificates(roots));
  for (const [serverName, announced] of [
    ['example.test', 'example.test'],
    ['10.0.0.1', false],
  ] as const) {
    const { socket } = await open(t, port, { kind: 'tls', serverName });
    t.ok((socket as TLSSocket).authorized, serverName);
    await until(() => seen.length > 0);
    t.match(seen.pop(), { serverName: announced, offered: ['http/1.1'] });
  }
  for (const serverName of ['other.test', '10.0.0.2', '127.0.0.1']) {
    const { error } = await open(t, port, { kind: 'tls', serverName });
    t.match(error, { code: 'ERR_MESH_TLS_FAILED', cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' } }, serverName);
  }
});
