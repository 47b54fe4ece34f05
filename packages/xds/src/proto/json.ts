import type { Kind } from './kinds.ts';
import type { Schema } from './schema.ts';
import type { Json, JsonObject } from './struct.ts';

/**
 * Reads a message that is written as JSON (protobuf's JSON mapping), as `TypedStruct` has it: names as in the `.proto` file
 * or in lowerCamelCase, enumerations by name or number, durations as `1.5s`, 64 bits as text or number.
 *
 * @param ignored is told of each field that is there and that nobody reads, by its path
 * @throws Error for a value that is none of its field
 */
export function fromJson<T>(schema: Schema<T>, json: JsonObject, ignored?: (path: string) => void): T {
  return messageOf(schema as Schema<unknown>, json, '', ignored) as T;
}

type Ignored = ((path: string) => void) | undefined;

function messageOf(schema: Schema<unknown>, json: Json, path: string, ignored: Ignored): unknown {
  if (typeof json !== 'object' || json === null || isList(json)) throw unexpected(path, 'an object', json);
  const result: Record<string, unknown> = {};
  for (const [name, { initial }] of schema.fields) result[name] = initial();
  const fields = new Map(
    schema.fields.flatMap((entry) => [entry[0], camelCase(entry[0])].map((name) => [name, entry] as const)),
  );
  for (const [key, value] of Object.entries(json)) {
    const known = fields.get(key);
    const at = path === '' ? key : `${path}.${key}`;
    if (known === undefined) {
      ignored?.(path === '' ? snakeCase(key) : `${path}.${snakeCase(key)}`);
      continue;
    }
    const [name, { kind, label }] = known;
    // Null is what is not there.
    if (value === null) continue;
    if (
      schema.oneofs.some((names) => names.includes(name) && names.some((other) => other !== name && given(json, other)))
    ) {
      throw new Error(`${at}: only one of its alternatives may be there`);
    }
    if (label === 'repeated') {
      if (!isList(value)) throw unexpected(at, 'a list', value);
      result[name] = value.map((item, i) => itemOf(kind, item, `${at}[${i}]`, ignored));
    } else if (label === 'map') {
      if (typeof value !== 'object' || isList(value)) throw unexpected(at, 'an object', value);
      const entries = Object.entries(value).map(
        ([inner, item]) => [inner, itemOf(kind, item, `${at}.${inner}`, ignored)] as const,
      );
      result[name] = new Map(entries);
    } else result[name] = itemOf(kind, value, at, ignored);
  }
  return result;
}

function given(json: JsonObject, name: string): boolean {
  return (json[name] ?? json[camelCase(name)] ?? null) !== null;
}

const wrapper = /^google\.protobuf\.(U?Int32|U?Int64|Bool|String|Double|Float)Value$/;
const numbers: ReadonlySet<string> = new Set(['uint32', 'int32', 'uint64', 'int64', 'double', 'float']);

function itemOf({ names, schema, type }: Kind<unknown>, json: Json, path: string, ignored: Ignored): unknown {
  if (schema !== undefined) return messageOf(schema(), json, path, ignored);
  if (names !== undefined) {
    if (typeof json === 'number' && Number.isInteger(json)) return names[json] ?? json;
    if (typeof json === 'string' && names.includes(json)) return json;
    throw unexpected(path, `one of ${names.filter((name) => name !== undefined).join(', ')}`, json);
  }
  const plain = wrapper.exec(type)?.[1]?.toLowerCase() ?? type;
  if (plain === 'string' && typeof json === 'string') return json;
  if (plain === 'bool' && typeof json === 'boolean') return json;
  if (plain === 'bytes' && typeof json === 'string') return Uint8Array.from(Buffer.from(json, 'base64'));
  if (numbers.has(plain)) return numberOf(plain, json, path);
  if (plain === 'google.protobuf.Duration') {
    const seconds = typeof json === 'string' ? /^(\d{1,12}(?:\.\d{1,9})?)s$/.exec(json)?.[1] : undefined;
    if (seconds === undefined) throw unexpected(path, 'a duration like 1.5s', json);
    return Number(seconds) * 1_000;
  }
  throw unexpected(path, `a ${type}`, json);
}

function numberOf(type: string, json: Json, path: string): number {
  const value = typeof json === 'string' && json !== '' ? Number(json) : json;
  const fraction = type === 'double' || type === 'float';
  const ok = typeof value === 'number' && Number.isFinite(value) && (fraction || Number.isSafeInteger(value));
  if (!ok || (type.startsWith('u') && value < 0) || (type.endsWith('32') && Math.abs(value) > 0xffff_ffff)) {
    throw unexpected(path, `a number (${type})`, json);
  }
  return value;
}

function isList(json: Json): json is readonly Json[] {
  return Array.isArray(json);
}

function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function unexpected(path: string, expected: string, json: Json): Error {
  return new Error(`${path === '' ? '' : `${path}: `}expected ${expected}, got ${JSON.stringify(json).slice(0, 100)}`);
}
