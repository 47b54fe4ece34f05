import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer, type IncomingMessage } from 'node:http';
import t, { type Test } from 'tap';
import type { Dispatcher } from 'undici';
import { systemClock } from '../../src/lib/clock.ts';
import type { ConnectionBudget } from '../../src/transport/budget.ts';
import { mayRepeat, type Passenger } from '../../src/transport/connection.ts';
import { type ConnectionPool, createPool, type PoolOptions } from '../../src/transport/pool.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { refusingPort, turns, until, upstream } from '../support/upstream.ts';

function poolTo(t: Test, port: number, changes: Partial<PoolOptions> = {}) {
  const pool = createPool({
    host: 'reviews:9080',
    cluster: 'outbound|9080||reviews',
    address: '127.0.0.1',
    port,
    timeoutMs: 10_000,
    clock: systemClock,
    security: () => ({ kind: 'plaintext' }),
    maxRequestsPerConnection: Number.POSITIVE_INFINITY,
    maxConnectionMs: Number.POSITIVE_INFINITY,
    idleTimeoutMs: 3_600_000,
    ...changes,
  });
  t.teardown(() => pool.destroy());
  return pool;
}

const budget = (changes: Partial<ConnectionBudget>): ConnectionBudget => ({
  maxConnections: Number.POSITIVE_INFINITY,
  maxPending: Number.POSITIVE_INFINITY,
  connections: 0,
  pending: 0,
  ...changes,
});

/** Sends one request; resolves with its body and whether its connection had been used before. */
function send(
  pool: Dispatcher,
  path = '/',
  onWait?: (passenger: Passenger) => void,
  fresh = false,
): Promise<{ readonly text: string; readonly reused: boolean }> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let reused = false;
    const passenger: Passenger = {
      connection: undefined,
      place: undefined,
      onRequestStart() {
        reused = this.connection?.begin() ?? false;
      },
      onResponseStart() {},
      onResponseData: (_controller, chunk) => void chunks.push(chunk),
      onResponseEnd() {
        this.connection?.end();
        resolve({ text: Buffer.concat(chunks).toString(), reused });
      },
      onResponseError(_controller, error) {
        this.connection?.end();
        reject(error);
      },
    };
    pool.dispatch({ origin: 'http://ignored', path, method: 'GET' }, fresh ? { ...passenger, fresh } : passenger);
    onWait?.(passenger);
  });
}
const text = async (pool: Dispatcher, path = '/'): Promise<string> => (await send(pool, path)).text;

t.test('requests go to the address, with the Host header that was given', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => void outgoing.end(incoming.headers.host));
  t.equal(await text(poolTo(t, server.port)), 'reviews:9080');
  t.equal(await text(poolTo(t, server.port, { host: '[::1]:80' })), '[::1]');
});

t.test('no more connections than the limit; requests wait for their turn', async (t) => {
  for (const [maxConnections, connections] of [
    [2, 2],
    [1, 1],
    [0, 1],
  ] as const) {
    const waiting: (() => void)[] = [];
    const server = await upstream(t, (_incoming, outgoing) => void waiting.push(() => outgoing.end('ok')));
    const pool = poolTo(t, server.port, { budget: budget({ maxConnections }) });
    const answers = Promise.all(Array.from({ length: 6 }, () => text(pool)));
    for (let answered = 0; answered < 6; answered++) {
      await until(() => waiting.length > 0);
      waiting.shift()?.();
    }
    t.same(await answers, ['ok', 'ok', 'ok', 'ok', 'ok', 'ok']);
    t.equal(server.accepted(), connections, `limit ${maxConnections}`);
  }
});

t.test('without a limit every concurrent request has a connection', async (t) => {
  const server = await upstream(t, () => {});
  const pool = poolTo(t, server.port);
  for (let i = 0; i < 10; i++) void text(pool).catch(() => {});
  await server.arrived(10);
  t.equal(server.accepted(), 10);
});

