import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Test } from 'tap';
import { root } from '../support/source-files.ts';

/** Programs of others are kept here; git does not know the folder. */
const cache = join(root, '.cache/interop');

/** Makes a program once, by what `make` does with an empty folder; a reason when it cannot be had. */
export function peerFolder(
  name: string,
  make: (folder: string) => string | undefined,
): { folder: string } | { why: string } {
  const folder = join(cache, name);
  return alone(`${folder}.lock`, () => {
    if (existsSync(join(folder, '.complete'))) return { folder };
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const why = make(folder);
    if (why !== undefined) return { why };
    mkdirSync(join(folder, '.complete'));
    return { folder };
  });
}

/** Files that run at the same time make nothing twice. */
function alone<T>(lock: string, work: () => T): T {
  mkdirSync(cache, { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (isGone(lock)) rmSync(lock, { force: true });
    else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
  try {
    return work();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** Whoever wrote the lock has ended without taking it away; nothing takes an hour. */
function isGone(lock: string): boolean {
  try {
    if (Date.now() - statSync(lock).mtimeMs > 3_600_000) return true;
    process.kill(Number(readFileSync(lock, 'utf8')), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

/** Runs a program to its end; the last of what it said when it fails. */
export function runOnce(
  program: string,
  args: readonly string[],
  options: { cwd: string; env?: NodeJS.ProcessEnv; timeoutMs?: number },
): string | undefined {
  const { error, status, stderr, stdout } = spawnSync(program, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    encoding: 'utf8',
    timeout: options.timeoutMs ?? 400_000,
  });
  if (status === 0) return undefined;
  return `${program} ${args.join(' ')}: ${error?.message ?? `${stdout}${stderr}`.trim().slice(-500)}`;
}

/** A program from a Go module, at a version of its own. */
export function goProgram(name: string, module: string): { readonly path: string } | { readonly why: string } {
  const found = peerFolder(name, (folder) =>
    runOnce('go', ['install', module], { cwd: folder, env: { GOBIN: folder, GOFLAGS: '-mod=mod' } }),
  );
  if ('why' in found) return found;
  const [file] = readdirSync(found.folder).filter((each) => !each.startsWith('.'));
  return { path: join(found.folder, file ?? '') };
}

/** Packages of Debian, unpacked into a folder of ours: nothing of the system is touched. */
export function debianPackages(
  name: string,
  packages: readonly string[],
): { readonly folder: string; readonly libraries: string } | { readonly why: string } {
  const found = peerFolder(name, (folder) => {
    const failed = runOnce('apt-get', ['download', ...packages], { cwd: folder });
    if (failed !== undefined) return failed;
    for (const file of readdirSync(folder).filter((each) => each.endsWith('.deb'))) {
      const broken = runOnce('dpkg', ['-x', file, '.'], { cwd: folder });
      if (broken !== undefined) return broken;
    }
    return undefined;
  });
  if ('why' in found) return found;
  const libraries = readdirSync(found.folder, { recursive: true, withFileTypes: true })
    .filter((each) => /\.so(\.|$)/.test(each.name))
    .map((each) => each.parentPath);
  return { folder: found.folder, libraries: [...new Set(libraries)].join(delimiter) };
}

/** Starts a program that ends with the test, and waits until it takes connections. */
export async function startPeer(
  t: Test,
  program: string,
  args: readonly string[],
  {
    env,
    port,
    attempts = 1_200,
  }: { readonly env?: NodeJS.ProcessEnv; readonly port: number; readonly attempts?: number },
): Promise<ChildProcess> {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said = (said + chunk).slice(-2_000)));
  const ended = once(child, 'exit');
  t.teardown(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  for (let i = 0; i < attempts; i++) {
    if (child.exitCode !== null || child.signalCode !== null) break;
    if (await accepts(port)) return child;
    await wait(50);
  }
  throw new Error(`${program} does not listen on ${port}: ${said}`);
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
