import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Socket, connect as tcpConnect } from 'node:net';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';
import t, { type Test } from 'tap';
import type { MtlsMode } from '../../src/model/inbound.ts';
import type { TlsParameters } from '../../src/model/tls-parameters.ts';
import { callOf } from '../../src/pipeline/server-call.ts';
import { createAcceptor } from '../../src/transport/acceptor.ts';
import { chooseAlpn } from '../../src/transport/alpn.ts';
import { makeAuthority } from '../support/certificates.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { inboundSnapshot, rawConnection, rawExchange, testInbound } from '../support/inbound.ts';

const authority = makeAuthority();
const web = authority.issue('spiffe://cluster.local/ns/shop/sa/cart');
const tls = { ca: authority.rootPem, credentials: web };
const get = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n';

const mode = (mtls: MtlsMode) => ({ mtls: { mode: mtls, ports: new Map() } });
const app = (request: IncomingMessage, response: ServerResponse): void => {
  request.resume().on('end', () => response.end(callOf(request)?.peer?.spiffeId ?? 'nobody'));
};

/** Ends when the server closes the connection; what it said is lost on purpose. */
async function untilClosed(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  await once(socket, 'close');
}

function tlsOptions(port: number, more: ConnectionOptions = {}): ConnectionOptions {
  return {
    host: '127.0.0.1',
    port,
    ca: authority.rootPem,
    cert: web.certificateChainPem,
    key: web.privateKeyPem,
    checkServerIdentity: () => undefined,
    ...more,
  };
}

t.test('PERMISSIVE serves TLS and plaintext on one port, each as what it is', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  const [plain] = await rawExchange(inbound.port, get);
  t.equal(plain?.body, 'nobody');
  const [secure] = await rawExchange(inbound.port, get, { tls });
  t.equal(secure?.body, web.spiffeId);
  t.match(inbound.acceptor.counters(), { accepted: 2, plaintextRefused: 0, tlsRefused: 0, handshakesFailed: 0 });
});

t.test('STRICT closes plaintext without a word, and counts and logs it', async (t) => {
  const inbound = await testInbound(app, { authority, policy: mode('STRICT') });
  t.teardown(() => inbound.acceptor.close());
  t.same(await rawExchange(inbound.port, get), []);
  t.same(await rawExchange(inbound.port, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), []);
  const [secure] = await rawExchange(inbound.port, get, { tls });
  t.equal(secure?.body, web.spiffeId);
  t.equal(inbound.acceptor.counters().plaintextRefused, 2);
  t.same(inbound.logger.messages('warn'), ['plaintext refused: the port is STRICT'], 'one line a second, not one each');
});

t.test('DISABLE speaks plaintext and closes TLS', async (t) => {
  const inbound = await testInbound(app, { authority, policy: mode('DISABLE') });
  t.teardown(() => inbound.acceptor.close());
  t.same(await rawExchange(inbound.port, get, { tls }), []);
  const [plain] = await rawExchange(inbound.port, get);
  t.equal(plain?.body, 'nobody');
  t.equal(inbound.acceptor.counters().tlsRefused, 1);
});

t.test('without a certificate of its own it refuses TLS, and never falls back', async (t) => {
  const inbound = await testInbound(app, { policy: mode('STRICT') });
  t.teardown(() => inbound.acceptor.close());
  t.same(await rawExchange(inbound.port, get, { tls }), []);
  t.same(await rawExchange(inbound.port, get), []);
  t.match(inbound.acceptor.counters(), { tlsRefused: 1, plaintextRefused: 1 });
});

t.test('a plaintext connection that was open when the mode became STRICT is refused at its next request', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  const socket = tcpConnect({ host: '127.0.0.1', port: inbound.port });
  socket.setEncoding('latin1');
  socket.write(get);
  t.match((await once(socket, 'data'))[0], /^HTTP\/1\.1 200 [\s\S]*nobody$/);
  inbound.use(inboundSnapshot(mode('STRICT')));
  socket.write(get);
  const [answer] = (await once(socket, 'data')) as [string];
  t.match(answer, /^HTTP\/1\.1 403 /);
  t.match(answer, /x-inmesh-error: ERR_MESH_MTLS_REQUIRED/i);
  socket.destroy();
});

