import { type Any, unpack } from '../proto/any.ts';
import type { Schema } from '../proto/schema.ts';
import { ResourceError } from '../resources.ts';

/**
 * Unpacks a message of a known type within another; nothing when it is absent or of another type.
 *
 * @param path of the field that it is in
 * @throws ResourceError when the bytes are not such a message
 */
export function unpackAt<T>(
  schema: Schema<T>,
  packed: Any | undefined,
  path: string,
  note?: (path: string) => void,
): T | undefined {
  if (packed === undefined) return undefined;
  try {
    return unpack(schema, packed, note && ((field) => note(`${path}.${field}`)));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ResourceError(path, `expected a ${schema.name}: ${why}`);
  }
}
