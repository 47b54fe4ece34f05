import t from 'tap';
import { root, sourceFiles } from './support/source-files.ts';

const programs: ReadonlySet<string> = new Set(['packages/cli/src/main.ts']);

// tap counts only files that some test loads; this makes the others count, with nothing covered.
t.test('every source file loads, and has named exports only', async (t) => {
  for (const { path, text } of sourceFiles()) {
    // A program acts when it is loaded; its own test starts it.
    if (programs.has(path) || text.startsWith('#!')) continue;
    const module: object = await import(`${root}${path}`);
    t.notOk('default' in module, path);
  }
});
