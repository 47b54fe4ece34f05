import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readIfThere, syncFolder, writeDraft, writePrivately } from './files.ts';
import { refusal } from './refusal.ts';

const journalName = 'journal.json';
const draftSuffix = '.draft';

/** Files of a folder that change together: their new text, or `undefined` for one that goes. */
export type Changes = ReadonlyMap<string, string | undefined>;

/**
 * Changes several files of a folder as one: after a crash at any point either none or all of them
 * have changed, once {@link recover} has run. Call it under the lock of the folder.
 *
 * 1. Every new text is written to a draft beside its file. A crash leaves drafts that nobody reads.
 * 2. The journal is written: the list of what is to be renamed and removed. From here on it is decided.
 * 3. Drafts are renamed and old files removed, and then the journal.
 */
export function commit(folder: string, changes: Changes): void {
  const renamed: string[] = [];
  const removed: string[] = [];
  for (const [name, text] of changes) {
    if (text === undefined) {
      removed.push(name);
      continue;
    }
    writeDraft(join(folder, name + draftSuffix), text);
    renamed.push(name);
  }
  writePrivately(join(folder, journalName), `${JSON.stringify({ version: 1, renamed, removed })}\n`);
  finish(folder, { renamed, removed });
}

/** Finishes what a crash interrupted after it was decided. Call it under the lock of the folder. */
export function recover(folder: string): void {
  const text = readIfThere(join(folder, journalName));
  if (text !== undefined) finish(folder, parse(text, join(folder, journalName)));
}

/** Whether a change was decided and not finished yet. */
export function isInterrupted(folder: string): boolean {
  return existsSync(join(folder, journalName));
}

interface Plan {
  readonly renamed: readonly string[];
  readonly removed: readonly string[];
}

function finish(folder: string, { renamed, removed }: Plan): void {
  for (const name of renamed) {
    const draft = join(folder, name + draftSuffix);
    // Gone when this was done before the crash.
    if (existsSync(draft)) renameSync(draft, join(folder, name));
  }
  for (const name of removed) rmSync(join(folder, name), { force: true });
  syncFolder(folder);
  rmSync(join(folder, journalName), { force: true });
  syncFolder(folder);
}

function parse(text: string, path: string): Plan {
  const isName = (name: unknown): name is string => typeof name === 'string' && /^[a-z0-9.-]{1,64}$/.test(name);
  try {
    const { version, renamed, removed } = JSON.parse(text) as Record<string, unknown>;
    const lists = [renamed, removed].map((list) => (Array.isArray(list) && list.every(isName) ? list : undefined));
    const [first, second] = lists;
    if (version === 1 && first !== undefined && second !== undefined) return { renamed: first, removed: second };
  } catch {
    // The same answer for text that is no JSON and for another kind of JSON.
  }
  throw refusal('unavailable', `${path} is not a journal of a certificate authority`);
}
