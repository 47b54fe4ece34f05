import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { posix } from 'node:path';
import t from 'tap';
import { filesOf, root } from '../support/source-files.ts';
import { pages } from './fences.ts';

/** The text of a page without code, where brackets are not links. */
function prose(page: string): string {
  const text = readFileSync(`${root}${page}`, 'utf8');
  return text
    .replace(/^( *)(`{3,})[\s\S]*?^ *\2 *$/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ''));
}

/** The anchor that GitHub makes of a heading. */
function anchorOf(heading: string): string {
  const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/[`*]/g, '');
  return plain
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');
}

function anchorsOf(page: string): ReadonlySet<string> {
  const headings = readFileSync(`${root}${page}`, 'utf8').matchAll(/^#{1,6} (.*)$/gm);
  const seen = new Map<string, number>();
  const anchors = new Set<string>();
  for (const [, heading = ''] of headings) {
    const anchor = anchorOf(heading);
    const times = seen.get(anchor) ?? 0;
    seen.set(anchor, times + 1);
    anchors.add(times === 0 ? anchor : `${anchor}-${times}`);
  }
  return anchors;
}

t.test('links between pages lead somewhere, their anchors too', async (t) => {
  for (const page of pages()) {
    for (const [, target = ''] of prose(page).matchAll(/\[[^\]]*\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : posix.normalize(posix.join(posix.dirname(page), path));
      t.ok(!file.startsWith('..') && existsSync(`${root}${file}`), `${page} → ${target}`);
      if (anchor === undefined || !file.endsWith('.md') || !existsSync(`${root}${file}`)) continue;
      t.ok(anchorsOf(file).has(anchor), `${page} → ${target}: the anchor exists`);
    }
  }
});

t.test('links to other sites are https', async (t) => {
  for (const page of pages()) {
    for (const [, target = ''] of prose(page).matchAll(/\]\((http:[^)\s]+)\)/g)) t.fail(`${page} → ${target}`);
  }
  t.pass('all');
});

t.test('every page of docs can be reached from the README', async (t) => {
  const reached = new Set(['README.md']);
  for (const page of reached) {
    for (const [, target = ''] of prose(page).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      const file = posix.normalize(posix.join(posix.dirname(page), target));
      if (file.endsWith('.md') && existsSync(`${root}${file}`)) reached.add(file);
      // A link to a folder shows the list of its pages.
      else if (statSync(`${root}${file}`, { throwIfNoEntry: false })?.isDirectory()) {
        for (const inside of pages()) if (inside.startsWith(`${file.replace(/\/$/, '')}/`)) reached.add(inside);
      }
    }
  }
  for (const page of pages()) {
    if (page.startsWith('docs/')) t.ok(reached.has(page), page);
  }
});

t.test('the list of decisions has each of them under its title', async (t) => {
  const page = `${root}docs/decisions/README.md`;
  const rows = filesOf('docs/decisions/0*.md').map((path) => {
    const [heading = ''] = readFileSync(`${root}${path}`, 'utf8').split('\n', 1);
    const [, number = '', title = ''] = /^# (\d{4}): (.+)$/.exec(heading) ?? [];
    t.ok(posix.basename(path).startsWith(`${number}-`), `${path} begins with its number and a title`);
    return `- [${number}](${posix.basename(path)}): ${title}.`;
  });
  const text = readFileSync(page, 'utf8');
  const begin = '<!-- decisions: written by UPDATE_DOCS=1 npx tap test/docs/links.test.ts --disable-coverage -->\n';
  const head = text.slice(0, text.indexOf(begin) + begin.length);
  t.ok(head.endsWith(begin), 'the page has its mark');
  const whole = `${head}\n${rows.join('\n')}\n`;
  if (process.env['UPDATE_DOCS'] === '1') writeFileSync(page, whole);
  else t.equal(text, whole, 'or run the command that is in the page');
});
