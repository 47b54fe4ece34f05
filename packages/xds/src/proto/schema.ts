import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Kind } from './kinds.ts';

/** One field of a message. */
export interface Field<T> {
  readonly number: number;
  /** How often it may come. `optional` is one whose absence is told apart. */
  readonly label: 'single' | 'optional' | 'repeated' | 'map';
  /** What its values are; those of a map have strings as keys. */
  readonly kind: Kind<unknown>;
  /** What it is before anything was read. */
  initial(): T;
  read(reader: BinaryReader, type: WireType, before: T, reading: Reading, name: string): T;
  write(writer: BinaryWriter, value: T): void;
}

/** How a message is read and written. */
export interface Schema<T> {
  /** `envoy.config.cluster.v3.Cluster`. */
  readonly name: string;
  readonly fields: readonly (readonly [string, Field<unknown>])[];
  readonly byNumber: ReadonlyMap<number, readonly [string, Field<unknown>]>;
  /** Names of the fields that the message has and nobody here reads. */
  readonly ignored: ReadonlyMap<number, string>;
  /** Fields of which only the one that was written last is there. */
  readonly oneofs: readonly (readonly string[])[];
  /** Never there; carries the type. */
  readonly type?: T;
}

/** What is told of while a message is read. */
export interface Reading {
  /** A field was there that nobody reads: `lb_subset_config`, or `#77` where its name is not known either. */
  ignored?(path: string): void;
  /** Where reading is, names of fields and positions in them: `filter_chains`, 0, `filters`, 1. */
  readonly path: (string | number)[];
}

/** Messages within messages; as protobuf's own readers have it. */
const maxDepth = 100;

/** What repeated fields and maps are before anything was read: most stay so, and need none of their own. */
const nothing: readonly never[] = [];
const noEntries: ReadonlyMap<string, never> = new Map<string, never>();

interface SchemaParts<T> {
  /** By the name that the `.proto` file gives them. */
  readonly fields: { readonly [K in keyof T]-?: Field<T[K]> };
  readonly ignored?: Readonly<Record<number, string>>;
  readonly oneofs?: readonly (readonly (keyof T & string)[])[];
}

/**
 * Says how a message looks: its full name, and its fields by their names and numbers.
 *
 * @example
 * export const locality: Schema<Locality> = schema<Locality>('envoy.config.core.v3.Locality', {
 *   fields: { region: single(1, string), zone: single(2, string), sub_zone: single(3, string) },
 * });
 */
export function schema<T>(name: string, { fields, ignored = {}, oneofs = [] }: SchemaParts<T>): Schema<T> {
  const entries = Object.entries(fields) as (readonly [string, Field<unknown>])[];
  return {
    name,
    fields: entries,
    byNumber: new Map(entries.map((entry) => [entry[1].number, entry])),
    ignored: new Map(Object.entries(ignored).map(([number, field]) => [Number(number), field])),
    oneofs,
  };
}

/** One value; absent ones have the zero of their kind, or `undefined` where the kind has none (messages, wrappers). */
export function single<T>(number: number, kind: Kind<T>): Field<T> {
  return singular('single', number, kind, kind.zero as T);
}

/** One value that may be absent: `optional` ones, and those of a `oneof`. */
export function optional<T>(number: number, kind: Kind<T>): Field<T | undefined> {
  return singular<T | undefined>('optional', number, kind as Kind<T | undefined>, undefined);
}

function singular<T>(label: 'single' | 'optional', number: number, kind: Kind<T>, zero: T): Field<T> {
  return {
    number,
    label,
    kind: kind as Kind<unknown>,
    initial: () => zero,
    read(reader, type, before, reading, name) {
      if (type !== kind.wire) return passOver(reader, type, number, before);
      reading.path.push(name);
      const value = kind.read(reader, reading, before);
      reading.path.pop();
      return value;
    },
    write(out, value) {
      if (value === undefined || value === zero) return;
      out.tag(number, kind.wire);
      kind.write(out, value);
    },
  };
}

/** Any number of values; numbers may come packed. */
export function repeated<T>(number: number, kind: Kind<T>): Field<readonly Exclude<T, undefined>[]> {
  type Item = Exclude<T, undefined>;
  return {
    number,
    label: 'repeated',
    kind: kind as Kind<unknown>,
    initial: () => nothing,
    read(reader, type, before, reading, name) {
      const isPacked = type !== kind.wire;
      if (isPacked && type !== WireType.LengthDelimited) return passOver(reader, type, number, before);
      const list = before === nothing ? [] : (before as Item[]);
      const { path } = reading;
      path.push(name, list.length);
      const end = isPacked ? reader.uint32() + reader.pos : 0;
      if (!isPacked) list.push(kind.read(reader, reading) as Item);
      else while (reader.pos < end) list.push(kind.read(reader, reading) as Item);
      path.length -= 2;
      return list;
    },
    write(out, values) {
      for (const value of values) {
        out.tag(number, kind.wire);
        kind.write(out, value);
      }
    },
  };
}

