import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { buffer, text } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { type Dispatcher, request, stream, fetch as undiciFetch, pipeline as undiciPipeline } from 'undici';
import type { Route } from '../../src/model/route.ts';
import { type TestClient, testClient } from '../support/client.ts';
import { assertIdle, counted, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { rawUpstream, type Upstream, upstream } from '../support/upstream.ts';

/** A client whose host `a` is one server. */
function meshOf(
  port: number,
  options: Parameters<typeof testClient>[1] = {},
  changes: Partial<Route> = {},
): TestClient {
  const a = cluster('a', [endpoint(port)]);
  return testClient(snapshot({ a: [route(a.name, changes)] }, [a]), options);
}

/** A server that answers with what it got. */
async function echo(t: Test): Promise<Upstream> {
  return upstream(t, async (incoming, outgoing) => {
    const body = await buffer(incoming);
    outgoing.setHeader('x-length', body.length);
    outgoing.end(JSON.stringify({ url: incoming.url, headers: incoming.headers, body: body.toString('latin1') }));
  });
}
interface Echoed {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}
const echoed = async (response: Dispatcher.ResponseData): Promise<Echoed> => (await response.body.json()) as Echoed;

t.test('a response arrives whole: status, headers, body, trailers', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => {
    outgoing.writeHead(201, { trailer: 'x-sum', 'set-cookie': ['a=1', 'b=2'] });
    outgoing.write('first ');
    outgoing.addTrailers({ 'x-sum': '42' });
    outgoing.end('second');
  });
  const client = meshOf(server.port);
  const response = await request('http://a/', { dispatcher: client.dispatcher });
  t.equal(response.statusCode, 201);
  t.same(response.headers['set-cookie'], ['a=1', 'b=2']);
  t.equal(await response.body.text(), 'first second');
  t.equal(response.trailers['x-sum'], '42');
  t.same(counted(client), ['201 x1']);
  await assertIdle(t, client);
});

t.test('responses without a body end by themselves', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    const status = Number(incoming.url?.slice(1));
    outgoing.writeHead(status, status === 200 ? { 'content-length': '1000' } : {}).end();
  });
  const client = meshOf(server.port);
  for (const [method, status] of [
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
    ['DELETE', 204],
  ] as const) {
    const call = record(client.dispatcher, { method, path: `/${status}` });
    t.equal(await call.done, 'end', `${method} ${status}`);
    t.notMatch(call.events.join(), /data/);
  }
  await assertIdle(t, client);
});

t.test('1xx goes straight on, and the response follows', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => {
    outgoing.writeProcessing();
    outgoing.writeEarlyHints({ link: '</a.css>; rel=preload' }, () => outgoing.end('ok'));
  });
  const client = meshOf(server.port);
  const infos: number[] = [];
  const onInfo = ({ statusCode }: { statusCode: number }): void => void infos.push(statusCode);
  const response = await request('http://a/', { dispatcher: client.dispatcher, onInfo } as never);
  t.equal(await response.body.text(), 'ok');
  t.same(infos, [102, 103]);
  t.same(counted(client), ['200 x1']);
  await assertIdle(t, client);
});

t.test('the handler hears everything in the order of undici', async (t) => {
  const server = await upstream(t);
  const client = meshOf(server.port);
  const call = record(client.dispatcher, {});
  t.equal(await call.done, 'end');
  t.same(call.events, ['start', '200', 'data ok', 'end']);
  t.ok(Array.isArray(call.controller.rawHeaders));
  t.same(call.controller.rawTrailers, []);
  await assertIdle(t, client);
});

t.test("undici's whole API works: stream, pipeline, fetch, request with a callback", async (t) => {
  const server = await echo(t);
  const client = meshOf(server.port);
  const { dispatcher } = client;
  const chunks: Buffer[] = [];
  const { PassThrough } = await import('node:stream');
  await stream('http://a/s', { dispatcher, method: 'GET', opaque: chunks }, ({ opaque }) =>
    new PassThrough().on('data', (chunk) => (opaque as Buffer[]).push(chunk)),
  );
  t.equal(JSON.parse(Buffer.concat(chunks).toString()).url, '/s');
  const duplex = undiciPipeline('http://a/p', { dispatcher, method: 'POST' }, ({ body }) => body);
  duplex.end('through');
  t.equal(JSON.parse(await text(duplex)).body, 'through');
  const response = await undiciFetch('http://a/f', { dispatcher, method: 'PUT', body: 'x' });
  t.match(await response.json(), { url: '/f', body: 'x' });
  await assertIdle(t, client);
});

