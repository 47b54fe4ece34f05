import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Writes one field of a message. */
export type Write = (writer: BinaryWriter) => void;

/** A field that holds a message of these fields. */
export function message(field: number, ...parts: readonly Write[]): Write {
  return (writer) => {
    writer.tag(field, WireType.LengthDelimited).fork();
    for (const part of parts) part(writer);
    writer.join();
  };
}

export function string(field: number, value: string): Write {
  return (writer) => void writer.tag(field, WireType.LengthDelimited).string(value);
}

export function number(field: number, value: number): Write {
  return (writer) => void writer.tag(field, WireType.Varint).int32(value);
}

/** Envoy's `HeaderValueOption`, with what else is in it. */
export function header(field: number, name: string, value: string, ...more: readonly Write[]): Write {
  return message(field, message(1, string(1, name), string(2, value)), ...more);
}

/** The bytes of a message of these fields. */
export function encode(...parts: readonly Write[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const part of parts) part(writer);
  return writer.finish();
}
