import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/**
 * The messages of `istio.v1.auth.IstioCertificateService` (istio/api `security/v1alpha1/ca.proto`).
 * What is unknown is passed over, as protobuf has it; sizes are the business of whoever reads the bytes.
 */

/** `IstioCertificateRequest`. */
export interface IstioCertificateRequest {
  /** PEM. */
  readonly csr: string;
  /** Seconds; 0 when nothing is asked for. */
  readonly validityDuration: bigint;
  /** The members of `metadata` that are text. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** @throws Error when the bytes are no message */
export function readCertificateRequest(bytes: Uint8Array): IstioCertificateRequest {
  let csr = '';
  let validityDuration = 0n;
  const metadata = new Map<string, string>();
  eachField(bytes, (number, type, reader) => {
    if (number === 1 && type === WireType.LengthDelimited) csr = reader.string();
    else if (number === 3 && type === WireType.Varint) validityDuration = BigInt(reader.int64());
    else if (number === 4 && type === WireType.LengthDelimited) readStruct(reader.bytes(), metadata);
    else return false;
    return true;
  });
  return { csr, validityDuration, metadata };
}

/** `google.protobuf.Struct`: `fields` (1) is a map of `Value`, whose `string_value` is 3. */
function readStruct(bytes: Uint8Array, into: Map<string, string>): void {
  eachField(bytes, (number, type, reader) => {
    if (number !== 1 || type !== WireType.LengthDelimited) return false;
    let key = '';
    let value: string | undefined;
    eachField(reader.bytes(), (part, partType, entry) => {
      if (partType !== WireType.LengthDelimited || part > 2) return false;
      if (part === 1) key = entry.string();
      else value = readStringValue(entry.bytes());
      return true;
    });
    if (value === undefined) into.delete(key);
    else into.set(key, value);
    return true;
  });
}

function readStringValue(bytes: Uint8Array): string | undefined {
  let value: string | undefined;
  eachField(bytes, (number, type, reader) => {
    if (number !== 3 || type !== WireType.LengthDelimited) return false;
    value = reader.string();
    return true;
  });
  return value;
}

/** `IstioCertificateResponse`: one certificate (PEM) for each element, the leaf first, the root last. */
export function writeCertificateResponse(certChain: readonly string[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const pem of certChain) writer.tag(1, WireType.LengthDelimited).string(pem);
  return writer.finish();
}

/** Calls `read` for each field; where it says false, the field is passed over. */
function eachField(bytes: Uint8Array, read: (number: number, type: WireType, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    // No message here has groups, and skipping them nests as deep as a stranger likes.
    if (type === WireType.StartGroup || type === WireType.EndGroup) throw new Error('a group is not expected');
    if (!read(number, type, reader)) reader.skip(type, number);
  }
}
