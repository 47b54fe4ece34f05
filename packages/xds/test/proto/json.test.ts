import t from 'tap';
import { fromJson } from '../../src/proto/json.ts';
import {
  bool,
  bytes,
  double,
  duration,
  enumOf,
  int64,
  message,
  string,
  uint32,
  wrapped,
} from '../../src/proto/kinds.ts';
import { mapOf, optional, repeated, type Schema, schema, single } from '../../src/proto/schema.ts';
import type { JsonObject } from '../../src/proto/struct.ts';

interface Tree {
  readonly kind: 'RED' | 'GREEN' | number;
  readonly some_leaves: readonly Tree[];
  readonly limit: number | undefined;
  readonly flag: boolean | undefined;
  readonly wait_time: number | undefined;
  readonly exact: string | undefined;
  readonly prefix: string | undefined;
  readonly by_name: ReadonlyMap<string, number>;
  readonly large: number;
  readonly share: number;
  readonly raw: Uint8Array | undefined;
}

const tree: Schema<Tree> = schema<Tree>('test.Tree', {
  fields: {
    kind: single(1, enumOf('RED', 'GREEN')),
    some_leaves: repeated(
      2,
      message(() => tree),
    ),
    limit: single(3, wrapped(uint32)),
    flag: single(4, wrapped(bool)),
    wait_time: single(5, duration),
    exact: optional(6, string),
    prefix: optional(7, string),
    by_name: mapOf(8, uint32),
    large: single(9, int64),
    share: single(10, double),
    raw: single(11, bytes),
  },
  oneofs: [['exact', 'prefix']],
});

t.test('messages are read from JSON by either name of their fields', async (t) => {
  const read = fromJson(tree, {
    kind: 'GREEN',
    someLeaves: [{ kind: 1, exact: '' }, {}],
    limit: 0,
    flag: false,
    wait_time: '1.5s',
    by_name: { a: 1 },
    large: '9007199254740991',
    share: 0.5,
    raw: 'YQ==',
    prefix: null,
  });
  t.match(read, { kind: 'GREEN', limit: 0, flag: false, wait_time: 1_500, large: 9_007_199_254_740_991, share: 0.5 });
  t.match(read.some_leaves, [
    { kind: 'GREEN', exact: '' },
    { kind: 'RED', exact: undefined, limit: undefined },
  ]);
  t.same([...read.by_name], [['a', 1]]);
  t.same([...(read.raw ?? [])], [0x61]);
  t.equal(read.prefix, undefined);
});

t.test('fields that nobody reads are told of', async (t) => {
  const ignored: string[] = [];
  fromJson(tree, { someLeaves: [{ otherField: 1 }], more: {} }, (path) => void ignored.push(path));
  t.same(ignored, ['someLeaves[0].other_field', 'more']);
});

t.test('values that are none of their field are refused by its path', async (t) => {
  const cases: readonly (readonly [JsonObject, RegExp])[] = [
    [{ kind: 'BLUE' }, /^kind: expected one of RED, GREEN, got "BLUE"/],
    [{ some_leaves: {} }, /^some_leaves: expected a list/],
    [{ some_leaves: [1] }, /^some_leaves\[0\]: expected an object, got 1/],
    [{ limit: -1 }, /^limit: expected a number/],
    [{ limit: 1.5 }, /^limit/],
    [{ limit: 4_294_967_296 }, /^limit/],
    [{ limit: '' }, /^limit/],
    [{ flag: 'yes' }, /^flag: expected a google.protobuf.BoolValue/],
    [{ wait_time: 5 }, /^wait_time: expected a duration/],
    [{ by_name: [] }, /^by_name: expected an object/],
    [{ by_name: { a: 'x' } }, /^by_name\.a/],
    [{ exact: 1 }, /^exact: expected a string/],
    [{ exact: 'a', prefix: 'b' }, /^exact: only one of its alternatives/],
  ];
  for (const [json, message] of cases) t.throws(() => fromJson(tree, json), { message }, JSON.stringify(json));
});
