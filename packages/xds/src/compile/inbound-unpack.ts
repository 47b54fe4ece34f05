import { type Any, typeOf, unpack } from '../proto/any.ts';
import {
  type TypedStruct,
  typedStructSchema,
  type UdpaTypedStruct,
  udpaTypedStructSchema,
} from '../proto/envoy/typed-struct.ts';
import { fromJson } from '../proto/json.ts';
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
  return new ResourceError(pathOf(place, field), message, { value, unenforceable: true });
}

/** Refuses a resource for what is wrong in it. */
export function wrong(place: Place, field: string, message: string, value?: unknown): ResourceError {
  return new ResourceError(pathOf(place, field), message, value === undefined ? {} : { value });
}

function pathOf({ path }: Place, field: string): string {
  return [path, field].filter((part) => part !== '').join('.');
}

/** Type of what is packed, also within a `TypedStruct`. */
export function typeIn(packed: Any): string {
  const url = typedStruct(packed)?.type_url;
  return url === undefined ? typeOf(packed) : url.slice(url.lastIndexOf('/') + 1);
}

/** A message that is written as JSON, as `EnvoyFilter`s may have it. */
function typedStruct(packed: Any): TypedStruct | UdpaTypedStruct | undefined {
  return unpack(typedStructSchema, packed) ?? unpack(udpaTypedStructSchema, packed);
}

/** What may be there of a message although nobody reads it, by the last part of its path. */
export interface Unread {
  /** Only these, which say how something is told of, or how fast it is done. All others make the resource unusable. */
  readonly harmless?: readonly string[];
  /** All but these. */
  readonly refused?: readonly string[];
}

/**
 * Unpacks a message of a known type.
 *
 * @param unread which fields may be left unread; absent: all
 * @throws ResourceError when it is of another type, is no such message, or says what nobody can enforce
 */
export function unpackFilter<T>(schema: Schema<T>, packed: Any | undefined, place: Place, unread: Unread = {}): T {
  if (packed === undefined) throw wrong(place, '', `expected a ${schema.name}`);
  let refused: string | undefined;
  const ignored = (field: string): void => {
    const name = field.slice(field.lastIndexOf('.') + 1);
    if (unread.harmless?.includes(name) === false || unread.refused?.includes(name) === true) refused ??= field;
    else place.note(field);
  };
  let value: T | undefined;
  try {
    value = unpack(schema, packed, ignored);
    const json = value === undefined && typeIn(packed) === schema.name ? typedStruct(packed) : undefined;
    if (json !== undefined) value = fromJson(schema, json.value ?? {}, ignored);
  } catch (error) {
    throw wrong(place, '', `expected a ${schema.name}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (value === undefined) throw wrong(place, '', `expected a ${schema.name}`, packed.type_url);
  if (refused !== undefined) throw cannot(place, refused, 'cannot be enforced here');
  return value;
}
