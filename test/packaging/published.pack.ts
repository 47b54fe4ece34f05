import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runPlainly } from '../support/plain-environment.ts';
import { root } from '../support/source-files.ts';
import { packAll, temporaryFolder } from './tarballs.ts';

const folder = temporaryFolder('packed');
t.teardown(() => folder.remove());
const tarballs = packAll(folder.path);
const bin = (name: string): string => join(root, 'node_modules/.bin', name);

for (const { name, folder: home, path, files, entries } of tarballs) {
  t.test(`${name} publishes what it should, and nothing else`, async (t) => {
    for (const wanted of ['package.json', 'LICENSE', 'README.md', 'dist/index.js', 'dist/index.d.ts', 'src/index.ts']) {
      t.ok(files.includes(wanted), wanted);
    }
    for (const file of files) {
      t.match(
        file,
        /^(package\.json|LICENSE|README\.md|docs\/CHANGELOG\.md|bin\/inmesh\.js|(dist|src)\/[\w./-]+)$/,
        file,
      );
      t.notMatch(file, /tsbuildinfo|tsconfig|\.test\.|node_modules/, file);
      if (!file.startsWith('dist/')) continue;
      const source = file.replace(/^dist/, 'src').replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts');
      t.ok(files.includes(source), `${file} is built from ${source}`);
    }
    t.equal(readFileSync(join(home, 'LICENSE'), 'utf8'), readFileSync(join(root, 'LICENSE'), 'utf8'), 'LICENSE');
    t.ok(entries.includes('.'), 'main entry');
  });

  t.test(`${name} passes publint`, async (t) => {
    const { status, stdout, stderr } = runPlainly(bin('publint'), ['run', '--strict', path], root);
    t.equal(status, 0, stdout + stderr);
    t.notMatch(stdout, /warning|suggestion/i, 'not even a suggestion');
  });

  t.test(`${name} passes attw`, async (t) => {
    const { status, stdout, stderr } = runPlainly(bin('attw'), ['--profile', 'esm-only', '--no-emoji', path], root);
    t.equal(status, 0, stdout + stderr);
  });
}