t.test('an idle connection is closed after its time; 0 means that it is kept', async (t) => {
  const server = await upstream(t);
  const pool = poolTo(t, server.port, { idleTimeoutMs: 1 });
  await text(pool);
  const alive = setInterval(() => {}, 1_000);
  t.teardown(() => clearInterval(alive));
  await until(() => server.open() === 0);
  const keeping = poolTo(t, server.port, { idleTimeoutMs: 0 });
  await text(keeping);
  await turns(50);
  t.equal(server.open(), 1);
});

t.test('a server that announces a short keep-alive is believed', async (t) => {
  const server = createServer((incoming: IncomingMessage, outgoing) => {
    outgoing
      .setHeader('keep-alive', 'timeout=1')
      .setHeader('connection', 'keep-alive')
      .end(String(incoming.socket.remotePort));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const pool = poolTo(t, (server.address() as { port: number }).port);
  const ports = [await text(pool), await text(pool)];
  t.not(ports[0], ports[1], 'too short to be used again safely');
});

t.test('closing waits for what runs, and closes', async (t) => {
  const server = await upstream(
    t,
    (incoming, outgoing) => void incoming.socket.once('go on', () => outgoing.end('ok')),
  );
  const pool = poolTo(t, server.port);
  const answer = text(pool);
  const incoming = await server.arrived(1);
  const closed = pool.close();
  incoming.socket.emit('go on');
  t.equal(await answer, 'ok');
  await closed;
  await until(() => server.open() === 0);
});

t.test('a connection knows whether it was used before, also after it was replaced', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    if (incoming.url === '/close') outgoing.setHeader('connection', 'close');
    outgoing.end('ok');
  });
  const pool = poolTo(t, server.port, { budget: budget({ maxConnections: 1 }) });
  const reused: boolean[] = [];
  for (const path of ['/', '/', '/close', '/', '/']) reused.push((await send(pool, path)).reused);
  t.same(reused, [false, true, true, false, true]);
});

t.test('the connection that was used last is used first; one that closed while idle is replaced', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => void outgoing.end(String(incoming.socket.remotePort)));
  const pool = poolTo(t, server.port);
  const both = await Promise.all([text(pool), text(pool)]);
  t.not(both[0], both[1]);
  await turns(3);
  const newest = await text(pool);
  await turns(3);
  t.equal(await text(pool), newest);
  t.equal(server.accepted(), 2);
  for (const { socket } of server.requests) socket.destroy();
  await until(() => server.open() === 0);
  await turns(3);
  t.equal((await send(pool)).reused, false);
});

t.test('who was sent on a connection that closed gets a new one, unless there may be no more (EP-11)', async (t) => {
  const server = await upstream(t);
  const again = (pool: Dispatcher) => send(pool, '/', undefined, true);
  const pool = poolTo(t, server.port);
  await text(pool);
  await turns(3);
  t.equal((await again(pool)).reused, false);
  t.equal(server.accepted(), 2);
  const full = poolTo(t, server.port, { budget: budget({ maxConnections: 1 }) });
  await text(full);
  await turns(3);
  t.equal((await again(full)).reused, true);
  t.equal(server.accepted(), 3);
});

t.test('who gives up while waiting is left out; a closed or destroyed pool says so', async (t) => {
  const paths: (string | undefined)[] = [];
  const waiting: (() => void)[] = [];
  const server = await upstream(t, (incoming, outgoing) => {
    paths.push(incoming.url);
    waiting.push(() => outgoing.end('ok'));
  });
  const pool = poolTo(t, server.port, { budget: budget({ maxConnections: 1 }) });
  const first = send(pool, '/first');
  void send(pool, '/gone', (passenger) => passenger.place?.leave());
  const last = send(pool, '/last');
  const closed = pool.close();
  await t.rejects(send(pool), { code: 'UND_ERR_CLOSED' });
  for (let i = 0; i < 2; i++) {
    await until(() => waiting.length > 0);
    waiting.shift()?.();
  }
  await Promise.all([first, last, closed]);
  t.same(paths, ['/first', '/last'], 'what waited when it was closed was served');

  const other = poolTo(t, server.port, { budget: budget({ maxConnections: 1 }) });
  const running = send(other, '/running');
  const queued = send(other, '/queued');
  await until(() => waiting.length > 0);
  const reason = new Error('over');
  const refused = Promise.all([t.rejects(running, reason), t.rejects(queued, reason)]);
  await other.destroy(reason);
  await refused;
});

