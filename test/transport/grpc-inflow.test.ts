import type { ServerHttp2Stream } from 'node:http2';
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { watchCalls } from '../../src/transport/grpc-inflow.ts';
import { resolveLimits } from '../../src/transport/limits.ts';
import { fakeClock } from '../support/fake-clock.ts';

/** A stream as far as the watch looks at it. */
class TestStream extends Duplex {
  endAfterHeaders = false;
  closedWith: number | undefined;
  hold: (() => void) | undefined;
  close(code: number): void {
    this.closedWith = code;
    this.destroy();
  }
  override _read(): void {}
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    this.hold = done;
  }
}
const asStream = (stream: TestStream): ServerHttp2Stream => stream as unknown as ServerHttp2Stream;

const message = (length: number, compressed = false): Buffer => {
  const bytes = Buffer.alloc(5 + length, 7);
  bytes.writeUInt8(compressed ? 1 : 0);
  bytes.writeUInt32BE(length, 1);
  return bytes;
};

/** What is in a part, once it is put behind those before it. */
function endsOf(parts: readonly Buffer[]): readonly { readonly whole: number; readonly compressed: number }[] {
  let rest = Buffer.alloc(0);
  return parts.map((part) => {
    rest = Buffer.concat([rest, part]);
    let [whole, compressed] = [0, 0];
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      whole++;
      if (rest[0] === 1) compressed++;
      rest = rest.subarray(5 + rest.readUInt32BE(1));
    }
    return { whole, compressed };
  });
}

t.test('all that is sent arrives, at most 16 messages at a time, and behind a compressed one nothing', async (t) => {
  const messages = fc.array(fc.record({ length: fc.nat(40), compressed: fc.boolean() }), { maxLength: 60 });
  const checked = fc.assert(
    fc.asyncProperty(messages, fc.array(fc.integer({ min: 1, max: 90 })), fc.nat(30), async (all, cuts, before) => {
      const sent = Buffer.concat(all.map(({ compressed, length }) => message(length, compressed)));
      const stream = new TestStream();
      const early = sent.subarray(0, before);
      // What somebody has looked at before the application was given the stream.
      if (early.length > 0) stream.push(early);
      watchCalls(fakeClock(), resolveLimits())(asStream(stream), false);
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => {
        parts.push(part);
        stream.pause();
        setImmediate(() => stream.resume());
      });
      for (let at = early.length, i = 0; at < sent.length; i++) {
        const to = at + (cuts[i % Math.max(1, cuts.length)] ?? 1_000);
        stream.push(sent.subarray(at, to));
        at = to;
      }
      stream.push(null);
      await new Promise((resolve) => stream.on('end', resolve));
      const ends = endsOf(parts);
      stream.destroy();
      return Buffer.concat(parts).equals(sent) && ends.every(({ compressed, whole }) => whole <= 16 && compressed <= 1);
    }),
    { numRuns: 60 },
  );
  await t.resolves(checked);
});

t.test('calls that do not move are ended, those that rest between messages are not', async (t) => {
  type Script = (stream: TestStream, second: number) => void;
  const whole = message(3);
  const table: readonly (readonly [what: string, single: boolean, script: Script, endsAt: number | undefined])[] = [
    ['one message is owed, and nothing comes', true, () => {}, 30],
    ['the message is there, the end is not', true, (stream, at) => void (at === 0 && stream.push(whole)), 30],
    ['half a prefix', false, (stream, at) => void (at === 0 && stream.push(whole.subarray(0, 2))), 30],
    ['half a message', false, (stream, at) => void (at === 0 && stream.push(whole.subarray(0, 6))), 30],
    [
      'a message and a half',
      false,
      (stream, at) => void (at === 0 && stream.push(Buffer.concat([whole, whole.subarray(0, 6)]))),
      30,
    ],
    [
      'a byte every 15 seconds',
      false,
      (stream, at) => void (at % 15 === 0 && stream.push(at === 0 ? message(1_000).subarray(0, 9) : Buffer.from('x'))),
      300,
    ],
    ['nothing at all, of a stream', false, () => {}, undefined],
    ['a whole message of a stream', false, (stream, at) => void (at === 0 && stream.push(whole)), undefined],
    ['one message and the end', true, (stream, at) => void (at < 2 && stream.push(at === 0 ? whole : null)), undefined],
    ['what was there before the watch, and its end', true, () => {}, undefined],
    [
      'a response that nobody takes, of a caller who goes on sending',
      false,
      (stream, at) => void (at === 0 ? stream.write('x') : at % 10 === 0 && stream.push(whole)),
      300,
    ],
    ['a response that nobody takes', false, (stream, at) => void (at === 0 && stream.write('x')), 300],
    ['the application does not ask for more', true, (stream, at) => void (at === 0 && stream.pause()), undefined],
  ];
  for (const [what, single, script, endsAt] of table) {
    const clock = fakeClock();
    const stream = new TestStream();
    stream.on('error', () => {});
    if (what.startsWith('what was there before')) {
      stream.push(whole);
      stream.push(null);
    }
    stream.resume();
    watchCalls(clock, resolveLimits())(asStream(stream), single);
    await new Promise(setImmediate);
    let ended: number | undefined;
    for (let second = 0; second <= 400 && ended === undefined; second++) {
      script(stream, second);
      clock.advance(1_000);
      if (stream.closedWith !== undefined) ended = second;
    }
    stream.destroy();
    if (endsAt === undefined) t.equal(ended, undefined, what);
    else {
      t.equal(stream.closedWith, 8, what);
      t.ok((ended ?? 0) >= endsAt - 16 && (ended ?? 1e9) <= endsAt + 16, `${what}: after ${ended} s`);
    }
  }
});

t.test('a message in crumbs is gathered, and its prefix is seen at once', async (t) => {
  const stream = new TestStream();
  watchCalls(fakeClock(), resolveLimits())(asStream(stream), false);
  const parts: Buffer[] = [];
  stream.on('data', (part: Buffer) => void parts.push(part));
  const [first, second] = [message(100_000), message(30)];
  const ofBoth = Buffer.concat([first, second, message(0)]);
  const passed = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  for (let at = 0; at < 5; at++) stream.push(ofBoth.subarray(at, at + 1));
  await passed();
  t.equal(Buffer.concat(parts).length, 5, 'so that one that is too long can be refused');
  for (let at = 5; at < ofBoth.length; at++) {
    stream.push(ofBoth.subarray(at, at + 1));
    if (at + 1 === first.length || at + 1 === first.length + second.length) {
      await passed();
      t.equal(Buffer.concat(parts).length, at + 1, 'a message that is complete waits for nothing');
    }
  }
  t.ok(parts.length < 100, `${parts.length} pieces`);
  const cut = first.subarray(0, 2_000);
  stream.push(cut.subarray(0, 6));
  for (let at = 6; at < cut.length; at++) stream.push(cut.subarray(at, at + 1));
  stream.push(null);
  await new Promise((resolve) => stream.on('end', resolve));
  t.ok(
    Buffer.concat([ofBoth, cut]).equals(Buffer.concat(parts)),
    'nothing is lost, not where it ends too early either',
  );
});
