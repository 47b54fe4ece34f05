import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { describeSupport } from '../../src/config/support.ts';

const page = join(import.meta.dirname, '..', '..', 'docs', 'support.md');
const begin = '<!-- fields: written by UPDATE_DOCS=1 npx tap test/config/support-page.test.ts --disable-coverage -->\n';
const end = '<!-- end of fields -->';

t.test('docs/support.md says what the field tables say', async (t) => {
  const text = readFileSync(page, 'utf8');
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  t.ok(from !== -1 && to > from, 'the page has its two marks');
  const tables = `\n${describeSupport()}\n\n`;
  if (process.env['UPDATE_DOCS'] === '1') {
    writeFileSync(page, text.slice(0, from + begin.length) + tables + text.slice(to));
  } else t.equal(text.slice(from + begin.length, to), tables, 'or run the command that is in the page');
});
