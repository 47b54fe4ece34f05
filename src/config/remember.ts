import type { Collector, Note } from './collector.ts';

/** What a step was given, what it made of that, and what it said. */
interface Remembered<Result> {
  readonly inputs: readonly unknown[];
  readonly result: Result;
  readonly notes: readonly Note[];
}

/**
 * Does the step of `key`, or repeats it: with the very same inputs it is not done again, and says
 * again what it said. A step must depend on its key and its inputs alone. One that found problems is
 * done again each time.
 */
export type RememberedStep<Key extends object, Result> = (
  key: Key,
  inputs: readonly unknown[],
  collector: Collector,
  make: () => Result,
) => Result;

/** A step that is done for each resource (or whatever the key is) and remembered as long as that lives. */
export function rememberStep<Key extends object, Result>(): RememberedStep<Key, Result> {
  const known = new WeakMap<Key, Remembered<Result>>();
  return (key, inputs, collector, make) => {
    const found = known.get(key);
    if (found !== undefined && sameItems(found.inputs, inputs)) {
      collector.repeat(found.notes);
      return found.result;
    }
    const { made, remembered } = observe(inputs, collector, make);
    if (remembered === undefined) known.delete(key);
    else known.set(key, remembered);
    return made;
  };
}

/**
 * As {@link RememberedStep} for several results of one key, told apart by a name. These steps say
 * nothing.
 */
export interface RememberedPart<Key extends object, Result> {
  (key: Key, name: string | number, inputs: readonly unknown[], make: () => Result): Result;
  /** Does it once more, whatever is remembered. */
  again(key: Key, name: string | number, inputs: readonly unknown[], make: () => Result): Result;
}

export function rememberPart<Key extends object, Result>(): RememberedPart<Key, Result> {
  const known = new WeakMap<Key, Map<string | number, { inputs: readonly unknown[]; result: Result }>>();
  const again: RememberedPart<Key, Result>['again'] = (key, name, inputs, make) => {
    const result = make();
    let parts = known.get(key);
    if (parts === undefined) known.set(key, (parts = new Map()));
    parts.set(name, { inputs, result });
    return result;
  };
  const step = (key: Key, name: string | number, inputs: readonly unknown[], make: () => Result): Result => {
    const found = known.get(key)?.get(name);
    return found !== undefined && sameItems(found.inputs, inputs) ? found.result : again(key, name, inputs, make);
  };
  return Object.assign(step, { again });
}

/**
 * The large steps of one compilation, each remembered until the next one: where all inputs are the
 * very same objects, a step is not done again.
 */
export interface Stages {
  /** The list of the last compilation, if that had the same items in it. */
  list<Item>(name: string, items: readonly Item[]): readonly Item[];
  run<Result>(name: string, inputs: readonly unknown[], make: () => Result): Result;
}

/** What the stages of one compilation leave behind for the next. */
export interface StageMemory {
  readonly lists: Map<string, readonly unknown[]>;
  readonly steps: Map<string, Remembered<unknown>>;
}

export function newStageMemory(): StageMemory {
  return { lists: new Map(), steps: new Map() };
}

/** `before` is left as it is: when this compilation fails, the next one goes on from there. */
export function createStages(before: StageMemory | undefined, after: StageMemory, collector: Collector): Stages {
  return {
    list<Item>(name: string, items: readonly Item[]) {
      const known = before?.lists.get(name) as readonly Item[] | undefined;
      const list = known !== undefined && sameItems(known, items) ? known : items;
      after.lists.set(name, list);
      return list;
    },
    run<Result>(name: string, inputs: readonly unknown[], make: () => Result) {
      const found = before?.steps.get(name) as Remembered<Result> | undefined;
      if (found !== undefined && sameItems(found.inputs, inputs)) {
        collector.repeat(found.notes);
        after.steps.set(name, found);
        return found.result;
      }
      const { made, remembered } = observe(inputs, collector, make);
      if (remembered !== undefined) after.steps.set(name, remembered);
      return made;
    },
  };
}

function observe<Result>(
  inputs: readonly unknown[],
  collector: Collector,
  make: () => Result,
): { readonly made: Result; readonly remembered: Remembered<Result> | undefined } {
  const problems = collector.problems.length;
  const mark = collector.mark();
  const made = make();
  if (collector.problems.length > problems) return { made, remembered: undefined };
  return { made, remembered: { inputs, result: made, notes: collector.since(mark) } };
}

export function sameItems(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