/** `map<string, V>`. */
export function mapOf<T>(number: number, kind: Kind<T>): Field<ReadonlyMap<string, T>> {
  return {
    number,
    label: 'map',
    kind: kind as Kind<unknown>,
    initial: () => noEntries,
    read(reader, type, before, reading, name) {
      if (type !== WireType.LengthDelimited) return passOver(reader, type, number, before);
      const end = reader.uint32() + reader.pos;
      let key = '';
      let value = kind.zero as T;
      reading.path.push(name);
      while (reader.pos < end) {
        const [part, partType] = reader.tag();
        if (part === 1 && partType === WireType.LengthDelimited) key = reader.string();
        else if (part === 2 && partType === kind.wire) value = kind.read(reader, reading);
        else reader.skip(partType, part);
      }
      reading.path.pop();
      return (before === noEntries ? new Map<string, T>() : (before as Map<string, T>)).set(key, value);
    },
    write(out, values) {
      for (const [key, value] of values) {
        out.tag(number, WireType.LengthDelimited).fork();
        out.tag(1, WireType.LengthDelimited).string(key);
        if (value !== undefined && value !== kind.zero) {
          out.tag(2, kind.wire);
          kind.write(out, value);
        }
        out.join();
      }
    },
  };
}

function passOver<T>(reader: BinaryReader, type: WireType, number: number, before: T): T {
  reader.skip(type, number);
  return before;
}

/** Reads the fields of one message that has `length` bytes; into `before`, where there is one. */
export function readFields<T>(
  { byNumber, fields, ignored, name, oneofs }: Schema<T>,
  reader: BinaryReader,
  length: number,
  reading: Reading,
  before?: T,
): T {
  if (isTooDeep(reading.path)) throw new Error(`${name}: more than ${maxDepth} messages in each other`);
  const end = reader.pos + length;
  if (end > reader.len) throw new Error(`${name}: the message ends before its last field does`);
  const result = (before ?? empty(fields)) as Record<string, unknown>;
  while (reader.pos < end) {
    const [number, type] = reader.tag();
    const known = byNumber.get(number);
    if (known === undefined) {
      reading.ignored?.(pathText([...reading.path, ignored.get(number) ?? `#${number}`]));
      reader.skip(type, number);
      continue;
    }
    const [field, { read }] = known;
    const value = read(reader, type, result[field], reading, field);
    if (oneofs.length > 0) clearOthers(oneofs, field, result);
    result[field] = value;
  }
  if (reader.pos !== end) throw new Error(`${name}: a field is longer than the message`);
  return result as T;
}

/** A message of which nothing was read. */
function empty(fields: Schema<unknown>['fields']): Record<string, unknown> {
  const message: Record<string, unknown> = {};
  for (const [name, field] of fields) message[name] = field.initial();
  return message;
}

/** Only what was written last of a `oneof` is there. */
function clearOthers(oneofs: Schema<unknown>['oneofs'], field: string, result: Record<string, unknown>): void {
  for (const names of oneofs) {
    if (names.includes(field)) for (const other of names) if (other !== field) result[other] = undefined;
  }
}

/** Positions do not count. */
function isTooDeep(path: Reading['path']): boolean {
  if (path.length <= maxDepth) return false;
  return path.filter((part) => typeof part === 'string').length > maxDepth;
}

/** `filter_chains[0].filters[1]`. */
function pathText(path: Reading['path']): string {
  let text = '';
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : text === '' ? part : `.${part}`;
  return text;
}

/** Writes the fields that are there and are not zero. */
export function writeFields<T>({ fields }: Schema<T>, out: BinaryWriter, value: Partial<T>): void {
  for (const [name, { write }] of fields) {
    const given = (value as Record<string, unknown>)[name];
    if (given !== undefined) write(out, given);
  }
}

/**
 * Reads a message.
 *
 * @param ignored is told of each field that is there and that nobody reads, by its path
 * @throws Error when the bytes are not such a message
 */
export function decode<T>(schema: Schema<T>, bytes: Uint8Array, ignored?: (path: string) => void): T {
  const reading: Reading = { path: [], ...(ignored === undefined ? {} : { ignored }) };
  return readFields(schema, new BinaryReader(bytes), bytes.length, reading);
}

/** Writes a message; parts of it, and of what is in it, may be left out. */
export function encode<T>(schema: Schema<T>, value: Input<T>): Uint8Array {
  const out = new BinaryWriter();
  writeFields(schema, out, value as Partial<T>);
  return out.finish();
}

/** A message to write: what is absent is not written. */
export type Input<T> = T extends Uint8Array | ReadonlyMap<string, unknown>
  ? T
  : T extends readonly (infer I)[]
    ? readonly Input<I>[]
    : T extends object
      ? { readonly [K in keyof T]?: Input<T[K]> | undefined }
      : T;
