import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { type Dispatcher, request, FormData as UndiciFormData } from 'undici';
import { defaultRetryPolicy, type RetryPolicy } from '../../src/model/route.ts';
import { testClient } from '../support/client.ts';
import { assertIdle, record } from '../support/recorder.ts';
import { cluster, endpoint, route, snapshot } from '../support/snapshot.ts';
import { turns, until, upstream } from '../support/upstream.ts';

const meshOf = (port: number, retry?: Partial<RetryPolicy>) => {
  const a = cluster('a', [endpoint(port)]);
  return testClient(
    snapshot({ a: [route(a.name, { retry: { ...defaultRetryPolicy, backoffBaseMs: 0, ...retry } })] }, [a]),
  );
};

/** A server that refuses the first `failures` requests with 503 and answers the next with what it got. */
async function flaky(t: Test, failures: number) {
  const bodies: string[] = [];
  const types: (string | undefined)[] = [];
  const server = await upstream(t, async (incoming: IncomingMessage, outgoing: ServerResponse) => {
    const body = await buffer(incoming);
    bodies.push(body.toString('latin1'));
    types.push(incoming.headers['content-type']);
    outgoing.writeHead(bodies.length > failures ? 200 : 503, {
      'x-framing': incoming.headers['content-length'] ?? incoming.headers['transfer-encoding'] ?? 'none',
    });
    outgoing.end('answer');
  });
  return { bodies, server, types };
}

const form = (): UndiciFormData => {
  const data = new UndiciFormData();
  data.set('field', 'value');
  data.set('file', new Blob(['content'], { type: 'text/x' }), 'name.txt');
  return data;
};
interface Kind {
  readonly make: () => unknown;
  readonly sent: string | RegExp;
  readonly framing: string | RegExp;
  readonly replayable: boolean;
}
/** Each kind of body that undici takes, how it is sent, and whether it can be sent twice. */
const kinds: Readonly<Record<string, Kind>> = {
  string: { make: () => 'héllo', sent: 'h\u00c3\u00a9llo', framing: '6', replayable: true },
  'empty string': { make: () => '', sent: '', framing: '0', replayable: true },
  Buffer: { make: () => Buffer.from('hello'), sent: 'hello', framing: '5', replayable: true },
  Uint8Array: { make: () => new Uint8Array([65, 66]), sent: 'AB', framing: '2', replayable: true },
  'part of an ArrayBuffer': {
    make: () => new Uint8Array(new ArrayBuffer(9), 3, 2).fill(67),
    sent: 'CC',
    framing: '2',
    replayable: true,
  },
  ArrayBuffer: { make: () => new Uint8Array([65]).buffer, sent: 'A', framing: '1', replayable: true },
  Blob: { make: () => new Blob(['hel', 'lo'], { type: 'text/x' }), sent: 'hello', framing: '5', replayable: true },
  FormData: { make: form, sent: /name="field"\r\n\r\nvalue\r\n[\s\S]*content\r\n/, framing: /^\d+$/, replayable: true },
  none: { make: () => null, sent: '', framing: '0', replayable: true },
  Readable: { make: () => Readable.from(['hel', 'lo']), sent: 'hello', framing: 'chunked', replayable: true },
  'web stream': { make: () => new Blob(['hello']).stream(), sent: 'hello', framing: 'chunked', replayable: true },
  'async generator': {
    make: async function* () {
      yield 'hel';
      await null;
      yield Buffer.from('lo');
    },
    sent: 'hello',
    framing: 'chunked',
    replayable: true,
  },
  iterable: { make: () => ['hel', 'lo'], sent: 'hello', framing: 'chunked', replayable: true },
};
const matches = (text: string | undefined, wanted: string | RegExp): boolean =>
  typeof wanted === 'string' ? text === wanted : wanted.test(text ?? '');

for (const [name, { make, sent, framing, replayable }] of Object.entries(kinds)) {
  t.test(`body: ${name}`, async (t) => {
    const { bodies, server } = await flaky(t, 0);
    const client = meshOf(server.port);
    const options = { dispatcher: client.dispatcher, method: 'POST', body: make() as string } as const;
    const response = await request('http://a/', options);
    t.equal(await response.body.text(), 'answer');
    t.ok(matches(bodies[0], sent), `${bodies[0]}`);
    t.ok(matches(response.headers['x-framing'] as string, framing), response.headers['x-framing'] as string);
    await assertIdle(t, client);
  });

  t.test(`body: ${name}, retried ${replayable ? 'whole' : 'never'}`, async (t) => {
    const { bodies, server, types } = await flaky(t, 2);
    const client = meshOf(server.port, { retryOn: ['5xx'], attempts: 3 });
    const options = { dispatcher: client.dispatcher, method: 'POST', body: make() as string } as const;
    const response = await request('http://a/', options);
    await response.body.text();
    t.equal(response.statusCode, replayable ? 200 : 503);
    t.equal(bodies.length, replayable ? 3 : 1);
    for (const body of bodies) t.ok(matches(body, sent), body.slice(0, 50));
    if (name === 'FormData') for (const type of types) t.match(type, /^multipart\/form-data; boundary=/);
    if (name === 'Blob') t.same(types, ['text/x', 'text/x', 'text/x']);
    await assertIdle(t, client);
  });
}

