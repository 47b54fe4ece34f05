import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { claimFile, makePrivateFolder, readIfThere } from './files.ts';
import { refusal } from './refusal.ts';

/** What is kept of a join token: everything but the secret. */
export interface TokenRecord {
  /** Public part: finds the record. */
  readonly id: string;
  /** SHA-256 of the secret, hex. */
  readonly secretHash: string;
  readonly spiffeId: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  readonly uses: number;
}

/** Where token records live. */
export interface TokenStore {
  add(record: TokenRecord): void;
  find(id: string): TokenRecord | undefined;
  /** Takes one use. False when none is left; two callers never take the same one. */
  take(record: TokenRecord): boolean;
  /** Forgets what has expired. */
  prune(now: number): void;
}

/** A token as it is given to a workload. The only place where its secret is. */
export interface JoinToken {
  readonly token: string;
  readonly id: string;
  readonly spiffeId: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  readonly uses: number;
}

const pattern = /^inmesh1\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]{43})$/;

/** Makes a token and its record. */
export function makeToken(
  spiffeId: string,
  expiresAt: number,
  uses: number,
): { token: JoinToken; record: TokenRecord } {
  const id = randomBytes(12).toString('base64url');
  const secret = randomBytes(32).toString('base64url');
  const token = { token: `inmesh1.${id}.${secret}`, id, spiffeId, expiresAt, uses };
  return { token, record: { id, secretHash: hash(secret).toString('hex'), spiffeId, expiresAt, uses } };
}

function hash(secret: string): Buffer {
  return createHash('sha256').update(secret, 'ascii').digest();
}

/**
 * The record that a token belongs to. Does not use it up.
 *
 * @throws Refusal `token_invalid`, the same for every reason
 */
export function checkToken(store: TokenStore, token: string, now: number): TokenRecord {
  const [, id, secret] = pattern.exec(token) ?? [];
  const record = id === undefined ? undefined : store.find(id);
  // Compare also when there is no record: the time must not tell which ids exist.
  const expected = Buffer.from(record?.secretHash ?? '0'.repeat(64), 'hex');
  const matches = expected.length === 32 && timingSafeEqual(hash(secret ?? ''), expected);
  if (record === undefined || !matches || now >= record.expiresAt) throw invalidToken();
  return record;
}

/** One answer for unknown, expired and used-up tokens. */
export function invalidToken(): Error {
  return refusal('token_invalid', 'the join token is unknown, expired or used up');
}

/** Tokens that end with the process. */
export function memoryTokenStore(): TokenStore {
  const records = new Map<string, { readonly record: TokenRecord; left: number }>();
  return {
    add: (record) => {
      records.set(record.id, { record, left: record.uses });
    },
    find: (id) => records.get(id)?.record,
    take: ({ id }) => {
      const entry = records.get(id);
      if (entry === undefined || entry.left <= 0) return false;
      entry.left--;
      return true;
    },
    prune: (now) => {
      for (const [id, { record }] of records) if (now >= record.expiresAt) records.delete(id);
    },
  };
}

/**
 * Tokens in a folder, one file each and one more for each use, so that a token made by one process
 * (`inmesh ca token`) serves another (`inmesh ca serve`), and no two of them accept the same use.
 */
export function fileTokenStore(folder: string): TokenStore {
  makePrivateFolder(folder);
  const file = (id: string): string => join(folder, `${id}.json`);
  const useFile = (id: string, use: number): string => join(folder, `${id}.used-${use}`);
  return {
    add: (record) => {
      claimFile(file(record.id), `${JSON.stringify(record)}\n`);
    },
    find: (id) => parseRecord(readIfThere(file(id)), id),
    take: ({ id, uses }) => {
      for (let use = 1; use <= uses; use++) if (claimFile(useFile(id, use))) return true;
      return false;
    },
    prune: (now) => {
      for (const name of readdirSync(folder)) {
        const id = /^([A-Za-z0-9_-]{16})\.json$/.exec(name)?.[1];
        const record = id === undefined ? undefined : parseRecord(readIfThere(file(id)), id);
        if (record === undefined || now < record.expiresAt) continue;
        // The record first: from then on nobody asks for its uses.
        rmSync(file(record.id), { force: true });
        for (let use = 1; use <= record.uses; use++) rmSync(useFile(record.id, use), { force: true });
      }
    },
  };
}

/** A record that is not whole (its writer is still at it, or the disk was full) does not count. */
function parseRecord(text: string | undefined, id: string): TokenRecord | undefined {
  if (text === undefined) return undefined;
  try {
    const { secretHash, spiffeId, expiresAt, uses, ...rest } = JSON.parse(text) as Partial<TokenRecord>;
    if (rest.id !== id || typeof secretHash !== 'string' || typeof spiffeId !== 'string') return undefined;
    if (typeof expiresAt !== 'number' || typeof uses !== 'number') return undefined;
    return { id, secretHash, spiffeId, expiresAt, uses };
  } catch {
    return undefined;
  }
}
