import { type Any, typeOf } from '../proto/any.ts';
import { decode, type Schema } from '../proto/schema.ts';
import { messageNames, ResourceError, type ResourceType } from '../resources.ts';

/** A resource that can be used. */
export interface Read<T> {
  readonly value: T;
  /** Paths of the fields that are there and that nobody reads, each once, without indices. */
  readonly ignored: readonly string[];
}

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
  convert: (message: M, note: (path: string) => void) => T,
): (any: Any) => Read<T> {
  const known = new WeakMap<Any, Read<T> | ResourceError>();
  const read = (any: Any): Read<T> => {
    if (typeOf(any) !== messageNames[type]) {
      throw new ResourceError('', `expected a ${messageNames[type]}`, { value: any.type_url });
    }
    const ignored = new Set<string>();
    const note = (path: string): void => void ignored.add(path.replace(/\[\d+\]/g, '[]'));
    const value = convert(decode(schema, any.value ?? new Uint8Array(), note), note);
    return { value, ignored: [...ignored] };
  };
  return (any) => {
    let result = known.get(any);
    if (result === undefined) {
      try {
        result = read(any);
      } catch (error) {
        result = error instanceof ResourceError ? error : unreadable(type, error);
      }
      known.set(any, result);
    }
    if (result instanceof ResourceError) throw result;
    return result;
  };
}

function unreadable(type: ResourceType, error: unknown): ResourceError {
  const message = error instanceof Error ? error.message : String(error);
  const refused = new ResourceError('', `the bytes cannot be read: ${message}`);
  // Nobody knows which way it is for.
  refused.forCallers = type === 'listeners';
  return refused;
}
