import t from 'tap';
import { parseStrictJson } from '../../src/lib/strict-json.ts';

const limits = { maxLength: 1_000, maxDepth: 4 };
const parse = (text: string): unknown => parseStrictJson(text, limits);

t.test('reads what JSON.parse reads', async (t) => {
  for (const text of [
    '{}',
    '[]',
    '"a"',
    'null',
    '1.5',
    '-3',
    '[1,{"a":[2]},"{\\"b\\":1}"]',
    ' { "a" : "x,y:{[" , "b" : { "a" : true } } ',
    '[{"a":1},{"a":2}]',
    '{"a":"a","b":"a"}',
    '{"a":["b","b"],"b":1}',
    '{"a\\\\":1,"a":2}',
  ]) {
    t.same(parse(text), JSON.parse(text), text);
  }
});

t.test('refuses a name that appears twice in one object, however it is written', async (t) => {
  for (const [text, name] of [
    ['{"keys":[],"keys":[]}', 'keys'],
    ['{"a":{"b":1,"b":1}}', 'b'],
    ['[{"a":1,"b":{},"a":2}]', 'a'],
    ['{"a":1,"\\u0061":2}', 'a'],
    ['{"__proto__":1,"__proto__":2}', '__proto__'],
    ['{"":1,"":2}', ''],
  ] as const) {
    t.throws(() => parse(text), new SyntaxError(`the name ${JSON.stringify(name)} appears twice`), text);
  }
});

t.test('keeps whole numbers exact', async (t) => {
  t.equal(parse('18446744073709551615'), 2n ** 64n - 1n);
  t.equal(parse('-9007199254740993'), -9_007_199_254_740_993n);
  t.equal(parse('9007199254740991'), Number.MAX_SAFE_INTEGER);
  t.equal(parse('1e400'), Number.POSITIVE_INFINITY, 'what is no whole number in decimal stays a number');
  t.equal(parse('9007199254740993.5'), 9_007_199_254_740_994);
});

t.test('refuses what is too long, too deep or no JSON, without quoting it', async (t) => {
  t.throws(() => parse('"'.padEnd(1_001)), new SyntaxError('longer than 1000 characters'));
  t.same(parse('[[[[]]]]'), [[[[]]]]);
  t.throws(() => parse('[[[[[]]]]]'), new SyntaxError('nested deeper than 4'));
  const few = (text: string): unknown => parseStrictJson(text, { ...limits, maxValues: 3 });
  t.same(few('["a,b,c,d",{"a":2}]'), ['a,b,c,d', { a: 2 }]);
  for (const text of ['[1,2,3,4]', '{"a":1,"b":2,"c":3,"d":4}', '[[1,2],[3,4]]', '[,,,,']) {
    t.throws(() => few(text), new SyntaxError('more than 3 values'), text);
  }
  for (const text of [
    '',
    '{',
    '{"a"}',
    '"secret',
    '"\\',
    '{"\\x":1}',
    '[1,]',
    '}',
    '{"a":1}}',
    'secret',
    '{"a":1,,}',
  ]) {
    t.throws(() => parse(text), new SyntaxError('not JSON'), text);
  }
});
