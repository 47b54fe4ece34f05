import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { request } from 'undici';
import { loggedRouter } from '../../src/agent-access-log.ts';
import { compile } from '../../src/config/compile.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import type { AgentTarget, RoutedLater } from '../../src/host/agent-target.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { createMesh } from '../../src/mesh.ts';
import type { Mesh, MeshOptions } from '../../src/mesh-api.ts';
import { istioJsonFormat, istioTextFormat, jsonFormat, textFormat } from '../../src/telemetry/access-format.ts';
import { createAccessLog, type LineWriter } from '../../src/telemetry/access-log.ts';
import { type AccessRecord, loggedPath } from '../../src/telemetry/access-record.ts';
import { createLineWriter } from '../../src/telemetry/line-writer.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { rawExchange } from '../support/inbound.ts';
import { modelMesh, ways } from '../support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { rawUpstream, until, upstream } from '../support/upstream.ts';

const record = (changes: Partial<AccessRecord> = {}, headers: Record<string, string> = {}): AccessRecord => ({
  direction: 'inbound',
  startTimeMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  durationMs: 12.4,
  method: 'GET',
  target: '/reviews/1',
  authority: 'reviews:9080',
  protocol: 'HTTP/1.1',
  status: 200,
  flags: '',
  details: 'via_upstream',
  bytesReceived: 0,
  bytesSent: 295,
  upstreamHost: '10.0.0.7:9080',
  upstreamCluster: 'inbound|9080||',
  transportFailure: '',
  localPort: 9080,
  localAddress: '10.0.0.7:9080',
  remoteAddress: '10.0.0.8:4242',
  peer: 'spiffe://td/ns/shop/sa/web',
  serverName: 'outbound_.9080_._.reviews.shop.svc.cluster.local',
  routeName: 'default',
  tries: 1,
  grpcStatus: -1,
  requestHeader: (name) => headers[name],
  responseHeader: (name) => headers[name],
  ...changes,
});

t.test("Istio's default format", async (t) => {
  const headers = { 'user-agent': 'curl', 'x-request-id': 'abc' };
  t.equal(
    textFormat(istioTextFormat).write(record({}, headers)),
    '[2026-01-02T03:04:05.006Z] "GET /reviews/1 HTTP/1.1" 200 - via_upstream - "-" 0 295 12 - "-" "curl" "abc" ' +
      '"reviews:9080" "10.0.0.7:9080" inbound|9080|| - 10.0.0.7:9080 10.0.0.8:4242 ' +
      'outbound_.9080_._.reviews.shop.svc.cluster.local default\n',
  );
  const json = JSON.parse(jsonFormat(istioJsonFormat).write(record({}, headers)));
  t.match(json, { duration: 12, response_code: 200, response_flags: '-', user_agent: 'curl', x_forwarded_for: null });
  t.same(Object.keys(json), Object.keys(istioJsonFormat));
  t.same(textFormat(istioTextFormat).unknown, []);
});

