import t from 'tap';
import { describeProblem } from '../../src/config/problem.ts';
import { parseYaml } from '../../src/config/yaml.ts';
import { yamlLimits } from '../../src/config/yaml-limits.ts';

const problemsOf = (text: string): readonly string[] => parseYaml(text, 'm.yaml').problems.map(describeProblem);
const valuesOf = (text: string): readonly unknown[] => parseYaml(text).documents.map((document) => document.value);

/** Nine levels of nine aliases: 387 million values. */
const laughs = [
  'kind: VirtualService',
  'metadata: {name: bomb, namespace: shop}',
  'a: &a [x,x,x,x,x,x,x,x,x]',
  ...[...'bcdefghi'].map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(',')}]`),
].join('\n');

t.test('documents become plain data; comments and empty documents are nothing', async (t) => {
  t.same(valuesOf('a: 1\n---\n# nothing\n---\nb: [x, true, 1.5, null]\n'), [{ a: 1 }, { b: ['x', true, 1.5, null] }]);
  t.same(valuesOf('{"a": {"b": []}}'), [{ a: { b: [] } }]);
  t.same(valuesOf(''), []);
  t.same(valuesOf('# only a comment\n'), []);
});

t.test('a byte order mark and CRLF are fine', async (t) => {
  t.same(valuesOf('\uFEFFa: 1\r\nb: 2\r\n'), [{ a: 1, b: 2 }]);
});

t.test('of anchors with one name the newest before an alias counts', async (t) => {
  t.same(valuesOf('a: &x 1\nb: *x\nc: &x {d: &y 2}\ne: [*x, *y]\n'), [{ a: 1, b: 1, c: { d: 2 }, e: [{ d: 2 }, 2] }]);
  t.same(valuesOf('a: &x 1\n---\nb: *x\n'), [], 'and it ends with its document');
});

t.test('escapes of all kinds are read', async (t) => {
  t.same(valuesOf('a: "\\x41\\u0042\\U00000043\\t\\\\\\"\\/\\N\\\n  x"\n'), [{ a: 'ABC\t\\"/\u0085x' }]);
});

t.test('aliases are copies', async (t) => {
  t.same(valuesOf('a: &x {b: 1}\nc: *x\n'), [{ a: { b: 1 }, c: { b: 1 } }]);
});

t.test('keys that are dangerous in JavaScript are plain keys', async (t) => {
  const [value] = valuesOf('__proto__: {polluted: 1}\nconstructor: {prototype: {polluted: 1}}\n');
  t.same(Object.keys(value as object), ['__proto__', 'constructor']);
  t.equal(Object.getPrototypeOf(value), Object.prototype);
  t.equal(({} as { polluted?: number }).polluted, undefined);
});

t.test('nothing is interpolated', async (t) => {
  t.same(valuesOf('jwks: $' + '{file:/etc/passwd}\n'), [{ jwks: '$' + '{file:/etc/passwd}' }]);
});

t.test('positions are those of values, or of keys, or of the nearest parent', async (t) => {
  const [document] = parseYaml('spec:\n  http:\n  - name: a\n    timeout: 1s\n').documents;
  t.same(document?.locate(['spec', 'http', 0, 'timeout']), { line: 4, column: 14 });
  t.same(document?.locate(['spec', 'http', 0, 'timeout'], true), { line: 4, column: 5 });
  t.same(document?.locate(['spec', 'http', 0, 'missing', 'more'], true), { line: 3, column: 5 });
  t.same(document?.locate([]), { line: 1, column: 1 });
});

t.test('what came through an alias is placed where the alias is', async (t) => {
  const [document] = parseYaml('a: &x {b: 1}\nc: *x\n').documents;
  t.same(document?.locate(['c', 'b']), { line: 2, column: 4 });
  t.same(document?.locate(['a', 'b']), { line: 1, column: 11 });
});

const refusals: readonly (readonly [what: string, text: string, message: string])[] = [
  [
    'a duplicate key',
    'kind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n  action: DENY\n  action: ALLOW\n',
    'm.yaml:5:3: AuthorizationPolicy shop/p: spec.action: is there twice; every key may appear once',
  ],
  ['an unknown tag', 'a: !!js/function "function(){}"\n', 'm.yaml:1:4: a: has a tag that is not known'],
  ['a tab as indentation', 'a:\n\tb: 1\n', 'm.yaml:2:1: '],
  ['an unclosed quote', 'a: "b\n', 'm.yaml:2:1: a: Missing closing'],
  ['an unclosed list', 'a: [1, 2\n', 'm.yaml:2:1: a: '],
  ['an alias without an anchor', 'spec:\n  a: *b\n', 'm.yaml:2:6: spec.a: alias *b names no anchor before it'],
  ['another YAML version', '%YAML 1.1\n---\na: yes\n', '%YAML 1.1 is not supported; only 1.2 is'],
  ['an octal number', 'port: 0o14\n', 'm.yaml:1:7: port: must be a number in plain decimal notation, got 0o14'],
  ['a number with a leading zero', 'port: 012\n', 'must be a number in plain decimal notation, got 012'],
  ['a hexadecimal number', 'port: 0x50\n', 'must be a number in plain decimal notation, got 0x50'],
  ['infinity', 'a: .inf\n', 'must be a number in plain decimal notation, got .inf'],
  ['not a number', 'a: .NaN\n', 'must be a number in plain decimal notation, got .NaN'],
  ['a key that is no text', '? {a: b}\n: c\n', 'm.yaml:1:3: '],
  ['a NUL byte', 'a: b\u0000c\n', 'm.yaml:1:5: a: contains the control character U+0000'],
  ['an escape character', 'x: 1\na: \u001B[31m\n', 'm.yaml:2:4: a: contains the control character U+001B'],
  ['a billion laughs', laughs, 'VirtualService shop/bomb: e[0][0]'],
  ['many aliases', `a: &a x\nb: [${Array(5_000).fill('*a').join(',')}]`, 'has more than 1000 aliases'],
  ['an alias of itself', 'a: &x [*x]\n', 'm.yaml:1:8: a[0][0][0]: is nested deeper than 64 levels'],
  ['many tags', `a: [${'!!str x, '.repeat(2_000)}]`, 'has more than 1000 anchors and tags, got !!str'],
  ['many anchors', `a: [${'&a x, '.repeat(2_000)}]`, 'has more than 1000 anchors and tags, got &a'],
  ['an unknown escape', 'a: "b\\\\\\q"\n', 'm.yaml:1:8: a: has an escape sequence that is not known, got \\q'],
  [
    'an escape without its digits',
    'a: "\\u12 "\n',
    'm.yaml:1:5: a: has an escape sequence that is not known, got \\u12 ',
  ],
  [
    'a key that is there 1,000 times',
    `x: &a {y: 1}\n${'a: 1\n'.repeat(1_000)}`,
    'm.yaml:3:1: a: is there twice; every key may appear once',
  ],
  ['deep flow lists', '['.repeat(100_000), 'm.yaml:1:65: is nested deeper than 64 levels'],
  ['deep flow maps', '{a: '.repeat(100_000), 'is nested deeper than 64 levels'],
  ['deep block lists', '- '.repeat(100_000), 'is nested deeper than 64 levels'],
  ['deep explicit keys', '? '.repeat(100_000), 'is nested deeper than 64 levels'],
  [
    'deep block maps',
    Array.from({ length: 80 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'),
    'is nested deeper than 64',
  ],
  ['too many values', `[${Array(300_000).fill('1').join(',')}]`, `has more than ${yamlLimits.maxValues} values`],
  ['too many bytes', 'a'.repeat(10_000_000), 'm.yaml:1:1: must have at most 4194304 bytes, got 10000000'],
  ['too many bytes in UTF-8', 'é'.repeat(3_000_000), 'm.yaml:1:1: must have at most 4194304 bytes, got 6000000'],
];

for (const [what, text, message] of refusals) {
  t.test(`${what} is refused with its place`, async (t) => {
    const [first = 'accepted', ...others] = problemsOf(text);
    t.ok(first.includes(message), first);
    for (const each of [first, ...others]) t.match(each, /^m\.yaml:\d+:\d+: /);
    t.same(parseYaml(text).documents, []);
  });
}

t.test('a bomb is refused by name, with the alias that was too much', async (t) => {
  const head = 'kind: VirtualService\nmetadata:\n  namespace: shop\n  name: bomb\n';
  t.same(problemsOf(`a: 1\n---\n${head}x: &a y\nspec: [${Array(2_000).fill('*a').join(', ')}]\n`), [
    'm.yaml:8:4008: VirtualService shop/bomb: spec: has more than 1000 aliases, got *a',
  ]);
  t.match(problemsOf(laughs), [
    /^m\.yaml:\d+:\d+: VirtualService shop\/bomb: [a-i][^:]*: aliases stand for more than 10000 values, got \*\w$/,
  ]);
});

t.test('one bad document refuses the whole file', async (t) => {
  const { documents, problems } = parseYaml('a: 1\n---\nb: [\n');
  t.same(documents, []);
  t.ok(problems.length > 0);
});

t.test('decimal numbers of every kind stay numbers', async (t) => {
  t.same(valuesOf('[0, -1, 10, 1.5, 1e3, 2.5E-1]'), [[0, -1, 10, 1.5, 1_000, 0.25]]);
});

t.test('keys are text: a port number is a key of its own', async (t) => {
  t.same(valuesOf('8080: {a: 1}\n'), [{ '8080': { a: 1 } }]);
});

t.test('what YAML 1.1 takes for booleans is text', async (t) => {
  t.same(valuesOf('[NO, yes, on, y]'), [['NO', 'yes', 'on', 'y']]);
});
