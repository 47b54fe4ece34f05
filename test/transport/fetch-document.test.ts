import { appendFileSync, writeFileSync } from 'node:fs';
import type { RequestListener } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/lib/clock.ts';
import {
  createDocumentFetch,
  type DocumentRequest,
  type FetchDocument,
  maxDocumentBytes,
} from '../../src/transport/fetch-document.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { nameAuthority, testFolder, tlsServer } from '../support/tls-server.ts';
import { rawUpstream, until, upstream } from '../support/upstream.ts';

// Whatever the environment says, certificates are verified.
process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
process.env['NODE_NO_WARNINGS'] = '1';

const authority = nameAuthority();
const otherAuthority = nameAuthority('other');
const never = new AbortController().signal;
const request = (url: string, changes: Partial<DocumentRequest> = {}): DocumentRequest => ({
  url,
  timeoutMs: 20_000,
  loopback: true,
  signal: never,
  ...changes,
});
const plain = createDocumentFetch({ clock: systemClock });

async function serve(t: Test, handler: RequestListener): Promise<string> {
  const { port } = await upstream(t, handler);
  return `http://127.0.0.1:${port}/jwks?x=1`;
}

t.test('what is answered well is handed over, whatever its type', async (t) => {
  for (const [headers, maxAgeMs] of [
    [{}, undefined],
    [{ 'content-type': 'text/html', 'cache-control': 'public, max-age=600, must-revalidate' }, 600_000],
    [{ 'content-type': 'application/jwk-set+json', 'cache-control': 'Max-Age="5"' }, 5_000],
    [{ 'cache-control': 'no-store' }, undefined],
    [{ 'cache-control': 's-max-age=7, max-age=9999999999' }, undefined],
  ] as const) {
    const url = await serve(t, (incoming, outgoing) => {
      outgoing.writeHead(200, headers).end(`${incoming.method} ${incoming.url} ${incoming.headers['cookie'] ?? ''}é`);
    });
    t.match(await plain(request(url)), { text: 'GET /jwks?x=1 é', maxAgeMs });
  }
});

t.test('everything else is refused, in words that repeat nothing of it', async (t) => {
  const big = Buffer.alloc(65_536, ' ');
  for (const [name, handler, why] of [
    [
      'JWT-081 a redirect',
      (_, outgoing) => outgoing.writeHead(302, { location: 'http://169.254.169.254/' }).end('x'),
      /redirects \(status 302\)/,
    ],
    ['JWT-079 an error', (_, outgoing) => outgoing.writeHead(500).end('SECRET'), /^status 500$/],
    ['no permission', (_, outgoing) => outgoing.writeHead(401).end('SECRET'), /^status 401$/],
    ['JWT-079 10 MB', (_, outgoing) => void writeAll(outgoing.writeHead(200), big, 160), /more than 1048576 bytes/],
    [
      '10 MB that are announced',
      (_, outgoing) => void writeAll(outgoing.writeHead(200, { 'content-length': 10_485_760 }), big, 160),
      /more than 1048576 bytes/,
    ],
    [
      'a body that is cut',
      (_, outgoing) => outgoing.writeHead(200, { 'content-length': 100 }).write('SECRET', () => outgoing.destroy()),
      /.+/,
    ],
    ['headers without end', (_, outgoing) => outgoing.writeHead(200, { 'x-big': 'SECRET'.repeat(10_000) }).end(), /.+/],
  ] as [string, RequestListener, RegExp][]) {
    const url = await serve(t, handler);
    const error = await plain(request(url)).then(
      () => t.fail(name),
      (problem: Error) => problem,
    );
    t.match(error, { message: why }, name);
    t.notMatch(String((error as Error).message), /SECRET|169/, name);
  }
  const { port } = await rawUpstream(t, (socket) => void socket.end('SECRET of something that is not HTTP\r\n\r\n'));
  await t.rejects(plain(request(`http://127.0.0.1:${port}/`)), { message: 'not an answer of HTTP' });
  const gone = await upstream(t);
  await gone.close();
  await t.rejects(plain(request(`http://127.0.0.1:${gone.port}/`)), { message: /ECONNREFUSED/ });
  t.ok(maxDocumentBytes < 10_000_000);
});

async function writeAll(outgoing: NodeJS.WritableStream, chunk: Buffer, count: number): Promise<void> {
  outgoing.on('error', () => {});
  for (let i = 0; i < count; i++) {
    outgoing.write(chunk);
    await nextTurn();
  }
  outgoing.end();
}

