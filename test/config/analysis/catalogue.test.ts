import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { catalogue, type FindingCode, linkTo, reaches } from '../../../src/config/analysis/catalogue.ts';

const codes = Object.keys(catalogue) as FindingCode[];
const page = readFileSync(join(import.meta.dirname, '../../../docs/reference/analysis.md'), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| ['));

t.test('the page has a row for each code, in the order of the catalogue, and no other', async (t) => {
  t.same(
    rows,
    codes.map((code) => {
      const { name, class: about, severity } = catalogue[code];
      return `| [${code}](#${code.toLowerCase()}) | ${name} | ${about} | ${severity} |`;
    }),
  );
});

t.test('the page explains each code in a section of its own, and nothing else', async (t) => {
  const sections = [...page.matchAll(/^## (.*)\n\n(.*)/gm)];
  t.same(
    sections.map(([, heading]) => heading),
    codes,
  );
  for (const [, heading, text] of sections) t.ok((text ?? '').length > 40, `${heading} is explained`);
});

t.test('a link names the page and the section', async (t) => {
  t.equal(linkTo('IST0106'), 'docs/reference/analysis.md#ist0106');
});

t.test('names and severities', async (t) => {
  for (const code of codes) t.match(catalogue[code].name, /^[A-Z][A-Za-z]+$/);
  t.equal(new Set(codes.map((code) => catalogue[code].name)).size, codes.length, 'no name twice');
  t.ok(reaches('error', 'warning') && reaches('warning', 'warning') && !reaches('info', 'warning'));
  t.ok(reaches('info', 'info') && !reaches('warning', 'error'));
});
