import { bool, double, enumOf, type Kind, message, string } from './kinds.ts';
import { mapOf, optional, repeated, type Schema, schema } from './schema.ts';

/** What JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

interface Value {
  readonly null_value: string | number | undefined;
  readonly number_value: number | undefined;
  readonly string_value: string | undefined;
  readonly bool_value: boolean | undefined;
  readonly struct_value: JsonObject | undefined;
  readonly list_value: { readonly values: readonly Value[] } | undefined;
}

const valueSchema: Schema<Value> = schema<Value>('google.protobuf.Value', {
  fields: {
    null_value: optional(1, enumOf('NULL_VALUE')),
    number_value: optional(2, double),
    string_value: optional(3, string),
    bool_value: optional(4, bool),
    struct_value: optional(5, structKind()),
    list_value: optional(
      6,
      message(() => listSchema),
    ),
  },
  oneofs: [['null_value', 'number_value', 'string_value', 'bool_value', 'struct_value', 'list_value']],
});

const listSchema: Schema<{ readonly values: readonly Value[] }> = schema('google.protobuf.ListValue', {
  fields: {
    values: repeated(
      1,
      message(() => valueSchema),
    ),
  },
});

interface Struct {
  readonly fields: ReadonlyMap<string, Value | undefined>;
}

const structSchema: Schema<Struct> = schema<Struct>('google.protobuf.Struct', {
  fields: {
    fields: mapOf(
      1,
      message(() => valueSchema),
    ),
  },
});

/** `google.protobuf.Struct` as an object without prototype. */
export const struct: Kind<JsonObject | undefined> = structKind();

function structKind(): Kind<JsonObject | undefined> {
  const kind = message(() => structSchema);
  return {
    wire: kind.wire,
    type: 'google.protobuf.Struct',
    read: (reader, reading) => toJson(kind.read(reader, reading)),
    write: (writer, value) => kind.write(writer, value && fromJson(value)),
  };
}

function toJson(struct: Struct | undefined): JsonObject {
  const object: Record<string, Json> = Object.create(null);
  for (const [name, value] of struct?.fields ?? []) object[name] = valueToJson(value);
  return object;
}

function valueToJson(value: Value | undefined): Json {
  if (value?.list_value !== undefined) return value.list_value.values.map(valueToJson);
  return value?.struct_value ?? value?.string_value ?? value?.number_value ?? value?.bool_value ?? null;
}

function fromJson(object: JsonObject): Struct {
  return { fields: new Map(Object.entries(object).map(([name, value]) => [name, valueFromJson(value)])) };
}

function valueFromJson(json: Json): Value {
  const empty: Value = {
    null_value: undefined,
    number_value: undefined,
    string_value: undefined,
    bool_value: undefined,
    struct_value: undefined,
    list_value: undefined,
  };
  if (json === null) return { ...empty, null_value: 'NULL_VALUE' };
  if (typeof json === 'number') return { ...empty, number_value: json };
  if (typeof json === 'string') return { ...empty, string_value: json };
  if (typeof json === 'boolean') return { ...empty, bool_value: json };
  if (Array.isArray(json)) return { ...empty, list_value: { values: json.map(valueFromJson) } };
  return { ...empty, struct_value: json as JsonObject };
}
