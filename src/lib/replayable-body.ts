import { Readable } from 'node:stream';

/** What a body can be made from. */
export type BodySource = AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

// One key for the process even if two copies of the package are loaded.
const key = Symbol.for('inmesh.replayable-body');

/**
 * A body that can be sent again although it is a stream: `open` is called for each try and gives it
 * anew, from its beginning. For calls through `mesh.dispatcher` and `mesh.fetch` on routes with
 * retries; anywhere else it is a plain stream, opened once.
 *
 * @example
 * await request('http://archive/', { dispatcher: mesh.dispatcher, method: 'PUT', body: replayable(() => Readable.from(['a', 'b'])) });
 */
export function replayable(open: () => BodySource): Readable {
  return new ReplayableStream(open);
}

/** How to open a body anew, if it was made by {@link replayable}. */
export function openerOf(body: unknown): (() => BodySource) | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  return (body as { readonly [key]?: () => BodySource })[key];
}

class ReplayableStream extends Readable {
  readonly [key]: () => BodySource;
  #stream: Readable | undefined;

  constructor(open: () => BodySource) {
    super();
    this[key] = open;
    this.#stream = undefined;
  }

  override _read(): void {
    if (this.#stream !== undefined) {
      this.#stream.resume();
      return;
    }
    try {
      this.#stream = Readable.from(this[key](), { objectMode: false });
    } catch (error) {
      this.destroy(error as Error);
      return;
    }
    const stream = this.#stream;
    stream.on('data', (chunk) => {
      if (!this.push(chunk)) stream.pause();
    });
    stream.on('end', () => this.push(null));
    stream.on('error', (error) => this.destroy(error));
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#stream?.destroy();
    done(error);
  }
}

/** Opens the body anew each time it is read; what was opened before is closed. */
export class ReopenedBody implements AsyncIterable<unknown> {
  /** Why the body that was opened last broke off. */
  errored: Error | null;
  readonly #open: () => BodySource;
  #current: Readable | undefined;

  constructor(open: () => BodySource) {
    this.errored = null;
    this.#open = open;
    this.#current = undefined;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<unknown> {
    this.#current?.destroy();
    this.#current = undefined;
    this.errored = null;
    let stream: Readable | undefined;
    try {
      const opened = this.#open();
      stream = opened instanceof Readable ? opened : Readable.from(opened, { objectMode: false });
      this.#current = stream;
      yield* stream;
    } catch (error) {
      // One that was closed because the next is read tells nothing about that.
      if (this.#current === stream) this.errored = error as Error;
      throw error;
    }
  }

  destroy(): void {
    this.#current?.destroy();
  }
}
