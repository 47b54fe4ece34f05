import t from 'tap';
import { isCelExpression } from '../../src/lib/cel-syntax.ts';

const good: readonly string[] = [
  'true',
  'response.code >= 400',
  'a.b.c == "x" && !(d || e)',
  '-1 + 2 * 3 % 4 - 0x1F / 5u',
  '1.5e10 < .5 || 1e3 > 2.0',
  'r\'\\d+\' == b\'x\' || rb"a" != "b\\"c"',
  '"""a\n"b" c""" == \'\'\'d\'\'\'',
  'a in [1, 2, 3,]',
  '{"a": 1, "b": [x]}["a"]',
  'has(a.b) ? a.b : "none"',
  'a ? b : c ? d : e',
  'a.exists(x, x.startsWith("y"))',
  'a["b"].c(d, e)[0]',
  'google.protobuf.Duration{seconds: 1, nanos: 2}',
  '.a.b',
  'a.exists(x)',
  'a // why\n == b',
  'connection.mtls\n  && source.`x-y` == 1',
];
const bad: readonly string[] = [
  '',
  '  ',
  '// nothing',
  'a =',
  'a = b',
  'a == ',
  '== a',
  'a b',
  '(a',
  'a)',
  '[a, b',
  '[?a]',
  'f(a,,b)',
  '{a}',
  '{a: }',
  'a ? b',
  'a ? : b',
  'a.',
  'a.1b.',
  'a[',
  'a[]',
  '"open',
  "'a\nb'",
  'a & b',
  'a | b',
  'in',
  'if',
  'a; b',
  '#a',
  `${'('.repeat(500)}a${')'.repeat(500)}`,
];

for (const text of good) t.test(`an expression: ${text}`, async (t) => void t.equal(isCelExpression(text), true));
for (const text of bad) {
  t.test(`no expression: ${text.slice(0, 20)}`, async (t) => void t.equal(isCelExpression(text), false));
}
