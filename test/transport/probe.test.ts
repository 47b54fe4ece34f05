import { once } from 'node:events';
import { createServer as createHttp2, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import t, { type Test } from 'tap';
import { systemClock } from '../../src/lib/clock.ts';
import type { GrpcProbe, HttpProbe, ProbeAnswer, TcpProbe } from '../../src/model/health-check.ts';
import type { ConnectTarget } from '../../src/transport/connector.ts';
import { createProber } from '../../src/transport/probe.ts';
import { servingOf } from '../../src/transport/probe-grpc.ts';
import { hasInOrder } from '../../src/transport/probe-tcp.ts';
import type { Prober } from '../../src/transport/prober.ts';
import { rawUpstream, refusingPort, turns, until, upstream } from '../support/upstream.ts';

function proberFor(t: Test, port: number, probe: HttpProbe | TcpProbe | GrpcProbe): Prober {
  const target: ConnectTarget = {
    cluster: 'a',
    address: '127.0.0.1',
    port,
    timeoutMs: 5_000,
    clock: systemClock,
    security: () => ({ kind: 'plaintext' }),
  };
  const prober = createProber(target, probe);
  t.teardown(() => prober.close());
  return prober;
}
const ask = (prober: Prober): Promise<ProbeAnswer> => new Promise((resolve) => void prober.ask(resolve));

const http: HttpProbe = {
  kind: 'http',
  method: 'GET',
  path: '/healthz?full',
  host: 'reviews',
  headers: [{ name: 'x-probe', value: 'yes' }],
  expected: [],
  retriable: [],
};

t.test('HTTP: the request, the status, the connection that is kept', async (t) => {
  const server = await upstream(t, (_, outgoing) => void outgoing.writeHead(418).end('teapot'));
  const prober = proberFor(t, server.port, http);
  t.same(await ask(prober), { kind: 'http', status: 418, wantsOut: false });
  await turns();
  await ask(prober);
  t.equal(server.accepted(), 1);
  t.match(server.requests[0], {
    method: 'GET',
    url: '/healthz?full',
    headers: { host: 'reviews', 'user-agent': 'Envoy/HC', 'x-probe': 'yes' },
  });
  prober.renew();
  await ask(prober);
  t.equal(server.accepted(), 2);
});

t.test('HTTP: the header by which an endpoint asks to be left alone', async (t) => {
  const headers = { 'x-envoy-immediate-health-check-fail': 'true' };
  const server = await upstream(t, (_, outgoing) => void outgoing.writeHead(503, headers).end());
  t.same(await ask(proberFor(t, server.port, http)), { kind: 'http', status: 503, wantsOut: true });
});

t.test('HTTP: no answer is an error', async (t) => {
  const refusing = proberFor(t, await refusingPort(), http);
  t.match(await ask(refusing), { kind: 'error' });
  const broken = await rawUpstream(t, (socket) => void socket.once('data', () => socket.destroy()));
  t.match(await ask(proberFor(t, broken.port, http)), { kind: 'error' });
  const garbage = await rawUpstream(t, (socket) => void socket.once('data', () => socket.end('what?\r\n\r\n')));
  t.match(await ask(proberFor(t, garbage.port, http)), { kind: 'error' });
});

t.test('a question that is taken back is never answered, and its connection goes', async (t) => {
  const grpc: GrpcProbe = { kind: 'grpc', service: '', host: 'a', headers: [] };
  const tcp: TcpProbe = { kind: 'tcp', receive: [Buffer.from('never')] };
  for (const probe of [http, tcp, grpc]) {
    const silent = await rawUpstream(t, (socket) => void socket.resume());
    const prober = proberFor(t, silent.port, probe);
    const answers: ProbeAnswer[] = [];
    const stop = prober.ask((answer) => answers.push(answer));
    await until(() => silent.open() === 1);
    await turns();
    stop();
    await until(() => silent.open() === 0, `${probe.kind} to close`);
    prober.close();
    t.same(answers, [], probe.kind);
  }
});

t.test('TCP: a connection is enough', async (t) => {
  const server = await rawUpstream(t, () => {});
  t.same(await ask(proberFor(t, server.port, { kind: 'tcp', receive: [] })), { kind: 'connected' });
  await until(() => server.open() === 0);
  t.match(await ask(proberFor(t, await refusingPort(), { kind: 'tcp', receive: [] })), { kind: 'error' });
});

t.test('TCP: what is sent, and what must come', async (t) => {
  const seen: string[] = [];
  const server = await rawUpstream(t, (socket) => {
    socket.once('data', (chunk) => {
      seen.push(String(chunk));
      socket.write('some +PO');
      socket.write('NG and OK');
    });
  });
  const probe: TcpProbe = {
    kind: 'tcp',
    send: Buffer.from('PING\r\n'),
    receive: [Buffer.from('+PONG'), Buffer.from('OK')],
  };
  t.same(await ask(proberFor(t, server.port, probe)), { kind: 'connected' });
  t.same(seen, ['PING\r\n']);
  const closing = await rawUpstream(t, (socket) => void socket.end('+PING OK'));
  t.match(await ask(proberFor(t, closing.port, probe)), { kind: 'error', message: 'closed without the answer' });
  const endless = await rawUpstream(t, (socket: Socket) => void socket.write(Buffer.alloc(100_000)));
  t.match(await ask(proberFor(t, endless.port, probe)), { kind: 'error', message: /first 65536 bytes/ });
  t.ok(hasInOrder(Buffer.from('abc'), [Buffer.from('a'), Buffer.from('c')]));
  t.notOk(hasInOrder(Buffer.from('abc'), [Buffer.from('c'), Buffer.from('a')]));
  t.notOk(hasInOrder(Buffer.from('aba'), [Buffer.from('ab'), Buffer.from('ba')]), 'each its own bytes');
});

async function grpcServer(
  t: Test,
  answer: (stream: ServerHttp2Stream, request: { path: string; body: Buffer }) => void,
): Promise<{ port: number; sessions: () => number; server: Http2Server; goaway(): void }> {
  let sessions = 0;
  const server = createHttp2();
  const open = new Set<{ destroy(): void; goaway(): void }>();
  server.on('session', (session) => {
    sessions++;
    open.add(session);
    session.on('error', () => {});
    session.on('close', () => open.delete(session));
  });
  server.on('stream', (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => answer(stream, { path: String(headers[':path']), body: Buffer.concat(chunks) }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    for (const session of open) session.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const goaway = (): void => {
    for (const session of open) session.goaway();
  };
  return { port, sessions: () => sessions, server, goaway };
}
const frame = (...bytes: readonly number[]): Buffer => Buffer.from([0, 0, 0, 0, bytes.length, ...bytes]);
const serving = frame(0x08, 1);

function reply(stream: ServerHttp2Stream, body: Buffer, grpcStatus = '0'): void {
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': grpcStatus }));
  stream.end(body);
}
const grpc: GrpcProbe = { kind: 'grpc', service: 'shop.Cart', host: 'cart', headers: [] };

t.test('gRPC: a unary call of the health service, on a connection that is kept', async (t) => {
  const seen: { path: string; body: Buffer }[] = [];
  const server = await grpcServer(t, (stream, request) => {
    seen.push(request);
    reply(stream, serving);
  });
  const prober = proberFor(t, server.port, grpc);
  t.same(await ask(prober), { kind: 'grpc', serving: true, message: 'SERVING' });
  await ask(prober);
  t.equal(server.sessions(), 1);
  t.equal(seen[0]?.path, '/grpc.health.v1.Health/Check');
  t.same(seen[0]?.body, Buffer.concat([frame(0x0a, 9, ...Buffer.from('shop.Cart'))]));
  server.goaway();
  await turns();
  t.match(await ask(prober), { serving: true }, 'after a GOAWAY on another connection');
  t.equal(server.sessions(), 2);
});

t.test('gRPC: all that is not SERVING', async (t) => {
  const rows: readonly (readonly [string, (stream: ServerHttp2Stream) => void, object])[] = [
    ['NOT_SERVING', (s) => reply(s, frame(0x08, 2)), { kind: 'grpc', serving: false, message: 'NOT_SERVING' }],
    ['no status field', (s) => reply(s, frame()), { serving: false, message: 'UNKNOWN' }],
    ['an error status', (s) => reply(s, serving, '5'), { serving: false, message: 'grpc-status 5' }],
    [
      'nothing but headers',
      (s) =>
        s.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '12' }, { endStream: true }),
      { serving: false, message: 'grpc-status 12' },
    ],
    ['two frames', (s) => reply(s, Buffer.concat([serving, serving])), { serving: false }],
    ['garbage', (s) => reply(s, Buffer.from('garbage')), { serving: false }],
    [
      'not gRPC',
      (s) => {
        s.respond({ ':status': 200, 'content-type': 'text/html' });
        s.end('<html>');
      },
      { serving: false, message: 'the answer is not gRPC' },
    ],
    [
      'status 503',
      (s) => {
        s.respond({ ':status': 503 });
        s.end();
      },
      { kind: 'grpc', serving: false, message: 'status 503' },
    ],
    [
      'without trailers',
      (s) => {
        s.respond({ ':status': 200, 'content-type': 'application/grpc' });
        s.end(serving);
      },
      { kind: 'error' },
    ],
    ['a reset', (s) => s.close(2), { kind: 'error' }],
  ];
  for (const [name, answer, expected] of rows) {
    const server = await grpcServer(t, answer);
    t.match(await ask(proberFor(t, server.port, { ...grpc, service: '' })), expected, name);
  }
  t.match(await ask(proberFor(t, await refusingPort(), grpc)), { kind: 'error' });
});

t.test('gRPC: only a well-formed answer has a status', async (t) => {
  t.equal(servingOf(serving), 1);
  t.equal(servingOf(frame(0x12, 2, 0x41, 0x42, 0x08, 1)), 1, 'unknown fields are passed over');
  t.equal(servingOf(frame(0x08, 0x80, 0x80)), -1);
  t.equal(servingOf(frame(0x12, 9, 1)), -1);
  t.equal(servingOf(frame(0x0d, 1, 2, 3, 4)), -1);
  t.equal(servingOf(Buffer.from([1, 0, 0, 0, 0])), -1, 'compressed');
  t.equal(servingOf(Buffer.from([0, 0])), -1);
});
