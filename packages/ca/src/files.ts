import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { refusal } from './refusal.ts';

/** Makes a folder that only its owner may enter; existing ones stay as they are. */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

/**
 * Writes a file that only its owner may read, so that it is either the old one or the whole new
 * one, also after a crash.
 */
export function writePrivately(path: string, text: string): void {
  const draft = `${path}.${process.pid}.new`;
  rmSync(draft, { force: true });
  // 'wx': never through a link that somebody left there.
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(draft, path);
  syncFolder(dirname(path));
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
    // Without it a crash may forget the new name.
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Makes an empty file, or says that it exists: the one step that two processes cannot both take. */
export function claimFile(path: string, text = ''): boolean {
  let file: number;
  try {
    file = openSync(path, 'wx', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  return true;
}

/** The text of a file; nothing when there is none. */
export function readIfThere(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw refusal('unavailable', `cannot read ${path}: ${(cause as Error).message}`, cause);
  }
}
