import { KeptBody } from './kept-body.ts';
import { isStream } from './old-stream.ts';
import { ReopenedBody } from './replayable-body.ts';

/** Can this request body be sent again from its beginning? */
export function isReplayable(body: unknown): boolean {
  return (
    body === null ||
    body === undefined ||
    typeof body === 'string' ||
    ArrayBuffer.isView(body) ||
    body instanceof ArrayBuffer ||
    (body instanceof KeptBody && body.whole) ||
    body instanceof ReopenedBody ||
    body instanceof Blob ||
    // By name: undici brings a class of its own. What is in it is text and blobs. Forms of the package
    // `form-data` have that name, too, and are streams that end when they have been read.
    ((body as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] === 'FormData' && !isStream(body))
  );
}