t.test('JWT-079 an answer that comes too slowly, or never, is given up, and its connection with it', async (t) => {
  const silent = await rawUpstream(t, (socket) => void socket.resume());
  const drip = await upstream(t, (_, outgoing) => void outgoing.writeHead(200).write('{'));
  for (const server of [silent, drip]) {
    const clock = fakeClock();
    const fetch = createDocumentFetch({ clock });
    const answer = fetch(request(`http://127.0.0.1:${server.port}/`, { timeoutMs: 5_000 }));
    await until(() => server.open() === 1, 'the connection');
    clock.advance(4_999);
    await nextTurn();
    t.equal(server.open(), 1);
    clock.advance(1);
    await t.rejects(answer, { message: 'no complete answer within 5000 ms' });
    await until(() => server.open() === 0, 'the connection to end');
    const stop = new AbortController();
    const unneeded = fetch(request(`http://127.0.0.1:${server.port}/`, { signal: stop.signal }));
    await until(() => server.open() === 1, 'the connection');
    stop.abort();
    await t.rejects(unneeded, { message: 'nobody needs it any more' });
    await until(() => server.open() === 0, 'the connection to end');
    await t.rejects(fetch(request('http://127.0.0.1:1/', { signal: stop.signal })), { message: /nobody needs/ });
    t.equal(clock.pending(), 0);
  }
});

t.test('certificates are verified, with roots of a file beside those that Node.js trusts', async (t) => {
  const { port, seen } = await tlsServer(t, authority.issue({ dns: 'localhost' }));
  const other = await tlsServer(t, otherAuthority.issue({ dns: 'localhost' }));
  const folder = testFolder(t);
  const rootsFile = folder.write('roots.pem', nameAuthority('unrelated').rootPem);
  const fetch = createDocumentFetch({ clock: systemClock, rootsFile });
  const url = `https://localhost:${port}/`;
  await t.rejects(plain(request(url)), { message: /certificate/ }, 'NODE_TLS_REJECT_UNAUTHORIZED=0 changes nothing');
  await t.rejects(fetch(request(url)), { message: /certificate/ });
  appendFileSync(rootsFile, authority.rootPem);
  t.match(await fetch(request(url)), { text: 'ok' }, 'the file is read anew');
  t.match(seen, [{ serverName: 'localhost', alpn: 'http/1.1', client: undefined, host: `localhost:${port}` }]);
  await t.rejects(fetch(request(`https://localhost:${other.port}/`)), { message: /certificate/ });
  await t.rejects(fetch(request(`https://127.0.0.1:${port}/`)), { message: /altnames/ }, 'the name counts');
  const before = getCACertificates('default');
  setDefaultCACertificates([otherAuthority.rootPem]);
  const both = createDocumentFetch({ clock: systemClock, rootsFile });
  t.match(await both(request(`https://localhost:${other.port}/`)), { text: 'ok' }, 'a root that Node.js trusts');
  t.match(await both(request(url)), { text: 'ok' }, 'and one of the file');
  setDefaultCACertificates(before);
  writeFileSync(rootsFile, 'nothing of the kind');
  await t.rejects(fetch(request(url)), { message: /no PEM certificate/ });
});

t.test('addresses from which nothing is fetched are never called', async (t) => {
  const { port, accepted } = await upstream(t);
  for (const host of ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', '0x7f.1', '2130706433']) {
    await t.rejects(plain(request(`http://${host}:${port}/`, { loopback: false })), { message: /may not name/ }, host);
  }
  for (const host of ['169.254.169.254', '[fe80::1]', '[::ffff:a9fe:a9fe]']) {
    await t.rejects(plain(request(`http://${host}:${port}/`)), { message: /metadata services/ }, host);
  }
  const naming = (...found: readonly string[]): FetchDocument =>
    createDocumentFetch({
      clock: systemClock,
      lookup: (_host, _options, callback) =>
        callback(
          null,
          found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        ),
    });
  const url = `http://keys.example:${port}/`;
  for (const found of [['127.0.0.1'], ['8.8.8.8', '::1'], ['::ffff:127.0.0.1']]) {
    await t.rejects(naming(...found)(request(url, { loopback: false })), {
      message: /^keys.example is .*may not name/,
    });
  }
  await t.rejects(naming('127.0.0.1', '169.254.169.254')(request(url)), { message: /metadata services/ });
  await t.rejects(naming()(request(url)), { message: /./ });
  t.equal(accepted(), 0);
  t.match(await naming('127.0.0.1')(request(url)), { text: 'ok' }, 'the very address that was looked at is called');
});