t.test('operators of a format', async (t) => {
  const headers = {
    'x-a': '12345',
    authorization: 'Bearer abcdefgh',
    cookie: 'sid=1',
    'x-api-key': 'k',
    location: 'https://me:pw@a/cb?code=hunter2#id_token=x',
  };
  for (const [format, line] of [
    ['%REQ(X-A)%', '12345'],
    ['%REQ(X-B?X-A)%', '12345'],
    ['%REQ(X-A):3%', '123'],
    ['%REQ(X-B)%', '-'],
    ['%REQ(X-B?:PATH)%', '/reviews/1'],
    ['%RESP(x-a)%', '12345'],
    ['100%% %RESPONSE_CODE%', '100% 200'],
    ['%DOWNSTREAM_PEER_URI_SAN%', 'spiffe://td/ns/shop/sa/web'],
    ['%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%', '10.0.0.8'],
    ['%UPSTREAM_REQUEST_ATTEMPT_COUNT%', '1'],
    // where a redirect leads, without what it carries
    ['%RESP(LOCATION)%', 'https://a/cb?code=*'],
    // no secret, whoever asks for it
    ['%REQ(AUTHORIZATION)% %REQ(COOKIE)% %REQ(X-API-KEY)%', '[redacted] [redacted] [redacted]'],
    ['plain', 'plain'],
    ['', ''],
  ] as const) {
    t.equal(textFormat(format).write(record({}, headers)), `${line}\n`, format);
  }
  const strange = textFormat('%WHAT% %REQ()% %REQ(A?B?C)% %PROTOCOL(x)% %__proto__% %constructor%');
  t.same(strange.unknown, ['%WHAT%', '%REQ()%', '%REQ(A?B?C)%', '%PROTOCOL(x)%']);
  t.equal(strange.write(record()), '- - - - %__proto__% %constructor%\n');
});

t.test('OBS-001 OBS-002 nothing that a caller sends makes a line, or ends its field', async (t) => {
  const evil = ['a\r\nFAKE', '"', '\\"', '\u2028FAKE', '\x1b[31m', '\ud800', '\x00', 'x'.repeat(100_000)];
  for (const [at, value] of evil.entries()) {
    const strange = record(
      { target: value, authority: value, serverName: value, peer: value },
      { 'user-agent': value },
    );
    const line = textFormat(istioTextFormat).write(strange);
    t.equal(line.match(/[\p{Cc}\u2028\u2029]/gu)?.length, 1, `${at}: one line feed`);
    // An even number of quotes that are not escaped: those of the format.
    t.equal(line.replace(/\\./g, '').split('"').length - 1, 14, `${at}: quotes`);
    const json = jsonFormat(istioJsonFormat).write(strange);
    t.equal(json.match(/[\p{Cc}\u2028\u2029]/gu)?.length, 1);
    t.ok(JSON.parse(json));
    t.ok(line.length < 40_000);
  }
});

t.test('a server name that is none of a host makes no fields of its own', async (t) => {
  for (const [serverName, shown] of [
    ['outbound_.9080_._.reviews.shop.svc.cluster.local', 'outbound_.9080_._.reviews.shop.svc.cluster.local'],
    ['a b 200 -', 'invalid:a_b_200_-'],
    ['a\nb"', 'invalid:a_b_'],
  ] as const) {
    t.equal(textFormat('%REQUESTED_SERVER_NAME%').write(record({ serverName })), `${shown}\n`);
  }
});

t.test('filters decide with all headers of a response, and show none', async (t) => {
  const lines: string[] = [];
  const writer = {
    write: (line: string) => void lines.push(line),
    dropped: 0,
    flush: async () => {},
    close: async () => {},
  };
  const log = createAccessLog(fakeClock(), () => writer);
  const sink = { name: 'a', to: 'stdout', encoding: 'text', format: '%RESP(SET-COOKIE)%' } as const;
  log.follow({ client: [{ ...sink, filter: 'response.headers["set-cookie"].startsWith("sid=")' }], server: [] });
  log.client.write(record({}, { 'set-cookie': 'sid=1' }));
  log.client.write(record({}, { 'set-cookie': 'other=1' }));
  t.same(lines, ['[redacted]\n']);
});

