// Which test files share a process. tap starts one process for each file, and starting it takes more than a second of a
// processor: for most files more than their tests do. So the files of a folder run in a few processes, its rooms (room.mjs).
//
//   node .ci/rooms.mjs run                 runs all tests as `npm test` does; options go to tap
//   node .ci/rooms.mjs run test/retry …    only these folders and files, without coverage
//   node .ci/rooms.mjs long                runs the long tests, each in a process of its own; options go to tap
//   node .ci/rooms.mjs list --host         what tap is to run, without the tests that depend on nothing of Node.js
//
// A single file still runs by itself: `npx tap test/route/answer.test.ts --disable-coverage`.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/** No room has more files: rooms are to be small, so that both jobs end at about the same time. */
const filesPerRoom = 16;

/** Folders with fewer files share rooms with other such folders. */
const filesOfOwnRoom = 8;

/** Test files that have a process for themselves, and why. */
export const alone = {
  'test/breaker/breaker.test.ts': 'measures the heap',
  'test/e2e/outbound-attacks.test.ts': 'measures the heap; sets proxies in the environment',
  'test/lib/clock.test.ts': 'counts the timers of the process',
  'test/ratelimit/buckets.test.ts': 'measures the heap',
  'test/transport/fetch-document.test.ts': 'turns verification of certificates off for the process; changes its roots',
};

/** Tests that depend on nothing of Node.js: other versions of it are tested without them. */
const withoutHost =
  /^test\/(authz|balance|bench|docs|explain|lab|limit|locality|model|outlier|route|timeout)\/|^test\/config\/[a-eg-z]/;

/** Of the long tests those that take a minute and more, the longest first: what begins last is waited for by all others. */
const longest = [
  'test/authz/routers.long.ts',
  'test/e2e/attacks/as-written.long.ts',
  'test/authz/agreement.long.ts',
  'test/identity/ca-serials.long.ts',
  'test/e2e/attacks/asymmetry.long.ts',
  'test/e2e/attacks/everything.long.ts',
  'test/e2e/attacks/further.long.ts',
];

/** All long tests, in the order in which they are to begin. */
export function longFiles() {
  const files = filesBelow('test', '.long.ts').sort();
  return [...longest.filter((file) => files.includes(file)), ...files.filter((file) => !longest.includes(file))];
}

/** All test files, in order, as paths from the root of the repository. */
export function testFiles() {
  const packages = readdirSync(join(root, 'packages')).map((name) => `packages/${name}/test`);
  return ['test', ...packages].flatMap((path) => filesBelow(path)).sort();
}

function filesBelow(path, ending = '.test.ts') {
  if (!existsSync(join(root, path))) return [];
  return readdirSync(join(root, path), { recursive: true })
    .filter((name) => name.endsWith(ending) && !name.includes('node_modules'))
    .map((name) => `${path}/${name.replaceAll('\\', '/')}`);
}

/** The folder of `test`, or the package, that a file belongs to. */
function ownerOf(file) {
  const [top, name, ...rest] = file.split('/');
  return rest.length === 0 ? top : `${top}-${name}`;
}

/** Puts each file into one room. Folders are read: new files and folders need no entry anywhere. */
export function planRooms(files) {
  const owners = Map.groupBy(
    files.filter((file) => alone[file] === undefined),
    ownerOf,
  );
  const groups = Map.groupBy(owners, ([owner, { length }]) => (length < filesOfOwnRoom ? 'small' : owner));
  const rooms = [...groups].flatMap(([name, members]) =>
    split(
      name,
      members.flatMap(([, each]) => each),
    ),
  );
  return { rooms: rooms.sort((a, b) => b.size - a.size), alone: files.filter((file) => alone[file] !== undefined) };
}

/** Rooms of about the same size. How long a file is says fairly well how long its tests take. */
function split(name, files) {
  const count = Math.ceil(files.length / filesPerRoom);
  const rooms = Array.from({ length: count }, (_, i) => ({
    name: count === 1 ? name : `${name}-${i + 1}`,
    size: 0,
    files: [],
  }));
  const sized = files.map((file) => ({ file, size: statSync(join(root, file)).size }));
  for (const { file, size } of sized.sort((a, b) => b.size - a.size)) {
    const room = rooms.reduce((least, each) => (each.size < least.size ? each : least));
    room.files.push(file);
    room.size += size;
  }
  for (const room of rooms) room.files.sort();
  return rooms;
}

/** Writes programs into a folder, and gives their paths. tap runs files in the order of their names: these have numbers. */
function write(programs, folder) {
  rmSync(join(root, folder), { recursive: true, force: true });
  mkdirSync(join(root, folder), { recursive: true });
  return programs.map(({ name, text }, i) => {
    const path = `${folder}/${String(i + 1).padStart(2, '0')}-${name}.mjs`;
    writeFileSync(join(root, path), text);
    return path;
  });
}

/** A file for each room, what takes longest first; gives all that tap has to run. */
function writeRooms(plan, folder) {
  const programs = plan.rooms.map(({ name, files }) => ({
    name,
    text: `import { runRoom } from '../../../.ci/room.mjs';\n\nrunRoom(${JSON.stringify(files, null, 2)});\n`,
  }));
  return [...write(programs, folder), ...plan.alone];
}

/** A file for each long test, which does nothing but to run it. */
function writeLong(folder) {
  const programs = longFiles().map((file) => ({
    name: file.slice(0, -'.long.ts'.length).replaceAll('/', '-'),
    text: `import '../../../${file}';\n`,
  }));
  return write(programs, folder);
}

function main([command, ...rest]) {
  const options = rest.filter((each) => each.startsWith('-'));
  // Runs at the same time do not share the folder.
  const folder = `.cache/rooms/${command === 'list' ? 'list' : process.pid}`;
  if (command === 'long') {
    runTap(['--disable-coverage', ...options, ...writeLong(folder)], folder);
    return;
  }
  const paths = rest.filter((each) => !each.startsWith('-')).map((each) => each.replace(/\/$/, ''));
  const wanted = (file) => paths.length === 0 || paths.some((path) => file === path || file.startsWith(`${path}/`));
  const host = options.includes('--host');
  const files = testFiles().filter((file) => wanted(file) && !(host && withoutHost.test(file)));
  if (files.length === 0) throw new Error(`no test files: ${paths.join(' ')}`);
  if (command !== 'run' && command !== 'list') throw new Error(`expected run, long or list, got ${command}`);
  const given = writeRooms(planRooms(files), folder);
  if (command === 'list') {
    console.log(given.join('\n'));
    return;
  }
  const more = [...(paths.length === 0 ? [] : ['--disable-coverage']), ...options.filter((each) => each !== '--host')];
  runTap([...more, ...given], folder);
}

/** Runs tap, and ends as it does. */
function runTap(args, folder) {
  const { status, signal } = spawnSync('tap', args, {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  rmSync(join(root, folder), { recursive: true, force: true });
  if (signal !== null) process.kill(process.pid, signal);
  process.exitCode = status ?? 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
