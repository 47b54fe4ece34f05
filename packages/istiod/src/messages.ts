import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Messages of `istio.v1.auth.IstioCertificateService` (istio/api `security/v1alpha1/ca.proto`). */

/** `IstioCertificateRequest`. */
export interface CertificateRequest {
  /** PKCS#10, PEM. */
  readonly csr: string;
  /** Life that is wanted, whole seconds. */
  readonly validitySeconds: number;
  /** Text members of `metadata`: `CertSigner`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Most elements of an answer: certificates of a chain, and the roots. */
export const maxElements = 16;

export function writeCertificateRequest({ csr, metadata, validitySeconds }: CertificateRequest): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).string(csr);
  writer.tag(3, WireType.Varint).int64(validitySeconds);
  const members = Object.entries(metadata);
  if (members.length > 0) {
    // google.protobuf.Struct: `fields` (1) is a map of `Value`, whose `string_value` is 3.
    writer.tag(4, WireType.LengthDelimited).fork();
    for (const [key, value] of members) {
      writer.tag(1, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.LengthDelimited).string(key);
      writer.tag(2, WireType.LengthDelimited).fork().tag(3, WireType.LengthDelimited).string(value).join();
      writer.join();
    }
    writer.join();
  }
  return Buffer.from(writer.finish());
}

/**
 * `IstioCertificateResponse`: `cert_chain`, one certificate for each element, the leaf first, the
 * roots (one or several in one text) last.
 *
 * @throws Error when the bytes are no message, or have more than 16 elements
 */
export function readCertificateResponse(bytes: Uint8Array): readonly string[] {
  const chain: string[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    if (number === 1 && type === WireType.LengthDelimited) {
      if (chain.length >= maxElements) throw new Error(`more than ${maxElements} elements`);
      chain.push(reader.string());
    } else {
      reader.skip(type, number);
    }
  }
  return chain;
}