t.test('the mode of a port is its own, not that of another', async (t) => {
  const inbound = await testInbound(app, {
    authority,
    policy: { mtls: { mode: 'STRICT', ports: new Map([[9, 'DISABLE']]) } },
  });
  t.teardown(() => inbound.acceptor.close());
  t.same(await rawExchange(inbound.port, get), []);
  inbound.use(inboundSnapshot({ mtls: { mode: 'STRICT', ports: new Map([[inbound.port, 'PERMISSIVE']]) } }));
  t.equal((await rawExchange(inbound.port, get)).length, 1);
});

t.test('clients that prove no identity of the mesh do not get in', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  const other = makeAuthority();
  const refused: readonly (readonly [string, object])[] = [
    ['no certificate', {}],
    ['another authority', { credentials: other.issue(web.spiffeId) }],
    ['expired', { credentials: authority.issue(web.spiffeId, { notAfter: Date.now() - 1_000 }) }],
    [
      'two names',
      { credentials: authority.issue(web.spiffeId, { sans: [{ uri: web.spiffeId }, { uri: web.spiffeId }] }) },
    ],
    ['no SPIFFE ID', { credentials: authority.issue(web.spiffeId, { sans: [{ dns: 'web' }] }) }],
    ['a certificate authority', { credentials: authority.issue(web.spiffeId, { ca: true }) }],
  ];
  for (const [what, credentials] of refused) {
    t.same(await rawExchange(inbound.port, get, { tls: { ca: authority.rootPem, ...credentials } }), [], what);
  }
  t.equal(inbound.acceptor.counters().handshakesFailed, refused.length);
});

t.test('old TLS, weak ciphers, renegotiation and resumption are not for sale', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  for (const more of [
    { minVersion: 'TLSv1' as const, maxVersion: 'TLSv1.1' as const, ciphers: 'DEFAULT@SECLEVEL=0' },
    { maxVersion: 'TLSv1.2' as const, ciphers: 'aNULL:eNULL:@SECLEVEL=0' },
    { maxVersion: 'TLSv1.2' as const, ciphers: 'AES128-SHA' },
  ]) {
    const socket = tlsConnect(tlsOptions(inbound.port, more));
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    t.ok(error.code, `${more.ciphers}: ${error.code}`);
  }
  const first = tlsConnect(tlsOptions(inbound.port, { maxVersion: 'TLSv1.2' }));
  await once(first, 'secureConnect');
  const session = first.getSession();
  t.notOk(first.renegotiate({}, () => {}) && first.isSessionReused());
  first.destroy();
  const second = tlsConnect(tlsOptions(inbound.port, { maxVersion: 'TLSv1.2', ...(session && { session }) }));
  await once(second, 'secureConnect');
  t.equal(second.isSessionReused(), false);
  second.destroy();
});

const speaking = (others: TlsParameters, ports: readonly (readonly [number, TlsParameters])[] = []) =>
  inboundSnapshot({ tls: { others, ports: new Map(ports) } });

/** What a client and the server agree on: version, suite and curve; `nothing` where that is so. */
async function agreed(port: number, more: ConnectionOptions): Promise<string> {
  const socket = tlsConnect(tlsOptions(port, more));
  const end = new Promise((resolve) => socket.once('close', resolve));
  try {
    await once(socket, 'secureConnect');
    const { name } = socket.getEphemeralKeyInfo() as { readonly name?: string };
    return `${socket.getProtocol()} ${socket.getCipher().standardName} ${name}`;
  } catch {
    return 'nothing';
  } finally {
    socket.destroy();
    await end;
  }
}

