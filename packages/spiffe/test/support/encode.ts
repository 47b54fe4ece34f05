import { X509Certificate } from 'node:crypto';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { ClaimValue } from '../../src/struct.ts';

/** The other half of the messages of workloadapi.proto: answers are written, requests are read. */

/** `X509SVID`. */
export interface SentX509Svid {
  readonly spiffeId: string;
  readonly chain: Uint8Array;
  readonly key: Uint8Array;
  readonly bundle: Uint8Array;
  readonly hint?: string;
}

/** `X509SVIDResponse`. */
export interface SentX509Svids {
  readonly svids: readonly SentX509Svid[];
  readonly crls?: readonly Uint8Array[];
  readonly federated?: Readonly<Record<string, Uint8Array>>;
}

export function encodeX509Svids({ crls = [], federated = {}, svids }: SentX509Svids): Buffer {
  const writer = new BinaryWriter();
  for (const { bundle, chain, hint = '', key, spiffeId } of svids) {
    writer.tag(1, WireType.LengthDelimited).fork();
    text(writer, 1, spiffeId);
    bytes(writer, 2, chain);
    bytes(writer, 3, key);
    bytes(writer, 4, bundle);
    text(writer, 5, hint);
    writer.join();
  }
  for (const crl of crls) writer.tag(2, WireType.LengthDelimited).bytes(crl);
  mapOf(writer, 3, Object.entries(federated));
  return Buffer.from(writer.finish());
}

/** `X509BundlesResponse`. Entries may repeat a key, as no honest server does. */
export function encodeX509Bundles(
  bundles: readonly (readonly [string, Uint8Array])[],
  crls: readonly Uint8Array[] = [],
): Buffer {
  const writer = new BinaryWriter();
  for (const crl of crls) writer.tag(1, WireType.LengthDelimited).bytes(crl);
  mapOf(writer, 2, bundles);
  return Buffer.from(writer.finish());
}

/** `JWTSVIDResponse`. */
export function encodeJwtSvids(
  svids: readonly { readonly spiffeId: string; readonly token: string; readonly hint?: string }[],
): Buffer {
  const writer = new BinaryWriter();
  for (const { hint = '', spiffeId, token } of svids) {
    writer.tag(1, WireType.LengthDelimited).fork();
    text(writer, 1, spiffeId);
    text(writer, 2, token);
    text(writer, 3, hint);
    writer.join();
  }
  return Buffer.from(writer.finish());
}

/** `JWTBundlesResponse`. */
export function encodeJwtBundles(bundles: readonly (readonly [string, string])[]): Buffer {
  const writer = new BinaryWriter();
  mapOf(
    writer,
    1,
    bundles.map(([key, value]) => [key, Buffer.from(value)]),
  );
  return Buffer.from(writer.finish());
}

/** `ValidateJWTSVIDResponse`. */
export function encodeValidated(spiffeId: string, claims: Readonly<Record<string, ClaimValue>> | undefined): Buffer {
  const writer = new BinaryWriter();
  text(writer, 1, spiffeId);
  if (claims !== undefined) writer.tag(2, WireType.LengthDelimited).bytes(encodeStruct(claims));
  return Buffer.from(writer.finish());
}

/** `google.protobuf.Struct`. */
export function encodeStruct(value: Readonly<Record<string, ClaimValue>>): Uint8Array {
  const writer = new BinaryWriter();
  for (const [name, member] of Object.entries(value)) {
    writer.tag(1, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(name);
    writer.tag(2, WireType.LengthDelimited).bytes(encodeValue(member));
    writer.join();
  }
  return writer.finish();
}

function encodeValue(value: ClaimValue): Uint8Array {
  const writer = new BinaryWriter();
  if (value === null) writer.tag(1, WireType.Varint).int32(0);
  else if (typeof value === 'number') writer.tag(2, WireType.Bit64).double(value);
  else if (typeof value === 'string') writer.tag(3, WireType.LengthDelimited).string(value);
  else if (typeof value === 'boolean') writer.tag(4, WireType.Varint).bool(value);
  else if (Array.isArray(value)) {
    const list = new BinaryWriter();
    for (const item of value as readonly ClaimValue[]) list.tag(1, WireType.LengthDelimited).bytes(encodeValue(item));
    writer.tag(6, WireType.LengthDelimited).bytes(list.finish());
  } else {
    const struct = encodeStruct(value as Readonly<Record<string, ClaimValue>>);
    writer.tag(5, WireType.LengthDelimited).bytes(struct);
  }
  return writer.finish();
}

/** The text fields of a request, by number. */
export function decodeTexts(request: Uint8Array): ReadonlyMap<number, readonly string[]> {
  const found = new Map<number, string[]>();
  const reader = new BinaryReader(request);
  while (reader.pos < reader.len) {
    const [number] = reader.tag();
    const list = found.get(number) ?? [];
    list.push(reader.string());
    found.set(number, list);
  }
  return found;
}

/** DER of every certificate of PEM texts, one after the other. */
export function derOf(...pems: readonly string[]): Buffer {
  const blocks = pems.flatMap((pem) => pem.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? []);
  return Buffer.concat(blocks.map((block) => new X509Certificate(block).raw));
}

/** PKCS#8 DER of a PEM key. */
export function keyDer(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
}

function text(writer: BinaryWriter, number: number, value: string): void {
  if (value !== '') writer.tag(number, WireType.LengthDelimited).string(value);
}

function bytes(writer: BinaryWriter, number: number, value: Uint8Array): void {
  if (value.length > 0) writer.tag(number, WireType.LengthDelimited).bytes(value);
}

function mapOf(writer: BinaryWriter, number: number, entries: readonly (readonly [string, Uint8Array])[]): void {
  for (const [key, value] of entries) {
    writer.tag(number, WireType.LengthDelimited).fork();
    text(writer, 1, key);
    bytes(writer, 2, value);
    writer.join();
  }
}
