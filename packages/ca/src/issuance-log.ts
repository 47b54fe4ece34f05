import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Clock } from 'inmesh/identity';
import { syncFolder } from './files.ts';
import { withFolderLock } from './folder-lock.ts';
import { readLines } from './lines.ts';
import { refusal } from './refusal.ts';

/** One issued certificate, as a line of the log. */
export interface IssuanceEntry {
  /** ISO 8601. */
  readonly time: string;
  /** Hex. */
  readonly serial: string;
  /** SPIFFE ID, or the names of a server certificate. */
  readonly subject: string;
  readonly notBefore: string;
  readonly notAfter: string;
  /** SHA-256 of the public key, hex. */
  readonly keyId: string;
  /** What proved the identity: `token <id>`, `renewal`, `library`, `server`. */
  readonly by: string;
  /** Key identifiers of the authority that signed it, and of the root above, hex. */
  readonly issuer: string;
  readonly root: string;
}

/** Whether a log is whole. */
export interface LogCheck {
  readonly entries: number;
  /** Where a line was changed, removed or put in: `issued.jsonl:17`. Absent when nothing was. */
  readonly brokenAt?: string;
}

/** What the authority remembers of what it issued. */
export interface IssuanceLog {
  /** Must succeed before a certificate is handed out. */
  append(entry: IssuanceEntry): void;
  /** Newest entries, oldest first; bounded. */
  recent(): readonly IssuanceEntry[];
  /**
   * Everything that is kept, oldest first.
   *
   * @param since files that were put aside and last written before this (milliseconds since the
   *   epoch) are left out: for those who ask under a lock for what is valid
   */
  all(since?: number): Iterable<IssuanceEntry>;
  check(): LogCheck;
}

const maxRemembered = 100_000;

/** A log that ends with the process and keeps what has not expired, 100,000 entries at most. */
export function memoryIssuanceLog(clock: Clock): IssuanceLog {
  let entries: IssuanceEntry[] = [];
  let pruneAt = 1_000;
  const isValid = ({ notAfter }: IssuanceEntry): boolean => clock.wallNow() < Date.parse(notAfter);
  return {
    append: (entry) => {
      entries.push(entry);
      if (entries.length < pruneAt) return;
      entries = entries.filter(isValid).slice(-maxRemembered);
      pruneAt = Math.max(1_000, entries.length * 2);
    },
    recent: () => entries,
    all: () => entries,
    check: () => ({ entries: entries.length }),
  };
}

/** A file that is larger than this is put aside, and a new one begun. */
const maxFileBytes = 67_108_864;
const tailBytes = 4_194_304;
const noLine = '0'.repeat(64);

/**
 * A log of JSON lines that is only ever appended to, through to the disk. Each line holds the
 * SHA-256 of the one before it (`prev`), so that a line that was changed, removed or put in shows.
 * (Lines cut off at the end do not: whoever needs that copies the log elsewhere.) A file of more
 * than 64 MiB is put aside as `issued-1.jsonl` and so on; nothing is ever deleted.
 */
