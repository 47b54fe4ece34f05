import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { filesOf, root } from '../support/source-files.ts';

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

const manifests = filesOf('package.json', 'packages/*/package.json').map(
  (path): Manifest => JSON.parse(readFileSync(`${root}${path}`, 'utf8')),
);

/** The rows of the three tables of the page, in order. */
const tables = readFileSync(`${root}docs/dependencies.md`, 'utf8')
  .split(/^\|[- |:]+\|$/m)
  .slice(1)
  .map((part) => part.split('\n').filter((line) => line.startsWith('| `')));

/** `undici < inmesh` for each pair of dependency and user. */
function pairs(rows: readonly string[]): readonly string[] {
  return rows.flatMap((row) => {
    const [, name = '', users = ''] = row.split('|');
    const quoted = (cell: string): readonly string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
    return quoted(users).map((user) => `${quoted(name)[0]} < ${user}`);
  });
}

const declared = (field: 'dependencies' | 'peerDependencies'): readonly string[] =>
  manifests.flatMap((manifest) => Object.keys(manifest[field] ?? {}).map((name) => `${name} < ${manifest.name}`));

t.test('docs/dependencies.md has a row for each dependency, and no other', async (t) => {
  const [dependencies = [], peers = [], development = []] = tables;
  t.same(pairs(dependencies).toSorted(), declared('dependencies').toSorted(), 'dependencies');
  t.same(pairs(peers).toSorted(), declared('peerDependencies').toSorted(), 'peer dependencies');
  const names = development.map((row) => /`([^`]+)`/.exec(row)?.[1] ?? '');
  const wanted = manifests.flatMap(({ devDependencies }) => Object.keys(devDependencies ?? {}));
  t.same(names.toSorted(), wanted.toSorted(), 'development dependencies');
});

t.test('every row gives its reasons', async (t) => {
  for (const row of tables.flat()) {
    const cells = row.split('|').slice(1, -1);
    t.ok(
      cells.every((cell) => cell.trim() !== ''),
      row,
    );
  }
});

t.test('versions are exact; ranges are for peers', async (t) => {
  for (const { name, dependencies, devDependencies } of manifests) {
    for (const [dependency, version] of Object.entries({ ...dependencies, ...devDependencies })) {
      t.match(version, /^(npm:[a-z]+@)?\d+\.\d+\.\d+$/, `${name}: ${dependency} ${version}`);
    }
  }
});

t.test('the lock file is complete, also for other platforms than this one', async (t) => {
  const { status, stderr } = spawnSync(process.execPath, [`${root}.ci/complete-lock.mjs`, '--check'], {
    encoding: 'utf8',
  });
  t.equal(status, 0, stderr);
});
