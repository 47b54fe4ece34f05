import { AsyncLocalStorage } from 'node:async_hooks';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import type { Dispatcher } from 'undici';
import { MeshError } from '../../src/errors.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { ConnectionBudget } from '../../src/transport/budget.ts';
import type { Passenger } from '../../src/transport/connection.ts';
import { Http2Pool, type Http2PoolOptions } from '../../src/transport/http2-pool.ts';
import { StreamFailure } from '../../src/transport/stream-failure.ts';
import { fakeClock } from '../support/fake-clock.ts';
import { type FrameConnection, frameServer } from '../support/http2-frames.ts';
import { http2Upstream } from '../support/http2-upstream.ts';
import { refusingPort, turns, until } from '../support/upstream.ts';

function poolTo(t: Test, port: number, changes: Partial<Http2PoolOptions> = {}): Http2Pool {
  const pool = new Http2Pool({
    host: 'reviews:9080',
    cluster: 'outbound|9080||reviews',
    address: '127.0.0.1',
    port,
    timeoutMs: 10_000,
    clock: systemClock,
    http2: true,
    security: () => ({ kind: 'plaintext' }),
    maxConcurrentStreams: Number.POSITIVE_INFINITY,
    maxRequestsPerConnection: Number.POSITIVE_INFINITY,
    maxConnectionMs: Number.POSITIVE_INFINITY,
    idleTimeoutMs: 3_600_000,
    ...changes,
  });
  t.teardown(() => pool.destroy());
  return pool;
}

const budget = (changes: Partial<ConnectionBudget> = {}): ConnectionBudget => ({
  maxConnections: Number.POSITIVE_INFINITY,
  maxPending: Number.POSITIVE_INFINITY,
  connections: 0,
  pending: 0,
  ...changes,
});

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly rawHeaders: unknown;
  readonly trailers: Readonly<Record<string, unknown>>;
}

type Asked = Partial<Omit<Dispatcher.DispatchOptions, 'headers'>> & {
  readonly headers?: readonly (string | readonly string[])[];
  readonly onStart?: (controller: Dispatcher.DispatchController, passenger: Passenger) => void;
  readonly onData?: (controller: Dispatcher.DispatchController, text: string) => void;
};

/** Sends one request, as a try does; told of its passenger at once. */
function send(pool: Dispatcher, { onData, onStart, ...options }: Asked = {}, asked?: (passenger: Passenger) => void) {
  return new Promise<Answer>((resolve, reject) => {
    let text = '';
    let head = { status: 0, headers: {}, rawHeaders: null as unknown };
    const passenger: Passenger = {
      connection: undefined,
      place: undefined,
      onRequestStart(controller) {
        onStart?.(controller, passenger);
      },
      onResponseStart(controller, status, headers) {
        if (status >= 200) head = { status, headers, rawHeaders: controller.rawHeaders };
      },
      onResponseData(controller, chunk) {
        text += chunk.toString();
        onData?.(controller, chunk.toString());
      },
      onResponseEnd(_controller, trailers) {
        this.connection?.end();
        resolve({ ...head, text, trailers: trailers as Record<string, unknown> });
      },
      onResponseError(_controller, error) {
        this.connection?.end();
        reject(error);
      },
    };
    pool.dispatch({ origin: 'http://ignored', path: '/', method: 'GET', headers: [], ...options } as never, passenger);
    asked?.(passenger);
  });
}

async function failure(sent: Promise<unknown>): Promise<unknown> {
  return sent.then(
    () => undefined,
    (error: unknown) => (error instanceof StreamFailure ? error.kind : ((error as { code?: string }).code ?? error)),
  );
}

