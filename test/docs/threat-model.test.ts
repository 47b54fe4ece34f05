import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import t from 'tap';
import { root } from '../support/source-files.ts';

const page = readFileSync(`${root}docs/threat-model.md`, 'utf8');
const section = (heading: string): string => page.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
const rows = (text: string): readonly string[] => text.split('\n').filter((line) => /^\| (?!-|[a-z]+ \|)/.test(line));
const fixtures = readdirSync(`${root}test/fixtures`, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.json'))
  .map((file) => readFileSync(`${root}test/fixtures/${file}`, 'utf8'));

t.test('every defence names a test that is there, and cases that the test has', async (t) => {
  for (const heading of ['What is defended', 'What fails closed']) {
    const claims = rows(section(heading)).filter((row) => row.includes('](../'));
    t.ok(claims.length > 10);
    for (const claim of claims) {
      const shown = [...claim.matchAll(/\]\(\.\.\/((?:test|packages)\/[^)]+\.ts)\)/g)].map(([, file = '']) => file);
      t.ok(shown.length > 0, claim.slice(0, 60));
      for (const file of shown) t.ok(existsSync(`${root}${posix.normalize(file)}`), file);
      const texts = [...shown.map((file) => readFileSync(`${root}${file}`, 'utf8')), ...fixtures];
      for (const [id = ''] of claim.matchAll(/\b[A-Z]+-\d{3}\b/g)) {
        t.ok(
          texts.some((text) => text.includes(id)),
          `${id} is run`,
        );
      }
    }
    const unshown = rows(section(heading)).filter((row) => !claims.includes(row) && !/^\| (threat|event) /.test(row));
    t.same(unshown, [], 'no claim without a test');
  }
});

t.test('every room and every package has a posture', async (t) => {
  const posture = section('Posture');
  const folders = (path: string): readonly string[] =>
    readdirSync(`${root}${path}`, { withFileTypes: true }).flatMap((each) => (each.isDirectory() ? [each.name] : []));
  for (const room of folders('src')) {
    if (room === 'exports') continue;
    t.match(posture, new RegExp(`\`${room}\``), room);
  }
  for (const name of folders('packages')) t.match(posture, new RegExp(`\`@inmesh/${name}\``), name);
});

const postures = [
  'robust to untrusted downstream',
  'robust to untrusted downstream and upstream',
  'requires trusted downstream and upstream',
  'data plane agnostic',
];

/** The names in the cells of a row that stand in back-quotes, with its posture. */
const posturesOf = (text: string): ReadonlyMap<string, string> =>
  new Map(
    rows(text).flatMap((row) => {
      const cells = row.split('|').map((cell) => cell.trim());
      const posture = cells.find((cell) => postures.includes(cell)) ?? cells[2] ?? '';
      const names = cells.filter((cell) => /^(`[^`]+`(, )?)+$/.test(cell)).join(', ');
      return [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => [name, posture] as const);
    }),
  );

t.test('features have the postures of their parts, in the words of Envoy', async (t) => {
  const model = readFileSync(`${root}docs/security-model.md`, 'utf8');
  const parts = posturesOf(section('Posture'));
  const features = posturesOf(model.split('\n## Posture of features\n')[1] ?? '');
  t.ok(parts.size > 25 && features.size > 20);
  for (const [part, posture] of parts) t.ok(postures.includes(posture), `${part}: ${posture}`);
  for (const [part, posture] of features) t.equal(posture, parts.get(part), part);
  const inner = ['host', 'pipeline', 'runtime', 'model', 'lib'];
  const rooms = readdirSync(`${root}src`, { withFileTypes: true }).flatMap((each) =>
    each.isDirectory() ? [each.name] : [],
  );
  for (const room of rooms) {
    if (room !== 'exports' && !inner.includes(room)) t.ok(features.has(room), `${room} belongs to a feature`);
  }
});

t.test('what fails closed in the security model is shown by tests of these names', async (t) => {
  const model = readFileSync(`${root}docs/security-model.md`, 'utf8');
  const claims = rows(model.split('\n## What fails closed\n')[1]?.split('\n## ')[0] ?? '').filter((row) =>
    row.includes(']('),
  );
  t.ok(claims.length >= 7);
  for (const claim of claims) {
    const [, file = '', name = ''] = /\]\(\.\.\/([^)]+)\) "([^"]+)"/.exec(claim) ?? [];
    t.ok(name !== '' && readFileSync(`${root}${file}`, 'utf8').includes(name), claim.slice(0, 60));
  }
});
