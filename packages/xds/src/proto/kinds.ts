import { type BinaryReader, type BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type Reading, readFields, type Schema, writeFields } from './schema.ts';

/** How one value looks on the wire. */
export interface Kind<T> {
  readonly wire: WireType;
  /** What it is called in `.proto` files: `uint32`, `google.protobuf.Duration`; `message` and `enum` say which below. */
  readonly type: string;
  /** The message that it is. */
  readonly schema?: () => Schema<unknown>;
  /** Names of the values of an enumeration, by number. */
  readonly names?: readonly (string | undefined)[];
  /** What a field has that nobody wrote, and that is not written; nothing: absence is told apart. */
  readonly zero?: T;
  /** `before`: what an earlier occurrence of the same field said; messages are merged into it. */
  read(reader: BinaryReader, reading: Reading, before?: T): T;
  write(writer: BinaryWriter, value: T): void;
}

export const string: Kind<string> = {
  wire: WireType.LengthDelimited,
  type: 'string',
  zero: '',
  read: (reader) => reader.string(),
  write: (writer, value) => void writer.string(value),
};

export const bytes: Kind<Uint8Array | undefined> = {
  wire: WireType.LengthDelimited,
  type: 'bytes',
  read: (reader) => reader.bytes(),
  write: (writer, value) => void writer.bytes(value ?? new Uint8Array()),
};

export const bool: Kind<boolean> = {
  wire: WireType.Varint,
  type: 'bool',
  zero: false,
  read: (reader) => reader.bool(),
  write: (writer, value) => void writer.bool(value),
};

export const uint32: Kind<number> = {
  wire: WireType.Varint,
  type: 'uint32',
  zero: 0,
  read: (reader) => reader.uint32(),
  write: (writer, value) => void writer.uint32(value),
};

export const int32: Kind<number> = {
  wire: WireType.Varint,
  type: 'int32',
  zero: 0,
  read: (reader) => reader.int32(),
  write: (writer, value) => void writer.int32(value),
};

/** As a number, exact up to 2^53 - 1: nothing that Envoy's API counts in 64 bits is larger. */
export const uint64: Kind<number> = {
  wire: WireType.Varint,
  type: 'uint64',
  zero: 0,
  read: (reader) => Number(reader.uint64()),
  write: (writer, value) => void writer.uint64(value),
};

/** As a number, exact between -(2^53 - 1) and 2^53 - 1. */
export const int64: Kind<number> = {
  wire: WireType.Varint,
  type: 'int64',
  zero: 0,
  read: (reader) => Number(reader.int64()),
  write: (writer, value) => void writer.int64(value),
};

/** A limit that is not a number would be none: every comparison with it is false. */
function number(value: number): number {
  if (Number.isNaN(value)) throw new Error('expected a number, got NaN');
  return value;
}

export const double: Kind<number> = {
  wire: WireType.Bit64,
  type: 'double',
  zero: 0,
  read: (reader) => number(reader.double()),
  write: (writer, value) => void writer.double(value),
};

export const float: Kind<number> = {
  wire: WireType.Bit32,
  type: 'float',
  zero: 0,
  read: (reader) => number(reader.float()),
  write: (writer, value) => void writer.float(value),
};

/**
 * An enumeration by its names. Numbers that it does not have stay numbers: newer peers have more values.
 *
 * @example
 * const codec = enumOf('AUTO', 'HTTP1', 'HTTP2'); // 0, 1, 2
 */
export function enumOf<N extends string>(...names: readonly (N | undefined)[]): Kind<N | number> {
  return {
    wire: WireType.Varint,
    type: 'enum',
    names,
    zero: names[0] ?? 0,
    read(reader) {
      const number = reader.int32();
      return names[number] ?? number;
    },
    write: (writer, value) => void writer.int32(typeof value === 'number' ? value : names.indexOf(value)),
  };
}

/** A message. A function, since messages may contain themselves. */
export function message<T>(schema: () => Schema<T>): Kind<T | undefined> {
  return {
    wire: WireType.LengthDelimited,
    type: 'message',
    schema: schema as () => Schema<unknown>,
    read: (reader, reading, before) => readFields(schema(), reader, reader.uint32(), reading, before),
    write(writer, value) {
      writer.fork();
      if (value !== undefined) writeFields(schema(), writer, value);
      writer.join();
    },
  };
}

/** A message that stays bytes until somebody wants it. They are part of those in which they were found. */
export function unread(schema: () => Schema<unknown>): Kind<Uint8Array | undefined> {
  return {
    wire: WireType.LengthDelimited,
    type: 'message',
    schema,
    read: (reader) => reader.bytes(),
    write: (writer, value) => void writer.bytes(value ?? new Uint8Array()),
  };
}

/** `google.protobuf.UInt32Value` and its like: there or not. */
export function wrapped<T>(kind: Kind<T>): Kind<T | undefined> {
  const word = kind.type.replace('int', 'Int');
  return {
    wire: WireType.LengthDelimited,
    type: `google.protobuf.${word.charAt(0).toUpperCase()}${word.slice(1)}Value`,
    read(reader, reading) {
      const end = reader.uint32() + reader.pos;
      let value = kind.zero as T;
      while (reader.pos < end) {
        const [number, type] = reader.tag();
        if (number === 1 && type === kind.wire) value = kind.read(reader, reading);
        else reader.skip(type, number);
      }
      return value;
    },
    write(writer, value) {
      writer.fork();
      if (value !== undefined && value !== kind.zero) {
        writer.tag(1, kind.wire);
        kind.write(writer, value);
      }
      writer.join();
    },
  };
}

/** `google.protobuf.Duration` in milliseconds, also one that runs backwards. */
export const signedDuration: Kind<number | undefined> = {
  wire: WireType.LengthDelimited,
  type: 'google.protobuf.Duration',
  read: readDuration,
  write(writer, value = 0) {
    const seconds = Math.trunc(value / 1_000);
    const nanos = Math.round((value - seconds * 1_000) * 1_000_000);
    writer.fork();
    if (seconds !== 0) writer.tag(1, WireType.Varint).int64(seconds);
    if (nanos !== 0) writer.tag(2, WireType.Varint).int32(nanos);
    writer.join();
  },
};

/** One that runs forwards: a message with another is refused, as by Envoy. */
export const duration: Kind<number | undefined> = {
  ...signedDuration,
  read(reader) {
    const ms = readDuration(reader);
    if (ms < 0) throw new Error(`expected a duration that is not negative, got ${ms} ms`);
    return ms;
  },
};

function readDuration(reader: BinaryReader): number {
  const end = reader.uint32() + reader.pos;
  let ms = 0;
  while (reader.pos < end) {
    const [number, type] = reader.tag();
    if (number === 1 && type === WireType.Varint) ms += Number(reader.int64()) * 1_000;
    else if (number === 2 && type === WireType.Varint) ms += reader.int32() / 1_000_000;
    else reader.skip(type, number);
  }
  return ms;
}
