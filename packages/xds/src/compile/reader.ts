import { type Any, typeOf } from '../proto/any.ts';
import { decode, type Schema } from '../proto/schema.ts';
import { messageNames, ResourceError, type ResourceType } from '../resources.ts';
import { atOnce, type Steps } from '../turns.ts';

/** A resource that can be used. */
export interface Read<T> {
  readonly value: T;
  /** Paths of the fields that are there and that nobody reads, each once, without indices. */
  readonly ignored: readonly string[];
}

/** Tells of a path at which something has no effect. */
export type Note = (path: string) => void;

/**
 * A function that reads resources of one type: decodes the bytes, and has `convert` check and turn
 * the message into what the compilers want. It does so once for each `Any`, also where it fails.
 *
 * @param convert throws {@link ResourceError} for what cannot be used; the control plane is told
 * @param note may be called with paths of further fields that have no effect
 *
 * @example
 * export const readName = readerOf('clusters', clusterSchema, (cluster) => cluster.name);
 */
export function readerOf<M, T>(
  type: ResourceType,
  schema: Schema<M>,
  convert: (message: M, note: Note) => T,
): (any: Any) => Read<T> {
  return stepReaderOf<T>(type, function* ({ value = new Uint8Array() }, note) {
    const message = decode(schema, value, note);
    yield;
    return convert(message, note);
  });
}

/** A reader of resources that may be large. */
export interface StepReader<T> {
  (any: Any): Read<T>;
  /** Does the same in steps; what comes of it is then known. `before`: an earlier version, of which parts may be kept. */
  steps(any: Any, before?: Any): Steps<void>;
}

/** As {@link readerOf}, for those who read in steps. */
export function stepReaderOf<T>(
  type: ResourceType,
  read: (any: Any, note: Note, before: T | undefined) => Steps<T>,
): StepReader<T> {
  const known = new WeakMap<Any, Read<T> | ResourceError>();
  function* steps(any: Any, earlier?: Any): Steps<void> {
    if (known.has(any)) return;
    const before = earlier && known.get(earlier);
    let result: Read<T> | ResourceError;
    try {
      if (typeOf(any) !== messageNames[type]) {
        throw new ResourceError('', `expected a ${messageNames[type]}`, { value: any.type_url });
      }
      const ignored = new Set<string>();
      const note = (path: string): void => void ignored.add(path.replace(/\[\d+\]/g, '[]'));
      const value = yield* read(any, note, before instanceof ResourceError ? undefined : before?.value);
      result = { value, ignored: [...ignored] };
    } catch (error) {
      result = error instanceof ResourceError ? error : unreadable(type, error);
    }
    known.set(any, result);
  }
  const reader = (any: Any): Read<T> => {
    if (!known.has(any)) atOnce(steps(any));
    const result = known.get(any) as Read<T> | ResourceError;
    if (result instanceof ResourceError) throw result;
    return result;
  };
  return Object.assign(reader, { steps });
}

function unreadable(type: ResourceType, error: unknown): ResourceError {
  const message = error instanceof Error ? error.message : String(error);
  const refused = new ResourceError('', `the bytes cannot be read: ${message}`);
  // Nobody knows which way it is for.
  refused.forCallers = type === 'listeners';
  return refused;
}
