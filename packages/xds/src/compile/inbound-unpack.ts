import { type Any, typeOf, unpack } from '../proto/any.ts';
import {
  type TypedStruct,
  typedStructSchema,
  type UdpaTypedStruct,
  udpaTypedStructSchema,
} from '../proto/envoy/typed-struct.ts';
import type { Schema } from '../proto/schema.ts';
import { ResourceError } from '../resources.ts';

/** Where reading is, and who is told of what has no effect. */
export interface Place {
  /** Path of the field: `filter_chains[0].filters[1].typed_config`. */
  readonly path: string;
  /** A field has no effect here; by its path from below this place, '' for the whole. */
  note(field: string): void;
}

/** A place below another. */
export function below({ note, path }: Place, field: string): Place {
  const join = (inner: string): string => (inner === '' ? field : `${field}.${inner}`);
  return { path: path === '' ? field : `${path}.${field}`, note: (inner) => note(join(inner)) };
}

/** Refuses a resource for what Envoy would do and we cannot, where leaving it out would let more pass. */
export function cannot(place: Place, field: string, message: string, value?: unknown): ResourceError {
  const path = field === '' ? place.path : `${place.path}.${field}`;
  return new ResourceError(path, message, { value, unenforceable: true });
}

/** Refuses a resource for what is wrong in it. */
export function wrong(place: Place, field: string, message: string, value?: unknown): ResourceError {
  const path = field === '' ? place.path : `${place.path}.${field}`;
  return new ResourceError(path, message, value === undefined ? {} : { value });
}

/** Type of what is packed, also within a `TypedStruct`. */
export function typeIn(packed: Any): string {
  const outer = typeOf(packed);
  if (outer !== typedStructSchema.name && outer !== udpaTypedStructSchema.name) return outer;
  const inner: TypedStruct | UdpaTypedStruct | undefined =
    unpack(typedStructSchema, packed) ?? unpack(udpaTypedStructSchema, packed);
  const url = inner?.type_url ?? '';
  return url.slice(url.lastIndexOf('/') + 1);
}

/**
 * Unpacks a message of a known type.
 *
 * @param harmless top-level fields that may be left unread: they only say how something is told of, or how fast it is
 *   done. All others that are there and that nobody reads make the resource unusable. Absent: any may be left unread
 * @throws ResourceError when it is of another type, is no such message, or says what nobody can enforce
 */
export function unpackFilter<T>(
  schema: Schema<T>,
  packed: Any | undefined,
  place: Place,
  harmless?: readonly string[],
): T {
  if (packed === undefined) throw wrong(place, '', `expected a ${schema.name}`);
  let refused: string | undefined;
  const ignored = (field: string): void => {
    const top = field.slice(field.lastIndexOf('.') + 1);
    if (harmless === undefined || harmless.includes(top)) place.note(field);
    else refused ??= field;
  };
  let value: T | undefined;
  try {
    value = unpack(schema, packed, ignored);
  } catch (error) {
    throw wrong(place, '', `expected a ${schema.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (value === undefined && typeIn(packed) === schema.name) {
    throw cannot(place, '', `expected a ${schema.name} itself, and not within a TypedStruct`, packed.type_url);
  }
  if (value === undefined) throw wrong(place, '', `expected a ${schema.name}`, packed.type_url);
  if (refused !== undefined) throw cannot(place, refused, 'cannot be enforced here');
  return value;
}
