import { Readable, Stream } from 'node:stream';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { request } from 'undici';
import { replayable } from '../../src/index.ts';
import { defaultRetryPolicy, type RetryPolicy } from '../../src/model/route.ts';
import { mayRepeatSent } from '../../src/retry/body.ts';
import { http2Upstream } from '../support/http2-upstream.ts';
import { modelMesh } from '../support/model-mesh.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { rawUpstream, refusingPort, upstream } from '../support/upstream.ts';

const reset: Partial<RetryPolicy> = { retryOn: ['5xx', 'reset'], attempts: 2, backoffBaseMs: 0 };

async function meshTo(
  t: Test,
  ports: readonly number[],
  retry: Partial<RetryPolicy> = reset,
  replayBodyBytes?: number,
) {
  const a = cluster(
    'a',
    ports.map((port) => endpoint(port)),
    { balance: 'ROUND_ROBIN' },
  );
  const policy = { ...defaultRetryPolicy, ...retry };
  return modelMesh(
    t,
    snapshot({ a: [route(a.name, { retry: policy })] }, [a]),
    replayBodyBytes === undefined ? {} : { replayBodyBytes },
  );
}

/** Answers 503 to every first request once it was read, and then with the body. */
async function moody(t: Test) {
  const bodies: string[] = [];
  const server = await upstream(t, (incoming, outgoing) => {
    let text = '';
    incoming.on('data', (chunk) => (text += chunk));
    incoming.on('end', () => {
      bodies.push(text);
      outgoing.writeHead(bodies.length % 2 === 1 ? 503 : 200).end(text);
    });
  });
  return { port: server.port, bodies };
}

async function* chunks(count: number, size: number): AsyncGenerator<Buffer> {
  for (let i = 0; i < count; i++) yield Buffer.alloc(size, String(i % 10));
}
const webStream = (text: string): ReadableStream => new Blob([text]).stream();

t.test('small streams are sent again, whole (mesh.dispatcher)', async (t) => {
  const { bodies, port } = await moody(t);
  const mesh = await meshTo(t, [port]);
  const sources: Readonly<Record<string, unknown>> = {
    text: 'body',
    Readable: Readable.from(['bo', 'dy']),
    ReadableStream: webStream('body'),
    generator: (async function* () {
      yield Buffer.from('body');
    })(),
    replayable: replayable(() => Readable.from(['bo', 'dy'])),
    'replayable of an iterable': replayable(() => ['bo', Buffer.from('dy')]),
  };
  for (const [name, body] of Object.entries(sources)) {
    bodies.length = 0;
    const answer = await request('http://a/', { method: 'POST', body: body as string, dispatcher: mesh.dispatcher });
    t.equal(answer.statusCode, 200, name);
    t.equal(await answer.body.text(), 'body');
    t.same(bodies, ['body', 'body']);
  }
});

t.test('small bodies are sent again, whole (mesh.fetch)', async (t) => {
  const { bodies, port } = await moody(t);
  const mesh = await meshTo(t, [port]);
  const form = new FormData();
  form.set('a', 'b');
  const sources: Readonly<Record<string, RequestInit['body'] | undefined>> = {
    text: 'body',
    bytes: Buffer.from('body'),
    Blob: new Blob(['body']),
    URLSearchParams: new URLSearchParams({ a: 'b' }),
    FormData: form,
    ReadableStream: webStream('body'),
    replayable: replayable(() => Readable.from(['bo', 'dy'])) as never,
  };
  for (const [name, body] of Object.entries(sources)) {
    bodies.length = 0;
    const answer = await mesh.fetch('http://a/', { method: 'POST', body, duplex: 'half' } as RequestInit);
    t.equal(answer.status, 200, name);
    await answer.text();
    t.equal(bodies.length, 2);
    t.ok((bodies[0] as string).length > 2);
    t.equal(bodies[0], bodies[1]);
  }
});

t.test('a body over the bound is committed: the failure is the answer (POL-04, ABUSE-003)', async (t) => {
  const { bodies, port } = await moody(t);
  const mesh = await meshTo(t, [port]);
  for (const [bytes, tries] of [
    [65_536, 2],
    [65_537, 1],
    [1_000_000, 1],
  ] as const) {
    bodies.length = bytes === 65_536 ? 0 : 2;
    const before = bodies.length;
    const body = Readable.from(chunks(1, bytes));
    const answer = await request('http://a/', { method: 'PUT', body, dispatcher: mesh.dispatcher });
    await answer.body.dump();
    t.equal(answer.statusCode, tries === 2 ? 200 : 503, `${bytes} bytes`);
    t.equal(bodies.length - before, tries);
    for (const each of bodies.slice(before)) t.equal(each.length, bytes, 'never a shorter one');
  }
});