t.test('version, suites and curves are those of the configuration, from the next connection on', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  const old = { maxVersion: 'TLSv1.2' as const };
  const suite = 'ECDHE-ECDSA-AES128-GCM-SHA256';
  const table: readonly (readonly [string, TlsParameters, ConnectionOptions, RegExp])[] = [
    ['anything', {}, old, /^TLSv1\.2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 X25519$/],
    ['TLS 1.3 alone, and a client of TLS 1.2', { minVersion: 'TLSv1.3' }, old, /^nothing$/],
    ['TLS 1.3 alone', { minVersion: 'TLSv1.3' }, {}, /^TLSv1\.3 /],
    ['TLS 1.2 alone', { maxVersion: 'TLSv1.2' }, {}, /^TLSv1\.2 /],
    ['TLS 1.2 alone, and a client of TLS 1.3', { maxVersion: 'TLSv1.2' }, { minVersion: 'TLSv1.3' }, /^nothing$/],
    ['one suite', { cipherSuites: [suite] }, old, /^TLSv1\.2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 /],
    [
      'one suite, which the client does not have',
      { cipherSuites: [suite] },
      { ...old, ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' },
      /^nothing$/,
    ],
    [
      'one suite of TLS 1.2, and a client of TLS 1.3',
      { cipherSuites: [suite] },
      {},
      /^TLSv1\.3 TLS_AES_256_GCM_SHA384 /,
    ],
    ['a curve', { curves: ['P-384'] }, {}, /^TLSv1\.3 .* secp384r1$/],
    ['a curve under TLS 1.2', { curves: ['P-256'] }, old, /^TLSv1\.2 .* prime256v1$/],
    ['under TLS 1.2 curves are those of certificates, too (RFC 8422)', { curves: ['P-521'] }, old, /^nothing$/],
    ['curves, of which the client has none', { curves: ['P-384', 'P-521'] }, { ecdhCurve: 'P-256' }, /^nothing$/],
  ];
  for (const [what, parameters, client, expected] of table) {
    inbound.use(speaking(parameters));
    t.match(await agreed(inbound.port, client), expected, what);
  }
  inbound.use(speaking({ minVersion: 'TLSv1.3' }, [[inbound.port, {}]]));
  t.match(await agreed(inbound.port, old), /^TLSv1\.2 /, 'what a port has goes before the rest');
});

t.test('connections that are open when other rules come go on, and a new certificate changes no rules', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  const socket = tlsConnect(tlsOptions(inbound.port, { maxVersion: 'TLSv1.2' })).setEncoding('latin1');
  socket.write(get);
  t.match((await once(socket, 'data'))[0], /^HTTP\/1\.1 200 /);
  inbound.use(speaking({ minVersion: 'TLSv1.3' }));
  t.equal(await agreed(inbound.port, { maxVersion: 'TLSv1.2' }), 'nothing');
  socket.write(get);
  t.match((await once(socket, 'data'))[0], /^HTTP\/1\.1 200 /);
  socket.destroy();
  inbound.rotate({
    ...authority.issue('spiffe://cluster.local/ns/shop/sa/web'),
    trustBundles: authority.trustBundles,
  });
  t.equal(await agreed(inbound.port, { maxVersion: 'TLSv1.2' }), 'nothing');
  t.match(await agreed(inbound.port, {}), /^TLSv1\.3 /);
});

t.test('a handshake that was begun under other rules comes to nothing', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  const way = await halfway(t, inbound.port);
  const socket = tlsConnect(tlsOptions(way.port, { maxVersion: 'TLSv1.2' }));
  let said = '';
  socket.on('data', (chunk) => (said += chunk)).on('error', () => {});
  socket.write(get);
  await way.waiting;
  inbound.use(speaking({ minVersion: 'TLSv1.3' }));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  way.go();
  await closed;
  t.equal(said, '');
  t.equal(inbound.acceptor.counters().handshakesFailed, 1);
  const again = await halfway(t, inbound.port);
  const [answer] = await Promise.all([rawExchange(again.port, get, { tls }), again.waiting.then(again.go)]);
  t.equal(answer[0]?.status, 200, 'rules that say the same stop nobody');
});

