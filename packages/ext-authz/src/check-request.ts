import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { CheckAttributes, CheckPeer } from 'inmesh';

/**
 * `envoy.service.auth.v3.CheckRequest`, by the field numbers of Envoy's API, filled as Envoy fills it
 * for a request where Istio has configured it: no labels, no certificate, no metadata.
 */
export function writeCheckRequest(attributes: CheckAttributes): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).fork();
  writePeer(writer, 1, attributes.source);
  writePeer(writer, 2, attributes.destination);
  writer.tag(4, WireType.LengthDelimited).fork();
  writeTime(writer, attributes.timeMs);
  writeHttp(writer, attributes);
  writer.join();
  // Both `Metadata` without anything in it.
  for (const empty of [11, 13]) writer.tag(empty, WireType.LengthDelimited).bytes(new Uint8Array(0));
  writer.join();
  return writer.finish();
}

/** `AttributeContext.Peer`. */
function writePeer(writer: BinaryWriter, field: number, { address, port, principal }: CheckPeer): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  // `core.v3.Address` with a `SocketAddress`.
  writer.tag(1, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).fork();
  text(writer, 2, address);
  if (port !== 0) writer.tag(3, WireType.Varint).uint32(port);
  writer.join();
  writer.join();
  text(writer, 4, principal);
  writer.join();
}

/** `google.protobuf.Timestamp`. */
function writeTime(writer: BinaryWriter, timeMs: number): void {
  const seconds = Math.floor(timeMs / 1_000);
  const nanos = Math.floor((timeMs - seconds * 1_000) * 1_000_000);
  writer.tag(1, WireType.LengthDelimited).fork();
  if (seconds !== 0) writer.tag(1, WireType.Varint).int64(seconds);
  if (nanos !== 0) writer.tag(2, WireType.Varint).int32(nanos);
  writer.join();
}

/** `AttributeContext.HttpRequest`. */
function writeHttp(writer: BinaryWriter, attributes: CheckAttributes): void {
  const { body, headers, host, id, method, path, protocol, scheme } = attributes;
  writer.tag(2, WireType.LengthDelimited).fork();
  text(writer, 1, id);
  text(writer, 2, method);
  for (const [name, value] of headers) {
    writer.tag(3, WireType.LengthDelimited).fork();
    text(writer, 1, name);
    text(writer, 2, value);
    writer.join();
  }
  text(writer, 4, path);
  text(writer, 5, host);
  text(writer, 6, scheme);
  const size = body?.bytes.length ?? 0;
  if (size !== 0) writer.tag(9, WireType.Varint).int64(size);
  text(writer, 10, protocol);
  if (body !== undefined && size > 0) {
    if (body.asBytes) writer.tag(12, WireType.LengthDelimited).bytes(body.bytes);
    else writer.tag(11, WireType.LengthDelimited).string(readable(body.bytes));
  }
  writer.join();
}

/** A text of HTTP: a character for each byte, which may be those of UTF-8. */
function text(writer: BinaryWriter, field: number, value: string): void {
  if (value === '') return;
  writer.tag(field, WireType.LengthDelimited).string(isAscii(value) ? value : readable(Buffer.from(value, 'latin1')));
}

function isAscii(value: string): boolean {
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) > 0x7e) return false;
  return true;
}

/** Envoy's `sanitizeUtf8String`: `!` for what is no UTF-8. */
function readable(bytes: Buffer): string {
  return bytes.toString('utf8').replaceAll('\ufffd', '!');
}
