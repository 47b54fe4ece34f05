import type { Socket } from 'node:net';
import type { Random } from '../../src/lib/random.ts';

/** What goes wrong with the bytes of one direction of a connection. Positions count from 0. */
export interface Toxics {
  /** Each piece arrives so much later, milliseconds. */
  readonly latencyMs?: number;
  /** Up to so much more or less than {@link latencyMs}, evenly. */
  readonly jitterMs?: number;
  readonly bytesPerSecond?: number;
  /** Writes of one to so many bytes. */
  readonly sliceBytes?: number;
  /** What came within this time is written at once, milliseconds. */
  readonly coalesceMs?: number;
  /** One bit of this byte is turned over. */
  readonly corruptAt?: number;
  /** From this byte on nothing is handed on, and the connection stays open. */
  readonly stallAt?: number;
  /** Before this byte the connection is reset on both sides. */
  readonly resetAt?: number;
  /** Before this byte this direction ends with a FIN; the other one goes on. */
  readonly endAt?: number;
}

/** Bytes that one direction holds before it stops reading: what a router would. */
const bufferBytes = 64 * 1_024;

interface Piece {
  /** Absent: the end of the stream. */
  readonly bytes?: Buffer;
  readonly due: number;
}

/** Carries the bytes of one direction, and does to them what the toxics say. */
export function carry(from: Socket, to: Socket, toxics: Toxics, random: Random): void {
  const { bytesPerSecond, coalesceMs = 0, jitterMs = 0, latencyMs = 0, sliceBytes } = toxics;
  const cutAt = Math.min(toxics.stallAt ?? Infinity, toxics.resetAt ?? Infinity, toxics.endAt ?? Infinity);
  let pieces: Piece[] = [];
  let held = 0;
  let seen = 0;
  let last = 0;
  let running = false;
  let cut = false;

  const push = (bytes: Buffer | undefined): void => {
    const due = performance.now() + coalesceMs + latencyMs + (2 * random() - 1) * jitterMs;
    // never before what came earlier
    last = Math.max(last, due);
    pieces.push(bytes === undefined ? { due: last } : { bytes, due: last });
    held += bytes?.length ?? 0;
    if (held > bufferBytes) from.pause();
    if (!running) void run();
  };

  const run = async (): Promise<void> => {
    running = true;
    while (pieces.length > 0 && !to.destroyed) {
      const [first] = pieces as [Piece];
      await until(first.due);
      const ready = pieces.filter(({ bytes, due }) => bytes !== undefined && (due <= first.due || coalesceMs > 0));
      pieces = pieces.filter((piece) => !ready.includes(piece));
      if (ready.length === 0) {
        pieces.shift();
        to.end();
        continue;
      }
      const bytes = Buffer.concat(ready.map((piece) => piece.bytes as Buffer));
      await deliver(bytes);
      held -= bytes.length;
      if (held <= bufferBytes && !from.destroyed && !cut) from.resume();
    }
    running = false;
  };

  const deliver = async (bytes: Buffer): Promise<void> => {
    for (let at = 0; at < bytes.length && !to.destroyed; ) {
      const size = sliceBytes === undefined ? 16_384 : 1 + Math.floor(random() * sliceBytes);
      const part = bytes.subarray(at, at + size);
      at += part.length;
      await write(to, part);
      if (bytesPerSecond !== undefined) await until(performance.now() + (1_000 * part.length) / bytesPerSecond);
    }
  };

  const take = (chunk: Buffer): void => {
    if (cut) return;
    const rest = cutAt - seen;
    const bytes = Buffer.from(chunk.subarray(0, Math.min(chunk.length, rest)));
    const flip = (toxics.corruptAt ?? -1) - seen;
    if (flip >= 0 && flip < bytes.length) bytes[flip] = (bytes[flip] ?? 0) ^ 0x10;
    seen += bytes.length;
    cut = chunk.length >= rest;
    if (bytes.length > 0) push(bytes);
    if (cut) end();
  };

  const end = (): void => {
    if (toxics.endAt === cutAt) push(undefined);
    if (toxics.resetAt !== cutAt) return;
    const reset = (): void => {
      from.resetAndDestroy();
      to.resetAndDestroy();
    };
    // What came before it is handed on first.
    if (cutAt === 0) reset();
    else void until(last).then(() => setTimeout(reset, 5));
  };

  from.on('data', take);
  from.once('end', () => {
    if (!cut) push(undefined);
  });
}

function write(to: Socket, bytes: Buffer): Promise<void> {
  // Not in one segment with the next: that one is written when this one is with the system.
  return new Promise((resolve) => to.write(bytes, () => setImmediate(resolve)));
}

async function until(due: number): Promise<void> {
  for (let left = due - performance.now(); left > 0; left = due - performance.now()) {
    await new Promise((resolve) => setTimeout(resolve, left));
  }
}
