import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type ClientRequest, get, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t from 'tap';
import { connected, fakeMesh, listening } from '../support/agent-router.ts';

/** Sends a request and waits for its response head. */
async function send(options: RequestOptions, body?: string | Buffer): Promise<IncomingMessage> {
  const outgoing = request({ host: 'reviews', port: 9080, ...options }).end(body);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  return response;
}

/** Answers with what arrived, as JSON. */
const mirror = async (incoming: IncomingMessage): Promise<string> =>
  JSON.stringify({
    method: incoming.method,
    url: incoming.url,
    headers: incoming.headers,
    raw: incoming.rawHeaders,
    body: await text(incoming),
    port: incoming.socket.remotePort,
  });

interface Mirrored {
  method: string;
  url: string;
  headers: Record<string, string>;
  raw: string[];
  body: string;
  port: number;
}
const mirrored = async (response: IncomingMessage): Promise<Mirrored> => JSON.parse(await text(response));

t.test('the router sees the request, headers set after its creation included', async (t) => {
  const { port } = await listening(t, async (incoming, outgoing) => outgoing.end(await mirror(incoming)));
  const mesh = fakeMesh(t, port);
  const outgoing = request({ agent: mesh.agent, host: 'reviews', port: '9080', path: '/reviews/1?x=2' });
  outgoing.setHeader('End-User', 'jason');
  outgoing.setHeader('X-Many', ['a', 'b']);
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  t.equal((await mirrored(response)).headers['host'], 'reviews:9080');
  const [seen] = mesh.seen;
  t.match(seen, { hostname: 'reviews', port: 9080, secure: false, method: 'GET', path: '/reviews/1?x=2' });
  t.equal(seen?.header('end-user'), 'jason');
  t.equal(seen?.header('x-many'), 'a, b');
  t.equal(seen?.header('absent'), undefined);
  t.same(seen?.headers().slice(0, 3), [
    ['host', 'reviews:9080'],
    ['end-user', 'jason'],
    ['x-many', 'a'],
  ]);
  t.same(mesh.outcomes, ['200']);
});

t.test('path, Host and missing headers of the target are sent', async (t) => {
  const { port } = await listening(t, async (incoming, outgoing) => outgoing.end(await mirror(incoming)));
  const mesh = fakeMesh(t, port, () => ({
    path: '/v2/ratings?a=b',
    authority: 'ratings.example:80',
    headers: ['x-request-id', 'from the mesh', 'x-own', 'from the mesh'],
  }));
  const headers = { 'X-Own': 'from the application' };
  const shapes: Record<string, [RequestOptions, (outgoing: ClientRequest) => void]> = {
    'before the head is written': [
      { headers },
      (outgoing) => {
        setImmediate(() => outgoing.end('body'));
      },
    ],
    'after end()': [{ headers }, (outgoing) => outgoing.end('body')],
    'after end() with bytes': [{ headers }, (outgoing) => outgoing.end(Buffer.from('body'))],
    'after flushHeaders()': [
      { headers },
      (outgoing) => {
        outgoing.flushHeaders();
        setImmediate(() => outgoing.end('body'));
      },
    ],
    'with headers as an array': [
      { headers: ['Host', 'reviews', 'X-Own', 'from the application', 'Content-Length', '4'] },
      (outgoing) => outgoing.end('body'),
    ],
    'with headers as an array, without Host': [
      { headers: ['X-Own', 'from the application', 'Content-Length', '4'] },
      (outgoing) => outgoing.end('body'),
    ],
    'with Expect': [
      { headers: { ...headers, Expect: '100-continue' } },
      (outgoing) => outgoing.once('continue', () => outgoing.end('body')),
    ],
  };
  for (const [shape, [options, finish]] of Object.entries(shapes)) {
    const outgoing = request({ agent: mesh.agent, host: 'reviews', method: 'POST', ...options });
    finish(outgoing);
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    const got = await mirrored(response);
    t.equal(got.url, '/v2/ratings?a=b', shape);
    t.equal(got.headers['host'], 'ratings.example:80', shape);
    t.equal(got.raw.filter((name) => name.toLowerCase() === 'host').length, 1, shape);
    t.equal(got.headers['x-request-id'], 'from the mesh', shape);
    t.equal(got.headers['x-own'], 'from the application', shape);
    t.equal(got.body, 'body', shape);
    t.equal(outgoing.path, '/v2/ratings?a=b', shape);
    t.equal(mesh.seen.at(-1)?.header('x-own'), 'from the application', shape);
  }
});

t.test('the Host of the application stays when the target names none', async (t) => {
  const { port } = await listening(t, async (incoming, outgoing) => outgoing.end(await mirror(incoming)));
  const mesh = fakeMesh(t, port, () => ({ headers: ['x-request-id', '1'] }));
  const response = await send({ agent: mesh.agent, headers: ['Host', 'mine', 'X-A', '1', 'X-A', '2'] as never });
  const got = await mirrored(response);
  t.equal(got.headers['host'], 'mine');
  t.equal(got.headers['x-a'], '1, 2');
  t.equal(got.headers['x-request-id'], '1');
  t.equal(mesh.seen[0]?.header('x-a'), '1, 2');
});