t.test('queries are written as undici writes them', async (t) => {
  const server = await echo(t);
  const client = meshOf(server.port);
  const query = { a: '1 2', b: ['x', 'y'], c: 7, d: true, e: null, 'f&': 'ü' };
  const response = await request('http://a/path', { dispatcher: client.dispatcher, query });
  t.equal((await echoed(response)).url, '/path?a=1%202&b=x&b=y&c=7&d=true&e=&f%26=%C3%BC');
  const empty = await request('http://a/path', { dispatcher: client.dispatcher, query: {} });
  t.equal((await echoed(empty)).url, '/path');
  await t.rejects(request('http://a/path?x=1', { dispatcher: client.dispatcher, query }), {
    message: /already contains/,
  });
  await assertIdle(t, client);
});

t.test('headers of every shape arrive; the list of the caller is not touched', async (t) => {
  const server = await echo(t);
  const client = meshOf(server.port);
  const list = ['X-A', '1', 'X-B', '2'];
  for (const headers of [list, { 'X-A': '1', 'X-B': '2' }, new Headers({ 'X-A': '1', 'X-B': '2' })]) {
    const got = await echoed(await request('http://a/', { dispatcher: client.dispatcher, headers: headers as never }));
    t.match(got.headers, { 'x-a': '1', 'x-b': '2', host: 'a', 'x-envoy-attempt-count': '1' });
  }
  t.equal(list.length, 4);
  await assertIdle(t, client);
});

t.test('headers that the mesh sets are never doubled', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => void outgoing.end(JSON.stringify(incoming.rawHeaders)));
  const client = meshOf(server.port, {}, { timeoutMs: 5_000 });
  // as an application does that forwards what it received
  const headers = {
    Host: 'elsewhere',
    'X-Envoy-Attempt-Count': '3',
    'X-Envoy-Expected-Rq-Timeout-Ms': '77',
    'X-Request-Id': 'mine',
  };
  const response = await request('http://a/', { dispatcher: client.dispatcher, headers });
  const raw = (await response.body.json()) as string[];
  const values = (name: string): string[] => raw.filter((_, i) => i % 2 === 1 && raw[i - 1]?.toLowerCase() === name);
  t.same(values('host'), ['elsewhere']);
  t.same(values('x-envoy-attempt-count'), ['1']);
  t.same(values('x-envoy-expected-rq-timeout-ms'), ['5000']);
  t.same(values('x-request-id'), ['mine']);
  await assertIdle(t, client);
});

t.test('one connection serves calls one after the other', async (t) => {
  const server = await upstream(t);
  const client = meshOf(server.port);
  for (let i = 0; i < 5; i++) {
    const response = await request('http://a/', { dispatcher: client.dispatcher });
    t.equal(await response.body.text(), 'ok');
    await nextTurn();
  }
  t.equal(server.accepted(), 1);
  await assertIdle(t, client);
});

