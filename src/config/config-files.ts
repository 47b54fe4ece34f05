import { open, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import type { ConfigDocument } from './document.ts';
import { type ParsedYaml, parseYaml } from './yaml.ts';
import { resourceAround, tooLarge, yamlLimits } from './yaml-limits.ts';

/** What identifies one state of a file: another content has another one of these. */
export interface FileState {
  /** As found: below the path that was configured, through links. */
  readonly path: string;
  /** Device, inode, size and times; a replaced file differs even at the same size. */
  readonly state: string;
  readonly size: number;
}

/** Deepest nesting of folders, against links that lead in a circle. */
const maxFolderDepth = 16;
const configName = /\.(ya?ml|json)$/i;
/** Dot files, and what editors write beside the real file (`a.yaml~`, `#a.yaml#`, `a.yaml.swp`). */
const temporaryName = /^[.#]|[~#]$/;

/**
 * All configuration files of a file or folder with their state, sorted by path. Names that begin
 * with a dot are not entered, so that in a mounted Kubernetes ConfigMap each file is found once,
 * through its link, and not again below `..data`.
 *
 * @throws when the path itself cannot be read.
 */
export async function listConfigFiles(path: string): Promise<readonly FileState[]> {
  const top = await stat(path, { bigint: true });
  if (!top.isDirectory()) return [{ path, state: stateOf(top), size: Number(top.size) }];
  const files: FileState[] = [];
  const entered = new Set<string>();
  const enter = async (folder: string, depth: number): Promise<void> => {
    const real = await realpath(folder);
    if (depth > maxFolderDepth || entered.has(real)) return;
    entered.add(real);
    for (const name of (await readdir(folder)).sort()) {
      if (temporaryName.test(name)) continue;
      const each = join(folder, name);
      // A name can vanish between listing and looking: an editor replaces files that way.
      const found = await stat(each, { bigint: true }).catch(() => undefined);
      if (found === undefined) continue;
      if (found.isDirectory()) await enter(each, depth + 1).catch(() => {});
      else if (found.isFile() && configName.test(name)) {
        files.push({ path: each, state: stateOf(found), size: Number(found.size) });
      }
    }
  };
  await enter(path, 0);
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function stateOf(stats: {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}): string {
  return [stats.dev, stats.ino, stats.size, stats.mtimeNs, stats.ctimeNs].join('.');
}

/**
 * Reads and parses one file. Never throws: whatever is wrong with it ends as problems. Messages
 * name it relative to the working directory. `before`: documents of an earlier state of the file.
 */
export async function loadConfigFile(file: FileState, before: readonly ConfigDocument[] = []): Promise<ParsedYaml> {
  const name = relative(process.cwd(), file.path) || file.path;
  const refuse = (message: string, more?: { head: string; value: string }): ParsedYaml => {
    const { kind, namespace, name: resource } = resourceAround(more?.head ?? '', 0);
    const at = { kind, namespace, name: resource, file: name, line: 1, column: 1 };
    return { documents: [], problems: [{ message, at, ...(more === undefined ? {} : { value: more.value }) }] };
  };
  let bytes: Buffer;
  try {
    if (file.size === 0) return refuse('is empty, as if it were being written; remove it if it is not needed');
    if (file.size > yamlLimits.maxBytes) {
      const { message, value } = tooLarge(file.size);
      return refuse(message, { head: await readHead(file.path), value });
    }
    bytes = await readFile(file.path);
  } catch (error) {
    return refuse(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return refuse('is not UTF-8 text');
  }
  return parseYaml(text, name, before);
}

/** Enough of a file that is not read to name its first resource. */
async function readHead(path: string): Promise<string> {
  const handle = await open(path);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4_096), 0, 4_096, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

/**
 * Reads a file or folder once, all of it. For tools; a mesh watches with `fileSource`.
 *
 * @throws when the path cannot be read.
 */
export async function readConfigPath(path: string): Promise<ParsedYaml & { readonly files: readonly string[] }> {
  const files = await listConfigFiles(path);
  const parsed: ParsedYaml[] = [];
  for (const file of files) parsed.push(await loadConfigFile(file));
  return {
    files: files.map((file) => file.path),
    documents: parsed.flatMap((each) => each.documents),
    problems: parsed.flatMap((each) => each.problems),
  };
}
