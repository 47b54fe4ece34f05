import type { HeaderChanges } from '../lib/header-edit.ts';
import type { ExplainedEdits } from './result.ts';

/** The changes of several levels as one, in the order in which they are made: each level removes, then sets, then adds. */
export function combineChanges(levels: readonly HeaderChanges[]): ExplainedEdits {
  const set = new Map<string, string>();
  const add = new Map<string, string[]>();
  const remove = new Set<string>();
  for (const level of levels) {
    for (const name of level.remove) {
      set.delete(name);
      add.delete(name);
      remove.add(name);
    }
    for (let i = 0; i < level.set.length; i += 2) {
      add.delete(level.set[i] as string);
      set.set(level.set[i] as string, level.set[i + 1] as string);
    }
    for (let i = 0; i < level.add.length; i += 2) {
      const values = add.get(level.add[i] as string);
      if (values === undefined) add.set(level.add[i] as string, [level.add[i + 1] as string]);
      else values.push(level.add[i + 1] as string);
    }
  }
  const added = [...add].map(([name, values]) => [name, values.length === 1 ? (values[0] as string) : values] as const);
  return { set: Object.fromEntries(set), add: Object.fromEntries(added), remove: [...remove] };
}
