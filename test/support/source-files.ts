import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The folder of package.json, with a trailing slash. */
export const root: string = fileURLToPath(new URL('../../', import.meta.url));

/** One source file: path from the root with forward slashes, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** The text without comments, for searches that must not find words in prose. */
  readonly code: string;
}

/** Every file that matches, sorted, without installed packages and build output. */
export function filesOf(...patterns: readonly string[]): readonly string[] {
  return globSync([...patterns], { cwd: root, exclude: ['**/node_modules/**', '**/dist/**'] })
    .map((path) => path.replaceAll('\\', '/'))
    .sort();
}

/** The published source: `src` and each `packages/<name>/src`. */
export function sourceFiles(): readonly SourceFile[] {
  return filesOf('src/**/*.ts', 'packages/*/src/**/*.ts').map((path) => {
    const text = readFileSync(`${root}${path}`, 'utf8');
    return { path, text, code: withoutComments(text) };
  });
}

/** Keeps line numbers. Good for formatted code: a comment starts its line or follows a space. */
function withoutComments(text: string): string {
  const blockless = text.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''));
  return blockless.replace(/(^|\s)\/\/ .*$/gm, '');
}
