// Makes a fresh clone ready: installs what package-lock.json names (Node 24 included), prepares
// tap, builds dist. Runs before `npm start`, `npm test` and `npm run bench`, on whatever Node runs
// npm (20 or newer), with nothing installed. When nothing changed it is done in a few milliseconds.
//
// It is a script of its own, and not the beginning of the others, because the shell that npm starts
// looks up `node` once: only the next script sees the Node 24 that this one put into
// node_modules/.bin.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const installStamp = join(root, 'node_modules/.inmesh-installed.json');
const buildStamp = join(root, '.cache/built.json');
const lock = join(root, '.cache/bootstrap.lock');
const windows = process.platform === 'win32';

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));
const readJsonOr = (path, fallback) => {
  try {
    return readJson(path);
  } catch {
    return fallback;
  }
};
const say = (line) => process.stderr.write(`inmesh: ${line}\n`);

/** Ends with one line that says what to do, and the details only where they help. */
function fail(line, details = '') {
  if (details.trim() !== '') process.stderr.write(`${details.trim()}\n`);
  say(line);
  release();
  process.exit(1);
}

/** Runs a program quietly. npm is started with the Node that runs this script. */
function run(program, args) {
  const npm = process.env.npm_execpath;
  const viaNode = program === 'npm' && npm !== undefined && /\.[cm]?js$/.test(npm);
  const result = spawnSync(viaNode ? process.execPath : program, viaNode ? [npm, ...args] : args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    shell: windows && !viaNode,
    env: { ...process.env, PATH: `${join(root, 'node_modules/.bin')}${delimiter}${process.env.PATH ?? ''}` },
  });
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}`;
  return { ok: result.status === 0, output };
}

function workspaceFolders() {
  const packages = readdirSync(join(root, 'packages')).map((name) => join('packages', name));
  return ['.', ...packages.filter((folder) => existsSync(join(root, folder, 'package.json')))];
}

/** Changes when an install would give something else: the lock file, dependency fields, the platform. */
function wantedInstall() {
  const fields = ['name', 'version', 'dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies'];
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}\n`);
  hash.update(readFileSync(join(root, 'package-lock.json')));
  for (const folder of workspaceFolders()) {
    const manifest = readJson(join(root, folder, 'package.json'));
    const parts = [...fields, 'workspaces', 'overrides', 'allowScripts', 'bin'].map((field) => manifest[field]);
    hash.update(`${folder} ${JSON.stringify([...parts, manifest.tap?.plugin])}\n`);
  }
  return hash.digest('hex');
}

/** True when somebody already installed, with npm itself, what the lock file names. */
function installedByHand() {
  const present = readJsonOr(join(root, 'node_modules/.package-lock.json'), {}).packages;
  if (present === undefined) return false;
  return Object.entries(readJson(join(root, 'package-lock.json')).packages).every(([path, wanted]) => {
    if (!path.includes('node_modules/') || wanted.optional) return true;
    const found = present[path];
    return found !== undefined && found.version === wanted.version && found.link === wanted.link;
  });
}

/** The Node in node_modules/.bin answers; its install script may have been forbidden. */
function nodeWorks() {
  const node = join(root, 'node_modules/node/bin', windows ? 'node.exe' : 'node');
  return existsSync(node) && spawnSync(node, ['--version'], { encoding: 'utf8' }).status === 0;
}

/** The code of a network error in what npm printed. */
function networkError({ ok, output }) {
  if (ok) return undefined;
  const codes =
    /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ERR_SOCKET_TIMEOUT)\b/;
  return codes.exec(output)?.[1];
}

