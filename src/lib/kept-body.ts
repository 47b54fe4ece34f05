import { discardBody } from './discard-body.ts';
import { isStream, modernStream } from './old-stream.ts';

/**
 * A body that can be read once, made one that can be read again: what was read is kept up to
 * `maxBytes`. Each iteration begins at the beginning, repeats what is kept, and goes on reading the
 * source. A longer body can still be read to its end, but not again.
 *
 * Only the newest iteration goes on. One before it fails, so that whoever still reads there does
 * not take what it got for all there is.
 */
export class KeptBody implements AsyncIterable<unknown> {
  /** Why the source broke off. */
  errored: Error | null;
  readonly #source: object;
  readonly #maxBytes: number;
  #iterator: AsyncIterator<unknown> | Iterator<unknown> | undefined;
  /** Nothing: it was too long. */
  #kept: unknown[] | undefined;
  #bytes: number;
  /** Chunks read from the source so far, and the last of them. */
  #count: number;
  #latest: unknown;
  #ended: boolean;
  #pull: Promise<void> | undefined;
  #newest: Pass | undefined;

  constructor(source: object, maxBytes: number) {
    this.errored = null;
    this.#source = source;
    this.#maxBytes = maxBytes;
    this.#iterator = undefined;
    this.#kept = [];
    this.#bytes = 0;
    this.#count = 0;
    this.#latest = undefined;
    this.#ended = false;
    this.#pull = undefined;
    this.#newest = undefined;
    // A stream of Node that fails while nobody reads it would end the process.
    (source as Partial<NodeJS.ReadableStream>).on?.('error', this.#fail);
  }

  /** Can it be read again from its beginning? */
  get whole(): boolean {
    return this.#kept !== undefined && this.errored === null;
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    this.#newest = new Pass((at, pass) => this.#read(at, pass));
    return this.#newest;
  }

  /** Nobody will read it any more: what is kept is dropped, and the source is closed. */
  destroy(): void {
    this.#kept = undefined;
    this.#latest = undefined;
    this.#newest = undefined;
    if (this.#ended || this.errored !== null) return;
    this.#ended = true;
    const iterator = this.#iterator;
    if (iterator === undefined || 'destroy' in this.#source) discardBody(this.#source);
    else Promise.resolve(iterator.return?.()).catch(ignore);
  }

  readonly #fail = (error: Error): void => {
    this.errored ??= error;
  };

  async #read(at: number, pass: object): Promise<IteratorResult<unknown>> {
    for (;;) {
      const kept = this.#kept;
      if (pass !== this.#newest || (kept === undefined && at < this.#count - 1)) throw superseded;
      if (kept !== undefined && at < kept.length) return { done: false, value: kept[at] };
      if (at < this.#count) return { done: false, value: this.#latest };
      if (this.errored !== null) throw this.errored;
      if (this.#ended) return { done: true, value: undefined };
      // One at a time: an iteration before may have begun to read what this one needs.
      this.#pull ??= this.#next();
      await this.#pull;
    }
  }

  async #next(): Promise<void> {
    try {
      this.#iterator ??= iteratorOf(this.#source);
      const { done, value } = await this.#iterator.next();
      if (done === true) this.#ended = true;
      else this.#take(value);
    } catch (error) {
      this.#fail(error as Error);
    } finally {
      this.#pull = undefined;
    }
  }

  #take(chunk: unknown): void {
    this.#count++;
    this.#latest = chunk;
    if (this.#kept === undefined) return;
    this.#bytes += sizeOf(chunk);
    if (this.#bytes > this.#maxBytes) this.#kept = undefined;
    // A copy: whoever made the chunk may write the next one into the same memory.
    else this.#kept.push(typeof chunk === 'string' ? chunk : Buffer.from(chunk as Uint8Array));
  }
}

class Pass implements AsyncIterator<unknown> {
  readonly #read: (at: number, pass: object) => Promise<IteratorResult<unknown>>;
  #at: number;

  constructor(read: (at: number, pass: object) => Promise<IteratorResult<unknown>>) {
    this.#read = read;
    this.#at = 0;
  }

  async next(): Promise<IteratorResult<unknown>> {
    const result = await this.#read(this.#at, this);
    this.#at++;
    return result;
  }

  /** The reader stops; the body stays for the next one. */
  async return(): Promise<IteratorResult<unknown>> {
    return { done: true, value: undefined };
  }
}

const superseded = new Error('the body is read again from its beginning');

function iteratorOf(source: object): AsyncIterator<unknown> | Iterator<unknown> {
  const iterable = source as Partial<AsyncIterable<unknown> & Iterable<unknown>>;
  const iterator = iterable[Symbol.asyncIterator]?.() ?? iterable[Symbol.iterator]?.();
  if (iterator === undefined && isStream(source)) return modernStream(source)[Symbol.asyncIterator]();
  if (iterator === undefined) throw new TypeError('the body cannot be read: it is no iterable');
  return iterator;
}

/** What is neither text nor bytes is no body, and whoever sends it says so. */
function sizeOf(chunk: unknown): number {
  if (typeof chunk === 'string') return Buffer.byteLength(chunk);
  return chunk instanceof Uint8Array ? chunk.byteLength : Number.POSITIVE_INFINITY;
}

function ignore(): void {}
