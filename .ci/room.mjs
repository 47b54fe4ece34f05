// Runs test files in one process, each as a subtest with the file's name. What a file gets by `import t from 'tap'` is that
// subtest: hooks, teardowns, time limits and folders are the file's own, as when it has a process for itself.

import { registerHooks } from 'node:module';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';

const key = 'inmesh.room';
/** The subtest of each file, by its URL. */
const subtests = new Map();
const taken = new Set();
globalThis[Symbol.for(key)] = (url) => {
  taken.add(url);
  return subtests.get(url);
};

registerHooks({
  resolve(specifier, context, next) {
    if (specifier !== 'tap' || !subtests.has(context.parentURL)) return next(specifier, context);
    const url = JSON.stringify(context.parentURL);
    const source = `export default globalThis[Symbol.for('${key}')](${url});`;
    return { url: `data:text/javascript,${encodeURIComponent(source)}`, format: 'module', shortCircuit: true };
  },
});

/** Runs files, given as paths from the root of the repository, one after the other. */
export function runRoom(files) {
  const root = process.cwd();
  const timeout = Number(process.env.TAP_TIMEOUT || 30) * 1000;
  // Each file has as much time as it has alone.
  t.setTimeout(timeout * files.length);
  for (const file of files) {
    t.test(file, { timeout }, async (subtest) => {
      const { href } = pathToFileURL(resolve(root, file));
      subtests.set(href, subtest);
      subtest.testdirName = resolve(root, '.tap/fixtures', file.replaceAll(/[^a-zA-Z0-9._-]+/g, '-'));
      await import(href);
      if (!taken.has(href)) subtest.fail('does not import tap: none of its tests has run');
    });
  }
}
