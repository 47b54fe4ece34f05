import t from 'tap';
import { printable } from '../../src/lib/printable.ts';

const cases: readonly (readonly [text: string, shown: string])[] = [
  ['connect ENOENT /run/agent.sock', 'connect ENOENT /run/agent.sock'],
  ['two\nlines\r\n', 'two?lines??'],
  ['\u001b[31mred\u0000\u009b', '?[31mred??'],
  ['a\u202eb\u2028c\u200bd', 'a?b?c?d'],
  ['größer', 'größer'],
  ['connect ENOENT /a. Resolution note: ', 'connect ENOENT /a.'],
  ['connect ENOENT /a. Resolution note: none', 'connect ENOENT /a. Resolution note: none'],
  ['', ''],
];
for (const [text, shown] of cases) {
  t.test(`shows ${encodeURIComponent(text)}`, async (t) => t.equal(printable(text), shown));
}

t.test('is of bounded length', async (t) => {
  t.equal(printable('x'.repeat(600)).length, 500);
  t.equal(printable('abc', 2), 'ab');
});
