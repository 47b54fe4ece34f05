import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { caSource, createCsr, createIdentityStore, silentLogger, systemClock } from 'inmesh/identity';
import t from 'tap';
import { keyPem, makeAuthority, makeKey } from '../../../test/support/certificates.ts';
import { type FakeClock, fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { type Attestor, type Authority, createAuthority, type ServeOptions, serveAuthority } from '../src/index.ts';
import { call } from './support/call.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';
const admin = 'spiffe://cluster.local/ns/shop/sa/admin';

interface Ending {
  teardown(action: () => Promise<void>): unknown;
}

interface Started {
  readonly authority: Authority;
  readonly url: string;
  readonly port: number;
  readonly clock: FakeClock;
  readonly logger: ReturnType<typeof recordingLogger>;
}

/** Serves a fresh authority for the length of a test. */
async function start(t: Ending, options: ServeOptions = {}): Promise<Started> {
  const clock = fakeClock();
  const logger = recordingLogger();
  const authority = createAuthority({ clock });
  const { url, port, close } = await serveAuthority(authority, { clock, logger, ...options });
  t.teardown(close);
  return { authority, url, port, clock, logger };
}

const post = (started: Started, body: unknown, extra: object = {}) =>
  call(started.url, {
    method: 'POST',
    path: '/v1/certificates',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ca: started.authority.rootPem,
    ...extra,
  });

t.test('gives a certificate for a join token, once', async (t) => {
  const started = await start(t);
  const { authority } = started;
  const { token } = authority.createToken({ spiffeId: web });
  const key = makeKey();
  const { status, json, headers } = await post(started, { csr: createCsr(web, key), token });
  t.equal(status, 200);
  t.match(headers, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  t.match(json, { spiffeId: web, trustBundles: { 'cluster.local': [authority.rootPem] } });
  t.ok(new X509Certificate(String(json['certificateChain'])).checkPrivateKey(key));
  t.equal(new Date(Number(json['notAfter'])).getTime(), json['notAfter']);

  const again = await post(started, { csr: createCsr(web, makeKey()), token });
  t.match(again, { status: 401, json: { error: 'token_invalid', message: /unknown, expired or used up/ } }, 'CA-004');
  t.notMatch(JSON.stringify(started.logger.lines), token.split('.')[2] as string);
});

t.test('renews for who presents a valid certificate, and for nobody else', async (t) => {
  const started = await start(t);
  const { authority, clock } = started;
  const key = makeKey();
  const { certificateChainPem: cert } = authority.signCsr(createCsr(web, key), web);
  const client = { cert, key: keyPem(key) };

  const renewed = await post(started, { csr: createCsr(web, makeKey()) }, client);
  t.match(renewed, { status: 200, json: { spiffeId: web } });
  const other = await post(started, { csr: createCsr(admin, makeKey()) }, client);
  t.match(
    other,
    { status: 403, json: { error: 'identity_mismatch', message: /admin.*the caller is .*web/ } },
    'CA-001',
  );

  const nobody = await post(started, { csr: createCsr(web, makeKey()) });
  t.match(
    nobody,
    { status: 401, json: { error: 'unauthenticated', message: /a join token or a valid client/ } },
    'CA-003',
  );

  const stranger = makeAuthority().issue(web);
  const foreign = await post(
    started,
    { csr: createCsr(web, makeKey()) },
    { cert: stranger.certificateChainPem, key: stranger.privateKeyPem },
  );
  t.match(foreign, { status: 401, json: { error: 'unauthenticated', message: /TLS did not verify/ } });

  const server = authority.issueServer(['localhost']);
  const notWorkload = await post(
    started,
    { csr: createCsr(web, makeKey()) },
    { cert: server.certificateChainPem, key: server.privateKeyPem },
  );
  t.match(notWorkload, { status: 401, json: { error: 'unauthenticated' } }, 'a server certificate is no identity');

  clock.jump(3_601_000);
  const expired = await post(started, { csr: createCsr(web, makeKey()) }, client);
  t.match(expired, { status: 401, json: { error: 'unauthenticated', message: /expired/ } });
});

t.test('an open connection cannot renew after its certificate has expired', async (t) => {
  const started = await start(t);
  const { authority, clock, port } = started;
  const key = makeKey();
  const { certificateChainPem: cert } = authority.signCsr(createCsr(web, key), web);
  const socket = connectTls({ host: '127.0.0.1', port, ca: authority.rootPem, cert, key: keyPem(key) });
  const ask = async () => {
    const body = JSON.stringify({ csr: createCsr(web, makeKey()) });
    socket.write(`POST /v1/certificates HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    let text = '';
    while (!text.includes('}')) text += String((await once(socket, 'data'))[0]);
    return text;
  };
  t.match(await ask(), /^HTTP\/1\.1 200 /);
  clock.jump(3_601_000);
  t.match(await ask(), /^HTTP\/1\.1 401 [\s\S]*has expired/);
  socket.destroy();
});

t.test('answers in JSON whatever it is asked', async (t) => {
  const started = await start(t);
  const { authority } = started;
  const csr = createCsr(web, makeKey());
  const ca = authority.rootPem;
  const cases: readonly (readonly [string, Parameters<typeof call>[1], number, string])[] = [
    ['another path', { path: '/', ca }, 404, 'not_found'],
    ['a name of Object.prototype', { path: '/constructor', ca }, 404, 'not_found'],
    ['another method', { path: '/v1/certificates', ca }, 405, 'method_not_allowed'],
    ['another method of the bundle', { method: 'POST', path: '/v1/bundle', ca }, 405, 'method_not_allowed'],
    ['no JSON', { method: 'POST', path: '/v1/certificates', body: '{', ca }, 400, 'bad_request'],
    ['JSON null', { method: 'POST', path: '/v1/certificates', body: 'null', ca }, 400, 'bad_request'],
    ['no request', { method: 'POST', path: '/v1/certificates', body: '{}', ca }, 400, 'bad_request'],
    [
      'a token that is no text',
      { method: 'POST', path: '/v1/certificates', body: JSON.stringify({ csr, token: 5 }), ca },
      400,
      'bad_request',
    ],
    [
      'a request that is none',
      {
        method: 'POST',
        path: '/v1/certificates',
        body: JSON.stringify({ csr: 'x', token: authority.createToken({ spiffeId: web }).token }),
        ca,
      },
      400,
      'bad_csr',
    ],
    [
      'a body of 1 MiB',
      { method: 'POST', path: '/v1/certificates', body: JSON.stringify({ csr: 'x'.repeat(1_048_576) }), ca },
      413,
      'too_large',
    ],
  ];
  for (const [what, options, status, error] of cases) {
    const reply = await call(started.url, options).catch((problem: Error) => ({ status: 0, json: {}, problem }));
    // The rest of a body that is too large is not read; whether the answer is seen is a race.
    if (status === 413 && reply.status === 0) continue;
    t.match(reply, { status, json: { error, message: /./ } }, what);
  }
});

t.test('shows its roots and its health', async (t) => {
  const started = await start(t);
  const { authority, url, clock } = started;
  const ca = authority.rootPem;
  t.match(await call(url, { path: '/v1/bundle?x', ca }), {
    status: 200,
    json: { trustDomain: 'cluster.local', trustBundles: { 'cluster.local': [authority.rootPem] } },
  });
  t.match(await call(url, { path: '/healthz', ca }), {
    status: 200,
    json: { status: 'ok', trustDomain: 'cluster.local' },
  });
  clock.jump(11 * 365 * 86_400_000);
  t.match(await call(url, { path: '/healthz', ca }), { status: 503, json: { error: 'unavailable' } });
});

t.test('slows down who asks too often', async (t) => {
  // CA-015
  const started = await start(t, { requestsPerSecond: 2, burst: 3 });
  const { url, clock, authority } = started;
  const ask = () => call(url, { path: '/healthz', ca: authority.rootPem });
  for (let i = 0; i < 3; i++) t.equal((await ask()).status, 200);
  t.match(await ask(), { status: 429, json: { error: 'rate_limited' }, headers: { 'retry-after': '1' } });
  clock.advance(500);
  t.equal((await ask()).status, 200);
  t.equal((await ask()).status, 429);
});

t.test('an attestor of the application is asked after all others, and says who the caller is', async (t) => {
  const asked: unknown[] = [];
  const attestor: Attestor = {
    name: 'badge',
    attest: async ({ token }) => {
      asked.push(token);
      if (token === 'badge:other') return { spiffeId: 'spiffe://other.example/ns/a/sa/b', by: 'badge' };
      return token === 'badge:web' ? { spiffeId: web, by: 'badge' } : undefined;
    },
  };
  const started = await start(t, { attestors: [attestor] });
  const ask = (token: string) => post(started, { csr: createCsr(web, makeKey()), token });
  t.match(await ask('badge:web'), { status: 200, json: { spiffeId: web } });
  t.match(await ask('badge:none'), {
    status: 401,
    json: { error: 'token_invalid', message: /no kind that is accepted/ },
  });
  const foreign = await ask('badge:other');
  t.match(foreign, { status: 403, json: { error: 'identity_mismatch' } }, 'no attestor can name another trust domain');
  t.match(await ask(started.authority.createToken({ spiffeId: web }).token), { status: 200 });
  t.same(asked, ['badge:web', 'badge:none', 'badge:other'], 'a join token was known before');
});

t.test('hides what went wrong inside, and logs it', async (t) => {
  const clock = fakeClock();
  const logger = recordingLogger();
  const authority = createAuthority({ clock });
  const broken: Authority = {
    ...authority,
    checkToken: () => {
      throw new Error('disk on fire');
    },
  };
  const { url, close } = await serveAuthority(broken, { clock, logger });
  t.teardown(close);
  const body = JSON.stringify({ csr: 'x', token: 'inmesh1.y' });
  const reply = await call(url, { method: 'POST', path: '/v1/certificates', body, ca: authority.rootPem });
  t.match(reply, { status: 500, json: { error: 'internal', message: 'the authority failed; see its log' } });
  t.match(JSON.stringify(logger.lines), /disk on fire/);
});

t.test('survives clients that speak nonsense or go away', async (t) => {
  const started = await start(t);
  const { port, authority, url } = started;
  for (const text of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\xff\xff\x00', '']) {
    const socket = connectTcp(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.end(text, 'latin1');
    socket.resume();
    await once(socket, 'close');
  }
  const noise = connectTls({ host: '127.0.0.1', port, ca: authority.rootPem });
  noise.on('error', () => {});
  noise.write('nonsense\r\n\r\n');
  const [answer] = (await once(noise, 'data')) as [Buffer];
  t.match(answer.toString(), /^HTTP\/1\.1 400 /);
  noise.destroy();
  const quitter = connectTls({ host: '127.0.0.1', port, ca: authority.rootPem });
  await once(quitter, 'secureConnect');
  quitter.write('POST /v1/certificates HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{');
  quitter.destroy();
  await once(quitter, 'close');
  t.equal((await call(url, { path: '/healthz', ca: authority.rootPem })).status, 200);
});

t.test('renews its own certificate at half of its life, and tries again when that fails', async (t) => {
  const clock = fakeClock();
  const logger = recordingLogger();
  const authority = createAuthority({ clock });
  let failing = false;
  const flaky: Authority = {
    ...authority,
    issueServer: (names) => {
      if (failing) throw new Error('not now');
      return authority.issueServer(names);
    },
  };
  const { port, close } = await serveAuthority(flaky, { clock, logger });
  t.teardown(close);
  const serial = async () => {
    const socket = connectTls({ host: '127.0.0.1', port, ca: authority.rootPem });
    await once(socket, 'secureConnect');
    const certificate = socket.getPeerCertificate().serialNumber;
    socket.destroy();
    return certificate;
  };
  const first = await serial();
  // The clock of TLS stands still meanwhile: by it, a certificate made 12 hours later would not be valid yet.
  clock.advance(11.9 * 3_600_000);
  t.equal(await serial(), first);
  failing = true;
  clock.jump(-11 * 3_600_000);
  clock.advance(0.2 * 3_600_000);
  t.match(logger.messages('error'), [/could not be renewed; trying again/]);
  failing = false;
  clock.jump(-2 * 3_600_000);
  clock.advance(60_000);
  t.not(await serial(), first);
});

t.test('takes names for its certificate, and says when it cannot listen', async (t) => {
  const started = await start(t, { names: ['ca.example', '127.0.0.1'] });
  const socket = connectTls({
    host: '127.0.0.1',
    port: started.port,
    ca: started.authority.rootPem,
    servername: 'ca.example',
  });
  await once(socket, 'secureConnect');
  t.equal(socket.getPeerCertificate().subjectaltname, 'DNS:ca.example, IP Address:127.0.0.1');
  socket.destroy();
  await t.rejects(serveAuthority(started.authority, { port: started.port }), {
    code: 'ERR_MESH_OPTION_INVALID',
    message: /cannot listen: .*EADDRINUSE/,
  });
  await t.rejects(serveAuthority(started.authority, { burst: 0 }), { code: 'ERR_MESH_OPTION_INVALID' });
});

t.test('serves on all addresses under the names of this machine', async (t) => {
  const started = await start(t, { host: '0.0.0.0' });
  t.match(started.url, /^https:\/\/127\.0\.0\.1:\d+$/);
  t.equal((await call(started.url, { path: '/healthz', ca: started.authority.rootPem })).status, 200);
});

t.test('the source of the core gets its certificate here and renews it', async (t) => {
  const authority = createAuthority({ leafTtlMs: 2_000 });
  const { url, close } = await serveAuthority(authority);
  const { token } = authority.createToken({ spiffeId: web });
  const store = createIdentityStore({ clock: systemClock, logger: silentLogger });
  const generations = new Promise<void>((resolve) => {
    store.subscribe(({ generation }) => {
      if (generation === 3) resolve();
    });
  });
  const abort = new AbortController();
  const source = caSource({ url, trustRoot: authority.rootPem, spiffeId: web, token, renewAtShare: 0.1 });
  const running = source.run(store.sink, abort.signal);
  await generations;
  t.match(store.current(), { generation: 3, credentials: { spiffeId: web } });
  t.equal(store.lastProblem(), undefined);
  abort.abort();
  await running;
  store.close();
  await close();
});