t.test('sockets are reused per key', async (t) => {
  const { port } = await listening(t, async (incoming, outgoing) => outgoing.end(await mirror(incoming)));
  const mesh = fakeMesh(t, port, ({ hostname }) => ({ key: hostname }));
  const ports: number[] = [];
  for (const host of ['a', 'a', 'b', 'a', 'b']) {
    ports.push((await mirrored(await send({ agent: mesh.agent, host }))).port);
    await nextTurn();
  }
  t.equal(mesh.connections(), 2);
  t.equal(new Set(ports).size, 2);
  t.equal(ports[0], ports[1]);
  t.equal(ports[0], ports[3]);
});

t.test('a request tells that its socket was used before', async (t) => {
  const { port } = await listening(t, (_incoming, outgoing) => outgoing.end());
  const mesh = fakeMesh(t, port);
  const reused: boolean[] = [];
  for (let i = 0; i < 2; i++) {
    const outgoing = get({ agent: mesh.agent, host: 'reviews' });
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    await buffer(response);
    reused.push(outgoing.reusedSocket);
    await nextTurn();
  }
  t.same(reused, [false, true]);
});

t.test('a hundred requests at a time get the answers that belong to them', async (t) => {
  const { port } = await listening(t, (incoming, outgoing) => outgoing.end(incoming.url));
  const mesh = fakeMesh(t, port);
  const answers = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => text(await send({ agent: mesh.agent, path: `/${i}` }))),
  );
  t.same(
    answers,
    answers.map((_, i) => `/${i}`),
  );
  t.equal(mesh.outcomes.length, 100);
});

