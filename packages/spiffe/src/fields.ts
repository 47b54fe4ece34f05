import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { badAnswer } from './problem.ts';

/** Reads one field. */
export interface FieldReader {
  readonly type: WireType;
  read(reader: BinaryReader): void;
}

/** Calls the reader of each known field of a message, and passes over what is unknown, as protobuf has it. */
export function eachField(bytes: Uint8Array, known: Readonly<Record<number, FieldReader>>): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const field = known[number];
    if (field === undefined || field.type !== type) reader.skip(type, number);
    else field.read(reader);
  }
}

/** A field of bytes or of a nested message. */
export function bytesField(take: (bytes: Uint8Array) => void): FieldReader {
  return { type: WireType.LengthDelimited, read: (reader) => take(reader.bytes()) };
}

/** A field of text. */
export function textField(take: (text: string) => void): FieldReader {
  return { type: WireType.LengthDelimited, read: (reader) => take(reader.string()) };
}

/** Appends to a list of bounded length. */
export function pushTo<T>(list: T[], max: number, what: string): (item: T) => void {
  return (item) => {
    if (list.length >= max) throw badAnswer(`more than ${max} ${what}`);
    list.push(item);
  };
}

/** Reads the entries of a `map<string, bytes>` whose keys must be different. */
export function mapEntry(map: Map<string, Uint8Array>, max: number, what: string): (bytes: Uint8Array) => void {
  return (bytes) => {
    let key = '';
    let value: Uint8Array = Buffer.alloc(0);
    eachField(bytes, { 1: textField((text) => (key = text)), 2: bytesField((content) => (value = content)) });
    // Protobuf would take the last one; a bundle that depends on the order of a map is not to be trusted.
    if (map.has(key)) throw badAnswer(`two ${what} of ${JSON.stringify(key.slice(0, 200))}`);
    if (map.size >= max) throw badAnswer(`more than ${max} ${what}`);
    map.set(key, value);
  };
}
