import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { refusal } from './refusal.ts';

/** Makes a folder that only its owner may enter; one that exists already is made so. */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (!onUnix || (statSync(path).mode & 0o777) === 0o700) return;
  try {
    chmodSync(path, 0o700);
  } catch {
    // Another's folder, of a volume say: `checkFolder` judges whether it will do.
  }
}

/**
 * Writes a file that only its owner may read, so that it is either the old one or the whole new
 * one, also after a crash.
 */
export function writePrivately(path: string, text: string): void {
  writeDraft(`${path}.${process.pid}.new`, text);
  renameSync(`${path}.${process.pid}.new`, path);
  syncFolder(dirname(path));
}

/** Writes a new file, mode 0600, through to the disk. What was there before is removed first. */
export function writeDraft(path: string, text: string): void {
  rmSync(path, { force: true });
  // 'wx': never through a link that somebody left there.
  const file = openSync(path, 'wx', 0o600);
  try {
    // Not `writeSync`: on a disk that is nearly full it writes a part, and says so only in its result.
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Makes names that were changed in a folder last over a crash. */
export function syncFolder(path: string): void {
  const folder = openSync(path, 'r');
  try {
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
    writeFileSync(file, text);
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

/** Windows keeps other records of who may read what. */
const onUnix = process.platform !== 'win32';

/**
 * The text of a file with a secret; nothing when there is none. Refuses one that others than its
 * owner may read or change: whoever could has the key, or could have put another one there.
 */
export function readSecret(path: string): string | undefined {
  if (!existsSync(path)) return undefined;
  const file = openSync(path, 'r');
  try {
    // Asked of the open file, so that it is this one that is read.
    const mode = fstatSync(file).mode & 0o777;
    if (onUnix && (mode & 0o077) !== 0) {
      throw refusal('unavailable', `${path} is open to others (mode ${octal(mode)}): expected 600, see chmod`);
    }
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}

/** Refuses a folder in which others than its owner may replace files. */
export function checkFolder(path: string): void {
  const mode = statSync(path).mode & 0o777;
  if (onUnix && (mode & 0o022) !== 0) {
    throw refusal('unavailable', `others may write into ${path} (mode ${octal(mode)}): expected 700, see chmod`);
  }
}

function octal(mode: number): string {
  return mode.toString(8).padStart(3, '0');
}
