import type { Readable } from 'node:stream';

/**
 * Takes out of a stream all that has come before anybody looked: whoever wants it to be read from the beginning
 * has to put it back in the same turn of the event loop, the last piece first. One `read()` gave everything before Node 26, and gives one
 * piece from there on.
 */
export function takeArrived(stream: Readable): (Buffer | string)[] {
  const pieces: (Buffer | string)[] = [];
  while (stream.readableLength > 0) {
    const piece = stream.read() as Buffer | string | null;
    if (piece === null) break;
    pieces.push(piece);
  }
  return pieces;
}

/** The other way round. */
export function putBack(stream: Readable, pieces: readonly (Uint8Array | string)[]): void {
  for (const piece of pieces.toReversed()) stream.unshift(piece);
}
