import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import t from 'tap';
import { Agent, Dispatcher } from 'undici';
import { MeshError } from '../../src/errors.ts';
import { createFetch } from '../../src/host/fetch.ts';
import { asHandler } from '../../src/host/handler.ts';

// The global fetch is the one of whatever undici this Node bundles: the suite runs on 22, 24 and 26.

/** Like the dispatcher of the mesh: undici 8 underneath, any generation of handlers above. */
class Translating extends Dispatcher {
  // One connection: a response that does not end would block all that follow.
  readonly #agent = new Agent({ connections: 1 });
  calls = 0;
  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.calls++;
    return this.#agent.dispatch(options, asHandler(handler));
  }
  end = (): Promise<void> => this.#agent.destroy();
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
const answers: Record<string, Answer> = {
  '/hello': (_request, response) =>
    response.setHeader('set-cookie', ['a=1', 'b=2']).setHeader('x-place', 'Café').end(Buffer.from('hello')),
  '/echo': async (request, response) => {
    response.setHeader('x-method', request.method ?? '').setHeader('x-type', request.headers['content-type'] ?? '');
    response.end(await buffer(request));
  },
  '/gzip': (_request, response) =>
    response.setHeader('content-encoding', 'gzip').end(gzipSync('squeezed '.repeat(1_000))),
  '/brotli': (_request, response) => response.setHeader('content-encoding', 'br').end(brotliCompressSync('squeezed')),
  '/redirect': (_request, response) => response.writeHead(302, { location: '/hello' }).end('moved'),
  '/empty': (request, response) => response.writeHead(204, { 'x-port': request.socket.remotePort }).end(),
  '/hints': (request, response) => {
    const link = '</style.css>; rel=preload';
    response.writeEarlyHints({ link }, () => answers['/empty']?.(request, response));
  },
  '/cut': (_request, response) => {
    response.writeHead(200, { 'content-length': '10' });
    response.write('12345', () => response.destroy());
  },
  '/drop': (_request, response) => void response.destroy(),
  '/never': (request, response) => {
    request.on('close', () => server.emit('gone'));
    response.on('close', () => server.emit('gone'));
  },
  '/slowly': (_request, response) => {
    response.write('first');
    server.once('go on', () => response.end('second'));
  },
};

const server = createServer((request, response) => {
  const answer = answers[request.url ?? ''];
  if (answer === undefined) response.writeHead(404).end();
  else answer(request, response);
});
const dispatcher = new Translating();
let base = '';

t.before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
t.teardown(async () => {
  await dispatcher.end();
  server.closeAllConnections();
  server.close();
});

const viaOption: typeof fetch = (input, init) => fetch(input, { ...init, dispatcher } as unknown as RequestInit);
const { node, undici } = process.versions;
const variants = { 'createFetch(dispatcher)': createFetch(dispatcher), 'fetch(url, { dispatcher })': viaOption };

