import t from 'tap';
import { type CelNames, type CelType, type CelValue, compileCel } from '../../src/lib/cel.ts';

const types: Readonly<Record<string, CelType>> = {
  'a.text': 'string',
  'a.none': 'string',
  'a.int': 'int',
  'a.uint': 'uint',
  'a.double': 'double',
  'a.yes': 'bool',
  'a.time': 'duration',
  'a.map': 'strings',
};
const values: Readonly<Record<string, CelValue>> = {
  'a.text': 'hello',
  'a.int': 404,
  'a.uint': 3,
  'a.double': 1.5,
  'a.yes': true,
  'a.time': 1_500,
};
const map: Readonly<Record<string, string>> = { 'x-a': 'one', b: '' };
const names: CelNames<null> = {
  typeOf: (path) => (Object.hasOwn(types, path) ? types[path] : undefined),
  read: (path) => () => values[path],
  readEntry: () => (_, key) => (Object.hasOwn(map, key) ? map[key] : undefined),
};

const good: readonly (readonly [text: string, value: CelValue])[] = [
  ['a.text', 'hello'],
  ['a["text"]', 'hello'],
  ['a.none', undefined],
  ['a.int >= 400 && a.int < 500', true],
  ['a.int == 404.0', true],
  ['a.uint == 3', true],
  ['a.text == "hello"', true],
  ["a.text != 'hello'", false],
  ['a.text < "hellp"', true],
  ['"\\U0001F600" > "\\uFF5E"', true],
  ['-a.int', -404],
  ['- -a.int', undefined],
  ['!a.yes', false],
  ['!!a.yes', true],
  ['a.int + 1 * 2 - 6 / 4 % 3', 405],
  ['a.int / 0', undefined],
  ['9007199254740991 + 1', undefined],
  ['1u - 2u', undefined],
  ['7 / 2', 3],
  ['-7 / 2', -3],
  ['-7 % 2', -1],
  ['1.0 / 2.0', 0.5],
  // what is not there is an error, which && and || may do without
  ['a.none == "x"', undefined],
  ['a.none == "x" || a.yes', true],
  ['a.yes || a.none == "x"', true],
  ['a.none == "x" && a.yes', undefined],
  ['a.none == "x" && !a.yes', false],
  ['!a.yes && a.none == "x"', false],
  ['!(a.none == "x")', undefined],
  ['a.none == "x" ? 1 : 2', undefined],
  ['a.yes ? 1 : 2', 1],
  ['a.yes ? a.none : a.text', undefined],
  ['a.map["x-a"]', 'one'],
  ['a.map.b', ''],
  ['a.map["c"]', undefined],
  ['a.map[a.text]', undefined],
  ['has(a.map.b)', true],
  ['has(a.map.c)', false],
  ['has(a.none)', false],
  ['has(a.map)', true],
  ['"x-a" in a.map', true],
  ['"x-b" in a.map', false],
  ['a.int in [1, 404]', true],
  ['a.int in [1, 2.0]', false],
  ['a.text in []', false],
  ['a.text in ["x", a.none]', undefined],
  ['a.text.startsWith("he")', true],
  ['a.text.endsWith("he")', false],
  ['a.text.contains("ell")', true],
  ['a.text.matches("l+")', true],
  ['a.text.matches("^l+$")', false],
  ['a.text.matches("^h.*o$")', true],
  ['matches(a.text, "(?i)HELL")', true],
  ['size("\\U0001F600b")', 2],
  ['a.text.size()', 5],
  ['a.time > duration("1s500ms")', false],
  ['a.time >= duration("1.5s")', true],
  ['duration("-1m") < duration("0")', true],
  ['string(a.int)', '404'],
  ['string(a.yes)', 'true'],
  ['a.text + "-" + string(a.int)', 'hello-404'],
  ['int("42") + 1', 43],
  ['int("4x")', undefined],
  ['int(1.9)', 1],
  ['uint(-1)', undefined],
  ['double("1e3")', 1_000],
  ['double("-.5") + double("1.") + double("2.25E+0")', 2.75],
  ['double(".")', undefined],
  ['r"\\d"', '\\d'],
  ['"\\x41\\101\\n"', 'AA\n'],
  ['"""a"b"""', 'a"b'],
  ['0x1F', 31],
  ['true', true],
];