t.test('a request goes out as it was said, its Host header as authority', async (t) => {
  const server = await http2Upstream(t, (stream) => {
    stream.respond({ ':status': 201, 'x-one': '1', 'set-cookie': ['a=1', 'b=2'] }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '6' }));
    stream.end('whole');
  });
  const pool = poolTo(t, server.port);
  const headers = ['X-Two', ['a', 'b'], 'connection', 'close', 'te', 'trailers', 'keep-alive', '5'];
  const answer = await send(pool, { path: '/p?q=1', headers });
  t.equal(answer.status, 201);
  t.equal(answer.text, 'whole');
  t.match(answer.headers, { 'x-one': '1', 'set-cookie': ['a=1', 'b=2'] });
  t.notOk(':status' in answer.headers, 'the status is no header');
  t.ok((answer.rawHeaders as string[]).includes('x-one'));
  t.notOk((answer.rawHeaders as string[]).includes(':status'));
  t.match(answer.trailers, { 'x-sum': '6' });
  await send(pool, { headers: ['Host', 'other:1'], method: 'DELETE' });
  const [first, second] = server.seen;
  t.match(first, { ':method': 'GET', ':path': '/p?q=1', ':authority': 'reviews:9080', ':scheme': 'http' });
  t.match(first, { 'x-two': 'a, b', te: 'trailers' });
  t.notOk('connection' in (first ?? {}) || 'keep-alive' in (first ?? {}));
  t.match(second, { ':method': 'DELETE', ':authority': 'other:1' });
  t.notOk('host' in (second ?? {}));
  t.equal(server.sessions.length, 1, 'both went over one connection');
});

t.test('what is no valid header is sent to nobody', async (t) => {
  const server = await http2Upstream(t);
  const pool = poolTo(t, server.port);
  for (const headers of [
    ['x', 'a\r\nb'],
    ['a b', 'x'],
    [':path', '/other'],
    ['x', '\0'],
  ]) {
    t.equal(await failure(send(pool, { headers })), 'UND_ERR_INVALID_ARG', JSON.stringify(headers));
  }
  t.equal((await send(pool)).text, 'ok', 'and the connection serves on');
  t.equal(server.seen.length, 1);
});