function install(wanted) {
  if (!(installedByHand() && nodeWorks())) {
    say('installing dependencies (once, about half a minute) …');
    const started = Date.now();
    const quiet = ['--loglevel=error', '--no-audit', '--no-fund', '--no-progress', '--no-update-notifier'];
    // Hundreds of downloads that each wait for their own time-outs take minutes to fail; one is quick.
    // What was installed before lies in npm's cache, so even without a network all may go well.
    const unreachable = networkError(run('npm', ['ping', ...quiet, '--fetch-retries=0', '--fetch-timeout=10000']));
    const source = unreachable === undefined ? '--prefer-offline' : '--offline';
    const result = run('npm', ['ci', '--include=dev', '--include=optional', source, ...quiet]);
    if (!result.ok) {
      const code = unreachable ?? networkError(result);
      if (code !== undefined)
        fail(`the npm registry cannot be reached (${code}); connect to the network and try again`);
      fail('npm ci failed (see above)', result.output);
    }
    if (!nodeWorks())
      fail(
        'the npm package `node` did not install its binary; are install scripts forbidden (npm config ignore-scripts)?',
      );
    say(`dependencies are installed (${((Date.now() - started) / 1000).toFixed(0)} s)`);
  }
  // An install from before the command existed did not link it, and `npx inmesh` would ask the registry.
  if (!existsSync(join(root, 'node_modules/.bin/inmesh'))) run('npm', ['rebuild', '--ignore-scripts', '@inmesh/cli']);
  // tap writes its test class once for the plugins that package.json chooses; without it the first
  // run still loads the plugin that was switched off.
  const built = run(join(root, 'node_modules/.bin/tap'), ['build']);
  if (!built.ok) fail('tap build failed (see above)', built.output);
  writeFileSync(installStamp, JSON.stringify({ wanted }));
}

/** Every file that the build reads, with its time and size. */
function sources() {
  const files = {};
  const visit = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) visit(path);
      else if (/\.(ts|json)$/.test(entry.name)) {
        const { mtimeMs, size } = statSync(path);
        files[relative(root, path)] = `${mtimeMs} ${size}`;
      }
    }
  };
  const note = (path) => {
    const { mtimeMs, size } = statSync(join(root, path));
    files[path] = `${mtimeMs} ${size}`;
  };
  for (const folder of workspaceFolders()) {
    visit(join(root, folder, 'src'));
    note(join(folder, 'package.json'));
    if (existsSync(join(root, folder, 'tsconfig.json'))) note(join(folder, 'tsconfig.json'));
  }
  return files;
}

function buildIsFresh(files, before) {
  const names = Object.keys(files);
  if (names.length !== Object.keys(before).length) return false;
  if (names.some((name) => files[name] !== before[name])) return false;
  return workspaceFolders().every((folder) => existsSync(join(root, folder, 'dist/.tsbuildinfo')));
}

function build() {
  const before = readJsonOr(buildStamp, {});
  const files = sources();
  if (buildIsFresh(files, before)) return;
  // The compiler does not remove the output of a source that is gone, and it would be published.
  const gone = Object.keys(before).some((name) => files[name] === undefined);
  if (gone)
    for (const folder of workspaceFolders()) rmSync(join(root, folder, 'dist'), { recursive: true, force: true });
  const result = run('npm', ['run', '--silent', 'build']);
  if (!result.ok) fail('the build failed (see above)', result.output);
  writeFileSync(buildStamp, JSON.stringify(files));
}

/** One bootstrap at a time: two that install into the same folder would break it. */
function acquire() {
  mkdirSync(dirname(lock), { recursive: true });
  for (let waited = 0; ; waited++) {
    try {
      mkdirSync(lock);
      writeFileSync(join(lock, 'pid'), String(process.pid));
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (ownerIsGone()) rmSync(lock, { recursive: true, force: true });
    else {
      if (waited === 5) say('waiting for another start or test that is installing …');
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
}

function ownerIsGone() {
  try {
    process.kill(Number(readFileSync(join(lock, 'pid'), 'utf8')), 0);
    return false;
  } catch (error) {
    // No pid yet: its owner is just writing it, unless the folder is old.
    if (error.code === 'ENOENT') return Date.now() - (statSync(lock, { throwIfNoEntry: false })?.mtimeMs ?? 0) > 5_000;
    return error.code === 'ESRCH';
  }
}

function release() {
  rmSync(lock, { recursive: true, force: true });
}

const installIsFresh = (wanted) =>
  readJsonOr(installStamp, {}).wanted === wanted && existsSync(join(root, '.tap/plugins'));

const wanted = wantedInstall();
if (!installIsFresh(wanted) || !buildIsFresh(sources(), readJsonOr(buildStamp, {}))) {
  acquire();
  try {
    if (!installIsFresh(wanted)) install(wanted);
    build();
  } finally {
    release();
  }
}