t.test('with a limit, requests above it wait their turn in the context of their own', async (t) => {
  const held: (() => void)[] = [];
  let most = 0;
  const { port } = await listening(t, (incoming, outgoing) => {
    held.push(() => outgoing.end(incoming.url));
    most = Math.max(most, held.length);
    // Three are let in; answering waits for the third and gives a fourth time to appear.
    const answer = (): void => {
      for (const one of held.splice(0)) one();
    };
    if (held.length === 3) setImmediate(answer);
  });
  const context = new AsyncLocalStorage<number>();
  const contexts: (number | undefined)[] = [];
  const mesh = fakeMesh(
    t,
    port,
    () => ({
      connect() {
        contexts.push(context.getStore());
        return connected(port);
      },
    }),
    { maxSocketsPerKey: 3 },
  );
  const close = { connection: 'close' };
  const answers = await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      context.run(i, async () => text(await send({ agent: mesh.agent, path: `/${i}`, headers: close }))),
    ),
  );
  t.equal(new Set(answers).size, 12);
  t.equal(most, 3);
  t.same(contexts, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

t.test('a failing connection does not hold up those that wait', async (t) => {
  const { port } = await listening(t, (_incoming, outgoing) => outgoing.end('ok'));
  let first = true;
  const mesh = fakeMesh(
    t,
    port,
    () => ({
      async connect() {
        if (first) {
          first = false;
          throw new Error('refused');
        }
        return connected(port);
      },
    }),
    { maxSocketsPerKey: 1 },
  );
  const results = await Promise.allSettled([1, 2, 3].map(() => send({ agent: mesh.agent }).then(text)));
  t.same(
    results.map((result) => (result.status === 'fulfilled' ? result.value : result.reason.code)),
    ['ERR_MESH_CONNECT_FAILED', 'ok', 'ok'],
  );
});

t.test('a waiting request that is destroyed leaves the queue', async (t) => {
  const { port, server } = await listening(t, () => {});
  const mesh = fakeMesh(t, port, () => ({}), { maxSocketsPerKey: 1 });
  const first = get({ agent: mesh.agent, host: 'reviews' });
  const [, held] = (await once(server, 'request')) as [IncomingMessage, { end(body: string): void }];
  const second = get({ agent: mesh.agent, host: 'reviews' });
  const third = get({ agent: mesh.agent, host: 'reviews' });
  await nextTurn();
  second.destroy(new RangeError('no longer wanted'));
  const [error] = (await once(second, 'error')) as [Error];
  t.equal(error.message, 'no longer wanted');
  held.end('first');
  const [response] = (await once(first, 'response')) as [IncomingMessage];
  t.equal(await text(response), 'first');
  const [, next] = (await once(server, 'request')) as [IncomingMessage, { end(body: string): void }];
  next.end('third');
  const [last] = (await once(third, 'response')) as [IncomingMessage];
  t.equal(await text(last), 'third');
  t.same(mesh.outcomes.sort(), ['0 RangeError', '200', '200']);
});

t.test('bodies stream in both directions', async (t) => {
  const { port } = await listening(t, (incoming, outgoing) => incoming.pipe(outgoing));
  const mesh = fakeMesh(t, port);
  const body = randomBytes(1_048_576);
  const outgoing = request({ agent: mesh.agent, host: 'reviews', method: 'POST' });
  const chunks = Array.from({ length: 64 }, (_, i) => body.subarray(i * 16_384, (i + 1) * 16_384));
  const sent = pipeline(Readable.from(chunks), outgoing);
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const back = await buffer(response);
  await sent;
  const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
  t.equal(digest(back), digest(body));
});

t.test('a write beyond the buffer says so while there is no socket', async (t) => {
  const { port } = await listening(t, async (incoming, outgoing) =>
    outgoing.end(String((await text(incoming)).length)),
  );
  const mesh = fakeMesh(t, port);
  const outgoing = request({ agent: mesh.agent, host: 'reviews', method: 'POST' });
  t.equal(outgoing.write(Buffer.alloc(1_000_000)), false);
  await once(outgoing, 'drain');
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  t.equal(await text(response), '1000000');
});

t.test('a response that nobody listens for is drained, and its socket used again', async (t) => {
  const { port } = await listening(t, (_incoming, outgoing) => outgoing.end(Buffer.alloc(500_000)));
  const mesh = fakeMesh(t, port);
  for (let i = 0; i < 2; i++) {
    const outgoing = request({ agent: mesh.agent, host: 'reviews' }).end();
    await once(outgoing, 'close');
    await nextTurn();
  }
  t.equal(mesh.connections(), 1);
  t.same(mesh.outcomes, ['200', '200']);
});

t.test('a body that is taken but never read holds its socket until it is destroyed', async (t) => {
  const { port } = await listening(t, (_incoming, outgoing) => outgoing.end(Buffer.alloc(5_000_000)));
  const mesh = fakeMesh(t, port);
  const response = await send({ agent: mesh.agent });
  t.equal(await text(await send({ agent: mesh.agent, method: 'HEAD' })), '', 'others are not held up');
  t.equal(mesh.connections(), 2);
  response.destroy();
  await once(response, 'close');
  t.same(mesh.outcomes, ['200', '200']);
});

t.test('informational responses arrive, the outcome is that of the final one', async (t) => {
  const { port } = await listening(t, (_incoming, outgoing) => {
    outgoing.writeEarlyHints({ link: '</a>; rel=preload' }, () => outgoing.writeHead(201).end());
  });
  const mesh = fakeMesh(t, port);
  const outgoing = get({ agent: mesh.agent, host: 'reviews' });
  const informed = once(outgoing, 'information');
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  t.match(await informed, [{ statusCode: 103 }]);
  t.equal(response.statusCode, 201);
  t.same(mesh.outcomes, ['201']);
});

t.test('an upgrade hands the socket to the application', async (t) => {
  const { port, server } = await listening(t, () => {});
  server.on('upgrade', (_incoming, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.pipe(socket);
  });
  const mesh = fakeMesh(t, port);
  const headers = { connection: 'upgrade', upgrade: 'echo' };
  const outgoing = get({ agent: mesh.agent, host: 'reviews', headers });
  const [response, socket] = (await once(outgoing, 'upgrade')) as [IncomingMessage, import('node:net').Socket];
  t.equal(response.statusCode, 101);
  socket.write('ping');
  t.equal(String((await once(socket, 'data'))[0]), 'ping');
  t.same(mesh.agent.sockets, {}, 'the pool has let go of it');
  t.same(mesh.outcomes, ['101']);
  socket.destroy();
});

t.test('an upgrade that nobody listens for closes the connection', async (t) => {
  const { port, server } = await listening(t, () => {});
  server.on('upgrade', (_incoming, socket) => {
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
  });
  const mesh = fakeMesh(t, port);
  const outgoing = get({ agent: mesh.agent, host: 'reviews', headers: { connection: 'upgrade', upgrade: 'echo' } });
  await once(outgoing, 'close');
  t.equal(mesh.outcomes.length, 1);
});

t.test('CONNECT goes to the router and tunnels', async (t) => {
  const { port, server } = await listening(t, () => {});
  server.on('connect', (_incoming, socket) => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n');
    socket.pipe(socket);
  });
  const mesh = fakeMesh(t, port);
  const outgoing = request({ agent: mesh.agent, host: 'proxy', method: 'CONNECT', path: 'reviews:9080' }).end();
  const [, socket] = (await once(outgoing, 'connect')) as [IncomingMessage, import('node:net').Socket];
  socket.write('ping');
  t.equal(String((await once(socket, 'data'))[0]), 'ping');
  t.match(mesh.seen[0], { method: 'CONNECT', path: 'reviews:9080' });
  t.same(mesh.outcomes, ['200']);
  socket.destroy();
});
