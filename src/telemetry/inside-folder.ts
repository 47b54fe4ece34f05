import { realpath } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';

/** Does this name stand for something in a folder, as far as names say it? */
export function isNamedIn(folder: string, file: string): boolean {
  return isBelow(resolve(folder), resolve(file));
}

/**
 * The path of a file whose folder is, without symbolic links, this one or in it. What stands under its own name is not
 * looked at: it is to be opened without following a link.
 */
export function realPathIn(
  folder: string,
  file: string,
  found: (error: Error | null, path: string | undefined) => void,
): void {
  realpath(folder, (noFolder, base) => {
    if (noFolder) return found(noFolder, undefined);
    realpath(dirname(resolve(file)), (noParent, parent) => {
      if (noParent) return found(noParent, undefined);
      if (parent === base || isBelow(base, parent)) return found(null, join(parent, basename(file)));
      found(new Error(`a symbolic link leads from ${dirname(file)} out of ${folder}`), undefined);
    });
  });
}

function isBelow(base: string, path: string): boolean {
  return path.startsWith(base.endsWith(sep) ? base : base + sep);
}