t.test('OBS-005 values of queries, and tokens anywhere, are not logged', async (t) => {
  const jwt = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl';
  for (const [target, query, path] of [
    ['/a?access_token=x&b=1', 'redact', '/a?access_token=*&b=*'],
    [`/a?${jwt}`, 'redact', '/a?*'],
    ['/a?b=1#c', 'redact', '/a?b=*'],
    ['/a?', 'redact', '/a?'],
    ['/a?b=1', 'omit', '/a'],
    ['/a?b=1', 'keep', '/a?b=1'],
    ['/a#b?c=1', 'redact', '/a'],
    ['/a', 'redact', '/a'],
    ['http://me:pw@a/b?c=1', 'redact', 'http://a/b?c=*'],
    ['http://me:p@w@a', 'keep', 'http://a'],
    ['http://a/b@c?d=@', 'keep', 'http://a/b@c?d=@'],
    ['*', 'redact', '*'],
  ] as const) {
    t.equal(loggedPath(target, query), path, `${target} ${query}`);
  }
  t.notMatch(textFormat('%REQ(:PATH)% %REQ(REFERER)%').write(record({ target: `/${jwt}` }, { referer: jwt })), 'eyJ');
});

t.test('lines are written together, after a second or when there are many; a slow reader loses some', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-access-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const clock = fakeClock();
  const file = join(folder, 'access.log');
  const writer = createLineWriter(file, clock, silentLogger);
  writer.write('one\n');
  writer.write('two\n');
  await writer.close();
  const more = createLineWriter(file, clock, silentLogger);
  more.write('three\n');
  clock.advance(1_000);
  await more.close();
  t.equal(readFileSync(file, 'utf8'), 'one\ntwo\nthree\n', 'what was there stays');
  const errors: string[] = [];
  const nowhere = createLineWriter(join(folder, 'none/access.log'), clock, {
    ...silentLogger,
    error: (_, message) => void errors.push(message),
  });
  await until(() => errors.length > 0);
  for (let i = 0; i < 3; i++) nowhere.write('x\n');
  await nowhere.close();
  t.equal(nowhere.dropped, 3);
  t.equal(errors.length, 1);
  const throwing = createLineWriter(
    () => {
      throw new Error('no');
    },
    clock,
    silentLogger,
  );
  throwing.write('x');
  t.equal(throwing.dropped, 1);
  const rejecting = createLineWriter(() => Promise.reject(new Error('no')) as never, clock, silentLogger);
  rejecting.write('x');
  await new Promise(setImmediate);
  t.equal(rejecting.dropped, 1, 'and the process lives');
});

t.test('what comes after the log was closed is dropped, and opens no file again', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-access-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const clock = fakeClock();
  const file = join(folder, 'access.log');
  const writer = createLineWriter(file, clock, silentLogger);
  writer.write('one\n');
  await writer.close();
  rmSync(file);
  clock.advance(10_000);
  writer.write('two\n');
  clock.advance(60_000);
  await writer.flush();
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.equal(writer.dropped, 1);
  t.notOk(existsSync(file));
});

for (const [what, shell] of [
  ['a pipe that nobody reads any more', 'set -o pipefail; "$@" | true'],
  ['a disk that is full', '"$@" > /dev/full'],
] as const) {
  t.test(`${what} does not end the process`, { skip: process.platform !== 'linux' && 'for Linux' }, async (t) => {
    const program = `
      const { createLineWriter } = await import(process.argv[1]);
      const { systemClock } = await import(process.argv[2]);
      const writer = createLineWriter('stdout', systemClock, console);
      for (let i = 0; i < 5; i++) {
        writer.write('x'.repeat(200_000) + '\\n');
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await writer.close();
      console.error('dropped ' + writer.dropped);
    `;
    const url = (file: string): string => new URL(`../../src/${file}`, import.meta.url).href;
    const child = [process.execPath, '--input-type=module', '-e', program];
    const { status, stderr } = spawnSync(
      'bash',
      ['-c', shell, 'bash', ...child, url('telemetry/line-writer.ts'), url('lib/clock.ts')],
      { encoding: 'utf8', timeout: 100_000 },
    );
    t.equal(status, 0, stderr);
    t.match(stderr, /dropped [1-5]/);
  });
}

