import type { Socket } from 'node:net';
import { parseIpAddress, plainAddress } from '../lib/ip-address.ts';

/** Both sides of a connection. */
type Addresses = Pick<Socket, 'localAddress' | 'localPort' | 'remoteAddress' | 'remotePort'>;

/**
 * What a connection begins with that says by the PROXY protocol (HAProxy's `proxy-protocol.txt`, versions 1 and 2) from
 * where to where it leads. No proxy stands between: that is this process and the endpoint. For what has no IP addresses,
 * as Unix sockets, it says that it does not say.
 */
export function proxyHeader(version: 1 | 2, socket: Addresses): Buffer {
  const from = endOf(socket.localAddress, socket.localPort);
  const to = endOf(socket.remoteAddress, socket.remotePort);
  const known = from !== undefined && to !== undefined && from.bytes.length === to.bytes.length;
  if (version === 1) return Buffer.from(known ? textOf(from, to) : 'PROXY UNKNOWN\r\n', 'latin1');
  if (!known) return Buffer.from([...signature, local, unspecified, 0, 0]);
  const { length } = from.bytes;
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(from.port, 0);
  ports.writeUInt16BE(to.port, 2);
  const size = 2 * length + ports.length;
  return Buffer.from([
    ...signature,
    proxied,
    length === 4 ? tcpOverIpv4 : tcpOverIpv6,
    0,
    size,
    ...from.bytes,
    ...to.bytes,
    ...ports,
  ]);
}

const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
/** Version 2 with the command LOCAL, and with PROXY. */
const local = 0x20;
const proxied = 0x21;
const unspecified = 0x00;
const tcpOverIpv4 = 0x11;
const tcpOverIpv6 = 0x21;

interface End {
  readonly text: string;
  /** Four or sixteen. */
  readonly bytes: readonly number[];
  readonly port: number;
}

function endOf(address: string | undefined, port: number | undefined): End | undefined {
  const text = plainAddress(address);
  const parsed = text === undefined ? undefined : parseIpAddress(text);
  if (text === undefined || parsed === undefined || port === undefined) return undefined;
  const bytes = parsed.words.flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]);
  return { text, bytes, port };
}

function textOf(from: End, to: End): string {
  return `PROXY TCP${from.bytes.length === 4 ? 4 : 6} ${from.text} ${to.text} ${from.port} ${to.port}\r\n`;
}