t.test('a stream that never left goes to another endpoint whole (EP-01)', async (t) => {
  const { refusingPort } = await import('../support/upstream.ts');
  const { bodies, server } = await flaky(t, 0);
  const a = cluster('a', [endpoint(await refusingPort()), endpoint(server.port)], { balance: 'ROUND_ROBIN' });
  const client = testClient(snapshot({ a: [route(a.name)] }, [a]));
  for (let i = 0; i < 6; i++) {
    const body = Readable.from([`body ${i}`]);
    const response = await request('http://a/', { dispatcher: client.dispatcher, method: 'POST', body });
    t.equal(response.statusCode, 200);
    await response.body.dump();
  }
  t.same(bodies, ['body 0', 'body 1', 'body 2', 'body 3', 'body 4', 'body 5']);
  await assertIdle(t, client);
});

t.test("a body that fails is the application's failure: no retry, nothing against the endpoint", async (t) => {
  const server = await upstream(t, (incoming) => void incoming.resume());
  const a = cluster('a', [endpoint(server.port)], {
    outlier: {
      consecutive5xx: 1,
      consecutiveGatewayErrors: 1,
      intervalMs: 10_000,
      baseEjectionMs: 30_000,
      maxEjectionPercent: 100,
      minHealthPercent: 0,
    },
  });
  const client = testClient(
    snapshot({ a: [route(a.name, { retry: { ...defaultRetryPolicy, retryOn: ['5xx'] } })] }, [a]),
  );
  const errors: readonly Error[] = [
    new Error('disk'),
    // an inbound request that was cut off, and one whose socket was
    Object.assign(new Error('aborted'), { code: 'ECONNRESET' }),
    Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' }),
    Object.assign(new Error('other side closed'), { code: 'UND_ERR_SOCKET' }),
  ];
  for (const error of errors) {
    let pushed = false;
    const body = new Readable({
      read() {
        if (pushed) this.destroy(error);
        else this.push('part');
        pushed = true;
      },
    });
    await t.rejects(request('http://a/', { dispatcher: client.dispatcher, method: 'POST', body }), error);
  }
  t.same(client.health, []);
  t.ok(server.seen.length <= errors.length, 'none was sent twice');
  await assertIdle(t, client);
});

t.test('a body that is not as long as it says is refused, by undici', async (t) => {
  const { server } = await flaky(t, 0);
  const client = meshOf(server.port);
  const headers = { 'content-length': '10' };
  for (const body of ['short', Readable.from(['much too long a body'])]) {
    const call = record(client.dispatcher, { method: 'POST', headers, body });
    t.equal(await call.done, 'error UND_ERR_REQ_CONTENT_LENGTH_MISMATCH');
  }
  await assertIdle(t, client);
});

t.test('a response before the request is complete: both end', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => void outgoing.end('early'));
  const client = meshOf(server.port);
  let produced = 0;
  const body = new Readable({
    read() {
      produced++;
      setImmediate(() => this.push(Buffer.alloc(1_024)));
    },
  });
  const response = await request('http://a/', { dispatcher: client.dispatcher, method: 'POST', body });
  t.equal(await response.body.text(), 'early');
  await until(() => body.destroyed, 'the body is given up');
  t.ok(produced > 0);
  await assertIdle(t, client);
});

t.test('a big body goes up and comes down unchanged', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => void incoming.pipe(outgoing));
  const client = meshOf(server.port);
  const size = 8 * 1_048_576;
  const sum = createHash('sha256');
  let left = size;
  const body = new Readable({
    read(chunkSize) {
      const chunk = Buffer.alloc(Math.min(left, chunkSize), left % 251);
      left -= chunk.length;
      sum.update(chunk);
      this.push(chunk.length === 0 ? null : chunk);
    },
  });
  const response = await request('http://a/', { dispatcher: client.dispatcher, method: 'POST', body });
  const back = createHash('sha256');
  let length = 0;
  for await (const chunk of response.body) {
    back.update(chunk as Buffer);
    length += (chunk as Buffer).length;
  }
  t.equal(length, size);
  t.equal(back.digest('hex'), sum.digest('hex'));
  await assertIdle(t, client);
});