t.test('a file that comes back is written again, and one that takes nothing does not hold close up', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-access-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const clock = fakeClock();
  const file = join(folder, 'later/access.log');
  const errors: string[] = [];
  const logger = { ...silentLogger, error: (_: object, message: string) => void errors.push(message) };
  const writer = createLineWriter(file, clock, logger);
  while (errors.length === 0) await new Promise(setImmediate);
  writer.write('lost\n');
  clock.advance(1_000);
  t.equal(writer.dropped, 1);
  mkdirSync(join(folder, 'later'));
  clock.advance(10_000);
  writer.write('kept\n');
  clock.advance(1_000);
  await writer.close();
  t.equal(readFileSync(file, 'utf8'), 'kept\n');
  t.equal(errors.length, 1);

  // More than there are threads that open files.
  const pipes = Array.from({ length: 16 }, (_, i) => join(folder, `pipe${i}`));
  if (process.platform === 'win32' || spawnSync('mkfifo', pipes).status !== 0) return;
  const stuck = pipes.map((pipe) => createLineWriter(pipe, clock, silentLogger));
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(await readFile(file, 'utf8'), 'kept\n', 'pipes without readers hold no threads');
  for (const writer of stuck) writer.write('x\n');
  await Promise.all(stuck.map((writer) => writer.close()));
  const [pipe = ''] = pipes;
  const reader = spawn('head', ['-n', '1', pipe]);
  const { promise: heard, resolve } = Promise.withResolvers<unknown>();
  reader.stdout.on('data', (line) => resolve(String(line)));
  // It is opened again and again until somebody reads.
  const read = createLineWriter(pipe, clock, silentLogger);
  let told = false;
  void heard.then(() => {
    told = true;
  });
  let turn = 0;
  await until(() => {
    if (turn++ % 100 === 0) {
      read.write('heard\n');
      clock.advance(5_000);
      void read.flush();
    }
    return told;
  });
  t.equal(await heard, 'heard\n');
  await read.close();
});

t.test('a file that has to be in a folder is not one to which a symbolic link leads', async (t) => {
  const top = mkdtempSync(join(tmpdir(), 'inmesh-links-'));
  t.teardown(() => rmSync(top, { recursive: true, force: true }));
  const [folder, outside] = [join(top, 'logs'), join(top, 'outside')];
  for (const each of [folder, outside, join(folder, 'deep')]) mkdirSync(each);
  for (const each of ['secret', 'victim']) writeFileSync(join(outside, each), 'as it was\n');
  symlinkSync(join(outside, 'secret'), join(folder, 'file'));
  symlinkSync(join(outside, 'new'), join(folder, 'dangling'));
  symlinkSync(outside, join(folder, 'elsewhere'));
  symlinkSync(join(folder, 'deep'), join(folder, 'inside'));
  symlinkSync(folder, join(top, 'also'));
  const said: string[] = [];
  const logger = {
    ...silentLogger,
    error: (fields: object) => void said.push((fields as { readonly error: string }).error),
  };
  const write = async (file: string, inFolder = folder): Promise<void> => {
    const writer = createLineWriter(file, fakeClock(), logger, inFolder);
    writer.write('line\n');
    await writer.close();
  };
  await write(join(folder, 'plain'));
  await write(join(folder, 'inside/deeper'));
  await write(join(top, 'also/linked'), join(top, 'also'));
  for (const file of ['plain', 'deep/deeper', 'linked'])
    t.equal(readFileSync(join(folder, file), 'utf8'), 'line\n', file);
  t.same(said, []);
  for (const [file, why] of [
    ['file', /file is a symbolic link, which is not followed/],
    ['dangling', /dangling is a symbolic link/],
    ['elsewhere/victim', /a symbolic link leads from .*elsewhere out of/],
    ['elsewhere/new', /a symbolic link leads/],
    ['none/new', /ENOENT/],
  ] as const) {
    await write(join(folder, file));
    t.match(said.splice(0), [why], file);
  }
  for (const each of ['secret', 'victim']) t.equal(readFileSync(join(outside, each), 'utf8'), 'as it was\n', each);
  t.notOk(existsSync(join(outside, 'new')));
});

