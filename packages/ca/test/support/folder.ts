import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Files below a folder with their permissions: `root.pem 600`. */
export function filesWithModes(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return `${path.slice(folder.length + 1)} ${(statSync(path).mode & 0o777).toString(8)}`;
    })
    .sort();
}
