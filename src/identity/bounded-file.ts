import { open } from 'node:fs/promises';

const pieceBytes = 65_536;

/**
 * The text (UTF-8) of a file that somebody else writes: of no more than so many bytes, whatever is at the path.
 *
 * @throws Error that says why it cannot be read, or that it is larger; with nothing of what is in it
 */
export async function readBoundedFile(path: string, maxBytes: number): Promise<string> {
  const file = await open(path, 'r');
  try {
    const pieces: Buffer[] = [];
    for (let size = 0; size <= maxBytes; ) {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, maxBytes + 1 - size));
      const { bytesRead } = await file.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return Buffer.concat(pieces, size).toString('utf8');
      pieces.push(piece.subarray(0, bytesRead));
      size += bytesRead;
    }
    throw new Error(`larger than ${maxBytes} bytes`);
  } finally {
    await file.close();
  }
}
