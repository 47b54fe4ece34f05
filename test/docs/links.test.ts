import { existsSync, readFileSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import t from 'tap';
import { root } from '../support/source-files.ts';
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