for (const [name, call] of Object.entries(variants)) {
  t.test(`${name} on Node ${node}, undici ${undici}`, async (t) => {
    t.test('status, headers and body arrive', async (t) => {
      const before = dispatcher.calls;
      const response = await call(`${base}/hello`);
      t.ok(response instanceof Response);
      t.equal(response.status, 200);
      t.equal(response.statusText, 'OK');
      t.same(response.headers.getSetCookie(), ['a=1', 'b=2']);
      t.equal(response.headers.get('x-place'), 'Café');
      t.equal(await response.text(), 'hello');
      t.equal(dispatcher.calls, before + 1, 'the call went through the dispatcher');
    });

    t.test('string, URL and Request are accepted', async (t) => {
      const inputs = [`${base}/echo`, new URL(`${base}/echo`), new Request(`${base}/echo`)];
      for (const input of inputs) {
        const response = await call(input, { method: 'PUT', body: 'text' });
        t.equal(response.headers.get('x-method'), 'PUT');
        t.equal(await response.text(), 'text');
      }
    });

    t.test('a megabyte goes up and comes down unchanged', async (t) => {
      const body = randomBytes(1_048_576);
      const response = await call(`${base}/echo`, { method: 'POST', body });
      const back = Buffer.from(await response.arrayBuffer());
      const digest = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
      t.equal(back.length, body.length);
      t.equal(digest(back), digest(body));
    });

    t.test('a stream goes up', async (t) => {
      const body = new ReadableStream({
        start(controller) {
          for (const part of ['one ', 'two ', 'three']) controller.enqueue(Buffer.from(part));
          controller.close();
        },
      });
      const response = await call(`${base}/echo`, { method: 'POST', body, duplex: 'half' } as RequestInit);
      t.equal(await response.text(), 'one two three');
    });

    t.test('a form goes up', async (t) => {
      const body = new FormData();
      body.set('field', 'value');
      const response = await call(`${base}/echo`, { method: 'POST', body });
      t.match(response.headers.get('x-type'), /^multipart\/form-data; boundary=/);
      t.match(await response.text(), /name="field"\r\n\r\nvalue\r\n/);
    });

    t.test('a body comes down as it is sent', async (t) => {
      const response = await call(`${base}/slowly`);
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      t.equal(Buffer.from((await reader.read()).value as Uint8Array).toString(), 'first');
      server.emit('go on');
      t.equal(Buffer.from((await reader.read()).value as Uint8Array).toString(), 'second');
      t.equal((await reader.read()).done, true);
    });

    t.test('compressed bodies are decompressed', async (t) => {
      t.equal(await (await call(`${base}/gzip`)).text(), 'squeezed '.repeat(1_000));
      t.equal(await (await call(`${base}/brotli`)).text(), 'squeezed');
    });

    t.test('redirects are followed, each leg through the dispatcher', async (t) => {
      const before = dispatcher.calls;
      const response = await call(`${base}/redirect`);
      t.equal(response.redirected, true);
      t.equal(await response.text(), 'hello');
      t.equal(dispatcher.calls, before + 2);
      const manual = await call(`${base}/redirect`, { redirect: 'manual' });
      t.equal(manual.status, 302);
      await manual.arrayBuffer();
    });

    t.test('a response without body frees its connection, early hints or not', async (t) => {
      const connections = new Set<string | null>();
      for (const path of ['/empty', '/hints', '/empty']) {
        const response = await call(`${base}${path}`);
        t.equal(response.status, 204, path);
        t.equal(await response.text(), '');
        connections.add(response.headers.get('x-port'));
      }
      t.equal(connections.size, 1);
    });

    t.test('HEAD has headers and no body', async (t) => {
      const response = await call(`${base}/hello`, { method: 'HEAD' });
      t.equal(response.status, 200);
      t.equal(await response.text(), '');
    });

    t.test('an abort before the response rejects and closes the connection', async (t) => {
      const abort = new AbortController();
      const gone = once(server, 'gone');
      const pending = call(`${base}/never`, { signal: abort.signal });
      await once(server, 'request');
      abort.abort();
      await t.rejects(pending, { name: 'AbortError' });
      await gone;
    });

    t.test('an abort before the call rejects', async (t) => {
      await t.rejects(call(`${base}/hello`, { signal: AbortSignal.abort() }), { name: 'AbortError' });
    });

    t.test('an abort in the middle of the body fails the body', async (t) => {
      const abort = new AbortController();
      const response = await call(`${base}/slowly`, { signal: abort.signal });
      const body = response.text();
      await nextTurn();
      abort.abort();
      await t.rejects(body, { name: 'AbortError' });
      server.removeAllListeners('go on');
    });

    t.test('a body that nobody reads to its end can be cancelled', async (t) => {
      const response = await call(`${base}/slowly`);
      await response.body?.cancel();
      server.removeAllListeners('go on');
      t.equal(await (await call(`${base}/hello`)).text(), 'hello');
    });

    t.test('a connection that breaks fails the call or the body', async (t) => {
      await t.rejects(call(`${base}/drop`), { name: 'TypeError', message: 'fetch failed' });
      const response = await call(`${base}/cut`);
      await t.rejects(response.text(), { name: 'TypeError', message: 'terminated' });
    });
  });
}

t.test('a Request as init keeps method, headers and body', async (t) => {
  const init = new Request('http://elsewhere/', { method: 'POST', body: 'from the init', headers: { 'x-a': '1' } });
  const response = await createFetch(dispatcher)(`${base}/echo`, init);
  t.equal(response.headers.get('x-method'), 'POST');
  t.equal(await response.text(), 'from the init');
});

t.test('null, an empty object and one without prototype are inits', async (t) => {
  const meshFetch = createFetch(dispatcher);
  for (const init of [null, {}, Object.create(null)] as RequestInit[]) {
    t.equal(await (await meshFetch(`${base}/hello`, init)).text(), 'hello');
  }
});

t.test('a dispatcher of the caller is refused, the own one is not', async (t) => {
  const meshFetch = createFetch(dispatcher);
  const other = new Agent();
  t.teardown(() => other.close());
  const error = await meshFetch(`${base}/hello`, { dispatcher: other } as unknown as RequestInit).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  t.ok(error instanceof MeshError && error.code === 'ERR_MESH_OPTION_INVALID');
  t.equal(await (await meshFetch(`${base}/hello`, { dispatcher } as unknown as RequestInit)).text(), 'hello');
});

t.test('a Request made with a dispatcher goes through the mesh all the same', async (t) => {
  const other = new Agent();
  t.teardown(() => other.close());
  const request = new Request(`${base}/hello`, { dispatcher: other } as unknown as RequestInit);
  const before = dispatcher.calls;
  t.equal(await (await createFetch(dispatcher)(request)).text(), 'hello');
  t.equal(dispatcher.calls, before + 1);
});

t.test('the caller may install it as the global fetch', async (t) => {
  const original = globalThis.fetch;
  t.teardown(() => {
    globalThis.fetch = original;
  });
  globalThis.fetch = createFetch(dispatcher);
  t.equal(await (await fetch(`${base}/hello`)).text(), 'hello');
});

t.test('a URL that is none rejects as fetch does', async (t) => {
  await t.rejects(createFetch(dispatcher)('/relative'), { name: 'TypeError' });
});
