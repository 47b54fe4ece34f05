import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { type ChaosProxy, chaosProxy, type Fate } from './proxy.ts';
import { rawServer } from './servers.ts';

const digits = '0123456789';

/** What a client saw: the text, how many pieces it came in, and how it ended. */
interface Seen {
  text: string;
  pieces: number;
  end: 'end' | 'reset' | 'open';
}

/** A proxy to a server that says the digits to whoever speaks, and keeps the connection. */
async function setUp(t: Test, fate: Fate): Promise<{ readonly proxy: ChaosProxy; readonly heard: () => string }> {
  let heard = '';
  const { port } = await rawServer(t, (socket) => {
    socket.on('data', (bytes) => {
      if (heard === '') socket.write(digits);
      heard += bytes.toString();
    });
  });
  const proxy = await chaosProxy(port, { fate });
  t.teardown(() => proxy.close());
  return { proxy, heard: () => heard };
}

/** Speaks, and listens until the connection ends or `text` bytes and no more are to come. */
async function speak(t: Test, { port }: ChaosProxy, expected: number): Promise<Seen & { readonly socket: Socket }> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  const seen: Seen = { text: '', pieces: 0, end: 'open' };
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on('data', (bytes) => {
    seen.text += bytes.toString();
    seen.pieces++;
    if (seen.text.length === expected) resolve();
  });
  socket.on('end', () => {
    seen.end = 'end';
    resolve();
  });
  socket.on('error', () => {
    seen.end = 'reset';
    resolve();
  });
  socket.write('hello');
  await promise;
  return { ...seen, socket };
}

t.test('what a toxic does to the bytes of a response', async (t) => {
  const cases: readonly [string, Fate, Partial<Seen>][] = [
    ['nothing', { kind: 'pass' }, { text: digits, end: 'open' }],
    ['latency', { kind: 'pass', responses: { latencyMs: 5, jitterMs: 4 } }, { text: digits, end: 'open' }],
    ['bandwidth', { kind: 'pass', responses: { bytesPerSecond: 10_000 } }, { text: digits, end: 'open' }],
    ['a bit turned over', { kind: 'pass', responses: { corruptAt: 3 } }, { text: '012#456789', end: 'open' }],
    ['a stall', { kind: 'pass', responses: { stallAt: 4 } }, { text: '0123', end: 'open' }],
    ['a reset', { kind: 'pass', responses: { resetAt: 6 } }, { end: 'reset' }],
    ['an end', { kind: 'pass', responses: { endAt: 7 } }, { text: '0123456', end: 'end' }],
    ['reset when accepted', { kind: 'reset' }, { text: '', end: 'reset' }],
    ['reset before the first byte', { kind: 'pass', responses: { resetAt: 0 } }, { text: '', end: 'reset' }],
    ['closed when accepted', { kind: 'close' }, { text: '', end: 'end' }],
  ];
  for (const [name, fate, expected] of cases) {
    const { proxy } = await setUp(t, fate);
    t.match(await speak(t, proxy, expected.end === 'open' ? (expected.text?.length ?? 10) : 99), expected, name);
  }
});

t.test('slices arrive one by one, and what was sliced is whole', async (t) => {
  const { heard, proxy } = await setUp(t, { kind: 'pass', requests: { sliceBytes: 1 }, responses: { sliceBytes: 1 } });
  const { pieces, text } = await speak(t, proxy, 10);
  t.equal(text, digits);
  t.ok(pieces > 3, `${pieces} pieces`);
  t.ok('hello'.startsWith(heard()));
});

t.test('what comes within the time to coalesce arrives at once', async (t) => {
  const { port } = await rawServer(t, (socket) => {
    for (const [i, digit] of [...digits].entries()) setTimeout(() => socket.write(digit), i);
  });
  const proxy = await chaosProxy(port, { fate: { kind: 'pass', responses: { coalesceMs: 300 } } });
  t.teardown(() => proxy.close());
  const { pieces, text } = await speak(t, proxy, 10);
  t.equal(text, digits);
  t.ok(pieces < 5, `${pieces} pieces`);
});

t.test('one direction may end while the other goes on', async (t) => {
  const { heard, proxy } = await setUp(t, { kind: 'pass', responses: { endAt: 2 } });
  const { socket, text } = await speak(t, proxy, 99);
  t.equal(text, '01');
  socket.write(' again');
  while (heard() !== 'hello again') await new Promise((resolve) => setImmediate(resolve));
});

t.test('fates go by the number of the connection; open ones can be cut, new ones refused', async (t) => {
  const { proxy } = await setUp(t, { kind: 'pass' });
  proxy.use((connection) => (connection === 2 ? { kind: 'reset' } : { kind: 'pass' }));
  const first = await speak(t, proxy, 10);
  t.match(await speak(t, proxy, 10), { end: 'reset' });
  t.equal(proxy.accepted(), 2);
  const broken = once(first.socket, 'error');
  proxy.cut();
  t.match(await broken, [{ code: 'ECONNRESET' }]);
  await proxy.refuse();
  const refused = connect(proxy.port, '127.0.0.1');
  t.match(await once(refused, 'error'), [{ code: 'ECONNREFUSED' }]);
  await proxy.listen();
  const again = connect(proxy.port, '127.0.0.1');
  t.teardown(() => again.destroy());
  await once(again, 'connect');
});

t.test('a black hole accepts and says nothing', async (t) => {
  const { heard, proxy } = await setUp(t, { kind: 'blackHole' });
  const socket = connect(proxy.port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  socket.write('hello');
  while (proxy.accepted() === 0) await new Promise((resolve) => setImmediate(resolve));
  t.equal(heard(), '');
});