t.test('settings may change while it runs', async (t) => {
  const opened: string[] = [];
  const closed: string[] = [];
  const lines: string[] = [];
  const open = (to: unknown): LineWriter => {
    opened.push(String(to));
    return {
      write: (line) => void lines.push(line),
      dropped: 1,
      flush: async () => {},
      close: async () => void closed.push(String(to)),
    };
  };
  const log = createAccessLog(fakeClock(), open);
  t.same([log.client.on, log.server.on], [false, false]);
  log.client.write(record());
  log.use({ to: 'stdout', format: 'a' });
  log.client.write(record());
  log.use({ to: 'stdout', format: 'b' });
  log.server.write(record());
  t.same([opened, lines], [['stdout'], ['a\n', 'b\n']], 'the same place stays open');
  log.use(undefined);
  t.same([log.client.on, closed, log.dropped], [false, ['stdout'], 1]);
});

t.test('operators of a configuration that are not known are told of, once for each change', async (t) => {
  const told: unknown[] = [];
  const writer = { write: () => {}, dropped: 0, flush: async () => {}, close: async () => {} };
  const log = createAccessLog(
    fakeClock(),
    () => writer,
    (to, operators) => void told.push([to, operators]),
  );
  const sink = { name: 'a', to: 'stdout', encoding: 'json', format: { a: '%PROTOCOL% %WHAT%' } } as const;
  const policy = { client: [sink], server: [sink] };
  log.follow(policy);
  log.follow(policy);
  t.same(told, [['stdout', ['%WHAT%']]]);
});

