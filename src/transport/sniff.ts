import type { Duplex } from 'node:stream';

/** What the first bytes of a connection are. */
export type FirstBytes = 'tls' | 'http2' | 'http1';

/** First byte of a TLS handshake record. */
const tlsHandshake = 0x16;
/** RFC 9113 section 3.4; no HTTP/1 method begins with these three. */
const prefaceStart = [0x50, 0x52, 0x49] as const;

/** Names what a connection begins with; nothing while that can still be either. */
export function classify(bytes: Uint8Array): FirstBytes | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === tlsHandshake) return 'tls';
  for (let i = 0; i < prefaceStart.length; i++) {
    if (i >= bytes.length) return undefined;
    if (bytes[i] !== prefaceStart[i]) return 'http1';
  }
  return 'http2';
}

/**
 * Waits for the first bytes of a connection, puts them back and says what they are. The socket is
 * paused then; whoever takes it over resumes it. `onNothing` is called instead when the other side
 * ends first.
 *
 * @returns a function that gives up without calling either
 */
export function sniff(socket: Duplex, onBytes: (first: FirstBytes) => void, onNothing: () => void): () => void {
  let seen: Buffer = Buffer.alloc(0);
  const stop = (): void => {
    socket.off('data', onData).off('end', onGone).off('close', onGone);
  };
  const onData = (chunk: Buffer): void => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const first = classify(seen);
    if (first === undefined) return;
    stop();
    socket.pause();
    socket.unshift(seen);
    onBytes(first);
  };
  const onGone = (): void => {
    stop();
    onNothing();
  };
  socket.on('data', onData).on('end', onGone).on('close', onGone);
  return stop;
}
