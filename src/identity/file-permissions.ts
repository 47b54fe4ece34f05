import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { MeshError } from '../errors.ts';

const othersRead = 0o004;
const othersWrite = 0o002;
const sticky = 0o1000;

/** What {@link permissionWarnings} looks at. */
export interface SecretFiles {
  readonly key: string;
  /** The key, and everything that decides whom this process is and trusts. */
  readonly all: readonly string[];
}

/**
 * What is wrong with who may read and write the files: a key that every user of the machine can
 * read, and files or folders that every user can replace. Groups are left alone: a Kubernetes
 * `fsGroup` is how a process that is not root gets its key.
 */
export async function permissionWarnings({ key, all }: SecretFiles): Promise<readonly Error[]> {
  // There, modes say nothing about who may read.
  if (process.platform === 'win32') return [];
  const warnings: Error[] = [];
  const warn = (what: string, mode: number): void => {
    const message = `${what} (mode ${(mode & 0o7777).toString(8).padStart(4, '0')})`;
    warnings.push(new MeshError('ERR_MESH_NO_IDENTITY', message));
  };
  for (const file of new Set(all)) {
    const mode = await modeOf(file);
    if (file === key && (mode & othersRead) !== 0) warn(`every user of this machine can read the key ${file}`, mode);
    if ((mode & othersWrite) !== 0) warn(`every user of this machine can change ${file}`, mode);
  }
  for (const folder of new Set(all.map((file) => dirname(file)))) {
    const mode = await modeOf(folder);
    // In a sticky folder, such as /tmp, nobody can replace what is another's.
    if ((mode & othersWrite) !== 0 && (mode & sticky) === 0) {
      warn(`every user of this machine can exchange files in ${folder}`, mode);
    }
  }
  return warnings;
}

async function modeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).mode;
  } catch {
    // Gone again: whoever reads it will say so.
    return 0;
  }
}