const shop = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.shop.svc.cluster.local]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: PORT}}]
`;

async function meshOf(t: Test, yaml: string, options: MeshOptions): Promise<Mesh> {
  const workload = {
    name: 'web',
    namespace: 'shop',
    serviceAccount: 'web',
    labels: {},
    trustDomain: 'td',
    clusterDomain: 'cluster.local',
  };
  const mesh = createMesh({
    workload,
    identity: false,
    config: {
      name: 'test',
      async run(sink) {
        const result = compile(parseYaml(yaml, 'a.yaml').documents, { workload });
        if (result.ok) sink.update(result.snapshot, result.report);
        else sink.reject(result.problems);
      },
    },
    drainDelayMs: 0,
    ...options,
  });
  t.teardown(() => mesh.close());
  await mesh.ready(5_000);
  return mesh;
}

t.test('both directions are logged, what is refused too', async (t) => {
  const lines: Record<string, unknown>[] = [];
  const format = {
    path: '%REQ(:PATH)%',
    code: '%RESPONSE_CODE%',
    flags: '%RESPONSE_FLAGS%',
    host: '%UPSTREAM_HOST%',
    cluster: '%UPSTREAM_CLUSTER%',
    received: '%BYTES_RECEIVED%',
    details: '%RESPONSE_CODE_DETAILS%',
    answer: '%RESP(X-ANSWER)%',
    authority: '%REQ(:AUTHORITY)%',
  };
  const accessLog = { to: (line: string) => void lines.push(JSON.parse(line)), format };
  const inbound = await meshOf(t, '', { accessLog });
  const server = await inbound.listen(
    (request, response) => {
      request.url = '/changed';
      response.writeHead(200, { 'X-Answer': 'yes' }).end('hello');
    },
    { port: 0, host: '127.0.0.1' },
  );
  const outbound = await meshOf(t, shop.replace('PORT', String(server.port)), { accessLog });
  const answer = await outbound.fetch('http://a.shop/path?secret=1', { method: 'POST', body: 'body' });
  await answer.text();
  await rawExchange(server.port, 'GET /%00 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await rawExchange(
    server.port,
    'GET http://me:hunter2@a/x HTTP/1.1\r\nHost: me:hunter2@a\r\nConnection: close\r\n\r\n',
  );
  await server.close(0);
  t.equal((await outbound.fetch('http://a.shop/')).status, 503);
  await new Promise(setImmediate);
  const path = '/path?secret=*';
  const own = `127.0.0.1:${server.port}`;
  const find = (cluster: string): unknown =>
    lines.find((line) => line['path'] === path && String(line['cluster']).startsWith(cluster));
  const [served, called, refused] = [find('inbound'), find('outbound'), lines.find(({ code }) => code === 400)];
  t.match(served, { code: 200, flags: '-', host: own, received: 4, details: 'via_upstream', answer: 'yes' });
  t.match(called, {
    code: 200,
    host: own,
    cluster: 'outbound|80||a.shop.svc.cluster.local',
    received: 4,
    answer: 'yes',
  });
  t.match(refused, { flags: 'DPE', details: 'refused_by_mesh', host: null });
  t.match(
    lines.find((line) => line['code'] === 0 || line['code'] === 503),
    { path: '/' },
    'one that reached nobody',
  );
  t.match(
    lines.find((line) => line['path'] === 'http://a/x'),
    { code: 400, authority: 'a' },
  );
  t.notMatch(JSON.stringify(lines), 'hunter2');
});

t.test('a rate limit service that fails to close does not keep the last lines from the log', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-access-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'access.log');
  const mesh = createMesh({
    workload: { name: 'web', namespace: 'shop' },
    identity: false,
    config: { name: 'test', run: async (sink) => sink.update(snapshot({}, []), { entries: [] }) },
    drainDelayMs: 0,
    accessLog: { to: file, format: '%REQ(:PATH)%' },
    rateLimitService: {
      shouldRateLimit: () => Promise.reject(new Error('unused')),
      close: () => Promise.reject(new Error('stuck')),
    } as never,
  });
  const server = await mesh.listen((_, response) => void response.end('hello'), { port: 0, host: '127.0.0.1' });
  await rawExchange(server.port, 'GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  await t.rejects(mesh.close(), { message: 'stuck' });
  t.equal(readFileSync(file, 'utf8'), '/last\n');
});

t.test('bytes that a caller announces and does not send are not counted', async (t) => {
  const lines: Record<string, unknown>[] = [];
  const accessLog = {
    to: (line: string) => void lines.push(JSON.parse(line)),
    format: { path: '%REQ(:PATH)%', received: '%BYTES_RECEIVED%' },
  };
  const mesh = await meshOf(t, '', { accessLog });
  const server = await mesh.listen((_, response) => void response.end('hello'), { port: 0, host: '127.0.0.1' });
  const post = (path: string, length: number, body: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: ${length}\r\n\r\n${body}`;
  await rawExchange(server.port, post('/much', 9_000_000_000_000, 'little'));
  await rawExchange(server.port, post('/all', 6, 'little'));
  // On a connection that is kept the answer is complete before Node.js reads what came with the head.
  const socket = connect(server.port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  for (const path of ['/first', '/kept']) {
    socket.write(post(path, 6, 'little').replace('close', 'keep-alive'));
    await once(socket, 'data');
  }
  await until(() => lines.length === 4);
  const received = (path: string) => lines.find((line) => line['path'] === path)?.['received'];
  t.ok(Number(received('/much')) <= 6, `${received('/much')} of six`);
  t.equal(received('/all'), 6);
  t.equal(received('/kept'), 6);
});