/** A relay that hands on the first words of a client, and keeps the next ones back. */
async function halfway(t: Test, port: number) {
  const { promise: waiting, resolve } = Promise.withResolvers<void>();
  const { promise: allowed, resolve: go } = Promise.withResolvers<void>();
  const relay = createServer((client) => {
    const server = tcpConnect({ host: '127.0.0.1', port });
    for (const socket of [client, server]) socket.on('error', () => {});
    client.once('data', (hello) => {
      server.write(hello);
      client.once('data', async (rest) => {
        client.pause();
        resolve();
        await allowed;
        server.write(rest);
        client.pipe(server);
      });
    });
    server.pipe(client);
  });
  await new Promise<void>((listening) => relay.listen(0, '127.0.0.1', listening));
  t.teardown(() => relay.close());
  return { port: (relay.address() as AddressInfo).port, waiting, go };
}

t.test('what this Node.js cannot speak refuses TLS, and ends nothing else', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  inbound.use(speaking({ curves: ['P-0'] }));
  t.equal(await agreed(inbound.port, {}), 'nothing');
  t.equal(inbound.acceptor.counters().tlsRefused, 1);
  t.same(inbound.logger.messages('warn'), ['TLS refused: it cannot be set up']);
  inbound.use(inboundSnapshot());
  t.match(await agreed(inbound.port, {}), /^TLSv1\.3 /);
});

