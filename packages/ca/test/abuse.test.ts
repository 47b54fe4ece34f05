import { once } from 'node:events';
import { connect, constants, type OutgoingHttpHeaders } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import { caSource, createCsr, systemClock, type TrustBundles } from 'inmesh/identity';
import t, { type Test } from 'tap';
import { keyPem, makeKey } from '../../../test/support/certificates.ts';
import { type FakeClock, fakeClock } from '../../../test/support/fake-clock.ts';
import { recordingLogger } from '../../../test/support/recording-logger.ts';
import { fetchBundle } from '../src/bundle-fetch.ts';
import {
  type Authority,
  createAuthority,
  type ServeOptions,
  serveAuthority,
  serveBundleEndpoint,
} from '../src/index.ts';
import { call } from './support/call.ts';
import { istioPath, istioRequest } from './support/istio-client.ts';

const web = 'spiffe://cluster.local/ns/shop/sa/web';

interface Started {
  readonly authority: Authority;
  readonly port: number;
  readonly url: string;
  readonly clock: FakeClock;
  readonly logger: ReturnType<typeof recordingLogger>;
}

async function start(t: Test, options: ServeOptions = {}): Promise<Started> {
  const clock = fakeClock();
  const logger = recordingLogger();
  const authority = createAuthority({ clock });
  const { close, port, url } = await serveAuthority(authority, { clock, logger, ...options });
  t.teardown(async () => {
    const closing = close();
    clock.advance(5_000);
    await closing;
  });
  return { authority, port, url, clock, logger };
}

const frame = (message: Uint8Array): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
};
const grpcHead = (head: OutgoingHttpHeaders = {}): OutgoingHttpHeaders => ({
  ':method': 'POST',
  ':path': istioPath,
  'content-type': 'application/grpc',
  te: 'trailers',
  ...head,
});

t.test('a call that was refused for its size takes no token, whatever comes after', async (t) => {
  const { authority, port } = await start(t);
  const { token } = authority.createToken({ spiffeId: web });
  const session = connect(`https://127.0.0.1:${port}`, { ca: authority.rootPem });
  t.teardown(() => session.destroy());
  await once(session, 'connect');
  const stream = session.request(grpcHead({ authorization: `Bearer ${token}` }));
  stream.on('error', () => {});
  const answered = once(stream, 'response');
  stream.write(frame(istioRequest({ csr: createCsr(web, makeKey()), members: { pad: 'x'.repeat(10_000) } })));
  // So that the message arrives by itself.
  await new Promise((resolve) => session.ping(resolve));
  stream.end(Buffer.alloc(24_576));
  const [headers] = (await answered) as [object];
  t.match(headers, { 'grpc-status': /8|12/ });
  if (!stream.closed) {
    stream.resume();
    await once(stream, 'close');
  }
  t.ok(authority.enroll(createCsr(web, makeKey()), token), 'the token still counts');
});

t.test('a client that does not read its answer is cut off', async (t) => {
  const { authority, clock, port } = await start(t);
  const key = makeKey();
  const { certificateChainPem: cert } = authority.signCsr(createCsr(web, key), web);
  const session = connect(`https://127.0.0.1:${port}`, {
    ca: authority.rootPem,
    cert,
    key: keyPem(key),
    settings: { initialWindowSize: 0 },
  });
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  const stream = session.request(grpcHead());
  stream.on('error', () => {});
  stream.end(frame(istioRequest({ csr: createCsr(web, makeKey()) })));
  const [headers] = (await once(stream, 'response')) as [object];
  t.match(headers, { ':status': 200 });
  const closed = once(stream, 'close');
  clock.advance(15_000);
  await closed;
  t.equal(stream.rstCode, constants.NGHTTP2_CANCEL);
});

t.test('requests that lead nowhere count for the limit of their caller', async (t) => {
  const { authority, logger, url } = await start(t, { requestsPerSecond: 1, burst: 3 });
  const ca = authority.rootPem;
  const found = [];
  for (let i = 0; i < 5; i++) found.push((await call(url, { path: '/nowhere', ca })).status);
  t.same(found, [404, 404, 404, 429, 429]);
  t.equal(logger.messages('warn').length, 3, 'and do not fill the log');
});

