import type { CelNames, CelType } from '../lib/cel.ts';

/** For expressions that are checked, and evaluated somewhere else. */
export function checkedNames(typeOf: (path: string) => CelType | undefined): CelNames<undefined> {
  return { typeOf, read: () => () => undefined, readEntry: () => () => undefined };
}