t.test('ALPN: what the client and Istio expect to be answered', async (t) => {
  const table: readonly (readonly [readonly string[], string | undefined])[] = [
    [['h2', 'http/1.1'], 'h2'],
    [['http/1.1'], 'http/1.1'],
    [['istio-http/1.1', 'istio', 'http/1.1'], 'http/1.1'],
    [['istio-h2', 'istio', 'h2'], 'h2'],
    [['istio-http/1.0', 'istio', 'http/1.0'], 'istio-http/1.0'],
    [['istio-peer-exchange', 'istio'], 'istio'],
    [['istio-peer-exchange'], 'istio-peer-exchange'],
    [['h3'], undefined],
    [['\0', ''], undefined],
    [[], undefined],
  ];
  for (const [offered, chosen] of table) t.equal(chooseAlpn(offered), chosen, offered.join(','));

  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  for (const alpn of [
    ['http/1.1'],
    ['istio-http/1.1', 'istio', 'http/1.1'],
    ['istio-peer-exchange', 'istio'],
    undefined,
  ]) {
    const [answer] = await rawExchange(inbound.port, get, { tls: alpn === undefined ? tls : { ...tls, alpn } });
    t.equal(answer?.body, web.spiffeId, String(alpn));
  }
  const socket = tlsConnect(tlsOptions(inbound.port, { ALPNProtocols: ['h3'] }));
  t.match((await once(socket, 'error'))[0], { code: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL' });
});

t.test('strange server names and garbage after the first byte end one connection and nothing else', async (t) => {
  const inbound = await testInbound(app, { authority, limits: { handshakeTimeoutMs: 60 } });
  t.teardown(() => inbound.acceptor.close());
  await untilClosed(
    rawConnection(inbound.port)
      .setNoDelay()
      .on('connect', function (this: TLSSocket) {
        this.write(Buffer.from('160301ffff00', 'hex'));
      }),
  );
  const dribble = tcpConnect({ host: '127.0.0.1', port: inbound.port });
  dribble.write(Buffer.from([0x16]));
  await untilClosed(dribble);
  for (const servername of ['a\nb', 'x'.repeat(300), '']) {
    const socket = tlsConnect(tlsOptions(inbound.port, { servername }));
    await Promise.race([once(socket, 'secureConnect'), once(socket, 'close')]).catch(() => {});
    socket.on('error', () => {}).destroy();
  }
  const [answer] = await rawExchange(inbound.port, get, { tls });
  t.equal(answer?.status, 200, 'others are served');
});

t.test('who says nothing is shown the door after the handshake timeout', async (t) => {
  const clock = fakeClock();
  const inbound = await testInbound(app, { authority, clock });
  t.teardown(() => inbound.acceptor.close());
  const silent = tcpConnect({ host: '127.0.0.1', port: inbound.port });
  const afterTls = tlsConnect(tlsOptions(inbound.port, { ALPNProtocols: ['istio'] }));
  await once(afterTls, 'secureConnect');
  const [answer] = await rawExchange(inbound.port, get);
  t.equal(answer?.status, 200);
  clock.advance(9_999);
  t.equal(silent.destroyed, false);
  const closed = Promise.all([untilClosed(silent), untilClosed(afterTls)]);
  clock.advance(1);
  await closed;
});

t.test('first bytes that come one by one are put together', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  const socket = tcpConnect({ host: '127.0.0.1', port: inbound.port, noDelay: true });
  socket.setEncoding('latin1');
  const answer = once(socket, 'data');
  // PROPFIND begins like the preface of HTTP/2 does.
  for (const piece of ['P', 'R', 'OPFIND / HTTP/1.1\r\n', 'Host: web\r\n\r\n']) {
    socket.write(piece);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  t.match((await answer)[0], /^HTTP\/1\.1 200/);
  socket.destroy();
  const leaver = tcpConnect({ host: '127.0.0.1', port: inbound.port });
  leaver.end('P');
  await untilClosed(leaver);
});

t.test('rotation: new connections get the new certificate, open ones go on', async (t) => {
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  const open = tlsConnect(tlsOptions(inbound.port));
  await once(open, 'secureConnect');
  const serial = (socket: TLSSocket): string => socket.getPeerCertificate().serialNumber;
  const before = serial(open);
  inbound.rotate(authority.issue('spiffe://cluster.local/ns/shop/sa/web'));
  const fresh = tlsConnect(tlsOptions(inbound.port));
  await once(fresh, 'secureConnect');
  t.not(serial(fresh), before);
  open.setEncoding('latin1').write(get);
  t.match((await once(open, 'data'))[0], /^HTTP\/1\.1 200/);
  open.destroy();
  fresh.destroy();
});

t.test('a connection whose root is gone from the bundle is refused, and ended', async (t) => {
  const other = makeAuthority({ name: 'the new root' });
  const inbound = await testInbound(app, { authority });
  t.teardown(() => inbound.acceptor.close());
  const open = tlsConnect(tlsOptions(inbound.port));
  open.setEncoding('latin1').write(get);
  t.match((await once(open, 'data'))[0], /^HTTP\/1\.1 200/);
  inbound.rotate(other.issue('spiffe://cluster.local/ns/shop/sa/web'));
  open.write(get);
  const [answer] = (await once(open, 'data')) as [string];
  t.match(answer, /^HTTP\/1\.1 403 [\s\S]*ERR_MESH_MTLS_REQUIRED/i);
  t.match(answer, /connection: close/i);
  await untilClosed(open);
});

t.test('a connection outlives its certificate by a minute of grace, and is told to close', async (t) => {
  const clock = fakeClock();
  const inbound = await testInbound(app, { authority, clock });
  t.teardown(() => inbound.acceptor.close());
  const exchange = async (): Promise<string> => {
    const open = tlsConnect(tlsOptions(inbound.port, { ALPNProtocols: ['http/1.1'] }));
    open.setEncoding('latin1').write(get);
    await once(open, 'data');
    clock.jump(web.notAfter - clock.wallNow() + 1_000);
    open.write(get);
    const [answer] = (await once(open, 'data')) as [string];
    await untilClosed(open);
    return answer;
  };
  // The server's own certificate has to live on.
  inbound.rotate(authority.issue('spiffe://cluster.local/ns/shop/sa/web', { notAfter: web.notAfter + 86_400_000 }));
  const answer = await exchange();
  t.match(answer, /^HTTP\/1\.1 200 /);
  t.match(answer, /connection: close/i);
});

t.test('a port that is taken is told to whoever asked for it', async (t) => {
  const inbound = await testInbound(app);
  t.teardown(() => inbound.acceptor.close());
  const acceptor = createAcceptor({
    identity: () => undefined,
    subscribe: () => () => {},
    mode: () => 'PERMISSIVE',
    onRequest: () => {},
    logger: inbound.logger,
    clock: fakeClock(),
  });
  await t.rejects(acceptor.listen({ port: inbound.port, host: '127.0.0.1' }), { code: 'EADDRINUSE' });
  await acceptor.close();
});
