import { stripTypeScriptTypes } from 'node:module';
import t from 'tap';
import { sourceFiles } from '../support/source-files.ts';

/** The examples in the comments of a file, with the line where each begins. */
function examplesOf(text: string): readonly { readonly line: number; readonly code: string }[] {
  return [...text.matchAll(/^( *)\/\*\*\n(?:\1 \*.*\n)*?\1 \* @example\n((?:\1 \*(?! @|\/).*\n)+)/gm)].map((match) => {
    const [whole, indent = '', body = ''] = match;
    const before = text.slice(0, match.index + whole.length - body.length);
    const code = body.replaceAll(`${indent} * `, '').replaceAll(`${indent} *`, '');
    return { line: before.split('\n').length, code: code.replace(/^```.*$/gm, '') };
  });
}

// The function is experimental and says so on every run; nothing but this test depends on it.
process.removeAllListeners('warning');

t.test('examples in comments are TypeScript', async (t) => {
  for (const { path, text } of sourceFiles()) {
    for (const { line, code } of examplesOf(text)) {
      // Within a function nothing can be exported.
      const body = code.replace(/^export /gm, '');
      t.doesNotThrow(() => stripTypeScriptTypes(`async () => {\n${body}\n};`), `${path}:${line}`);
    }
  }
});

t.test('examples use names that their file knows or that users can import', async (t) => {
  const published = sourceFiles()
    .filter(({ path }) => /^(src\/(index|exports\/[a-z-]+)|packages\/[a-z]+\/src\/index)\.ts$/.test(path))
    .map(({ code }) => code)
    .join('\n');
  for (const { path, text, code: source } of sourceFiles()) {
    for (const { line, code } of examplesOf(text)) {
      for (const [, name = ''] of code.matchAll(/(?<![.\w])([a-z]\w*)\(/g)) {
        if (['if', 'for', 'while', 'require', 'fetch', 'createServer', 'express', 'fastify'].includes(name)) continue;
        const word = new RegExp(`\\b${name}\\b`);
        t.ok(word.test(source) || word.test(published), `${path}:${line}: ${name}`);
      }
    }
  }
});
