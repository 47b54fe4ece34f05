import { readFileSync } from 'node:fs';
import { filesOf, root } from '../support/source-files.ts';

/**
 * One fenced block of a page. The first word after the back-quotes is the language, the rest are
 * marks; `docs/CONTRIBUTING.md` lists them.
 */
export interface Fence {
  /** Path of the page from the root. */
  readonly page: string;
  /** Line of the opening back-quotes, from 1. */
  readonly line: number;
  readonly language: string;
  /** `fragment`, `types`, `run`, `refused` … */
  readonly marks: readonly string[];
  /** `file=mesh/reviews.yaml`: the name under which the other blocks of the page find it. */
  readonly file?: string;
  readonly text: string;
}

/** What people read: the README files and everything in docs. */
export function pages(): readonly string[] {
  return filesOf('README.md', 'docs/**/*.md', 'packages/*/README.md', 'examples/**/README.md');
}

/** The fenced blocks of one page. Indented blocks (in lists) lose their indentation. */
export function fencesOf(page: string): readonly Fence[] {
  const lines = readFileSync(`${root}${page}`, 'utf8').split('\n');
  const fences: Fence[] = [];
  for (let i = 0; i < lines.length; i++) {
    const open = /^( *)(`{3,})(.*)$/.exec(lines[i] ?? '');
    if (open === null) continue;
    const [, indent = '', ticks = '', info = ''] = open;
    const line = i + 1;
    const body: string[] = [];
    for (i++; i < lines.length && (lines[i] ?? '').trim() !== ticks; i++) {
      body.push((lines[i] ?? '').slice(indent.length));
    }
    if (i === lines.length) throw new Error(`${page}:${line}: this block is never closed`);
    const [language = '', ...rest] = info.trim().split(/\s+/);
    const file = rest.find((word) => word.startsWith('file='))?.slice('file='.length);
    const marks = rest.filter((word) => !word.startsWith('file='));
    fences.push({ page, line, language, marks, text: `${body.join('\n')}\n`, ...(file === undefined ? {} : { file }) });
  }
  return fences;
}