t.test('calls that lead nowhere count for the limit of their caller', async (t) => {
  const { authority, port } = await start(t, { requestsPerSecond: 1, burst: 3 });
  const session = connect(`https://127.0.0.1:${port}`, { ca: authority.rootPem });
  t.teardown(() => session.destroy());
  const found = [];
  for (let i = 0; i < 5; i++) {
    const stream = session.request(grpcHead({ ':path': '/nowhere' }));
    stream.on('error', () => {});
    stream.end();
    const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
    found.push(headers['grpc-status']);
    stream.resume();
    if (!stream.closed) await once(stream, 'close');
  }
  t.same(found, ['12', '12', '12', '8', '8']);
});

t.test('what federated trust domains do makes the authority issue nothing', async (t) => {
  const clock = fakeClock();
  let federated: TrustBundles = new Map();
  const authority = createAuthority({ clock, federated: () => federated });
  const { close } = await serveAuthority(authority, { clock });
  const endpoint = await serveBundleEndpoint(authority, { clock });
  t.teardown(() => Promise.all([close(), endpoint.close()]));
  const issued = () => authority.status().issued.total;
  const before = issued();
  for (let i = 0; i < 3; i++) {
    federated = new Map([['partner.example', [createAuthority({ trustDomain: 'partner.example' }).rootPem]]]);
    authority.refresh();
  }
  t.equal(issued(), before);
  authority.rotation.prepare();
  authority.rotation.activate();
  t.ok(issued() >= before + 2, 'another root does');
});

t.test('NODE_TLS_REJECT_UNAUTHORIZED makes nobody a bundle endpoint or an authority', async (t) => {
  const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
  process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
  t.teardown(() => {
    if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
    else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
  });
  const real = createAuthority({ trustDomain: 'partner.example' });
  const impostor = await serveAuthority(createAuthority({ trustDomain: 'partner.example' }));
  t.teardown(impostor.close);
  const relation = {
    trustDomain: 'partner.example',
    url: `${impostor.url}/v1/bundle`,
    profile: 'https_spiffe',
    endpointSpiffeId: 'spiffe://partner.example/bundles',
  } as const;
  const { signal } = new AbortController();
  const untrusted = /self-signed|unable to|signature/;
  await t.rejects(fetchBundle({ relation, known: real.ownBundles, clock: systemClock, signal }), {
    message: untrusted,
  });

  const ends = new AbortController();
  const { token } = real.createToken({ spiffeId: 'spiffe://partner.example/web' });
  const { promise: problem, resolve } = Promise.withResolvers<Error>();
  const sink = { update: () => resolve(new Error('it was believed')), reject: resolve, lost: resolve };
  const running = caSource({
    url: impostor.url,
    trustRoot: real.rootPem,
    spiffeId: 'spiffe://partner.example/web',
    token,
  }).run(sink, ends.signal);
  t.match((await problem).message, untrusted);
  ends.abort();
  await running;
});

t.test('a client that does not read the answer to a request is cut off', async (t) => {
  const clock = fakeClock();
  const root = createAuthority({ trustDomain: 'partner.example' }).rootPem;
  // More than the buffers between the two hold.
  const federated: TrustBundles = new Map([['partner.example', new Array<string>(20_000).fill(root)]]);
  const authority = createAuthority({ clock, federated: () => federated });
  const { close, port } = await serveAuthority(authority, { clock });
  t.teardown(close);
  const socket = connectTls({ host: '127.0.0.1', port, ca: authority.rootPem });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.write('GET /v1/bundle HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(socket, 'readable');
  clock.advance(89_999);
  clock.advance(1);
  const closed = once(socket, 'close');
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  await closed;
  t.match(text, /^HTTP\/1\.1 200/);
  t.notOk(text.endsWith('}'), 'it is not whole');
});
