import { PassThrough, type Readable } from 'node:stream';

/** Is it a stream of Node, of whatever age? Told as undici tells it. */
export function isStream(body: unknown): body is NodeJS.ReadableStream {
  if (typeof body !== 'object' || body === null) return false;
  const { on, pipe } = body as Partial<NodeJS.ReadableStream>;
  return typeof pipe === 'function' && typeof on === 'function';
}

/**
 * A stream of today that gives what a stream of old does, which knows `pipe` and events only: such are
 * the forms of the package `form-data`.
 */
export function modernStream(old: NodeJS.ReadableStream): Readable {
  const modern = new PassThrough();
  // `pipe` hands on neither an error nor an end that came too early.
  old.on('error', (error) => modern.destroy(error));
  old.on('close', () => void (modern.writableEnded || modern.destroy()));
  modern.once('close', () => {
    const { destroy } = old as Partial<Readable>;
    if (!modern.writableEnded) destroy?.call(old);
  });
  return old.pipe(modern);
}
