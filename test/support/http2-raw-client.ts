import type { Socket } from 'node:net';
import { type Frame, frameTypes } from './http2-frames.ts';
import { type RawOptions, rawConnection } from './inbound.ts';

/** Frame types that only hostile clients care about, beside {@link frameTypes} (RFC 9113 section 6). */
export const moreFrameTypes = { priority: 2, pushPromise: 5, continuation: 9 } as const;

export const endStream = 1;
export const endHeaders = 4;

/** Header fields in order; names as they are, pseudo-headers among them. */
export type Fields = readonly (readonly [string, string])[];

/**
 * A header block of literals without Huffman coding and without indexing (RFC 7541 section 6.2.2):
 * no library that would correct anything.
 */
export function literals(fields: Fields): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** One literal that the other side keeps in its dynamic table (RFC 7541 section 6.2.1); index 62 from then on. */
export function kept(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x40]), text(name), text(value)]);
}

/** A length-prefixed string. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  return Buffer.concat([integer(bytes.length, 7), bytes]);
}

/** An integer with a prefix of `bits` bits (RFC 7541 section 5.1). */
function integer(value: number, bits: number): Buffer {
  const full = 2 ** bits - 1;
  if (value < full) return Buffer.from([value]);
  const bytes = [full];
  let rest = value - full;
  for (; rest >= 128; rest >>>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}

/** The bytes of one frame. */
export function frameBytes(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = new Uint8Array(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A SETTINGS payload. */
export function settingsOf(entries: Readonly<Record<number, number>>): Buffer {
  const all = Object.entries(entries).map(([key, value]) => {
    const entry = Buffer.alloc(6);
    entry.writeUInt16BE(Number(key), 0);
    entry.writeUInt32BE(value, 2);
    return entry;
  });
  return Buffer.concat(all);
}

/** What became of a stream. */
export interface StreamOutcome {
  status?: number;
  /** `grpc-status`, of head or trailers. */
  grpc?: number | undefined;
  body: string;
  /** Code of an RST_STREAM. */
  reset?: number;
  /** Value of the trailers, or of a response without a body, as they are on the wire. */
  ended: boolean;
}

/** A connection that says just the frames that a test wants. */
export interface RawHttp2 {
  readonly socket: Socket;
  readonly streams: Map<number, StreamOutcome>;
  /** Code of a GOAWAY. */
  readonly goAway: () => number | undefined;
  readonly closed: Promise<void>;
  readonly isClosed: () => boolean;
  /** PINGs that came back. */
  readonly pongs: () => number;
  send(type: number, flags: number, stream: number, payload?: Uint8Array): void;
  write(bytes: Uint8Array): boolean;
  /** A request without a body. */
  request(stream: number, fields: Fields): void;
  /** Resolves when `done` says so, when the connection ends, or after `ms`. */
  until(done: () => boolean, ms?: number): Promise<boolean>;
  destroy(): void;
}

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Opens a connection, sends preface and settings, answers SETTINGS and PING. */
export function rawHttp2(
  port: number,
  options: { readonly tls?: RawOptions['tls']; readonly settings?: Readonly<Record<number, number>> } = {},
): RawHttp2 {
  const tls = options.tls && { ...options.tls, alpn: ['h2'] };
  const socket = rawConnection(port, tls);
  const streams = new Map<number, StreamOutcome>();
  let goAway: number | undefined;
  let pongs = 0;
  let closed = false;
  let changed = (): void => {};
  const ended = new Promise<void>((resolve) => {
    socket.on('close', () => {
      closed = true;
      resolve();
      changed();
    });
  });
  socket.on('error', () => {});
  const send: RawHttp2['send'] = (type, flags, stream, payload) => {
    if (!socket.destroyed) socket.write(frameBytes(type, flags, stream, payload));
  };
  const outcomeOf = (id: number): StreamOutcome => {
    let outcome = streams.get(id);
    if (outcome === undefined) streams.set(id, (outcome = { body: '', ended: false }));
    return outcome;
  };
  const onFrame = ({ type, flags, stream, payload }: Frame): void => {
    if (type === frameTypes.settings && (flags & 1) === 0) send(frameTypes.settings, 1, 0);
    else if (type === frameTypes.ping) {
      if ((flags & 1) === 0) send(frameTypes.ping, 1, 0, payload);
      else pongs++;
    } else if (type === frameTypes.goaway) goAway = payload.readUInt32BE(4);
    else if (type === frameTypes.rst) outcomeOf(stream).reset = payload.readUInt32BE(0);
    else if (type === frameTypes.headers) {
      const outcome = outcomeOf(stream);
      const status = statusOf(payload);
      if (outcome.status === undefined && status >= 200) outcome.status = status;
      outcome.grpc ??= grpcStatusOf(payload);
      if ((flags & endStream) !== 0) outcome.ended = true;
    } else if (type === frameTypes.data) {
      const outcome = outcomeOf(stream);
      outcome.body += payload.toString('latin1');
      if ((flags & endStream) !== 0) outcome.ended = true;
    }
    changed();
  };
  readFrames(socket, onFrame);
  socket.write(Buffer.concat([preface, frameBytes(frameTypes.settings, 0, 0, settingsOf(options.settings ?? {}))]));
  return {
    socket,
    streams,
    goAway: () => goAway,
    closed: ended,
    isClosed: () => closed,
    pongs: () => pongs,
    send,
    write: (bytes) => (socket.destroyed ? true : socket.write(bytes)),
    request: (stream, fields) => send(frameTypes.headers, endStream | endHeaders, stream, literals(fields)),
    until: (done, ms = 5_000) =>
      new Promise((resolve) => {
        const finish = (): void => {
          clearTimeout(timer);
          changed = () => {};
          resolve(done());
        };
        const timer = setTimeout(finish, ms);
        changed = () => {
          if (done() || closed) finish();
        };
        changed();
      }),
    destroy: () => void socket.destroy(),
  };
}

function readFrames(socket: Socket, onFrame: (frame: Frame) => void): void {
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= 9) {
      const length = rest.readUIntBE(0, 3);
      if (rest.length < 9 + length) return;
      const payload = rest.subarray(9, 9 + length);
      onFrame({
        type: rest.readUInt8(3),
        flags: rest.readUInt8(4),
        stream: rest.readUInt32BE(5) & 0x7f_ff_ff_ff,
        payload,
      });
      rest = rest.subarray(9 + length);
    }
  });
}

