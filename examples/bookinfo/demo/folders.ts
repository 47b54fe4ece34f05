import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';

/** The working folder of one run, removed when it ends. */
export interface RunFolder {
  /** What the services read: the YAML of the example and the generated `endpoints.yaml`. */
  readonly meshFolder: string;
  /** The folder to edit a file in. */
  readonly editFolder: string;
  readonly authorityFolder: string;
  /** Replaces the registrations, in one step. */
  writeEndpoints(yaml: string): void;
  /** The way a user knows a file by: relative, and the original in place of the link to it. */
  shown(file: string): string;
  /** The same for every file that a message names. */
  shownIn(message: string): string;
  remove(): void;
}

const exampleFolder = join(import.meta.dirname, '..', 'mesh');
const root = join(import.meta.dirname, '..', '..', '..');
const cache = join(root, '.cache', 'bookinfo');

/**
 * Makes the folder. `link`: the YAML files are links, so that who edits the example edits what
 * runs. `copy`: they are copies, so that the checks change nothing in the repository.
 */
export function createRunFolder(kind: 'link' | 'copy'): RunFolder {
  removeLeftOvers();
  const folder = join(cache, `run-${process.pid}`);
  const meshFolder = join(folder, 'mesh');
  const authorityFolder = join(folder, 'authority');
  mkdirSync(meshFolder, { recursive: true });
  mkdirSync(authorityFolder, { mode: 0o700 });
  const linked = kind === 'link' && linkAll(meshFolder);
  if (!linked) cpSync(exampleFolder, meshFolder, { recursive: true });
  const shownFolder = relative(process.cwd(), linked ? exampleFolder : meshFolder);
  return {
    meshFolder,
    editFolder: shownFolder,
    authorityFolder,
    writeEndpoints(yaml) {
      const file = join(meshFolder, 'endpoints.yaml');
      writeFileSync(`${file}.tmp`, yaml);
      renameSync(`${file}.tmp`, file);
    },
    shown: (file) => join(shownFolder, relative(meshFolder, file)),
    shownIn: (message) => message.replaceAll(relative(process.cwd(), meshFolder), shownFolder),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function linkAll(meshFolder: string): boolean {
  try {
    for (const file of readdirSync(exampleFolder)) symlinkSync(join(exampleFolder, file), join(meshFolder, file));
    return true;
  } catch {
    // No links on this file system (or no right to make them): work with copies.
    for (const file of readdirSync(meshFolder)) rmSync(join(meshFolder, file));
    return false;
  }
}

/** Removes the folders of runs that were killed. */
function removeLeftOvers(): void {
  if (!existsSync(cache)) return;
  for (const name of readdirSync(cache)) {
    const pid = /^run-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(cache, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
