import { kMaxLength } from 'node:buffer';
import { deflate, gunzip, gzip, inflate } from 'node:zlib';

/** Ways of compression, in the order of grpc-js's `compressionAlgorithms`. */
export const encodings = ['identity', 'deflate', 'gzip'] as const;

export type Encoding = (typeof encodings)[number];

/** What we read: `grpc-accept-encoding`. */
export const acceptedEncodings: string = encodings.join(',');

type Done = (error: Error | null, bytes: Buffer) => void;

export function compress(encoding: Encoding, bytes: Buffer, done: Done): void {
  if (encoding === 'gzip') gzip(bytes, done);
  else deflate(bytes, done);
}

/** It would be longer than is accepted. */
export class TooLong extends Error {}

/**
 * Inflates a message. It stops at `maxBytes`, and is not first inflated and then measured: a few
 * kilobytes can stand for gigabytes.
 */
export function decompress(encoding: Exclude<Encoding, 'identity'>, bytes: Buffer, maxBytes: number, done: Done): void {
  const options = maxBytes < kMaxLength ? { maxOutputLength: Math.max(1, maxBytes) } : {};
  const read = encoding === 'gzip' ? gunzip : inflate;
  read(bytes, options, (error, inflated) => {
    const tooLong = (error as NodeJS.ErrnoException | null)?.code === 'ERR_BUFFER_TOO_LARGE';
    if (tooLong) done(new TooLong(`a ${encoding} message inflates to more than ${maxBytes} bytes`), inflated);
    else done(error, inflated);
  });
}

/** `grpc-encoding` of a response: one that we read; nothing for one that we do not. */
export function encodingOf(header: string | undefined): Encoding | undefined {
  if (header === undefined) return 'identity';
  return (encodings as readonly string[]).includes(header) ? (header as Encoding) : undefined;
}
