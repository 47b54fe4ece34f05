import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Clock } from 'inmesh/identity';
import { claimFile } from './files.ts';
import { refusal } from './refusal.ts';

/** Holders work for well under a second; one that is older than this died on another machine. */
const staleMs = 30_000;
const pauseMs = 20;
const patienceMs = 3_000;

/** In containers every process has the number 1, so the number alone does not tell them apart. */
const self = { pid: process.pid, host: hostname(), id: randomBytes(8).toString('hex') };

/**
 * Runs `action` while no other process changes the folder. The lock is a file that names its
 * holder; one whose holder is gone is taken over.
 *
 * @throws Refusal `unavailable` when another process holds it for more than three seconds
 */
export function withFolderLock<T>(folder: string, clock: Clock, action: () => T): T {
  const path = join(folder, 'lock');
  // Turns and not times: a clock that stands still must not make this wait for ever.
  for (let turn = 0; !claimFile(path, JSON.stringify(self)); turn++) {
    if (isAbandoned(path, clock)) {
      rmSync(path, { force: true });
    } else if (turn * pauseMs >= patienceMs) {
      throw refusal('unavailable', `another process holds ${path}`);
    } else {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pauseMs);
    }
  }
  try {
    return action();
  } finally {
    rmSync(path, { force: true });
  }
}

function isAbandoned(path: string, clock: Clock): boolean {
  try {
    if (clock.wallNow() - statSync(path).mtimeMs > staleMs) return true;
    const { pid, host, id } = JSON.parse(readFileSync(path, 'utf8')) as Partial<typeof self>;
    if (host !== self.host || typeof pid !== 'number') return false;
    return pid === self.pid ? id !== self.id : !isAlive(pid);
  } catch {
    // Released meanwhile, or not written yet.
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: alive, and of another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
