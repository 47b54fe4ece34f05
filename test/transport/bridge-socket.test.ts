import { once } from 'node:events';
import { Socket } from 'node:net';
import t from 'tap';
import { BridgeSocket } from '../../src/transport/bridge-socket.ts';
import { classify } from '../../src/transport/sniff.ts';

function pair(): { a: BridgeSocket; b: BridgeSocket } {
  const carrier = new Socket();
  const a = new BridgeSocket(carrier);
  const b = new BridgeSocket(carrier);
  BridgeSocket.connect(a, b);
  return { a, b };
}

t.test('what is written to one end is read from the other, corked writes together', async (t) => {
  const { a, b } = pair();
  a.cork();
  a.write('one');
  a.write('two');
  a.uncork();
  t.equal(String((await once(b, 'data'))[0]), 'onetwo');
  const ended = once(a, 'end');
  b.end('back');
  a.setEncoding('utf8');
  t.equal((await once(a, 'data'))[0], 'back');
  await ended;
});

t.test('a reader that does not read holds the writer back until it does', async (t) => {
  const { a, b } = pair();
  let done = 0;
  for (let i = 0; i < 4; i++) a.write(Buffer.alloc(64 * 1_024), () => done++);
  await new Promise<void>((resolve) => setImmediate(resolve));
  t.ok(done < 4);
  b.resume();
  while (done < 4) await new Promise<void>((resolve) => setImmediate(resolve));
  t.equal(done, 4);
});

t.test('a clean end lets the other side read on, a cut does not', async (t) => {
  const clean = pair();
  clean.a.end('last words');
  clean.a.destroySoon();
  await once(clean.a, 'close');
  t.equal(clean.b.destroyed, false);
  t.equal(String((await once(clean.b, 'data'))[0]), 'last words');

  const cut = pair();
  cut.a.write('never read');
  cut.a.destroy();
  await once(cut.b, 'close');
  t.equal(cut.b.destroyed, true);
});

t.test('writing to an end whose other end is gone fails like a broken pipe', async (t) => {
  const { a, b } = pair();
  b.end();
  await once(b, 'finish');
  b.destroy();
  const error = once(a, 'error');
  a.write('x');
  t.match((await error)[0], { code: 'EPIPE' });
  const held = pair();
  for (let i = 0; i < 3; i++) held.a.write(Buffer.alloc(64 * 1_024));
  const failed = once(held.a, 'error');
  held.b.destroy();
  t.match((await failed)[0], { code: 'EPIPE' });
});

t.test('destroySoon waits for what is still being written', async (t) => {
  const { a, b } = pair();
  for (let i = 0; i < 3; i++) a.write(Buffer.alloc(64 * 1_024));
  a.destroySoon();
  t.equal(a.destroyed, false);
  b.resume();
  await once(a, 'close');
  t.equal(a.writableFinished, true);
});

t.test('first bytes: TLS, HTTP/2, HTTP/1, or not yet known', async (t) => {
  const table: readonly (readonly [string, ReturnType<typeof classify>])[] = [
    ['', undefined],
    ['\x16', 'tls'],
    ['P', undefined],
    ['PR', undefined],
    ['PRI', 'http2'],
    ['PRO', 'http1'],
    ['PO', 'http1'],
    ['G', 'http1'],
    ['\0', 'http1'],
  ];
  for (const [bytes, what] of table) t.equal(classify(Buffer.from(bytes, 'latin1')), what, JSON.stringify(bytes));
});