t.test('what undici would refuse is refused in the same way', async (t) => {
  const server = await upstream(t);
  for (const onFailure of ['response', 'throw'] as const) {
    const client = meshOf(server.port, { onFailure });
    const { dispatcher } = client;
    const bad: readonly Partial<Dispatcher.DispatchOptions>[] = [
      { headers: ['odd'] },
      { headers: { 'bad name': 'x' } },
      { headers: { name: 'bad\nvalue' } },
      { headers: 'text' as never },
      { headers: [['a', 'b']] as never },
      { headers: { 'transfer-encoding': 'chunked' } },
      { path: '/with space' },
      { method: 'BAD METHOD' as 'GET' },
      { body: 7 as never },
      { headersTimeout: -1 },
    ];
    for (const options of bad) {
      const call = record(dispatcher, options);
      t.match(await call.done, /^error UND_ERR_(INVALID_ARG|NOT_SUPPORTED)/, JSON.stringify(options));
      t.equal(call.events.filter((event) => event.startsWith('error')).length, 1);
    }
    const noPath = record(dispatcher, { path: 'no-slash' });
    t.equal(
      await noPath.done,
      onFailure === 'throw' ? 'error ERR_MESH_BAD_REQUEST' : 'end',
      'refused before undici is asked',
    );
    t.equal(noPath.headers['x-inmesh-error'], onFailure === 'throw' ? undefined : 'ERR_MESH_BAD_REQUEST');
    for (const handler of [undefined, null, 7, 'x']) {
      t.throws(() => dispatcher.dispatch({ origin: 'http://a', path: '/', method: 'GET' }, handler as never), {
        code: 'UND_ERR_INVALID_ARG',
      });
    }
    t.throws(() => dispatcher.dispatch({ origin: 'http://a', path: '/', method: 'GET' }, {}), {
      code: 'UND_ERR_INVALID_ARG',
    });
    const only = { onRequestStart() {} };
    t.throws(() => dispatcher.dispatch({ origin: 'http://a', path: '/', method: 'GET' }, only), {
      message: /onResponseError/,
    });
    const errors: Error[] = [];
    const told = { ...only, onResponseError: (_: unknown, error: Error) => void errors.push(error) };
    t.notOk(dispatcher.dispatch({ origin: 'http://a', path: '/', method: 'GET' }, told as never));
    t.notOk(dispatcher.dispatch({ origin: 'http://a', path: '/', method: 'CONNECT' } as never, told as never));
    t.notOk(dispatcher.dispatch(undefined as never, told as never));
    t.equal(errors.length, 3);
    t.equal(server.seen.length, 0);
    t.notMatch(counted(client).join(), /U[CFO]/, 'nothing of it is held against the endpoint');
    await assertIdle(t, client);
  }
});

t.test('onFailure: what the mesh itself fails is a response, or an error', async (t) => {
  const nowhere = snapshot({ a: [] }, []);
  const answering = testClient(nowhere);
  const response = await request('http://a/x', { dispatcher: answering.dispatcher });
  t.equal(response.statusCode, 404);
  t.equal(response.headers['x-inmesh-error'], 'ERR_MESH_NO_ROUTE');
  t.equal(response.headers['content-type'], 'text/plain');
  const body = await response.body.text();
  t.equal(body, 'no route of a:80 matches /x\n');
  t.equal(response.headers['content-length'], String(body.length));
  const call = record(answering.dispatcher, { method: 'HEAD' });
  await call.done;
  t.same(call.events, ['start', '404', 'end'], 'a HEAD has no body');
  const fetched = await undiciFetch('http://a/', { dispatcher: answering.dispatcher });
  t.equal(fetched.statusText, 'Not Found');
  t.same(counted(answering), ['404 x3', 'NR x3']);
  await assertIdle(t, answering);

  const throwing = testClient(nowhere, { onFailure: 'throw' });
  await t.rejects(request('http://a/', { dispatcher: throwing.dispatcher }), {
    name: 'MeshError',
    code: 'ERR_MESH_NO_ROUTE',
    status: 404,
  });
  await assertIdle(t, throwing);
});

t.test('a local reply looks like a response to every kind of reader', async (t) => {
  const client = testClient(undefined);
  const call = record(client.dispatcher, {});
  await call.done;
  t.same(call.events.slice(0, 2), ['start', '503']);
  t.match(call.text, /no configuration yet/);
  t.ok((call.controller.rawHeaders as Buffer[]).every((item) => Buffer.isBuffer(item)));
  t.same(call.controller.rawTrailers, []);
  const global = await fetch('http://a/', { dispatcher: client.dispatcher } as never);
  t.equal(global.headers.get('x-inmesh-error'), 'ERR_MESH_NOT_READY');
  await assertIdle(t, client);
});

t.test('a request body that nobody will read is given back', async (t) => {
  const { Readable } = await import('node:stream');
  const client = testClient(snapshot({ a: [] }, []));
  const node = new Readable({ read() {} });
  const closed = once(node, 'close');
  await record(client.dispatcher, { method: 'POST', body: node }).done;
  await closed;
  let finished = 0;
  const generator = (async function* () {
    try {
      yield 'x';
    } finally {
      finished++;
    }
  })();
  await generator.next();
  await record(client.dispatcher, { method: 'POST', body: generator as never }).done;
  await nextTurn();
  t.equal(finished, 1);
  let cancelled = 0;
  const web = new ReadableStream({ cancel: () => void cancelled++ });
  await record(client.dispatcher, { method: 'POST', body: web as never }).done;
  await nextTurn();
  t.equal(cancelled, 1);
  const locked = new ReadableStream({ cancel: () => void cancelled++ });
  locked.getReader();
  await record(client.dispatcher, { method: 'POST', body: locked as never }).done;
  await record(client.dispatcher, { method: 'POST', body: 'text' }).done;
  t.equal(cancelled, 1);
  await assertIdle(t, client);
});