t.test('an answer that nobody reads stops the server, not the memory (NET-03, RT-09)', async (t) => {
  const total = 256 * 1_048_576;
  let written = 0;
  const server = await upstream(t, (_incoming, outgoing) => {
    const chunk = Buffer.alloc(65_536);
    const write = (): void => {
      while (written < total) {
        written += chunk.length;
        if (!outgoing.write(chunk)) return void outgoing.once('drain', write);
      }
      outgoing.end();
    };
    write();
  });
  const client = meshOf(server.port);
  const response = await request('http://a/', { dispatcher: client.dispatcher });
  let last = -1;
  // until the sockets between us are full and nothing moves any more
  for (let still = 0; still < 50; still = written === last ? still + 1 : 0) {
    last = written;
    await turns(5);
  }
  t.ok(written < total / 8, `${written} bytes are on the way`);
  response.body.on('error', () => {});
  response.body.destroy();
  await until(() => server.open() === 0, 'the connection is closed');
  await assertIdle(t, client);
});

t.test('a server that does not read stops the body', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    // held back until asked
    if (incoming.url === '/hold')
      incoming.once('resume-now' as 'end', () => incoming.resume().on('end', () => outgoing.end('ok')));
  });
  const client = meshOf(server.port);
  let produced = 0;
  const total = 64 * 1_048_576;
  const body = new Readable({
    highWaterMark: 65_536,
    read(size) {
      if (produced >= total) this.push(null);
      else {
        produced += size;
        this.push(Buffer.alloc(size));
      }
    },
  });
  const call = record(client.dispatcher, { method: 'POST', path: '/hold', body });
  const incoming = await server.arrived(1);
  let last = -1;
  for (let still = 0; still < 50; still = produced === last ? still + 1 : 0) {
    last = produced;
    await turns(5);
  }
  t.ok(produced < total / 4, `${produced} bytes are on the way`);
  incoming.emit('resume-now');
  t.equal(await call.done, 'end');
  t.equal(produced, total);
  await assertIdle(t, client);
});

t.test('pausing and resuming: nothing is lost, nothing comes while paused', async (t) => {
  const server = await upstream(t, (incoming, outgoing) => {
    // small: it arrives with its headers in one read; big: in many
    outgoing.end(incoming.url === '/big' ? Buffer.alloc(4 * 1_048_576, 'x') : 'small');
  });
  const client = meshOf(server.port);
  const pausing: readonly ('onRequestStart' | 'onResponseStart' | 'onResponseData')[] = [
    'onRequestStart',
    'onResponseStart',
    'onResponseData',
  ];
  for (const path of ['/small', '/big']) {
    for (const where of pausing) {
      let paused = false;
      let late = 0;
      let resumes = 0;
      const pause = (controller: Dispatcher.DispatchController): void => {
        if (resumes > 20) return;
        controller.pause();
        paused = controller.paused;
        setImmediate(() =>
          setImmediate(() => {
            resumes++;
            paused = false;
            controller.resume();
          }),
        );
      };
      const count = (): void => {
        if (paused) late++;
      };
      const hooks = { onResponseData: count, onResponseEnd: count };
      const call = record(
        client.dispatcher,
        { path },
        {
          ...hooks,
          [where]: (controller: Dispatcher.DispatchController) => {
            if (where === 'onResponseData') count();
            pause(controller);
          },
        },
      );
      t.equal(await call.done, 'end', `${where} ${path}`);
      t.equal(call.text.length, path === '/big' ? 4 * 1_048_576 : 5);
      t.equal(late, 0, `${where} ${path}: nothing came while paused`);
      t.ok(resumes > 0);
    }
  }
  await assertIdle(t, client);
});

t.test('pausing and resuming within one event changes nothing', async (t) => {
  const server = await upstream(t, (_incoming, outgoing) => {
    outgoing.write('one');
    outgoing.end('two');
  });
  const client = meshOf(server.port);
  const flip = (controller: Dispatcher.DispatchController): void => {
    controller.pause();
    controller.resume();
    controller.resume();
  };
  const call = record(client.dispatcher, {}, { onRequestStart: flip, onResponseStart: flip, onResponseData: flip });
  t.equal(await call.done, 'end');
  await turns();
  t.equal(call.text, 'onetwo');
  t.equal(call.events.filter((event) => event === 'end').length, 1);
  await assertIdle(t, client);
});
