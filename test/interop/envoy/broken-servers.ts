import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Owner } from '../../support/upstream.ts';

/** A server whose answers break the protocol, each time in the same way. */
export interface BrokenServer {
  readonly port: number;
  /** Requests so far. */
  readonly requests: () => number;
  /** Ends its connections, and resolves when whoever called has ended them, too: the next call begins with a new one. */
  reset(): Promise<void>;
}

/** A service of the mesh behind which a server is: `case-<i>`, on port 80. */
export function brokenService({ port }: BrokenServer, i: number, protocol: 'HTTP' | 'HTTP2' | 'GRPC'): string {
  return `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: case-${i}, namespace: shop }
spec:
  hosts: [case-${i}.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: main, protocol: ${protocol} }]
  endpoints: [{ address: 127.0.0.1, ports: { main: ${port} } }]
`;
}

/** What is said of one request. */
export type Answer = (socket: Socket, stream: number) => void;

/** What is sent for a request of HTTP/1.1, and whether the connection ends then. */
export function http1(text: string, end: 'close' | 'reset' | 'stay' = 'close'): Answer {
  return (socket) => {
    if (end === 'close') socket.end(text, 'latin1');
    else if (end === 'stay') socket.write(text, 'latin1');
    else if (text === '') socket.resetAndDestroy();
    else socket.write(text, 'latin1', () => void whenRead(socket).then(() => socket.resetAndDestroy()));
  };
}

/** Resolves when the peer has read all that it was sent: a reset takes away what still waits to be read. */
async function whenRead({ localPort = 0, remotePort = 0 }: Socket): Promise<void> {
  // proc_net_tcp(5): local and remote address, state, and bytes that wait to be written and read, of both ends here.
  const table = '/proc/net/tcp';
  const [own, theirs] = [localPort, remotePort].map((port) => `:${port.toString(16).toUpperCase().padStart(4, '0')}`);
  for (let i = 0; i < 2_000; i++) {
    await wait(5);
    if (!existsSync(table)) continue;
    const rows = readFileSync(table, 'latin1').split('\n');
    const [, , , , queues] =
      rows
        .map((row) => row.trim().split(/\s+/))
        .find(([, local, remote]) => local?.endsWith(theirs as string) && remote?.endsWith(own as string)) ?? [];
    if (queues === undefined || queues.endsWith(':00000000')) return;
  }
}

/** Reads requests of HTTP/1.1 without bodies. */
export function brokenHttp1(t: Owner, answer: Answer): Promise<BrokenServer> {
  return serve(t, (socket, request) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        text = text.slice(end + 4);
        request();
        answer(socket, 1);
      }
    });
  });
}

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Reads requests of HTTP/2, one on each connection, which is what all that is asked here comes to. */
export function brokenHttp2(t: Owner, answer: Answer): Promise<BrokenServer> {
  return serve(t, (socket, request) => {
    let read = Buffer.alloc(0);
    let begun = false;
    socket.write(frame(frames.settings, 0, 0, Buffer.alloc(0)));
    socket.on('data', (chunk: Buffer) => {
      read = Buffer.concat([read, chunk]);
      if (!begun) {
        if (read.length < preface.length) return;
        read = read.subarray(preface.length);
        begun = true;
      }
      while (read.length >= 9) {
        const length = read.readUIntBE(0, 3);
        if (read.length < 9 + length) return;
        const [type, flags, stream] = [read[3], read[4] ?? 0, read.readUInt32BE(5) % 2 ** 31];
        read = read.subarray(9 + length);
        if (type === frames.settings && (flags & 1) === 0) socket.write(frame(frames.settings, 1, 0, Buffer.alloc(0)));
        if (type === frames.headers) {
          request();
          answer(socket, stream);
        }
      }
    });
  });
}

const frames = { data: 0, headers: 1, reset: 3, settings: 4, push: 5, goaway: 7, window: 8, continuation: 9 } as const;

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const endStream = 1;
const endHeaders = 4;

/** Frames on the first stream of a connection. */
export const h2 = {
  headers: (fields: readonly (readonly [string, string])[], last = false): Buffer =>
    frame(frames.headers, endHeaders | (last ? endStream : 0), 1, Buffer.concat(fields.map(literal))),
  /** Header block as it is. */
  block: (bytes: Buffer, last = true): Buffer => frame(frames.headers, endHeaders | (last ? endStream : 0), 1, bytes),
  data: (text: string, last = false): Buffer => frame(frames.data, last ? endStream : 0, 1, Buffer.from(text)),
  reset: (code: number): Buffer => frame(frames.reset, 0, 1, number(code)),
  goaway: (lastStream: number, code: number): Buffer =>
    frame(frames.goaway, 0, 0, Buffer.concat([number(lastStream), number(code)])),
  window: (by: number): Buffer => frame(frames.window, 0, 1, number(by)),
  push: (): Buffer => frame(frames.push, endHeaders, 1, Buffer.concat([number(2), literal([':method', 'GET'])])),
  /** A frame on a stream that was never begun. */
  stray: (): Buffer => frame(frames.headers, endHeaders | endStream, 2, literal([':status', '200'])),
};

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A header that no table has (RFC 7541 section 6.2.2). */
function literal([name, value]: readonly [string, string]): Buffer {
  return Buffer.concat([Buffer.of(0), text(name), text(value)]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const length: number[] = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) length.push((rest % 128) + 128);
  length.push(rest);
  return Buffer.concat([Buffer.from(length), bytes]);
}

/** What is sent for a request of HTTP/2, and whether the connection ends then. Frames of stream 1 go to that of the request. */
export function http2(parts: readonly Buffer[], end: 'close' | 'reset' | 'stay' = 'stay'): Answer {
  return (socket, stream) => {
    const all = parts.map((part) => {
      const sent = Buffer.from(part);
      if (sent.length >= 9 && sent.readUInt32BE(5) === 1) sent.writeUInt32BE(stream, 5);
      return sent;
    });
    http1(Buffer.concat(all).toString('latin1'), end)(socket, stream);
  };
}

async function serve(t: Owner, on: (socket: Socket, request: () => void) => void): Promise<BrokenServer> {
  const sockets = new Set<Socket>();
  let requests = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    on(socket, () => void requests++);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const destroy = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const reset = async (): Promise<void> => {
    const closing = [...sockets].map(async (socket) => {
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.end();
      await closed;
    });
    const late = setTimeout(destroy, 10_000);
    await Promise.all(closing);
    clearTimeout(late);
  };
  t.teardown(() => {
    destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, requests: () => requests, reset };
}
