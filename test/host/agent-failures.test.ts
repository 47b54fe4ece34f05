import { once } from 'node:events';
import { type ClientRequest, get, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { MeshError } from '../../src/errors.ts';
import { type AgentTarget, createAgent } from '../../src/host/agent.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { connected, fakeMesh, listening } from '../support/agent-router.ts';
import { fakeClock } from '../support/fake-clock.ts';

/** The error of a request, which must close once afterwards. */
async function failure(outgoing: ClientRequest): Promise<MeshError> {
  const closed = new Promise((resolve) => outgoing.once('close', resolve));
  const [error] = (await once(outgoing, 'error')) as [MeshError];
  await closed;
  return error;
}

/** A connection attempt that the test decides about. */
function pendingConnect() {
  let signal: AbortSignal | undefined;
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const begun = Promise.withResolvers<void>();
  const connect = (given: AbortSignal): Promise<Socket> => {
    signal = given;
    begun.resolve();
    return promise;
  };
  return { connect, resolve, reject, begun: begun.promise, aborted: () => signal?.aborted };
}

t.test('what the router throws fails the request', async (t) => {
  const unknown = new MeshError('ERR_MESH_HOST_UNKNOWN', 'no such host');
  const mesh = fakeMesh(t, 1, () => {
    throw unknown;
  });
  t.equal(await failure(get({ agent: mesh.agent, host: 'nowhere' })), unknown);
  t.same(mesh.outcomes, [], 'there was no target to tell');
});

t.test('a connection that fails with a MeshError fails the request with it', async (t) => {
  const refused = new MeshError('ERR_MESH_PEER_IDENTITY', 'somebody else');
  const mesh = fakeMesh(t, 1, () => ({ connect: () => Promise.reject(refused) }));
  t.equal(await failure(get({ agent: mesh.agent, host: 'reviews' })), refused);
  t.same(mesh.outcomes, ['0 ERR_MESH_PEER_IDENTITY']);
  t.same(mesh.agent.sockets, {}, 'nothing stays in the pool');
});

t.test('a connection that fails otherwise is ERR_MESH_CONNECT_FAILED with the cause', async (t) => {
  const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
  const ways: AgentTarget['connect'][] = [
    () => Promise.reject(cause),
    () => {
      throw cause;
    },
  ];
  for (const connect of ways) {
    const mesh = fakeMesh(t, 1, () => ({ connect }));
    const error = await failure(get({ agent: mesh.agent, host: 'reviews' }));
    t.match(error, { name: 'MeshError', code: 'ERR_MESH_CONNECT_FAILED', flag: 'UF', cause });
    t.equal(error.message, 'no connection: connect ECONNREFUSED');
    t.same(mesh.outcomes, ['0 ERR_MESH_CONNECT_FAILED']);
  }
});

t.test('a connection that is closed when it arrives fails the request', async (t) => {
  const { port } = await listening(t, () => {});
  const mesh = fakeMesh(t, port, () => ({
    async connect() {
      const socket = await connected(port);
      return socket.destroy();
    },
  }));
  t.match(await failure(get({ agent: mesh.agent, host: 'reviews' })), { code: 'ERR_MESH_CONNECT_FAILED' });
});

t.test('a connection that ends before the response, or brings none, has its error', async (t) => {
  const ways: Record<string, (incoming: IncomingMessage) => void> = {
    'closed at once': (incoming) => incoming.socket.destroy(),
    'closed in order': (incoming) => incoming.socket.end(),
    reset: (incoming) => incoming.socket.resetAndDestroy(),
    'not HTTP': (incoming) => incoming.socket.end('SSH-2.0-OpenSSH\r\n'),
    'two lengths': (incoming) =>
      incoming.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
    'a head of 20 KB': (incoming) => incoming.socket.end(`HTTP/1.1 200 OK\r\nx-a: ${'a'.repeat(20_000)}\r\n\r\n`),
  };
  const malformed = ['not HTTP', 'two lengths', 'a head of 20 KB'];
  for (const [name, way] of Object.entries(ways)) {
    const { port } = await listening(t, way);
    const mesh = fakeMesh(t, port);
    const error = await failure(get({ agent: mesh.agent, host: 'reviews' }));
    const code = malformed.includes(name) ? 'ERR_MESH_UPSTREAM_PROTOCOL' : 'ERR_MESH_UPSTREAM_RESET';
    const flag = malformed.includes(name) ? 'UPE' : 'UC';
    t.match(error, { name: 'MeshError', code, flag, cause: Error }, name);
    t.same(mesh.outcomes, [`0 ${code}`], name);
  }
});

t.test('a connection that ends within the body fails the body, and the outcome stays', async (t) => {
  const { port } = await listening(t, (_incoming, outgoing) => {
    outgoing.writeHead(200, { 'content-length': '100' });
    outgoing.write('part', () => outgoing.destroy());
  });
  const mesh = fakeMesh(t, port);
  const outgoing = get({ agent: mesh.agent, host: 'reviews' });
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  await t.rejects(text(response), { code: 'ECONNRESET' });
  t.same(mesh.outcomes, ['200']);
});

t.test('a socket that the server closes while it is idle is not used again', async (t) => {
  const { port, server } = await listening(t, (_incoming, outgoing) => outgoing.end());
  const mesh = fakeMesh(t, port);
  for (let i = 0; i < 2; i++) {
    const outgoing = get({ agent: mesh.agent, host: 'reviews' });
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    response.resume();
    await once(outgoing, 'close');
    await nextTurn();
    const [idle] = Object.values(mesh.agent.freeSockets)[0] as [Socket];
    const closed = once(idle, 'close');
    server.closeIdleConnections();
    await closed;
    t.same(mesh.agent.freeSockets, {});
  }
  t.equal(mesh.connections(), 2);
});

t.test('a request destroyed before its turn never reaches the router', async (t) => {
  const mesh = fakeMesh(t, 1);
  const reasons = [new RangeError('mine'), undefined];
  for (const reason of reasons) {
    const outgoing = get({ agent: mesh.agent, host: 'reviews' }).destroy(reason);
    const error = await failure(outgoing);
    if (reason === undefined) t.match(error, { code: 'ECONNRESET', message: 'socket hang up' });
    else t.equal(error, reason);
  }
  t.same(mesh.seen, []);
});

t.test('a request destroyed while connecting ends at once, and the late socket is closed', async (t) => {
  const { port } = await listening(t, () => {});
  const attempt = pendingConnect();
  const mesh = fakeMesh(t, port, () => ({ connect: attempt.connect }));
  const outgoing = get({ agent: mesh.agent, host: 'reviews' });
  await attempt.begun;
  t.equal(attempt.aborted(), false);
  const failed = failure(outgoing);
  outgoing.destroy();
  t.match(await failed, { code: 'ECONNRESET' }, 'what node:http says');
  t.equal(attempt.aborted(), true);
  t.same(mesh.outcomes, ['0 ECONNRESET']);
  const late = await connected(port);
  attempt.resolve(late);
  await once(late, 'close');
  t.same(mesh.agent.sockets, {});
});

t.test('a connection that fails after its request was destroyed harms nobody', async (t) => {
  const attempt = pendingConnect();
  const mesh = fakeMesh(t, 1, () => ({ connect: attempt.connect }));
  const outgoing = get({ agent: mesh.agent, host: 'reviews' });
  await attempt.begun;
  const failed = failure(outgoing);
  outgoing.destroy(new RangeError('mine'));
  t.match(await failed, { message: 'mine' });
  attempt.reject(new Error('too late'));
  await nextTurn();
  t.same(mesh.outcomes, ['0 RangeError']);
});

t.test('an AbortSignal works in every phase and stays an AbortError', async (t) => {
  const { port, server } = await listening(t, () => {});
  const attempt = pendingConnect();
  const connecting = fakeMesh(t, port, () => ({ connect: attempt.connect }));
  const first = new AbortController();
  const waiting = failure(get({ agent: connecting.agent, host: 'reviews', signal: first.signal }));
  await attempt.begun;
  first.abort();
  t.match(await waiting, { name: 'AbortError' });

  const mesh = fakeMesh(t, port);
  const second = new AbortController();
  const sent = failure(get({ agent: mesh.agent, host: 'reviews', signal: second.signal }));
  await once(server, 'request');
  second.abort();
  t.match(await sent, { name: 'AbortError' });
  t.same(mesh.outcomes, ['0 ABORT_ERR']);
});

t.test('abort() ends without an error, as in node:http', async (t) => {
  const attempt = pendingConnect();
  const mesh = fakeMesh(t, 1, () => ({ connect: attempt.connect }));
  const outgoing = get({ agent: mesh.agent, host: 'reviews' });
  await attempt.begun;
  outgoing.abort();
  await once(outgoing, 'close');
  t.same(mesh.outcomes, ['0']);
});

t.test('the agent adds no listener that would change what node:http does', async (t) => {
  const { port } = await listening(t, (incoming) => incoming.socket.destroy());
  const mesh = fakeMesh(t, port);
  const outgoing = get({ agent: mesh.agent, host: 'reviews' });
  await once(outgoing, 'socket');
  for (const event of ['error', 'response', 'upgrade']) t.equal(outgoing.listenerCount(event), 0, event);
  await failure(outgoing);
});

t.test('the timeout option counts while connecting', async (t) => {
  const clock = fakeClock();
  const attempt = pendingConnect();
  const mesh = fakeMesh(t, 1, () => ({ connect: attempt.connect }), { clock });
  const outgoing = get({ agent: mesh.agent, host: 'reviews', timeout: 500 });
  let timeouts = 0;
  outgoing.on('timeout', () => {
    timeouts++;
    outgoing.destroy(new RangeError('too slow'));
  });
  const failed = failure(outgoing);
  await attempt.begun;
  clock.advance(499);
  t.equal(timeouts, 0);
  clock.advance(1);
  t.equal(timeouts, 1);
  t.match(await failed, { message: 'too slow' });
  t.equal(clock.pending(), 0);
});

t.test('once connected, node:http itself counts the timeout, also on a used socket', async (t) => {
  const clock = fakeClock();
  const { port } = await listening(t, (incoming, outgoing) => void (incoming.url === '/fast' && outgoing.end()));
  const mesh = fakeMesh(t, port, () => ({}), { clock });
  const fast = get({ agent: mesh.agent, host: 'reviews', path: '/fast', timeout: 60_000 });
  fast.on('response', (response) => response.resume());
  await once(fast, 'close');
  await nextTurn();
  for (const path of ['/slow', '/slow']) {
    const outgoing = get({ agent: mesh.agent, host: 'reviews', path, timeout: 5 });
    const failed = failure(outgoing);
    outgoing.on('timeout', () => outgoing.destroy(new RangeError('too slow')));
    t.match(await failed, { message: 'too slow' });
  }
  t.equal(mesh.connections(), 2, 'one of them was used before');
  t.equal(clock.pending(), 0);
});

t.test('a target that may not stand in a request head is refused', async (t) => {
  const bad: Partial<AgentTarget>[] = [
    { path: '/a\r\nx: y' },
    { path: '' },
    { authority: 'a\r\nb' },
    { headers: ['x', 'a\r\nb'] },
    { headers: ['bad name', 'x'] },
  ];
  for (const change of bad) {
    const mesh = fakeMesh(t, 1, () => change);
    const error = await failure(get({ agent: mesh.agent, host: 'reviews' }));
    t.equal(error.code, 'ERR_MESH_UNSUPPORTED', JSON.stringify(change));
    t.same(mesh.outcomes, ['0 ERR_MESH_UNSUPPORTED']);
  }
});

t.test('a head that can no longer be changed is never sent', async (t) => {
  const mesh = fakeMesh(t, 1);
  const outgoing = request({ agent: mesh.agent, host: 'reviews', method: 'POST' }).end('body');
  (outgoing as unknown as { outputData: unknown[] }).outputData.length = 0;
  t.equal((await failure(outgoing)).code, 'ERR_MESH_UNSUPPORTED');
  t.equal(mesh.connections(), 0);
});

t.test('a router may take its time', async (t) => {
  const { port } = await listening(t, (_incoming, outgoing: ServerResponse) => outgoing.end('ok'));
  const told: (string | number)[] = [];
  const target = (path: string): AgentTarget => ({
    key: 'endpoint',
    path,
    headers: [],
    connect: () => connected(port),
    done: (status, error) => told.push(status, (error as MeshError | undefined)?.name ?? 'none'),
  });
  const decision = Promise.withResolvers<AgentTarget | 'direct'>();
  const agent = createAgent(() => decision.promise, { clock: systemClock });
  t.teardown(() => agent.destroy());
  const kept = get({ agent, host: 'reviews' });
  const given = get({ agent, host: 'reviews' });
  await nextTurn();
  const failed = failure(given);
  given.destroy();
  t.match(await failed, { code: 'ECONNRESET' });
  decision.resolve(target('/later'));
  const [response] = (await once(kept, 'response')) as [IncomingMessage];
  t.equal(await text(response), 'ok');
  t.same(told.sort(), [0, 200, 'none', 'none'], 'the target of the lost request was told, too');

  const direct = createAgent(() => Promise.resolve('direct'), { clock: systemClock });
  t.teardown(() => direct.destroy());
  const outside = get({ agent: direct, host: '127.0.0.1', port });
  t.equal(await text(((await once(outside, 'response')) as [IncomingMessage])[0]), 'ok');

  const unknown = new MeshError('ERR_MESH_NOT_READY', 'not yet');
  const refusing = createAgent(() => Promise.reject(unknown), { clock: systemClock });
  t.equal(await failure(get({ agent: refusing, host: 'reviews' })), unknown);
  const lost = get({ agent: refusing, host: 'reviews' });
  process.nextTick(() => lost.destroy());
  t.match(await failure(lost), { code: 'ECONNRESET' });
});
