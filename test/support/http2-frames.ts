import type { Socket } from 'node:net';
import type { Test } from 'tap';
import { rawUpstream } from './upstream.ts';

/** Frame types (RFC 9113 section 6). */
export const frameTypes = { data: 0, headers: 1, rst: 3, settings: 4, ping: 6, goaway: 7, window: 8 } as const;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** One connection of a server that says just the frames that a test wants. */
export interface FrameConnection {
  readonly socket: Socket;
  /** Number of this connection, from 1. */
  readonly number: number;
  /** Streams that requests opened, in order. */
  readonly streams: number[];
  /** Settings that the client has taken over. */
  acknowledged: number;
  /** PINGs that the client sent. */
  pings: number;
  settings(maxConcurrentStreams?: number): void;
  /** `200`, with a body of `text`; with `open` the body is not complete. */
  answer(stream: number, text: string, open?: 'open'): void;
  data(stream: number, text: string, open?: 'open'): void;
  reset(stream: number, code: number): void;
  goAway(lastStream: number, code?: number): void;
}

export interface FrameServer {
  readonly port: number;
  readonly accepted: () => number;
  readonly open: () => number;
  readonly connections: FrameConnection[];
}

const highestStream = 0x7f_ff_ff_ff;

/**
 * A server that speaks HTTP/2 frame by frame, for what node:http2 does not do on demand. Settings and
 * PINGs are acknowledged unless `mute`; `onHeaders` is told of each request.
 */
export async function frameServer(
  t: Test,
  onHeaders: (connection: FrameConnection, stream: number) => void,
  options: { readonly maxConcurrentStreams?: number; readonly mute?: boolean } = {},
): Promise<FrameServer> {
  const connections: FrameConnection[] = [];
  const { accepted, open, port } = await rawUpstream(t, (socket, number) => {
    const connection = speak(socket, number);
    connections.push(connection);
    connection.settings(options.maxConcurrentStreams);
    readFrames(socket, (frame) => {
      if (frame.type === frameTypes.headers) {
        connection.streams.push(frame.stream);
        onHeaders(connection, frame.stream);
        return;
      }
      if (frame.type === frameTypes.ping && (frame.flags & 1) === 0) connection.pings++;
      if (frame.type === frameTypes.settings && (frame.flags & 1) === 1) connection.acknowledged++;
      else if (options.mute !== true && (frame.flags & 1) === 0) {
        if (frame.type === frameTypes.settings) write(socket, frameTypes.settings, 1, 0, Buffer.alloc(0));
        if (frame.type === frameTypes.ping) write(socket, frameTypes.ping, 1, 0, frame.payload);
      }
    });
  });
  return { accepted, open, port, connections };
}

function speak(socket: Socket, number: number): FrameConnection {
  const data = (stream: number, text: string, open?: 'open'): void =>
    write(socket, frameTypes.data, open === undefined ? 1 : 0, stream, Buffer.from(text));
  return {
    socket,
    number,
    streams: [],
    acknowledged: 0,
    pings: 0,
    settings(maxConcurrentStreams) {
      const payload = Buffer.alloc(maxConcurrentStreams === undefined ? 0 : 6);
      if (maxConcurrentStreams !== undefined) {
        payload.writeUInt16BE(3, 0);
        payload.writeUInt32BE(maxConcurrentStreams, 2);
      }
      write(socket, frameTypes.settings, 0, 0, payload);
    },
    answer(stream, text, open) {
      // 0x88 is `:status: 200` in the static table of HPACK.
      write(socket, frameTypes.headers, 4, stream, Buffer.from([0x88]));
      data(stream, text, open);
    },
    data,
    reset(stream, code) {
      const payload = Buffer.alloc(4);
      payload.writeUInt32BE(code, 0);
      write(socket, frameTypes.rst, 0, stream, payload);
    },
    goAway(lastStream, code = 0) {
      const payload = Buffer.alloc(8);
      payload.writeUInt32BE(lastStream & highestStream, 0);
      payload.writeUInt32BE(code, 4);
      write(socket, frameTypes.goaway, 0, 0, payload);
    },
  };
}

function write(socket: Socket, type: number, flags: number, stream: number, payload: Buffer): void {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  socket.write(Buffer.concat([head, payload]));
}

const preface = 24;

function readFrames(socket: Socket, onFrame: (frame: Frame) => void): void {
  let rest = Buffer.alloc(0);
  let started = false;
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    if (!started) {
      if (rest.length < preface) return;
      rest = rest.subarray(preface);
      started = true;
    }
    while (rest.length >= 9) {
      const length = rest.readUIntBE(0, 3);
      if (rest.length < 9 + length) return;
      const payload = rest.subarray(9, 9 + length);
      onFrame({
        type: rest.readUInt8(3),
        flags: rest.readUInt8(4),
        stream: rest.readUInt32BE(5) & highestStream,
        payload,
      });
      rest = rest.subarray(9 + length);
    }
  });
}