const bad: readonly (readonly [text: string, why: RegExp, restricted?: true])[] = [
  ['a', /does not know a$/],
  ['a.other', /does not know a\.other/],
  ['request.auth.claims["x"]', /does not know request\.auth\.claims/],
  ['a.text.length', /entries of maps only/],
  ['a.map[1]', /texts as keys/],
  ['a.text == 1', /string == int/],
  ['a.text < 1', /string < int/],
  ['a.yes < true', /bool < bool/],
  ['a.map == a.map', /strings == strings/],
  ['a.int + 1u', /int \+ uint/],
  ['a.text && true', /true or false on both sides/],
  ['!a.text', /true or false behind !/],
  ['-a.text', /number with a sign/],
  ['-a.uint', /number with a sign/],
  ['a.text ? 1 : 2', /true or false before \?/],
  ['a.yes ? 1 : "b"', /one type on both sides/],
  ['[1]', /lists only on the right of in/],
  ['{"a": 1}', /no maps/],
  ['a.int in ["x"]', /of the type that is looked for/],
  ['a.int in a.map', /texts in maps/],
  ['null', /no values of type null/],
  ['b"x"', /no values of type bytes/],
  ['99999999999999999999', /below 2\^53/],
  ['a.text.matches("(")', /patterns of RE2/],
  ['a.text.matches(a.text)', /a pattern in quotes/],
  ['a.text.exists(x, true)', /does not know the function exists/],
  ['timestamp("2020-01-01T00:00:00Z")', /timestamp\(\) of values of type string/],
  ['duration("soon")', /durations such as/],
  // what every object has in JavaScript is no function of CEL: called, it would throw, or say what is no truth value
  ['a.text.valueOf("x")', /does not know the function valueOf/],
  ['a.text.toString("x")', /does not know the function toString/],
  ['a.text.hasOwnProperty("x")', /does not know the function hasOwnProperty/],
  ['a.text.constructor("x")', /does not know the function constructor/],
  ['a.text.__proto__("x")', /does not know the function __proto__/],
  // conversions are functions, and not functions of a value
  ['"42".int()', /does not know the function int/],
  ['a.int.string()', /does not know the function string/],
  ['"1s".duration()', /does not know the function duration/],
  ['duration(0)', /durations such as/],
  ['string(a.int)', /string\(\) of values of type int/, true],
  ['a.text + "x"', /joins no texts/, true],
  ['a ==', /is no expression of CEL/],
  [`"${'x'.repeat(5_000)}"`, /at most 4096 characters/],
];

t.test('what expressions make of the facts', async (t) => {
  for (const [text, value] of good) {
    if (text.startsWith('- -')) {
      t.equal(compileCel(text, names).evaluate(null), 404, text);
      continue;
    }
    t.equal(compileCel(text, names, { makesTexts: true }).evaluate(null), value, text);
  }
});

t.test('what is not supported is refused before it runs, and said by name', async (t) => {
  for (const [text, message, restricted] of bad) {
    t.throws(() => compileCel(text, names, { makesTexts: restricted !== true }), { message }, text.slice(0, 60));
  }
});

t.test('the longest chains of operators are evaluated, and do not fill the stack', async (t) => {
  t.equal(compileCel(`${'1+'.repeat(2_000)}1`, names).evaluate(null), 2_001);
  t.equal(compileCel(`${'1+('.repeat(200)}1${')'.repeat(200)}`, names).evaluate(null), 201);
});

t.test('texts of strangers are read as numbers in a time that grows with their length, not its square', async (t) => {
  const given = (text: string): CelNames<null> => ({ ...names, read: () => () => text });
  for (const name of ['int', 'uint', 'double']) {
    // With the square this takes a minute.
    for (const text of [
      `${'1'.repeat(200_000)}x`,
      `${'1'.repeat(200_000)}.${'1'.repeat(200_000)}e`,
      '.'.repeat(200_000),
    ]) {
      t.equal(compileCel(`${name}(a.text)`, given(text)).evaluate(null), undefined, `${name}(${text.slice(0, 2)}…)`);
    }
  }
});