t.test('a request that undici refuses leaves its connection free', async (t) => {
  const server = await upstream(t);
  const pool = poolTo(t, server.port, { budget: budget({ maxConnections: 1 }) });
  await t.rejects(send(pool, 'no slash'), { code: 'UND_ERR_INVALID_ARG' });
  t.equal(await text(pool), await text(pool));
});

t.test('a request that waited runs in the asynchronous context of its caller', async (t) => {
  const context = new AsyncLocalStorage<string>();
  const seen: (string | undefined)[] = [];
  const listener = (): void => void seen.push(context.getStore());
  subscribe('undici:request:create', listener);
  t.teardown(() => unsubscribe('undici:request:create', listener));
  const server = await upstream(t);
  const pool = poolTo(t, server.port, { budget: budget({ maxConnections: 1 }) });
  await Promise.all([context.run('first', () => text(pool)), context.run('second', () => text(pool))]);
  t.same(seen, ['first', 'second']);
});

t.test('requests that wait are limited, those included whose connection is being made', async (t) => {
  const waiting: (() => void)[] = [];
  const server = await upstream(t, (_incoming, outgoing) => void waiting.push(() => outgoing.end('ok')));
  const shared = budget({ maxConnections: 1, maxPending: 1 });
  const pool = poolTo(t, server.port, { budget: shared });
  const first = text(pool);
  t.equal(shared.pending, 1, 'its connection is not there yet');
  await t.rejects(send(pool), { code: 'ERR_MESH_OVERFLOW' });
  await server.arrived(1);
  t.equal(shared.pending, 0);
  const second = text(pool);
  await t.rejects(send(pool), { code: 'ERR_MESH_OVERFLOW' });
  for (let i = 0; i < 2; i++) {
    await until(() => waiting.length > 0);
    waiting.shift()?.();
  }
  t.same(await Promise.all([first, second]), ['ok', 'ok']);
  t.same([shared.connections, shared.pending], [1, 0]);
  t.equal(server.accepted(), 1);
  await pool.close();
  t.same([shared.connections, shared.pending], [0, 0]);
});

t.test('the endpoints of a cluster share a limit, but each may have one connection', async (t) => {
  const shared = budget({ maxConnections: 2 });
  const servers = [await upstream(t, () => {}), await upstream(t, () => {})];
  const pools = servers.map(({ port }) => poolTo(t, port, { budget: shared }));
  const calls = pools.flatMap((pool) => [send(pool), send(pool), send(pool)]);
  for (const call of calls) call.catch(() => {});
  await Promise.all(servers.map((server) => server.arrived(1)));
  t.same(
    servers.map((server) => server.accepted()),
    [2, 1],
    'the first took both, the second has one all the same',
  );
  t.equal(shared.connections, 3);
  await Promise.all(pools.map((pool) => pool.destroy()));
  await Promise.allSettled(calls);
  t.same([shared.connections, shared.pending], [0, 0]);
});

t.test('a connection that cannot be made gives its place back', async (t) => {
  const shared = budget({ maxConnections: 1, maxPending: 1 });
  const pool = poolTo(t, await refusingPort(), { budget: shared });
  for (let i = 0; i < 3; i++) {
    await t.rejects(send(pool), { code: 'ERR_MESH_CONNECT_FAILED' });
    t.equal(shared.pending, 0);
    await turns(3);
  }
});