/** `grpc-status` in HPACK's Huffman code, which is how Node writes it; six bytes would be longer. */
const grpcStatusName = bytesOfBits('100110101100101011001000101100100001001000110100110110101000'.padEnd(64, '1'));

/** Its value in a header block: so short that no code makes it shorter. */
function grpcStatusOf(block: Buffer): number | undefined {
  const at = block.indexOf(grpcStatusName);
  if (at === -1) return undefined;
  const value = at + grpcStatusName.length;
  return Number(block.subarray(value + 1, value + 1 + (block[value] ?? 0)).toString('latin1'));
}

function bytesOfBits(bits: string): Buffer {
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}

/** Statuses of HPACK's static table. */
const indexed: Readonly<Record<number, number>> = {
  136: 200,
  137: 204,
  138: 206,
  139: 304,
  140: 400,
  141: 404,
  142: 500,
};

/** Codes of digits in HPACK's Huffman table: the code with its length in bits. */
const digits: readonly (readonly [string, string])[] = [
  ['00000', '0'],
  ['00001', '1'],
  ['00010', '2'],
  ['011001', '3'],
  ['011010', '4'],
  ['011011', '5'],
  ['011100', '6'],
  ['011101', '7'],
  ['011110', '8'],
  ['011111', '9'],
];

/**
 * The status at the beginning of a header block; 0 for trailers, and where it was put into the dynamic
 * table before: only the first response of a connection is sure to be read.
 */
function statusOf(block: Buffer): number {
  const first = block[0] ?? 0;
  const known = indexed[first];
  if (known !== undefined) return known;
  // A literal whose name is entry 8 to 14 of the static table, `:status`.
  const name = (first & 0xc0) === 0x40 ? first & 0x3f : first & 0x0f;
  if (name < 8 || name > 14) return 0;
  const length = (block[1] ?? 0) & 0x7f;
  const value = block.subarray(2, 2 + length);
  if (((block[1] ?? 0) & 0x80) === 0) return Number(value.toString('latin1'));
  let bits = [...value].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  let status = '';
  while (status.length < 3) {
    const digit = digits.find(([code]) => bits.startsWith(code));
    if (digit === undefined) return 0;
    status += digit[1];
    bits = bits.slice(digit[0].length);
  }
  return Number(status);
}
