import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock, Logger } from 'inmesh/identity';
import { checkFolder, readIfThere, readSecret } from './files.ts';
import { withFolderLock } from './folder-lock.ts';
import type { Holdings, HoldingsStore } from './holdings.ts';
import {
  createKeyTexts,
  type Files,
  holdingsFiles,
  type KeyTexts,
  parseHoldings,
  renderHoldings,
  stateFile,
  traceOf,
} from './holdings-files.ts';
import { commit, isInterrupted, recover } from './journal.ts';
import type { Root, Signer } from './material.ts';

/** Options of {@link folderHoldings}. */
export interface FolderOptions {
  readonly passphrase: string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Makes a new intermediate where the files of one do not belong together (a restored backup, say). */
  readonly remake?: (root: Required<Root>) => Signer;
}

/** Finishes what a crash interrupted. */
export function recoverFolder(folder: string, clock: Clock): void {
  checkFolder(folder);
  if (isInterrupted(folder)) withFolderLock(folder, clock, () => recover(folder));
}

/** Whether a folder holds an authority. */
export function hasHoldings(folder: string): boolean {
  return existsSync(join(folder, 'root.pem')) || isInterrupted(folder);
}

/**
 * Writes the first holdings into a folder, all or nothing.
 *
 * @returns false when another process was first: its holdings stay
 */
export function createHoldings(folder: string, holdings: Holdings, more: Files, options: FolderOptions): boolean {
  const files = renderHoldings(holdings, 1, createKeyTexts(options.passphrase));
  return withFolderLock(folder, options.clock, () => {
    if (hasHoldings(folder)) return false;
    commit(folder, new Map([...more, ...files]));
    return true;
  });
}

/**
 * Holdings in the files of a folder. Several processes may work with them at once: `inmesh ca
 * rotate` changes what `inmesh ca serve` reads a moment later.
 *
 * @throws Refusal `unavailable` when the folder holds no whole authority, or is open to others
 */
export function folderHoldings(folder: string, options: FolderOptions): HoldingsStore {
  const { clock, logger, passphrase, remake } = options;
  const keys = createKeyTexts(passphrase);
  const at = (name: string): string => join(folder, name);
  const locked = <T>(action: () => T): T =>
    withFolderLock(folder, clock, () => {
      recover(folder);
      return action();
    });
  checkFolder(folder);
  let loaded = locked(() => load(folder, keys, at, remake));
  let troubled = '';

  // An intermediate that was made anew, and keys that lay open before there was a passphrase.
  locked(() => save(loaded.holdings));

  /** Under the lock. */
  function save(holdings: Holdings): void {
    const before = loaded.traces;
    const after = renderHoldings(holdings, loaded.revision + 1, keys);
    const changes = new Map<string, string | undefined>();
    for (const name of holdingsFiles) {
      const text = after.get(name);
      if ((text && traceOf(name, text)) !== before.get(name)) changes.set(name, text);
    }
    if (changes.size === 1 && changes.has(stateFile)) return;
    commit(folder, changes);
    loaded = { traces: tracesOf(after), holdings, revision: loaded.revision + 1, stamp: stampOf(folder) };
  }

  return {
    read: () => {
      try {
        if (!isInterrupted(folder) && stampOf(folder) === loaded.stamp) return loaded.holdings;
        locked(() => {
          if (stampOf(folder) !== loaded.stamp) loaded = load(folder, keys, at, remake);
        });
        troubled = '';
      } catch (error) {
        // What was read last stays in force; the same trouble is told once.
        const message = (error as Error).message;
        if (message !== troubled)
          logger.error({ folder, error: message }, 'the folder of the authority cannot be read');
        troubled = message;
      }
      return loaded.holdings;
    },
    change: (step) =>
      locked(() => {
        if (stampOf(folder) !== loaded.stamp) loaded = load(folder, keys, at, remake);
        const next = step(loaded.holdings);
        if (next !== loaded.holdings) save(next);
        return loaded.holdings;
      }),
  };
}

interface Loaded {
  /** What the files hold, by name; of keys a digest. */
  readonly traces: Files;
  readonly holdings: Holdings;
  readonly revision: number;
  readonly stamp: string;
}

function load(folder: string, keys: KeyTexts, at: (name: string) => string, remake: FolderOptions['remake']): Loaded {
  const stamp = stampOf(folder);
  const files = new Map<string, string>();
  for (const name of holdingsFiles) {
    const text = name.endsWith('-key.pem') ? readSecret(at(name)) : readIfThere(at(name));
    if (text !== undefined) files.set(name, text);
  }
  return { traces: tracesOf(files), ...parseHoldings(files, keys, at, remake), stamp };
}

function tracesOf(files: Files): Files {
  return new Map([...files].map(([name, text]) => [name, traceOf(name, text)]));
}

/** Changes whenever holdings were written. */
function stampOf(folder: string): string {
  const stat = statSync(join(folder, stateFile), { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? '' : `${stat.ino} ${stat.mtimeNs} ${stat.size}`;
}
