import { readFileSync } from 'node:fs';

/**
 * How many files, sockets among them, this process may have open: the soft limit, which Node raises to
 * the hard one when it starts. Infinite where the system does not say (it is read from `/proc`).
 */
export function openFilesLimit(read: () => string = readLimits): number {
  let text: string;
  try {
    text = read();
  } catch {
    return Number.POSITIVE_INFINITY;
  }
  const soft = text
    .split('\n')
    .find((line) => line.startsWith('Max open files'))
    ?.split(/\s+/)[3];
  const limit = Number(soft);
  return Number.isInteger(limit) && limit > 0 ? limit : Number.POSITIVE_INFINITY;
}

function readLimits(): string {
  return readFileSync('/proc/self/limits', 'utf8');
}