const form = new FormData();
form.set('fruit', 'apple');
const bodies: readonly [name: string, body: () => unknown, text: string | RegExp, length: string | undefined][] = [
  ['text', () => 'two äpples', 'two äpples', '11'],
  ['a buffer', () => Buffer.from('abc'), 'abc', '3'],
  ['part of an array', () => new Uint8Array([0, 97, 98]).subarray(1), 'ab', '2'],
  ['an ArrayBuffer', () => new Uint8Array([97]).buffer, 'a', '1'],
  ['a blob', () => new Blob(['blob']), 'blob', '4'],
  ['a form', () => form, /name="fruit"\r\n\r\napple/, undefined],
  ['a stream', () => Readable.from(['x', 'y']), 'xy', undefined],
  [
    'an iterable',
    () =>
      (async function* () {
        yield Buffer.from('1');
        yield Buffer.from('2');
      })(),
    '12',
    undefined,
  ],
  ['an empty text', () => '', '', '0'],
  ['nothing', () => null, '', '0'],
];
t.test('bodies of every kind arrive whole', async (t) => {
  const server = await http2Upstream(t, async (stream) => {
    const body = await buffer(stream);
    stream.respond({ ':status': 200 });
    stream.end(body);
  });
  const pool = poolTo(t, server.port);
  for (const [name, body, text, length] of bodies) {
    const answer = await send(pool, { method: 'POST', body: body() as never });
    t.match(answer.text, text, name);
    t.equal(server.seen.at(-1)?.['content-length'], length, `length of ${name}`);
  }
  t.match(server.seen[5]?.['content-type'], /^multipart\/form-data; boundary=/);
  const wrong = send(pool, { method: 'POST', body: 'abc', headers: ['content-length', '2'] });
  t.equal(await failure(wrong), 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH');
  t.equal(await failure(send(pool, { method: 'POST', body: 7 as never })), 'UND_ERR_INVALID_ARG');
});

t.test('a body that breaks off resets its stream and no other', async (t) => {
  const codes: number[] = [];
  const server = await http2Upstream(t, (stream, headers) => {
    stream.on('close', () => codes.push(stream.rstCode ?? 0));
    if (headers[':method'] === 'POST') stream.resume();
    else stream.respond({ ':status': 200 }, { endStream: true });
  });
  const pool = poolTo(t, server.port);
  const broken = new Readable({ read() {} });
  const sent = send(pool, { method: 'POST', body: broken });
  broken.push('half');
  await until(() => server.seen.length === 1);
  broken.destroy(new Error('disk'));
  await t.rejects(sent, { message: 'disk' });
  await until(() => codes.length === 1);
  t.same(codes, [8], 'CANCEL');
  t.equal((await send(pool)).status, 200);
  t.equal(server.sessions.length, 1);
});

t.test('a writer is held back by a reader that does not keep up, in both directions', async (t) => {
  let resume = (): void => {};
  const server = await http2Upstream(t, (stream, headers) => {
    if (headers[':method'] === 'POST') {
      stream.pause();
      resume = () => {
        stream.resume();
        stream.on('end', () => stream.respond({ ':status': 200 }, { endStream: true }));
      };
    } else {
      stream.respond({ ':status': 200 });
      stream.end(Buffer.alloc(4_000_000));
    }
  });
  const pool = poolTo(t, server.port);
  let taken = 0;
  const endless = (async function* () {
    for (; taken < 4_000; taken++) yield Buffer.alloc(1_000);
  })();
  const sent = send(pool, { method: 'POST', body: endless as never });
  await until(() => server.seen.length === 1);
  await turns(200);
  const before = taken;
  t.ok(before < 2_000, `${before} of 4,000 pieces were taken`);
  resume();
  await sent;
  t.equal(taken, 4_000);

  let arrived = 0;
  let controller: Dispatcher.DispatchController | undefined;
  const read = send(pool, {
    onData(given, text) {
      arrived += text.length;
      if (controller === undefined) given.pause();
      controller = given;
    },
  });
  await until(() => controller !== undefined);
  await turns(100);
  t.ok(arrived < 1_000_000, `${arrived} bytes came before the pause`);
  controller?.resume();
  t.equal((await read).text.length, 4_000_000);
});

t.test(
  'requests share a connection up to the limit of streams, the server´s or ours; more wait or make another',
  async (t) => {
    for (const [ours, theirs, maxConnections, sessions] of [
      [Number.POSITIVE_INFINITY, 100, Number.POSITIVE_INFINITY, 1],
      [2, 100, Number.POSITIVE_INFINITY, 3],
      [100, 2, Number.POSITIVE_INFINITY, 3],
      [2, 100, 1, 1],
    ] as const) {
      let most = 0;
      let now = 0;
      const held: (() => void)[] = [];
      const server = await http2Upstream(
        t,
        (stream) => {
          most = Math.max(most, ++now);
          held.push(() => {
            now--;
            stream.respond({ ':status': 200 });
            stream.end('ok');
          });
        },
        { maxConcurrentStreams: theirs },
      );
      const limits = budget({ maxConnections });
      const pool = poolTo(t, server.port, { maxConcurrentStreams: ours, budget: limits });
      // The settings of the server are known from here on.
      const first = send(pool);
      await until(() => held.length === 1);
      held.shift()?.();
      await first;
      const answers = Promise.all(Array.from({ length: 6 }, () => send(pool)));
      const atOnce = Math.min(6, sessions * Math.min(ours, theirs));
      await until(() => held.length === atOnce);
      t.equal(limits.pending, 6 - atOnce, 'the others wait');
      for (let answered = 0; answered < 6; answered++) {
        await until(() => held.length > 0);
        held.shift()?.();
      }
      t.equal((await answers).length, 6);
      t.equal(server.sessions.length, sessions, `ours ${ours}, theirs ${theirs}, connections ${maxConnections}`);
      t.ok(most <= atOnce);
      t.equal(limits.pending, 0);
      t.equal(limits.connections, sessions);
      await pool.close();
      t.equal(limits.connections, 0);
    }
  },
);

t.test('an answer that was complete before anybody read it is complete', async (t) => {
  const server = await http2Upstream(t);
  let controller: Dispatcher.DispatchController | undefined;
  const answer = send(poolTo(t, server.port), {
    onStart: (given) => {
      controller = given;
      given.pause();
    },
  });
  await until(() => server.seen.length === 1);
  // All of it has arrived, and its stream is closed.
  await turns(20);
  controller?.resume();
  t.match(await answer, { status: 200, text: 'ok' });
});

t.test('one request too many to wait is told so at once', async (t) => {
  const held: (() => void)[] = [];
  const server = await http2Upstream(t, (stream) => {
    held.push(() => stream.respond({ ':status': 200 }, { endStream: true }));
  });
  const limits = budget({ maxConnections: 1, maxPending: 2 });
  const pool = poolTo(t, server.port, { maxConcurrentStreams: 1, budget: limits });
  const running = send(pool);
  await until(() => held.length === 1);
  const queued = [send(pool), send(pool)];
  t.equal(await failure(send(pool)), 'ERR_MESH_OVERFLOW');
  t.equal(limits.pending, 2);
  const gone = send(pool, {}, (passenger) => passenger.place?.leave());
  t.equal(await failure(gone), 'ERR_MESH_OVERFLOW');
  for (let i = 0; i < 3; i++) {
    await until(() => held.length > 0);
    held.shift()?.();
  }
  await Promise.all([running, ...queued]);
  t.equal(limits.pending, 0);
});

t.test('who gives up while waiting is left out and no longer counted', async (t) => {
  const held: (() => void)[] = [];
  const server = await http2Upstream(t, (stream) => {
    held.push(() => stream.respond({ ':status': 200 }, { endStream: true }));
  });
  const limits = budget({ maxConnections: 1 });
  const pool = poolTo(t, server.port, { maxConcurrentStreams: 1, budget: limits });
  const running = send(pool, { path: '/first' });
  await until(() => held.length === 1);
  void send(pool, { path: '/gone' }, (passenger) => passenger.place?.leave());
  t.equal(limits.pending, 0);
  const last = send(pool, { path: '/last' });
  for (let i = 0; i < 2; i++) {
    await until(() => held.length > 0);
    held.shift()?.();
  }
  await Promise.all([running, last]);
  t.same(
    server.seen.map((headers) => headers[':path']),
    ['/first', '/last'],
  );
});

t.test('a connection that cannot be made fails those who wait for it', async (t) => {
  const limits = budget();
  const pool = poolTo(t, await refusingPort(), { budget: limits });
  t.same(await Promise.all([failure(send(pool)), failure(send(pool))]), [
    'ERR_MESH_CONNECT_FAILED',
    'ERR_MESH_CONNECT_FAILED',
  ]);
  t.same([limits.pending, limits.connections], [0, 0]);
});

const endings: readonly [name: string, act: (c: FrameConnection, stream: number) => void, kind: string | undefined][] =
  [
    ['a whole answer', (c, stream) => c.answer(stream, 'whole'), undefined],
    [
      'a whole answer, then a reset',
      (c, stream) => {
        c.answer(stream, 'whole');
        c.reset(stream, 0);
      },
      undefined,
    ],
    [
      'part of an answer, then a reset with NO_ERROR',
      (c, stream) => {
        c.answer(stream, 'pa', 'open');
        c.reset(stream, 0);
      },
      'reset',
    ],
    [
      'part of an answer, then CANCEL',
      (c, stream) => {
        c.answer(stream, 'pa', 'open');
        c.reset(stream, 8);
      },
      'reset',
    ],
    [
      'part of an answer, then INTERNAL_ERROR',
      (c, stream) => {
        c.answer(stream, 'pa', 'open');
        c.reset(stream, 2);
      },
      'reset',
    ],
    [
      'part of an answer, then the end of the connection',
      (c, stream) => {
        c.answer(stream, 'pa', 'open');
        c.socket.end();
      },
      'closed',
    ],
    [
      'part of an answer, then a cut connection',
      (c, stream) => {
        c.answer(stream, 'pa', 'open');
        c.socket.resetAndDestroy();
      },
      'closed',
    ],
    ['no answer, but CANCEL', (c, stream) => c.reset(stream, 8), 'reset'],
    ['no answer, but REFUSED_STREAM', (c, stream) => c.reset(stream, 7), 'refused'],
    ['no answer, but the end of the connection', (c) => c.socket.end(), 'closed'],
    ['a GOAWAY that leaves the request out', (c) => c.goAway(0), 'unsent'],
    ['a GOAWAY with an error that leaves the request out', (c) => c.goAway(0, 2), 'unsent'],
    [
      'a GOAWAY that covers the request, then the answer',
      (c, stream) => {
        c.goAway(stream);
        c.answer(stream, 'whole');
      },
      undefined,
    ],
    [
      'a GOAWAY with the highest number, then the answer',
      (c, stream) => {
        c.goAway(-1);
        c.answer(stream, 'whole');
      },
      undefined,
    ],
    [
      'a GOAWAY that covers the request, then the end',
      (c, stream) => {
        c.goAway(stream);
        c.socket.end();
      },
      'closed',
    ],
  ];
for (const [name, act, kind] of endings) {
  t.test(`${name}: ${kind ?? 'is an answer'}`, async (t) => {
    const server = await frameServer(t, act);
    const pool = poolTo(t, server.port);
    const sent = send(pool, { method: 'POST' });
    if (kind === undefined) t.equal((await sent).text, 'whole');
    else t.equal(await failure(sent), kind);
  });
}

t.test('after a GOAWAY new requests have a new connection, and the old one ends with its last', async (t) => {
  const server = await frameServer(t, (connection, stream) => {
    if (connection.number === 1) {
      // What the client acknowledges comes after.
      connection.goAway(stream);
      connection.settings();
    } else connection.answer(stream, 'new');
  });
  const limits = budget();
  const pool = poolTo(t, server.port, { budget: limits });
  const old = send(pool);
  await until(() => server.connections[0]?.acknowledged === 2);
  t.equal((await send(pool)).text, 'new');
  t.equal(limits.connections, 2);
  server.connections[0]?.answer(1, 'old');
  t.equal((await old).text, 'old');
  await until(() => limits.connections === 1);
});

t.test('a server that keeps its side of a finished connection open does not keep ours', async (t) => {
  const clock = fakeClock();
  const server = await frameServer(t, (connection, stream) => {
    connection.socket.allowHalfOpen = true;
    connection.answer(stream, 'whole');
  });
  const pool = poolTo(t, server.port, { clock });
  t.equal((await send(pool)).text, 'whole');
  let ended = false;
  const closed = pool.close().then(() => (ended = true));
  await turns(100);
  t.equal(ended, false, 'it may still say something');
  clock.advance(1_000);
  await closed;
});

t.test('a server that allows no streams: requests wait, for it and for one connection more', async (t) => {
  const server = await frameServer(t, (connection, stream) => connection.answer(stream, `${connection.number}`), {
    maxConcurrentStreams: 0,
  });
  const limits = budget({ maxPending: 3 });
  // The first goes out before the settings are known.
  const pool = poolTo(t, server.port, { budget: limits });
  t.equal((await send(pool)).text, '1');
  const waiting = [send(pool), send(pool), send(pool)];
  t.equal(await failure(send(pool)), 'ERR_MESH_OVERFLOW', 'the queue has an end');
  await until(() => server.accepted() >= 2);
  await turns(50);
  t.ok(server.accepted() <= 3, 'no storm of connections');
  for (const connection of server.connections) connection.settings(1);
  t.equal((await Promise.all(waiting)).length, 3);
  t.equal(limits.pending, 0);
});

t.test('a limit that drops below what is under way holds new requests back', async (t) => {
  const server = await frameServer(t, () => {}, { maxConcurrentStreams: 10 });
  const limits = budget({ maxConnections: 1 });
  const pool = poolTo(t, server.port, { budget: limits });
  const running = [send(pool), send(pool), send(pool)];
  await until(() => server.connections[0]?.streams.length === 3);
  server.connections[0]?.settings(1);
  await until(() => server.connections[0]?.acknowledged === 2);
  const next = send(pool);
  await turns(20);
  t.equal(limits.pending, 1);
  for (const stream of [1, 3]) server.connections[0]?.answer(stream, 'a');
  await turns(20);
  t.equal(limits.pending, 1, 'there is still one');
  server.connections[0]?.answer(5, 'b');
  await until(() => server.connections[0]?.streams.length === 4);
  server.connections[0]?.answer(7, 'c');
  t.equal((await next).text, 'c');
  await Promise.all(running);
});

t.test('an abort resets the stream and leaves the others alone; an early one sends nothing', async (t) => {
  const codes: number[] = [];
  const server = await http2Upstream(t, (stream, headers) => {
    stream.on('close', () => codes.push(stream.rstCode ?? 0));
    if (headers[':path'] === '/ok') stream.respond({ ':status': 200 }, { endStream: true });
  });
  const pool = poolTo(t, server.port);
  const reason = new Error('enough');
  let controller: Dispatcher.DispatchController | undefined;
  const sent = send(pool, { onStart: (given) => void (controller = given) });
  await until(() => server.seen.length === 1);
  controller?.abort(reason);
  controller?.abort(new Error('again'));
  await t.rejects(sent, reason);
  t.equal(controller?.aborted, true);
  t.equal(controller?.reason, reason);
  await until(() => codes.length === 1);
  t.same(codes, [8]);
  await t.rejects(send(pool, { onStart: (given) => given.abort(reason) }), reason);
  const thrower = (): void => {
    throw reason;
  };
  await t.rejects(send(pool, { onStart: thrower }), reason);
  t.equal((await send(pool, { path: '/ok' })).status, 200);
  t.equal(server.seen.length, 2);
  t.equal(server.sessions.length, 1);
});

t.test(
  'a server that is silent for too long fails the request; when nobody answers a PING, the connection',
  async (t) => {
    const clock = fakeClock();
    const mute = await frameServer(t, () => {}, { mute: true });
    const pool = poolTo(t, mute.port, { clock });
    const first = failure(send(pool, { headersTimeout: 1_000 }));
    const second = failure(send(pool, { headersTimeout: 0 }));
    await until(() => mute.connections[0]?.streams.length === 2);
    clock.advance(1_000);
    t.equal(await first, 'timeout');
    clock.advance(5_000);
    t.equal(await second, 'closed', 'five seconds later');
    await until(() => mute.open() === 0);

    const slow = await frameServer(t, (connection, stream) => connection.answer(stream, 'pa', 'open'));
    const other = poolTo(t, slow.port, { clock });
    let arrived = '';
    const body = failure(send(other, { bodyTimeout: 2_000, onData: (_, text) => void (arrived += text) }));
    await until(() => arrived === 'pa');
    clock.advance(1_999);
    slow.connections[0]?.data(1, 'rt', 'open');
    await until(() => arrived === 'part');
    clock.advance(1_999);
    await turns(5);
    clock.advance(1);
    t.equal(await body, 'timeout');
  },
);

t.test('PINGs are sent as configured, and find a connection that is dead', async (t) => {
  const clock = fakeClock();
  for (const mute of [false, true]) {
    const server = await frameServer(
      t,
      (connection, stream) => {
        if (stream > 1) connection.answer(stream, 'here');
      },
      { mute },
    );
    const pool = poolTo(t, server.port, { clock, pings: { intervalMs: 10_000, timeoutMs: 3_000 } });
    let over = false;
    const sent = failure(send(pool, { headersTimeout: 0 })).finally(() => (over = true));
    await until(() => server.connections[0]?.streams.length === 1);
    for (let i = 1; i < 4 && !over; i++) {
      clock.advance(10_000 - (i === 1 ? 0 : 3_000));
      await until(() => server.connections[0]?.pings === i);
      // Comes back after the answer to the PING, if there is one.
      t.equal((await send(pool)).text, 'here');
      clock.advance(2_999);
      await turns(20);
      t.equal(over, false);
      clock.advance(1);
      await turns(20);
    }
    t.equal(over, mute);
    if (mute) {
      t.equal(await sent, 'closed');
      await until(() => server.open() === 0);
    }
    await pool.destroy();
  }
});

t.test('a connection ends after its requests, its time, or its pause', async (t) => {
  const clock = fakeClock();
  const server = await http2Upstream(t);
  const counted = poolTo(t, server.port, { maxRequestsPerConnection: 2 });
  for (let i = 0; i < 4; i++) await send(counted);
  t.equal(server.sessions.length, 2);
  await counted.close();

  const aged = poolTo(t, server.port, { clock, maxConnectionMs: 1_000 });
  await send(aged);
  clock.advance(999);
  await send(aged);
  t.equal(server.sessions.length, 3);
  clock.advance(1);
  await send(aged);
  t.equal(server.sessions.length, 4);
  await aged.close();

  const idle = poolTo(t, server.port, { clock, idleTimeoutMs: 500 });
  await send(idle);
  clock.advance(499);
  await send(idle);
  clock.advance(499);
  await turns(20);
  t.equal(server.open(), 1, 'the pause began anew');
  clock.advance(1);
  await until(() => server.open() === 0);
  const keeping = poolTo(t, server.port, { clock, idleTimeoutMs: 0 });
  await send(keeping);
  clock.advance(10_000_000);
  await turns(20);
  t.equal(server.open(), 1);
});

t.test('a closing pool serves what it took on, a destroyed one says why it does not', async (t) => {
  const held: (() => void)[] = [];
  const server = await http2Upstream(t, (stream) => {
    held.push(() => stream.respond({ ':status': 200 }, { endStream: true }));
  });
  const pool = poolTo(t, server.port, { maxConcurrentStreams: 1, budget: budget({ maxConnections: 1 }) });
  const taken = [send(pool), send(pool)];
  const closed = pool.close();
  t.equal(await failure(send(pool)), 'UND_ERR_CLOSED');
  for (let i = 0; i < 2; i++) {
    await until(() => held.length > 0);
    held.shift()?.();
  }
  await Promise.all([...taken, closed]);
  await until(() => server.open() === 0);

  const other = poolTo(t, server.port, { maxConcurrentStreams: 1, budget: budget({ maxConnections: 1 }) });
  const running = failure(send(other));
  await until(() => held.length === 1);
  const queued = send(other);
  const reason = new Error('over');
  const refused = t.rejects(queued, reason);
  await other.destroy(reason);
  await refused;
  t.equal(await running, 'closed');

  const early = poolTo(t, server.port);
  const never = send(early);
  await Promise.all([t.rejects(never, reason), early.destroy(reason)]);
});

t.test('a request that waited runs in the asynchronous context of its caller', async (t) => {
  const context = new AsyncLocalStorage<string>();
  const server = await http2Upstream(t);
  const pool = poolTo(t, server.port);
  const seen: (string | undefined)[] = [];
  await Promise.all(
    ['a', 'b'].map((name) =>
      context.run(name, () => send(pool, { onStart: () => void seen.push(context.getStore()) })),
    ),
  );
  t.same(seen.sort(), ['a', 'b']);
});

t.test('a body is sent when the server wants it, and not when it has answered already', async (t) => {
  const server = await http2Upstream(t, (stream, headers) => {
    if (headers[':path'] === '/no') stream.respond({ ':status': 417 }, { endStream: true });
    else {
      stream.additionalHeaders({ ':status': 100 });
      stream.respond({ ':status': 200 });
      stream.pipe(stream);
    }
  });
  const pool = poolTo(t, server.port);
  const options = { method: 'POST', body: 'wanted', expectContinue: true } as const;
  t.equal((await send(pool, { ...options, path: '/no' })).status, 417);
});

t.test('what is no host is refused before there is a connection, and ends no process', async (t) => {
  for (const host of ['a b', '', 'a@b', 'a/b']) {
    t.throws(() => poolTo(t, 1, { host }), { code: 'UND_ERR_INVALID_ARG', message: 'invalid host header' }, host);
  }
});

t.test('a server that takes no requests, and then no connections, is not asked for ever', async (t) => {
  const server = await http2Upstream(t, undefined, { maxConcurrentStreams: 0 });
  for (const code of ['ERR_MESH_NO_IDENTITY', 'ERR_MESH_TLS_FAILED'] as const) {
    let asked = 0;
    const shared = budget();
    const pool = poolTo(t, server.port, {
      budget: shared,
      security: () => {
        if (++asked === 1) return { kind: 'plaintext' };
        if (asked > 100) throw new Error('too often');
        if (code === 'ERR_MESH_NO_IDENTITY') throw new MeshError(code, 'expired');
        return { kind: 'tls', serverName: 'reviews' };
      },
    });
    await t.rejects(send(pool), { message: 'the server refused the stream' }, 'before it has said that it takes none');
    await t.rejects(send(pool), { code });
    t.equal(asked, 2);
    t.same([shared.connections, shared.pending], [1, 0]);
  }
});