export function fileIssuanceLog(path: string, clock: Clock, fileBytes: number = maxFileBytes): IssuanceLog {
  const folder = dirname(path);
  const [stem = ''] = basename(path).split('.');
  /** What the next line continues, as long as nobody else writes. */
  let end: { readonly size: number; readonly hash: string } | undefined;

  const numbered = (): readonly { readonly name: string; readonly number: number }[] => {
    const start = `${stem}-`;
    return readdirSync(folder)
      .flatMap((name) => {
        const number = name.startsWith(start) ? /^([0-9]{1,9})\.jsonl$/.exec(name.slice(start.length))?.[1] : undefined;
        return number === undefined ? [] : [{ name, number: Number(number) }];
      })
      .sort((a, b) => a.number - b.number);
  };
  const setAside = (): readonly string[] => numbered().map(({ name }) => join(folder, name));
  const files = (): readonly string[] => [...setAside(), ...(existsSync(path) ? [path] : [])];
  const rotate = (): void => {
    // After the last, and not by how many there are: old ones may have been moved away.
    const last = numbered().at(-1)?.number ?? 0;
    renameSync(path, join(folder, `${stem}-${last + 1}.jsonl`));
    syncFolder(folder);
  };

  const write = (entry: IssuanceEntry): void => {
    let file = openSync(path, 'a+', 0o600);
    try {
      let { size } = fstatSync(file);
      // Another process wrote, or this is the first line of this one.
      const last = end?.size === size && end !== undefined ? end.hash : hashOfLast(file, size, setAside());
      if (size >= fileBytes) {
        closeSync(file);
        rotate();
        file = openSync(path, 'a+', 0o600);
        size = 0;
      }
      const line = JSON.stringify({ ...entry, prev: last });
      // After a line that a crash cut off, begin on one of our own.
      const text = `${size > 0 && !endsLine(file, size) ? '\n' : ''}${line}\n`;
      // Not `writeSync`: on a disk that is nearly full it writes a part, and says so only in its result.
      writeFileSync(file, text);
      fsyncSync(file);
      end = { size: size + Buffer.byteLength(text), hash: hashOf(line) };
    } finally {
      closeSync(file);
    }
  };

  return {
    append: (entry) => {
      try {
        withFolderLock(folder, clock, () => write(entry));
      } catch (cause) {
        // A certificate that nobody can account for is not handed out.
        throw refusal('internal', `cannot write the issuance log: ${(cause as Error).message}`, cause);
      }
    },
    recent: () => [...parseAll(existsSync(path) ? readTail(path) : [])],
    all: function* (since = Number.NEGATIVE_INFINITY) {
      for (const file of files()) {
        if (file === path || statSync(file).mtimeMs >= since) yield* parseAll(readLines(file));
      }
    },
    check: () => checkChain(files()),
  };
}

function hashOf(line: string): string {
  return createHash('sha256').update(line).digest('hex');
}

function hashOfLast(file: number, size: number, before: readonly string[]): string {
  const lines = tailOf(file, size);
  const last = lines.at(-1);
  if (last !== undefined) return hashOf(last);
  const previous = before.at(-1);
  return previous === undefined ? noLine : hashOf(readTail(previous).at(-1) ?? '');
}

function endsLine(file: number, size: number): boolean {
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, size - 1);
  return byte[0] === 0x0a;
}

function tailOf(file: number, size: number): readonly string[] {
  const buffer = Buffer.alloc(Math.min(size, tailBytes));
  const read = readSync(file, buffer, 0, buffer.length, size - buffer.length);
  return buffer
    .toString('utf8', 0, read)
    .split('\n')
    .filter((line) => line !== '');
}

function readTail(path: string): readonly string[] {
  const file = openSync(path, 'r');
  try {
    return tailOf(file, fstatSync(file).size);
  } finally {
    closeSync(file);
  }
}

function checkChain(files: readonly string[]): LogCheck {
  let expected = noLine;
  let begun = false;
  let entries = 0;
  for (const file of files) {
    let number = 0;
    for (const line of readLines(file)) {
      number++;
      const prev = prevOf(line);
      // `null`: lines of before there was a chain have none; once it has begun, every line must.
      if (prev === null ? begun : prev !== undefined && prev !== expected) {
        return { entries, brokenAt: `${basename(file)}:${number}` };
      }
      begun ||= typeof prev === 'string';
      expected = hashOf(line);
      entries++;
    }
  }
  return { entries };
}

/**
 * What a line says of the one before it; `null` when it says nothing. `undefined` when it is no entry:
 * a line that a crash cut off, which the next one vouches for like for any other.
 */
function prevOf(line: string): string | null | undefined {
  try {
    const { prev } = JSON.parse(line) as { readonly prev?: unknown };
    return typeof prev === 'string' ? prev : null;
  } catch {
    return undefined;
  }
}

function* parseAll(lines: Iterable<string>): Generator<IssuanceEntry> {
  for (const line of lines) {
    try {
      // The first line may be cut by where the tail begins, the last by a crash.
      const entry = JSON.parse(line) as IssuanceEntry;
      if (typeof entry.keyId === 'string' && typeof entry.subject === 'string') yield entry;
    } catch {
      // Not an entry; `check` says so.
    }
  }
}
