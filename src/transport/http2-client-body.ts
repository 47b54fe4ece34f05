import { Readable, type Writable } from 'node:stream';
import { errors, Response } from 'undici';
import { isStream, modernStream } from '../lib/old-stream.ts';

/** A request body in a form that can be written: whole, in pieces, or nothing. */
export type WritableBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'whole'; readonly bytes: Buffer }
  | {
      readonly kind: 'pieces';
      readonly pieces: Readable;
      /** Bytes, if known. */
      readonly length: number | undefined;
      /** Of a form, whose boundary only we know. */
      readonly contentType: string | undefined;
    };

const none: WritableBody = { kind: 'none' };

/** @throws undici's `InvalidArgumentError` for what is no body. */
export function writableBody(body: unknown): WritableBody {
  if (body === null || body === undefined) return none;
  if (typeof body === 'string') return { kind: 'whole', bytes: Buffer.from(body) };
  if (ArrayBuffer.isView(body)) {
    return { kind: 'whole', bytes: Buffer.from(body.buffer, body.byteOffset, body.byteLength) };
  }
  if (body instanceof ArrayBuffer) return { kind: 'whole', bytes: Buffer.from(body) };
  if (body instanceof Readable) return pieces(body);
  if (isStream(body))
    return pieces(Symbol.asyncIterator in body ? Readable.from(body, { objectMode: false }) : modernStream(body));
  const tag = (body as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  if (tag === 'FormData') {
    // Each class of forms is known to its own Response only.
    const response = body instanceof globalThis.FormData ? new globalThis.Response(body) : new Response(body as never);
    const contentType = response.headers.get('content-type') ?? undefined;
    return pieces(Readable.from(response.body as AsyncIterable<Uint8Array>, { objectMode: false }), contentType);
  }
  if (tag === 'Blob' || tag === 'File') {
    const blob = body as Blob;
    return { ...pieces(Readable.from(blob.stream(), { objectMode: false })), length: blob.size };
  }
  if (isIterable(body)) return pieces(Readable.from(body, { objectMode: false }));
  throw new errors.InvalidArgumentError(
    'body must be a string, a Buffer, a Readable stream, an iterable, or an async iterable',
  );
}

function pieces(readable: Readable, contentType?: string): WritableBody & { readonly kind: 'pieces' } {
  return { kind: 'pieces', pieces: readable, length: undefined, contentType };
}

function isIterable(body: unknown): body is AsyncIterable<Uint8Array> {
  return typeof body === 'object' && body !== null && (Symbol.asyncIterator in body || Symbol.iterator in body);
}

/**
 * Writes a body piece by piece, at the pace of the other side.
 *
 * @returns stops it; the rest is dropped.
 */
export function pump(
  source: Readable,
  target: Writable,
  told: { sent(chunk: Buffer): void; done(): void; failed(error: Error): void },
): () => void {
  const onData = (chunk: Buffer | string): void => {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    told.sent(bytes);
    if (!target.write(bytes)) source.pause();
  };
  const onDrain = (): void => void source.resume();
  const stop = (): void => {
    source.off('data', onData);
    source.off('end', onEnd);
    target.off('drain', onDrain);
    // Whoever makes the body learns that nobody wants the rest; what it says to that is nobody's business.
    source.on('error', ignore);
    if (!source.readableEnded) source.destroy();
  };
  const onEnd = (): void => {
    target.end();
    told.done();
  };
  source.on('data', onData);
  source.once('end', onEnd);
  source.once('error', told.failed);
  source.once('close', () => {
    if (!source.readableEnded && source.errored === null)
      told.failed(new errors.RequestAbortedError('the body ended too early'));
  });
  target.on('drain', onDrain);
  return stop;
}

function ignore(): void {}
