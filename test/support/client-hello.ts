import { randomBytes } from 'node:crypto';

/** What is in a ClientHello that no TLS library would send. */
export interface ClientHelloOptions {
  /** Bytes of the server name, as they are. Absent: no such extension. */
  readonly serverName?: Uint8Array;
  /** Protocol names, as they are. Absent: no such extension. */
  readonly alpn?: readonly Uint8Array[];
  /** Compression methods. Default: none but null. */
  readonly compression?: readonly number[];
  /** Cipher suites. Default: ECDHE with AES-GCM. */
  readonly suites?: readonly number[];
  /** Highest version that is spoken. Default TLS 1.2. */
  readonly version?: number;
}

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const sized8 = (...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([body.length]), body]);
};
const sized16 = (...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u16(body.length), body]);
};
const extension = (type: number, ...parts: Uint8Array[]): Buffer => Buffer.concat([u16(type), sized16(...parts)]);

/** The first flight of a TLS client (RFC 5246 section 7.4.1.2), in one record. */
export function clientHello(options: ClientHelloOptions = {}): Buffer {
  const { alpn, compression = [0], serverName, suites = [0xc02b, 0xc02f, 0xc02c, 0xc030], version = 0x0303 } = options;
  const extensions = [
    extension(0x000a, sized16(u16(0x001d), u16(0x0017))),
    extension(0x000b, sized8(Buffer.from([0]))),
    extension(0x000d, sized16(u16(0x0403), u16(0x0804), u16(0x0401))),
  ];
  if (serverName !== undefined) extensions.push(extension(0x0000, sized16(Buffer.from([0]), sized16(serverName))));
  if (alpn !== undefined) extensions.push(extension(0x0010, sized16(...alpn.map((name) => sized8(name)))));
  const body = Buffer.concat([
    u16(version),
    randomBytes(32),
    sized8(),
    sized16(...suites.map(u16)),
    sized8(Buffer.from(compression)),
    sized16(...extensions),
  ]);
  const length = Buffer.from([0, body.length >> 8, body.length & 0xff]);
  return Buffer.concat([Buffer.from([0x16, 0x03, 0x01]), sized16(Buffer.from([1]), length, body)]);
}

/** What a server answered first. */
export type ServerFlight =
  | { readonly kind: 'hello'; readonly version: number; readonly suite: number; readonly compression: number }
  | { readonly kind: 'alert'; readonly level: number; readonly description: number }
  | { readonly kind: 'other' };

/** Reads the first record of a server's answer. */
export function readServerFlight(bytes: Buffer): ServerFlight {
  if (bytes[0] === 0x15 && bytes.length >= 7) {
    return { kind: 'alert', level: bytes[5] as number, description: bytes[6] as number };
  }
  if (bytes[0] !== 0x16 || bytes[5] !== 2 || bytes.length < 50) return { kind: 'other' };
  const session = bytes[43] as number;
  const suite = 44 + session;
  return {
    kind: 'hello',
    version: bytes.readUInt16BE(9),
    suite: bytes.readUInt16BE(suite),
    compression: bytes[suite + 2] as number,
  };
}