t.test('what has no socket takes no connection from other endpoints', async (t) => {
  const closing = await upstream(t, (_, outgoing) => void outgoing.setHeader('connection', 'close').end('x'));
  const held: (() => void)[] = [];
  const server = await upstream(t, (_, outgoing) => void held.push(() => void outgoing.end('x')));
  for (const port of [await refusingPort(), closing.port]) {
    const shared = budget({ maxConnections: 3 });
    const other = poolTo(t, port, { budget: shared });
    await Promise.allSettled([send(other), send(other), send(other)]);
    await until(() => shared.connections === 0);
    t.same([shared.connections, shared.pending], [0, 0]);
    const pool = poolTo(t, server.port, { budget: shared });
    const before = held.length;
    const calls = [send(pool), send(pool), send(pool)];
    await until(() => held.length === before + 3);
    t.equal(shared.connections, 3, 'the other endpoint may have all of them');
    for (const answer of held) answer();
    await Promise.all(calls);
    // Who waits is served, one connection after the other, and a pool that closes has an end.
    const all = Promise.allSettled([send(other), send(other), send(other), send(other)]);
    const closed = other.close();
    await Promise.all([all, closed]);
    await pool.close();
    t.same([shared.connections, shared.pending], [0, 0]);
  }
});

t.test('what is no host is refused before anything is counted', async (t) => {
  for (const host of ['a b', '', 'a@b', 'a/b', 'a?b', 'a#b', 'a\\b', 'a:99999']) {
    t.throws(() => poolTo(t, 1, { host }), { code: 'UND_ERR_INVALID_ARG', message: 'invalid host header' }, host);
  }
  for (const host of ['a', 'a:80', '[::1]:80', 'unix:///run/a.sock', 'a_b.c']) t.ok(poolTo(t, 1, { host }), host);
});

t.test('a connection is closed after so many requests, or after a time', async (t) => {
  const ports: string[] = [];
  const server = await upstream(t, (incoming, outgoing) => void outgoing.end(String(incoming.socket.remotePort)));
  const counted = poolTo(t, server.port, { maxRequestsPerConnection: 2 });
  for (let i = 0; i < 5; i++) {
    ports.push(await text(counted));
    await turns(3);
  }
  t.equal(new Set(ports).size, 3);
  t.equal(ports[0], ports[1]);

  const clock = fakeClock();
  const aging = poolTo(t, server.port, { maxConnectionMs: 1_000, clock });
  const young = await text(aging);
  await turns(3);
  clock.advance(999);
  t.equal(await text(aging), young);
  await turns(3);
  clock.advance(1);
  t.not(await text(aging), young, 'it was idle');

  const waiting: (() => void)[] = [];
  const slow = await upstream(t, (incoming, outgoing) => {
    waiting.push(() => outgoing.end(String(incoming.socket.remotePort)));
  });
  const busy = poolTo(t, slow.port, { maxConnectionMs: 1_000, clock, budget: budget({ maxConnections: 1 }) });
  const answers = [text(busy), text(busy)];
  await slow.arrived(1);
  clock.advance(1_000);
  for (let i = 0; i < 2; i++) {
    await until(() => waiting.length > 0);
    waiting.shift()?.();
  }
  const [before, after] = await Promise.all(answers);
  t.not(before, after, 'what was under way was finished, what waited went on a new one');
  await until(() => slow.open() === 1);
});