t.test(
  'OBS-017 names that every object has are headers like others; a record that cannot be told is dropped',
  async (t) => {
    const lines: string[] = [];
    const names = ['CONSTRUCTOR', '__PROTO__', 'TOSTRING'];
    const format = names.map((name) => `%REQ(${name})% %RESP(${name})%`).join(' ');
    const accessLog = { to: (line: string) => void lines.push(line), format };
    const inbound = await meshOf(t, '', { accessLog });
    const server = await inbound.listen((_, response) => void response.end('hello'), { port: 0, host: '127.0.0.1' });
    const outbound = await meshOf(t, shop.replace('PORT', String(server.port)), { accessLog });
    t.equal(await (await outbound.fetch('http://a.shop/', { headers: { constructor: 'c' } })).text(), 'hello');
    await new Promise(setImmediate);
    await server.close(0);
    t.same(lines, ['c - - - - -\n', 'c - - - - -\n']);
    const log = createAccessLog(fakeClock(), () => ({
      write() {},
      dropped: 0,
      flush: async () => {},
      close: async () => {},
    }));
    log.use({ to: 'stdout' });
    log.client.write(record({ startTimeMs: Number.NaN }));
    t.equal(log.dropped, 1);
  },
);

t.test('OBS-005 the query stays out of what rewriting and browsers repeat of it, in both directions', async (t) => {
  const lines: string[] = [];
  const accessLog = { to: (line: string) => void lines.push(line), format: `${istioTextFormat.trim()} %REQ(REFERER)%` };
  const inbound = await meshOf(t, '', { accessLog });
  const server = await inbound.listen((_, response) => void response.end('hello'), { port: 0, host: '127.0.0.1' });
  const rewriting = `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.shop.svc.cluster.local]
  http: [{rewrite: {uri: /new}, route: [{destination: {host: a.shop.svc.cluster.local}}]}]
`;
  const outbound = await meshOf(t, shop.replace('PORT', String(server.port)) + rewriting, { accessLog });
  const headers = { referer: 'http://a.shop/before?code=hunter2' };
  await (await outbound.fetch('http://a.shop/old?token=hunter2', { headers })).text();
  await new Promise(setImmediate);
  await server.close(0);
  t.equal(lines.length, 2);
  t.match(
    lines.find((line) => line.includes('outbound|')),
    '"GET /old?token=* HTTP/1.1"',
  );
  for (const line of lines) {
    t.notMatch(line, 'hunter2');
    t.match(line, '/before?code=*');
  }
});

t.test('MeshConfig turns it on, for the streams of the process; false turns it off', async (t) => {
  const mesh = (fields: string): string => `
apiVersion: inmesh.dev/v1
kind: MeshConfig
metadata: {name: mesh}
spec: {${fields}}
`;
  const workload = {
    name: 'web',
    namespace: 'shop',
    serviceAccount: 'web',
    labels: {},
    trustDomain: 'td',
    clusterDomain: 'cluster.local',
  };
  const read = (fields: string) => {
    const result = compile(parseYaml(mesh(fields), 'a.yaml').documents, { workload });
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    const notes = result.report.entries.filter(({ status }) => status === 'ignored').map(({ field }) => field);
    return { log: result.snapshot.accessLog, notes };
  };
  const both = (sink: object) => ({ client: [sink], server: [sink] });
  t.same(read(''), { log: undefined, notes: [] });
  t.same(read('accessLogFile: /dev/stdout').log, both({ name: '', to: 'stdout', encoding: 'text' }));
  t.same(
    read('accessLogFile: /dev/stderr, accessLogEncoding: JSON').log,
    both({ name: '', to: 'stderr', encoding: 'json' }),
  );
  t.same(
    read(`accessLogFile: /dev/stdout, accessLogEncoding: JSON, accessLogFormat: '{"a":"%PROTOCOL%"}'`).log,
    both({
      name: '',
      to: 'stdout',
      encoding: 'json',
      format: { a: '%PROTOCOL%' },
    }),
  );
  t.match(read(`accessLogFile: /dev/stdout, accessLogEncoding: JSON, accessLogFormat: '[]'`), {
    log: both({ encoding: 'json' }),
    notes: ['spec.accessLogFormat'],
  });
  t.match(read('accessLogFile: cron.d/evil'), { log: undefined, notes: ['spec.accessLogFile'] });
  for (const [accessLog, message] of [
    [{}, /to: must be/],
    [{ to: '' }, /to: must be/],
    [{ to: 'stdout', encoding: 'xml' }, /encoding: must be/],
    [{ to: 'stdout', query: 'all' }, /query: must be/],
    [{ to: 'stdout', format: '%WHAT%' }, /%WHAT%/],
    [{ to: 'stdout', format: { a: 1 } }, /format: must be/],
    [{ to: 'stdout', file: 'x' }, /file/],
    ['stdout', /must be an object/],
  ] as const) {
    t.throws(() => createMesh({ accessLog: accessLog as never }), { message });
  }
});