t.test('what a handler throws ends its call, once, and nothing else (RT-07)', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    if (incoming.url === '/slow') outgoing.write('part');
    else outgoing.writeEarlyHints({ link: '</a>; rel=preload' }, () => outgoing.end('whole'));
  });
  const warnings: Error[] = [];
  const { emitWarning } = process;
  process.emitWarning = (warning) => void warnings.push(warning as Error);
  t.teardown(() => {
    process.emitWarning = emitWarning;
  });
  for (const path of ['/whole', '/slow']) {
    for (const thrown of [Object.assign(new Error('mine'), { code: 'MINE' }), 'text', null, undefined]) {
      for (const name of ['onRequestStart', 'onResponseStart', 'onResponseData'] as const) {
        const client = meshOf(server.port);
        const call = record(
          client.dispatcher,
          { path },
          {
            [name]: () => {
              throw thrown;
            },
          },
        );
        const what = `${name} throws ${String(thrown)}, ${path}`;
        t.match(await call.done, /^error (MINE|UND_ERR_ABORTED|undefined)$/, what);
        await nextTurn();
        t.equal(call.events.filter((event) => event.startsWith('error')).length, 1, what);
        t.notOk(call.events.includes('end'));
        await assertIdle(t, client);
        // Before it began there was nothing to count, and a response that had arrived counts as such.
        const counts = {
          'onRequestStart /whole': [],
          'onRequestStart /slow': [],
          // thrown at the early hints
          'onResponseStart /whole': ['0 x1', 'DC x1'],
          'onResponseStart /slow': ['200 x1', 'DC x1'],
          'onResponseData /whole': ['200 x1'],
          'onResponseData /slow': ['200 x1', 'DC x1'],
        };
        t.same(counted(client), counts[`${name} ${path}` as keyof typeof counts], what);
      }
    }
  }
  t.equal(warnings.length, 0);

  const client = meshOf(server.port);
  const atEnd = record(
    client.dispatcher,
    {},
    {
      onResponseEnd() {
        throw new Error('late');
      },
    },
  );
  await atEnd.done;
  await nextTurn();
  t.match(atEnd.events.join(), /end,error late/, 'as undici does it');

  const atError = record(
    client.dispatcher,
    { path: '/with space' },
    {
      onResponseError() {
        throw new Error('from onResponseError');
      },
    },
  );
  await atError.done;
  await nextTurn();
  t.equal(warnings.at(-1)?.message, 'from onResponseError', 'it has nowhere else to go');
  await assertIdle(t, client);
});

t.test('what a handler throws while it gets a local reply reaches it as an error', async (t) => {
  const client = testClient(snapshot({ a: [] }, []));
  for (const name of ['onResponseStart', 'onResponseData', 'onResponseEnd'] as const) {
    const call = record(
      client.dispatcher,
      {},
      {
        [name]: () => {
          throw new Error('mine');
        },
      },
    );
    await call.done;
    await nextTurn();
    t.equal(call.events.at(-1), 'error mine', name);
  }
  await assertIdle(t, client);
});

t.test('aborted while it gets a local reply: no more of it', async (t) => {
  const client = testClient(snapshot({ a: [] }, []));
  const call = record(
    client.dispatcher,
    {},
    { onResponseStart: (controller) => controller.abort(new Error('enough')) },
  );
  await call.done;
  t.same(call.events, ['start', '404', 'error enough']);
  await assertIdle(t, client);
});

t.test('a server that breaks off in the middle fails the body, never ends it short', async (t) => {
  const cases: Readonly<Record<string, string>> = {
    'EP-06, EP-07 short of content-length': 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nninety',
    'EP-08 chunked without the last chunk': 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n',
  };
  for (const [name, bytes] of Object.entries(cases)) {
    for (const reset of [false, true]) {
      const server = await rawUpstream(t, (socket) => {
        socket.once('data', () => socket.write(bytes, () => (reset ? socket.resetAndDestroy() : socket.end())));
      });
      const client = meshOf(server.port);
      const call = record(client.dispatcher, {});
      t.match(await call.done, 'error ERR_MESH_UPSTREAM_RESET', name);
      t.match(call.error, { endpoint: `127.0.0.1:${server.port}`, route: 'default' });
      t.notOk(call.events.includes('end'), name);
      t.equal(server.accepted(), 1, 'not tried again: the caller has the headers');
      t.same(counted(client), ['200 x1', 'UC x1']);
      await assertIdle(t, client);
    }
  }
});

