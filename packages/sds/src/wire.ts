import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Reads the fields of one message; those that are not in `known` are passed over, as protobuf has it. */
export type FieldReaders = Readonly<Record<number, (reader: BinaryReader) => void>>;

/** Most fields that one message may have: what is larger was not made by Envoy, Istio or SPIRE. */
const maxFields = 1_024;

/**
 * @param unknown called with the number of each field that is not in `known`
 * @throws Error when the bytes are no message, or have more than 1,024 fields
 */
export function eachField(bytes: Uint8Array, known: FieldReaders, unknown?: (field: number) => void): void {
  const reader = new BinaryReader(bytes);
  for (let fields = 0; reader.pos < reader.len; fields++) {
    if (fields >= maxFields) throw new Error(`a message of more than ${maxFields} fields`);
    const [number, type] = reader.tag();
    const read = known[number];
    if (read === undefined) {
      unknown?.(number);
      reader.skip(type, number);
    } else {
      read(reader);
    }
  }
}

/** Refuses a list that grows past `most`. */
export function pushBounded<T>(list: T[], item: T, most: number, what: string): void {
  if (list.length >= most) throw new Error(`more than ${most} ${what}`);
  list.push(item);
}

/** What is left out when empty, as proto3 does. */
export function writeString(writer: BinaryWriter, field: number, value: string): void {
  if (value !== '') writer.tag(field, WireType.LengthDelimited).string(value);
}

export function writeBytes(writer: BinaryWriter, field: number, value: Uint8Array): void {
  writer.tag(field, WireType.LengthDelimited).bytes(value);
}

/** A message within a message. */
export function writeMessage(writer: BinaryWriter, field: number, write: (inner: BinaryWriter) => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
}

/** The bytes of one message. */
export function message(write: (writer: BinaryWriter) => void): Buffer {
  const writer = new BinaryWriter();
  write(writer);
  return Buffer.from(writer.finish());
}
