import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

interface Plan {
  readonly rooms: readonly { readonly name: string; readonly files: readonly string[] }[];
  readonly alone: readonly string[];
}
interface Rooms {
  readonly alone: Readonly<Record<string, string>>;
  planRooms(files: readonly string[]): Plan;
  testFiles(): readonly string[];
}

const root = fileURLToPath(new URL('..', import.meta.url));
const { alone, planRooms, testFiles }: Rooms = await import(`${root}.ci/rooms.mjs`);
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));

t.test('npm test runs every test file, and none twice', async (t) => {
  t.match(manifest.scripts.test, /^node \.ci\/rooms\.mjs run && /);
  const plan = planRooms(testFiles());
  const run = [...plan.rooms.flatMap(({ files }) => files), ...plan.alone];
  // What tap itself finds by the patterns in package.json.
  const expected = execFileSync(`${root}node_modules/.bin/tap`, ['list'], { cwd: root, encoding: 'utf8' });
  t.same([...run].sort(), expected.trim().split('\n').sort());
  t.ok(run.length > 300);
});

t.test('rooms stay small; files with a process for themselves exist and say why', async (t) => {
  const { rooms } = planRooms(testFiles());
  for (const { name, files } of rooms) t.ok(files.length > 0 && files.length <= 16, name);
  t.equal(new Set(rooms.map(({ name }) => name)).size, rooms.length);
  for (const [file, reason] of Object.entries(alone)) {
    t.ok(existsSync(`${root}${file}`), file);
    t.ok(reason.length > 10, `${file}: ${reason}`);
  }
});

t.test('in a room, every file has hooks, folders and failures of its own', async (t) => {
  const file = (name: string): string => `${relative(root, t.testdirName)}/${name}.test.ts`;
  const names = ['first', 'wrong', 'broken', 'late', 'none', 'last'];
  const folder = t.testdir({
    'first.test.ts': `import t from 'tap';
      t.teardown(() => console.log('first is torn down'));
      t.test('good', async (t) => void t.match(t.testdirName, /first[.]test[.]ts-good$/));`,
    'wrong.test.ts': `import t from 'tap';
      console.log('wrong begins');
      t.test('bad', async (t) => void t.equal(1, 2));`,
    'broken.test.ts': `import t from 'tap';
      import './missing.ts';`,
    'late.test.ts': `import t from 'tap';
      t.test('throws', async () => {
        setTimeout(() => { throw new Error('too late'); }, 1);
        await new Promise((resolve) => setTimeout(resolve, 1_000));
      });`,
    'none.test.ts': 'export const nothing = 1;',
    'last.test.ts': `import t from 'tap';
      t.test('good', async (t) => void t.pass());`,
    'room.mjs': `import { runRoom } from ${JSON.stringify(`${root}.ci/room.mjs`)};
      runRoom(${JSON.stringify(names.map(file))});`,
  });
  const { status, stdout } = spawnSync(process.execPath, [`${folder}/room.mjs`], { cwd: root, encoding: 'utf8' });
  t.equal(status, 1);
  const outcomes = [...stdout.matchAll(/^((?:not )?ok) \d+ - \S*\/(\w+)\.test\.ts/gm)].map(
    ([, ok, name]) => `${name}: ${ok}`,
  );
  t.same(outcomes, ['first: ok', 'wrong: not ok', 'broken: not ok', 'late: not ok', 'none: not ok', 'last: ok']);
  t.match(stdout, /first is torn down[\s\S]*wrong begins/);
  t.match(stdout, /missing\.ts/);
  t.match(stdout, /too late/);
  t.match(stdout, /does not import tap/);
});
