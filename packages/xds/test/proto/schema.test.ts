import t from 'tap';
import { any, pack, unpack } from '../../src/proto/any.ts';
import { bool, duration, enumOf, int32, message, string, uint32, wrapped } from '../../src/proto/kinds.ts';
import { decode, encode, mapOf, optional, repeated, type Schema, schema, single } from '../../src/proto/schema.ts';
import { type JsonObject, struct } from '../../src/proto/struct.ts';

interface Leaf {
  readonly name: string;
  readonly ports: readonly number[];
}

interface Tree {
  readonly kind: 'RED' | 'GREEN' | number;
  readonly leaf: Leaf | undefined;
  readonly leaves: readonly Leaf[];
  readonly limit: number | undefined;
  readonly timeout: number | undefined;
  readonly exact: string | undefined;
  readonly prefix: string | undefined;
  readonly labels: ReadonlyMap<string, string>;
  readonly metadata: JsonObject | undefined;
  readonly inner: Tree | undefined;
  readonly flag: boolean;
}

const leaf: Schema<Leaf> = schema<Leaf>('test.Leaf', {
  fields: { name: single(1, string), ports: repeated(2, uint32) },
  ignored: { 3: 'colour' },
});

const tree: Schema<Tree> = schema<Tree>('test.Tree', {
  fields: {
    kind: single(1, enumOf('RED', 'GREEN')),
    leaf: single(
      2,
      message(() => leaf),
    ),
    leaves: repeated(
      3,
      message(() => leaf),
    ),
    limit: single(4, wrapped(uint32)),
    timeout: single(5, duration),
    exact: optional(6, string),
    prefix: optional(7, string),
    labels: mapOf(8, string),
    metadata: single(9, struct),
    inner: single(
      10,
      message(() => tree),
    ),
    flag: single(11, bool),
  },
  oneofs: [['exact', 'prefix']],
});

t.test('what was written is read again', async (t) => {
  const written = {
    kind: 'GREEN',
    leaf: { name: 'a', ports: [1, 300, 70_000] },
    leaves: [{ name: 'b' }, { ports: [4] }],
    limit: 0,
    timeout: 1_500.25,
    exact: '',
    labels: new Map([['x', 'y']]),
    metadata: { a: [1, 'two', null, true, { b: -0.5 }] },
    inner: { inner: { flag: true } },
  } as const;
  const read = decode(tree, encode(tree, written));
  const { labels: _labels, leaves: _leaves, metadata: _metadata, ...plain } = written;
  t.match(read, plain);
  t.same(read.leaves, [
    { name: 'b', ports: [] },
    { name: '', ports: [4] },
  ]);
  t.same(read.metadata, written.metadata);
  t.same([...read.labels], [['x', 'y']]);
  t.equal(read.prefix, undefined);
});

t.test('what nobody wrote has the zero of its kind, or is absent', async (t) => {
  const read = decode(tree, new Uint8Array());
  t.equal(read.kind, 'RED');
  t.equal(read.flag, false);
  t.equal(read.leaf, undefined);
  t.equal(read.limit, undefined);
  t.same(read.leaves, []);
});

t.test('numbers of newer enumerations stay numbers', async (t) => {
  t.equal(decode(tree, Uint8Array.of(0x08, 0x07)).kind, 7);
});

t.test('a duration that runs backwards is none', async (t) => {
  t.throws(() => decode(tree, encode(tree, { timeout: -1 })), { message: /not negative, got -1 ms/ });
});

t.test('of a oneof the last one that was written is there', async (t) => {
  const both = Uint8Array.of(...encode(tree, { exact: 'a' }), ...encode(tree, { prefix: 'b' }));
  t.match(decode(tree, both), { exact: undefined, prefix: 'b' });
});

t.test('a message that comes twice is merged', async (t) => {
  const twice = Uint8Array.of(
    ...encode(tree, { leaf: { name: 'a', ports: [1] } }),
    ...encode(tree, { leaf: { ports: [2] } }),
  );
  t.same(decode(tree, twice).leaf, { name: 'a', ports: [1, 2] });
});

t.test('fields that nobody reads are told of by their path', async (t) => {
  const other: Schema<{ readonly colour: string }> = schema('test.Leaf', { fields: { colour: single(3, string) } });
  const coloured = encode(other, { colour: 'red' });
  const bytes = Uint8Array.of(...encode(tree, {}), 0x1a, coloured.length, ...coloured, 0x78, 0x01);
  const ignored: string[] = [];
  decode(tree, bytes, (path) => ignored.push(path));
  t.same(ignored, ['leaves[0].colour', '#15']);
});

t.test('messages in Any are read by their type only', async (t) => {
  const packed = pack(leaf, { name: 'a' });
  t.equal(packed.type_url, 'type.googleapis.com/test.Leaf');
  t.match(unpack(leaf, packed), { name: 'a' });
  t.equal(unpack(tree, packed), undefined);
  t.ok(any);
});

t.test('what is no message is refused', async (t) => {
  t.throws(() => decode(tree, Uint8Array.of(0x12, 0x05, 0x0a)), /test\.Leaf: the message ends/);
  t.throws(
    () => decode(tree, Uint8Array.of(0x12, 0x02, 0x0a, 0x05, 0x61, 0x61, 0x61, 0x61, 0x61)),
    /longer than the message/,
  );
  t.throws(() => decode(tree, Uint8Array.of(0xff)), Error);
  let deep = new Uint8Array();
  for (let i = 0; i < 200; i++) deep = Uint8Array.from(encode(tree, {})).length === 0 ? wrap(deep) : deep;
  t.throws(() => decode(tree, deep), /more than 100 messages in each other/);
});

function wrap(inner: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = inner.length < 128 ? [inner.length] : [(inner.length & 0x7f) | 0x80, inner.length >> 7];
  return Uint8Array.of(0x52, ...length, ...inner);
}

t.test('a value of another wire type than the field has is passed over', async (t) => {
  const other: Schema<{ readonly kind: string }> = schema('test.Tree', { fields: { kind: single(1, string) } });
  t.equal(decode(tree, encode(other, { kind: 'x' })).kind, 'RED');
  t.ok(int32);
});