t.test('a request of node:http that is given up before it is known where it goes is logged once', async (t) => {
  const target = { key: 'k', path: '/', headers: [], done: () => {}, connect: () => Promise.reject(new Error('no')) };
  const request = {
    hostname: 'a',
    port: 80,
    secure: false,
    method: 'GET',
    path: '/',
    header: () => undefined,
    headers: () => [],
  };
  for (const decide of [
    async (): Promise<AgentTarget> => target,
    () => Promise.reject<AgentTarget>(new Error('nowhere')),
  ]) {
    const logged: AccessRecord[] = [];
    const log = { on: true, write: (each: AccessRecord) => void logged.push(each) };
    const later = loggedRouter(decide, log, fakeClock())(request) as RoutedLater;
    later.giveUp?.();
    await later.then(
      (routed) => {
        if (routed === 'direct') return;
        routed.done(0);
        routed.ended?.();
      },
      () => {},
    );
    t.match(logged, [{ status: 0, flags: 'DC' }]);
    t.equal(logged.length, 1);
  }
});

t.test('a body that a broken connection took is not counted beside the one that arrived', async (t) => {
  let broken = 0;
  const { port } = await rawUpstream(t, (socket) => {
    let requests = 0;
    let arrived = '';
    socket.on('data', (chunk) => {
      arrived += chunk;
      if (!arrived.endsWith('\r\n\r\nbody')) return;
      arrived = '';
      if (++requests > 1 && broken++ === 0) socket.destroy();
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    });
  });
  const lines: string[] = [];
  const accessLog = { to: (line: string) => void lines.push(line), format: '%REQ(:METHOD)% %BYTES_RECEIVED%' };
  const mesh = await meshOf(t, shop.replace('PORT', String(port)), { accessLog });
  for (let i = 0; i < 1_000 && broken === 0; i++) {
    const { body } = await request('http://a.shop/', { dispatcher: mesh.dispatcher, method: 'PUT', body: 'body' });
    await body.text();
    // A connection is free again a little later.
    await new Promise(setImmediate);
  }
  t.ok(broken > 0, 'one request was sent twice');
  t.same(new Set(lines), new Set(['PUT 4\n']));
});

t.test('headers of responses are those that the application got, whoever gave them', async (t) => {
  const { port } = await upstream(t, (_, response) => void response.writeHead(200, { Location: '/here' }).end());
  const to = cluster('a', [endpoint(port)]);
  const hedged = route(to.name, { hedge: { when: { kind: 'after', ms: 60_000 }, hedges: 1 } });
  const moved = route(to.name, {
    matches: [{ path: { kind: 'exact', value: '/moved' } }],
    destinations: [],
    redirect: { status: 301, path: { value: '/there', prefix: false } },
  });
  const lines: string[] = [];
  const mesh = await modelMesh(t, snapshot({ a: [moved, hedged] }, [to]), {
    accessLog: { to: (line) => void lines.push(line), format: '%REQ(:PATH)% %RESPONSE_CODE% %RESP(LOCATION)%' },
  });
  for (const path of ['/moved', '/']) await ways['mesh.dispatcher']?.(mesh, `http://a${path}`);
  t.match(lines, [/^\/moved 301 .*\/there/, '/ 200 /here\n']);
});
