import type { Kind } from './kinds.ts';
import { bytes, message, string } from './kinds.ts';
import { decode, encode, type Input, type Schema, schema, single } from './schema.ts';

/** `google.protobuf.Any`: a message of any type. It stays bytes until somebody wants it. */
export interface Any {
  /** `type.googleapis.com/envoy.config.cluster.v3.Cluster`. */
  readonly type_url: string;
  readonly value: Uint8Array | undefined;
}

export const anySchema: Schema<Any> = schema<Any>('google.protobuf.Any', {
  fields: { type_url: single(1, string), value: single(2, bytes) },
});

/** A field with a message of any type. */
export const any: Kind<Any | undefined> = message(() => anySchema);

/** Packs a message. */
export function pack<T>(schema: Schema<T>, value: Input<T>): Any {
  return { type_url: `type.googleapis.com/${schema.name}`, value: encode(schema, value) };
}

/** Full name of the message that is in it: what stands behind the last slash. */
export function typeOf({ type_url }: Any): string {
  return type_url.slice(type_url.lastIndexOf('/') + 1);
}

/**
 * Unpacks a message of a known type; nothing when it is of another one.
 *
 * @param ignored is told of each field that is there and that nobody reads, by its path
 * @throws Error when the bytes are not such a message
 */
export function unpack<T>(schema: Schema<T>, packed: Any, ignored?: (path: string) => void): T | undefined {
  return typeOf(packed) === schema.name ? decode(schema, packed.value ?? new Uint8Array(), ignored) : undefined;
}

/** Whether they are of one type, byte by byte. */
export function sameAny(a: Any, b: Any): boolean {
  const [one, other] = [a.value ?? new Uint8Array(), b.value ?? new Uint8Array()];
  return a.type_url === b.type_url && one.length === other.length && Buffer.compare(one, other) === 0;
}
