import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
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
}

/** What the authority remembers of what it issued. */
export interface IssuanceLog {
  /** Must succeed before a certificate is handed out. */
  append(entry: IssuanceEntry): void;
  /** Newest entries, oldest first; bounded. */
  recent(): readonly IssuanceEntry[];
}

/** Nothing is kept: for an authority without a folder. */
export const noIssuanceLog: IssuanceLog = { append: () => {}, recent: () => [] };

const tailBytes = 4_194_304;

/** A log of JSON lines that is only ever appended to. */
export function fileIssuanceLog(path: string): IssuanceLog {
  return {
    append: (entry) => {
      try {
        const file = openSync(path, 'a', 0o600);
        try {
          writeSync(file, `${JSON.stringify(entry)}\n`);
          fsyncSync(file);
        } finally {
          closeSync(file);
        }
      } catch (cause) {
        // A certificate that nobody can account for is not handed out.
        throw refusal('internal', `cannot write the issuance log: ${(cause as Error).message}`, cause);
      }
    },
    recent: () => parseLines(readTail(path)),
  };
}

function readTail(path: string): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return '';
  }
  try {
    const { size } = fstatSync(file);
    const buffer = Buffer.alloc(Math.min(size, tailBytes));
    const read = readSync(file, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString('utf8', 0, read);
  } finally {
    closeSync(file);
  }
}

function parseLines(text: string): readonly IssuanceEntry[] {
  return text.split('\n').flatMap((line) => {
    try {
      // The first line may be cut by where the tail begins, the last by a crash.
      const entry = JSON.parse(line) as IssuanceEntry;
      return typeof entry.keyId === 'string' && typeof entry.subject === 'string' ? [entry] : [];
    } catch {
      return [];
    }
  });
}