t.test('a connection that breaks in the middle of 1 MiB: no second, partial body (POL-04)', async (t) => {
  let bytes = 0;
  const server = await rawUpstream(t, (socket) => {
    socket.on('data', (chunk) => {
      bytes += chunk.length;
      if (bytes > 500_000) socket.resetAndDestroy();
    });
  });
  const mesh = await meshTo(t, [server.port, server.port]);
  const body = Readable.from(chunks(16, 65_536));
  const answer = await request('http://a/', { method: 'PUT', body, dispatcher: mesh.dispatcher });
  await answer.body.dump();
  t.equal(answer.headers['x-inmesh-error'], 'ERR_MESH_UPSTREAM_RESET');
  t.equal(server.accepted(), 1);
});

t.test('within the bound the rest of a stream follows what is repeated', async (t) => {
  let broken = 0;
  const bad = await rawUpstream(t, (socket) => {
    socket.once('data', () => {
      broken++;
      socket.resetAndDestroy();
    });
  });
  const bodies: string[] = [];
  let begun = 0;
  const good = await upstream(t, (incoming, outgoing) => {
    let text = '';
    incoming.once('data', () => begun++);
    incoming.on('data', (chunk) => (text += chunk));
    incoming.on('end', () => {
      bodies.push(text);
      outgoing.end();
    });
  });
  const mesh = await meshTo(t, [bad.port, good.port]);
  for (let i = 0; i < 2; i++) {
    let more = (): void => {};
    const body = new Readable({ read: () => {} });
    body.push('first ');
    const answer = request('http://a/', { method: 'PUT', body, dispatcher: mesh.dispatcher });
    more = () => {
      body.push('second');
      body.push(null);
    };
    // Not before a try has read the beginning.
    const wait = setInterval(() => {
      if (broken > 0 || begun > 0) {
        clearInterval(wait);
        more();
      }
    }, 5);
    t.equal((await answer).statusCode, 200);
    await (await answer).body.dump();
  }
  t.same(bodies, ['first second', 'first second']);
  t.ok(broken >= 1);
});

t.test('what has not left is whole, whatever its size and method', async (t) => {
  const bodies: number[] = [];
  const good = await upstream(t, (incoming, outgoing) => {
    let length = 0;
    incoming.on('data', (chunk) => (length += chunk.length));
    incoming.on('end', () => {
      bodies.push(length);
      outgoing.end();
    });
  });
  const mesh = await meshTo(t, [await refusingPort(), good.port], { retryOn: ['connect-failure'], backoffBaseMs: 0 });
  for (const method of ['POST', 'PUT', 'PATCH'] as const) {
    const body = Readable.from(chunks(20, 100_000));
    const answer = await request('http://a/', { method, body, dispatcher: mesh.dispatcher });
    await answer.body.dump();
    t.equal(answer.statusCode, 200);
    const fetched = await mesh.fetch('http://a/', { method, body: 'x'.repeat(100_000) });
    t.equal(fetched.status, 200);
  }
  t.same(
    bodies.sort((a, b) => a - b),
    [100_000, 100_000, 100_000, 2_000_000, 2_000_000, 2_000_000],
  );
});

t.test('the bound is a setting, and 0 keeps nothing', async (t) => {
  for (const [bound, size, tries] of [
    [0, 1, 1],
    [10, 10, 2],
    [10, 11, 1],
  ] as const) {
    const { bodies, port } = await moody(t);
    const mesh = await meshTo(t, [port], reset, bound);
    const body = Readable.from(chunks(1, size));
    const answer = await request('http://a/', { method: 'PUT', body, dispatcher: mesh.dispatcher });
    await answer.body.dump();
    t.equal(bodies.length, tries);
  }
});

t.test('a replayable stream of any size is opened for each try, and closed', async (t) => {
  const { bodies, port } = await moody(t);
  const mesh = await meshTo(t, [port]);
  for (const call of ['dispatcher', 'fetch'] as const) {
    bodies.length = 0;
    const opened: Readable[] = [];
    const body = replayable(() => {
      const stream = Readable.from(chunks(10, 100_000));
      opened.push(stream);
      return stream;
    });
    if (call === 'dispatcher') {
      const answer = await request('http://a/', { method: 'PUT', body, dispatcher: mesh.dispatcher });
      await answer.body.dump();
      t.equal(answer.statusCode, 200);
    } else {
      const answer = await mesh.fetch('http://a/', { method: 'PUT', body: body as never });
      await answer.text();
      t.equal(answer.status, 200);
    }
    t.same(
      bodies.map(({ length }) => length),
      [1_000_000, 1_000_000],
    );
    t.equal(opened.length, 2);
    t.ok(opened.every(({ destroyed }) => destroyed));
  }
});

t.test('outside of the mesh a replayable stream is a plain one', async (t) => {
  const { bodies, port } = await moody(t);
  const body = replayable(() => chunks(3, 50_000));
  const answer = await request(`http://127.0.0.1:${port}/`, { method: 'PUT', body });
  await answer.body.dump();
  t.same(
    bodies.map(({ length }) => length),
    [150_000],
  );
});

