import { Readable } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { KeptBody } from '../../src/lib/kept-body.ts';

const all = async (body: AsyncIterable<unknown>): Promise<string> => {
  let text = '';
  for await (const chunk of body) text += String(chunk);
  return text;
};
/** Reads some chunks, and stops. */
async function some(body: AsyncIterable<unknown>, count: number): Promise<string> {
  const iterator = body[Symbol.asyncIterator]();
  let text = '';
  for (let i = 0; i < count; i++) {
    const { done, value } = await iterator.next();
    if (done === true) break;
    text += String(value);
  }
  await iterator.return?.();
  return text;
}
async function* chunks(...list: readonly string[]): AsyncGenerator<Buffer> {
  for (const each of list) yield Buffer.from(each);
}

t.test('a body is read again from its beginning, however far it was read', async (t) => {
  for (const count of [0, 1, 2, 3, 4]) {
    const body = new KeptBody(chunks('a', 'b', 'c'), 100);
    t.equal(await some(body, count), 'abc'.slice(0, count));
    t.ok(body.whole);
    t.equal(await all(body), 'abc');
    t.equal(await all(body), 'abc');
  }
});

t.test('every kind of stream', async (t) => {
  const sources: readonly object[] = [
    Readable.from(['a', 'b']),
    Readable.from([Buffer.from('a'), Buffer.from('b')]),
    new Blob(['ab']).stream(),
    chunks('a', 'b'),
    ['a', 'b'].values(),
    (function* () {
      yield 'a';
      yield Buffer.from('b');
    })(),
  ];
  for (const source of sources) {
    const body = new KeptBody(source, 2);
    t.equal(await all(body), 'ab');
    t.equal(await all(body), 'ab');
    t.ok(body.whole);
  }
});

t.test('too long: read to its end once, and not again', async (t) => {
  const body = new KeptBody(chunks('aa', 'bb', 'cc'), 3);
  t.equal(await all(body), 'aabbcc');
  t.notOk(body.whole);
  await t.rejects(all(body), /again/);
  const exact = new KeptBody(chunks('aa', 'b'), 3);
  await all(exact);
  t.ok(exact.whole);
});

t.test('only the newest reader goes on: another one fails and does not end early', async (t) => {
  const body = new KeptBody(chunks('a', 'b', 'c'), 100);
  const first = body[Symbol.asyncIterator]();
  t.equal(String((await first.next()).value), 'a');
  const second = body[Symbol.asyncIterator]();
  await t.rejects(first.next() as Promise<unknown>, /again/);
  t.equal(String((await second.next()).value), 'a');
  t.equal(String((await second.next()).value), 'b');
});

t.test('a reader that takes over waits for what the one before has asked for', async (t) => {
  let give = (_chunk: string): void => {};
  let asked = 0;
  const source = {
    [Symbol.asyncIterator]: () => ({
      next: () =>
        new Promise<IteratorResult<string>>((resolve) => {
          asked++;
          give = (value) => resolve(value === '' ? { done: true, value } : { done: false, value });
        }),
    }),
  };
  const body = new KeptBody(source, 100);
  const first = body[Symbol.asyncIterator]();
  const lost = t.rejects(first.next() as Promise<unknown>);
  const second = body[Symbol.asyncIterator]();
  const got = second.next();
  give('a');
  t.equal((await got).value, 'a');
  await lost;
  t.equal(asked, 1, 'nothing is asked for twice');
});

t.test('a source that fails fails every reader with its error', async (t) => {
  const broken = new Error('disk');
  async function* source(): AsyncGenerator<string> {
    yield 'a';
    throw broken;
  }
  const body = new KeptBody(source(), 100);
  await t.rejects(all(body), broken);
  t.equal(body.errored, broken);
  t.notOk(body.whole);
  const stream = new Readable({ read: () => {} });
  const waiting = new KeptBody(stream, 100);
  stream.destroy(broken);
  await new Promise((resolve) => stream.once('close', resolve));
  await t.rejects(all(waiting), broken, 'although nobody had begun to read');
});

t.test('what a chunk was is kept, even if its memory is used again', async (t) => {
  const memory = Buffer.from('a');
  async function* source(): AsyncGenerator<Buffer> {
    yield memory;
    memory.write('b');
    yield memory;
  }
  const body = new KeptBody(source(), 100);
  t.equal(await all(body), 'ab');
  t.equal(await all(body), 'ab');
});

t.test('what is no text and no bytes is handed on and not kept', async (t) => {
  const body = new KeptBody([{ a: 1 }].values(), 100);
  t.equal(await all(body), '[object Object]');
  t.notOk(body.whole);
});

t.test('the source is closed at the end, begun or not', async (t) => {
  const stream = Readable.from(['a', 'b']);
  new KeptBody(stream, 100).destroy();
  t.ok(stream.destroyed);
  const begun = Readable.from(['a', 'b']);
  const body = new KeptBody(begun, 100);
  await some(body, 1);
  t.notOk(begun.destroyed, 'a reader that stops leaves it open');
  body.destroy();
  t.ok(begun.destroyed);
  let closed = false;
  async function* generator(): AsyncGenerator<string> {
    try {
      yield 'a';
      yield 'b';
    } finally {
      closed = true;
    }
  }
  const generated = new KeptBody(generator(), 100);
  await some(generated, 1);
  generated.destroy();
  await new Promise(setImmediate);
  t.ok(closed);
  const ended = new KeptBody(chunks('a'), 100);
  await all(ended);
  ended.destroy();
  ended.destroy();
});

t.test('property: whatever was read before, the next reader gets the whole body or an error', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ minLength: 1, maxLength: 5 }), { maxLength: 8 }),
      fc.nat(30),
      fc.array(fc.nat(9), { maxLength: 4 }),
      async (list, maxBytes, reads) => {
        const body = new KeptBody(chunks(...list), maxBytes);
        for (const count of reads) {
          if (!body.whole) break;
          const text = await some(body, count);
          if (text !== list.slice(0, count).join('')) return false;
        }
        return !body.whole || (await all(body)) === list.join('');
      },
    ),
    { seed: 7, numRuns: 300 },
  );
  t.pass();
});