t.test('an old connection that is closed with its pool is counted off once', async (t) => {
  const clock = fakeClock();
  const end = { close: (pool: ConnectionPool) => pool.close(), destroy: (pool: ConnectionPool) => pool.destroy() };
  for (const [name, shutDown] of Object.entries(end)) {
    const waiting: (() => void)[] = [];
    const server = await upstream(t, (_incoming, outgoing) => void waiting.push(() => outgoing.end('ok')));
    const shared = budget({ maxConnections: 1 });
    const pool = poolTo(t, server.port, { maxConnectionMs: 1_000, clock, budget: shared });
    const answers = Promise.all([text(pool), text(pool)]).catch(() => name);
    await until(() => waiting.length > 0);
    clock.advance(1_000);
    const ended = shutDown(pool);
    waiting.shift()?.();
    // The second call needs a new connection, also while the pool waits for its end.
    if (name === 'close') await until(() => waiting.length > 0);
    waiting.shift()?.();
    t.same(await answers, name === 'close' ? ['ok', 'ok'] : name);
    await ended;
    await turns();
    t.equal(shared.connections, 0, name);
  }
});

t.test('what may be sent again when a connection closes', async (t) => {
  const request = { method: 'GET', body: null, upgrade: undefined, idempotent: undefined } as never as Parameters<
    typeof mayRepeat
  >[0];
  const closed = Object.assign(new Error('x'), { code: 'UND_ERR_SOCKET' });
  const rows: readonly (readonly [object, string | undefined, boolean])[] = [
    [{}, 'UND_ERR_SOCKET', true],
    [{}, 'ECONNRESET', true],
    [{}, 'EPIPE', true],
    [{}, 'UND_ERR_HEADERS_TIMEOUT', false],
    [{}, 'ECONNREFUSED', false],
    [{}, undefined, false],
    [{ method: 'HEAD' }, 'EPIPE', true],
    [{ method: 'OPTIONS' }, 'EPIPE', true],
    [{ method: 'TRACE' }, 'EPIPE', true],
    [{ method: 'PUT', body: 'x' }, 'EPIPE', true],
    [{ method: 'DELETE', body: Buffer.from('x') }, 'EPIPE', true],
    [{ method: 'POST' }, 'EPIPE', false],
    [{ method: 'PATCH' }, 'EPIPE', false],
    [{ method: 'CONNECT' }, 'EPIPE', false],
    [{ method: 'POST', idempotent: true }, 'EPIPE', true],
    [{ method: 'GET', idempotent: false }, 'EPIPE', false],
    [{ upgrade: 'websocket' }, 'EPIPE', false],
    [{ method: 'PUT', body: new Blob(['x']) }, 'EPIPE', true],
    [{ method: 'PUT', body: (async function* () {})() }, 'EPIPE', false],
  ];
  for (const [changes, code, wanted] of rows) {
    t.equal(
      mayRepeat({ ...request, ...changes }, Object.assign(closed, { code })),
      wanted,
      `${Object.entries(changes)} ${code}`,
    );
  }
});

t.test(
  'who gives up while its connection is made, or while it waits for one, counts no longer as pending',
  async (t) => {
    const held: (() => void)[] = [];
    const server = await upstream(t, (_incoming, outgoing) => void held.push(() => outgoing.end('ok')));
    const limits = budget({ maxConnections: 1, maxPending: 1 });
    const pool = poolTo(t, server.port, { budget: limits });
    const first = send(pool, '/first', (passenger) => {
      t.equal(limits.pending, 1, 'its connection is being made');
      passenger.place?.leave();
      t.equal(limits.pending, 0);
      passenger.place?.leave();
      t.equal(limits.pending, 0);
    });
    await until(() => held.length === 1);
    t.equal(limits.pending, 0, 'and is not counted off again');
    const waiting: Passenger[] = [];
    void send(pool, '/waiting', (passenger) => void waiting.push(passenger)).catch(() => {});
    await t.rejects(send(pool), { code: 'ERR_MESH_OVERFLOW' });
    waiting[0]?.place?.leave();
    const next = send(pool, '/next');
    held.shift()?.();
    await until(() => held.length === 1);
    held.shift()?.();
    await Promise.all([first, next]);
    t.same(server.seen, ['GET /first', 'GET /next']);
    t.equal(limits.pending, 0);
  },
);