t.test('a body that fails is the application’s error, and is not tried again', async (t) => {
  const { bodies, port } = await moody(t);
  const mesh = await meshTo(t, [port]);
  const broken = new Error('disk');
  async function* failing(): AsyncGenerator<string> {
    yield 'a';
    throw broken;
  }
  const sources = [Readable.from(failing()), failing(), replayable(() => failing())];
  for (const body of sources) {
    await t.rejects(
      request('http://a/', { method: 'PUT', body: body as Readable, dispatcher: mesh.dispatcher }),
      broken,
    );
  }
  t.same(bodies, []);
});

t.test('the source is closed when the call is over, however it ends', async (t) => {
  const hangs = await upstream(t, (_incoming, _outgoing) => {});
  const mesh = await meshTo(t, [hangs.port]);
  const body = Readable.from(chunks(1_000, 65_536));
  const stop = new AbortController();
  const call = request('http://a/', { method: 'PUT', body, dispatcher: mesh.dispatcher, signal: stop.signal });
  setTimeout(() => stop.abort(new Error('enough')), 20);
  await t.rejects(call, /enough/);
  t.ok(body.destroyed);
});

t.test('only policies that may repeat what was sent keep bodies', async (t) => {
  const policy = (retryOn: RetryPolicy['retryOn'], more: Partial<RetryPolicy> = {}) => ({
    ...defaultRetryPolicy,
    retryOn,
    ...more,
  });
  t.notOk(
    mayRepeatSent(policy(['connect-failure', 'reset-before-request', 'retriable-status-codes', 'retriable-headers'])),
  );
  t.ok(mayRepeatSent(policy(['retriable-status-codes'], { retriableStatusCodes: [503] })));
  t.ok(mayRepeatSent(policy(['retriable-headers'], { retriableHeaders: [{ name: 'a', match: { kind: 'present' } }] })));
  for (const word of ['5xx', 'reset', 'refused-stream', 'unavailable'] as const)
    t.ok(mayRepeatSent(policy([word])), word);
});

/** As the package `form-data` makes them: a stream of old that has the name of a form. */
class OldForm extends Stream {
  readonly #chunks: string[];

  constructor(chunks: readonly string[]) {
    super();
    this.#chunks = [...chunks];
  }

  get [Symbol.toStringTag](): string {
    return 'FormData';
  }

  override pipe<T extends NodeJS.WritableStream>(destination: T): T {
    super.pipe(destination as never);
    this.resume();
    return destination;
  }

  resume(): void {
    setImmediate(() => {
      for (const chunk of this.#chunks.splice(0)) this.emit('data', Buffer.from(chunk));
      this.emit('end');
    });
  }

  pause(): void {}

  destroy(): void {
    this.emit('close');
  }
}

t.test('a stream of old is sent again whole or not at all, also one with the name of a form', async (t) => {
  const one = await moody(t);
  const bodies: string[] = [];
  const two = await http2Upstream(t, async (stream) => {
    bodies.push(await text(stream));
    stream.respond({ ':status': bodies.length % 2 === 1 ? 503 : 200 });
    stream.end(bodies.at(-1));
  });
  const shadow = await upstream(t);
  for (const [name, port, seen, http2] of [
    ['HTTP/1.1', one.port, one.bodies, undefined],
    ['HTTP/2', two.port, bodies, 'always'],
  ] as const) {
    const changes = http2 === undefined ? {} : { http2 };
    const a = cluster('a', [endpoint(port)], changes);
    const copies = cluster('copies', [endpoint(shadow.port)]);
    const retry = { ...defaultRetryPolicy, ...reset };
    const mirrors = [{ cluster: copies.name, percent: 100 }];
    const plain = await modelMesh(t, snapshot({ a: [route(a.name, { retry })] }, [a]));
    const mirrored = await modelMesh(t, snapshot({ a: [route(a.name, { retry, mirrors })] }, [a, copies]));
    for (const [kind, mesh] of [
      ['alone', plain],
      ['with a mirror', mirrored],
    ] as const) {
      seen.length = 0;
      const small = new OldForm(['bo', 'dy']) as never;
      const answer = await request('http://a/', { method: 'POST', body: small, dispatcher: mesh.dispatcher });
      t.equal(await answer.body.text(), 'body', `${name}, ${kind}`);
      t.equal(answer.statusCode, 200);
      t.same(seen, ['body', 'body']);
      seen.length = 0;
      const long = new OldForm(Array.from({ length: 10 }, () => 'x'.repeat(10_000))) as never;
      const refused = await request('http://a/', { method: 'POST', body: long, dispatcher: mesh.dispatcher });
      await refused.body.dump();
      t.equal(refused.statusCode, 503);
      t.same(
        seen.map(({ length }) => length),
        [100_000],
      );
    }
  }
});