t.test('a response until the connection closes is complete (EP-10)', async (t) => {
  const server = await rawUpstream(t, (socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\n\r\nall of it'));
  });
  const client = meshOf(server.port);
  for (let i = 0; i < 3; i++) {
    const call = record(client.dispatcher, {});
    t.equal(await call.done, 'end');
    t.equal(call.text, 'all of it');
  }
  t.equal(server.accepted(), 3);
  await assertIdle(t, client);
});

t.test('fragments of one byte and several responses in one read are understood (NET-11)', async (t) => {
  const response = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\n\r\nhello';
  const server = await rawUpstream(t, (socket) => {
    socket.setNoDelay(true);
    socket.on('data', () => {
      let i = 0;
      const next = (): void => {
        if (i < response.length) socket.write(response.charAt(i++), () => setImmediate(next));
      };
      next();
    });
  });
  const client = meshOf(server.port);
  for (let i = 0; i < 3; i++) {
    const call = record(client.dispatcher, {});
    t.equal(await call.done, 'end');
    t.equal(call.text, 'hello');
    t.equal(call.headers['x-a'], 'b');
  }
  await assertIdle(t, client);
});

t.test('what is not HTTP is an error of protocol, and names the endpoint', async (t) => {
  const server = await rawUpstream(t, (socket) => void socket.on('data', () => socket.write('SSH-2.0-OpenSSH\r\n')));
  const client = meshOf(server.port, { onFailure: 'throw' });
  const call = record(client.dispatcher, {});
  t.equal(await call.done, 'error ERR_MESH_UPSTREAM_PROTOCOL');
  t.match(call.error.cause, { name: 'HTTPParserError' });
  t.match(call.error.message, new RegExp(`127\\.0\\.0\\.1:${server.port}`));
  await assertIdle(t, client);
});

t.test(
  'responses that cannot be told from what follows them, or that nobody asked for, are errors of protocol',
  async (t) => {
    const next = 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfalse';
    const refused: Readonly<Record<string, string>> = {
      '204 with a length': `HTTP/1.1 204 No Content\r\ncontent-length: ${next.length}\r\n\r\n${next}`,
      '204 in chunks': 'HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      'a coding that is not chunked': 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok',
      'one coding in another': 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n',
      'a status below 100': 'HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n',
      '100 without expect': `HTTP/1.1 100 Continue\r\n\r\n${next}`,
      '101 without upgrade': 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: a\r\n\r\n',
      '101 without a word': 'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    };
    let sent = '';
    const server = await rawUpstream(t, (socket) => void socket.on('data', () => socket.write(sent)));
    for (const [name, text] of Object.entries(refused)) {
      sent = text;
      const client = meshOf(server.port, { onFailure: 'throw' });
      const call = record(client.dispatcher, {});
      t.equal(await call.done, 'error ERR_MESH_UPSTREAM_PROTOCOL', name);
      await assertIdle(t, client);
    }
    const passed: Readonly<Record<string, string>> = {
      204: 'HTTP/1.1 204 No Content\r\n\r\n',
      '204 with a length of 0': 'HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n',
      'CHUNKED in capitals': 'HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n',
      '304 with the length of what it stands for': 'HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n',
    };
    for (const [name, text] of Object.entries(passed)) {
      sent = text;
      const client = meshOf(server.port, { onFailure: 'throw' });
      t.equal(await record(client.dispatcher, {}).done, 'end', name);
      await assertIdle(t, client);
    }
  },
);

t.test('the timeouts of undici work, in the words of the mesh', async (t) => {
  const server = await upstream(t, (incoming: IncomingMessage, outgoing) => {
    if (incoming.url === '/body') outgoing.write('part');
  });
  const client = meshOf(server.port, { onFailure: 'throw' });
  // undici counts such times in steps of half a second
  const calls = [
    record(client.dispatcher, { path: '/head', headersTimeout: 1 }),
    record(client.dispatcher, { path: '/body', bodyTimeout: 1 }),
  ];
  for (const call of calls) t.equal(await call.done, 'error ERR_MESH_TRY_TIMEOUT');
  await assertIdle(t, client);
});
