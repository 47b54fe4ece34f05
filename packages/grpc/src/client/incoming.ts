import { type StatusObject, status } from '@grpc/grpc-js';
import { decompress, type Encoding, TooLong } from './compression.ts';
import { FramingError, MessageReader, type RawMessage } from './framing.ts';
import { statusOf } from './status.ts';

/** Who reads the messages of a call. */
export interface IncomingReader {
  message(bytes: Buffer): void;
  /** What arrives is no message, or one that is too long. */
  failed(status: StatusObject): void;
  /** All messages have been read, after the last has arrived. */
  drained(): void;
  pause(): void;
  resume(): void;
}

/**
 * The messages of a response, one for each that is asked for. While some wait, the response is paused,
 * and with it its server; a compressed one is inflated when it is asked for, and not before.
 */
export class Incoming {
  /** Nothing: one that we do not read. */
  encoding: Encoding | undefined;
  readonly #reader: MessageReader;
  readonly #maxBytes: number;
  readonly #told: IncomingReader;
  readonly #messages: RawMessage[];
  #wanted: boolean;
  /** How often somebody asked. */
  #asked: number;
  /** Messages handed on. */
  #given: number;
  #inflating: boolean;
  #ended: boolean;
  #paused: boolean;
  #closed: boolean;

  constructor(maxBytes: number, told: IncomingReader) {
    this.encoding = 'identity';
    this.#reader = new MessageReader(maxBytes);
    this.#maxBytes = maxBytes;
    this.#told = told;
    this.#messages = [];
    this.#wanted = false;
    this.#asked = 0;
    this.#given = 0;
    this.#inflating = false;
    this.#ended = false;
    this.#paused = false;
    this.#closed = false;
  }

  /** Is a message begun and not complete? */
  get partial(): boolean {
    return this.#reader.partial;
  }

  push(chunk: Buffer): void {
    if (this.#closed) return;
    try {
      this.#reader.push(chunk, this.#messages);
    } catch (error) {
      const tooLong = error instanceof FramingError && error.tooLong;
      this.#fail(tooLong ? status.RESOURCE_EXHAUSTED : status.INTERNAL, `Received ${(error as Error).message}`);
      return;
    }
    this.#next();
  }

  /** One more message is asked for. */
  want(): void {
    this.#wanted = true;
    this.#asked++;
    this.#next();
  }

  /** The last message has arrived. */
  end(): void {
    this.#ended = true;
    this.#next();
  }

  /** Nobody reads any more. */
  close(): void {
    this.#closed = true;
    this.#messages.length = 0;
  }

  /**
   * Is a message to be handed on? Who asks for one, and no more, is told of a second all the same: that
   * is a mistake of the server which nobody would ever hear of.
   */
  get #due(): boolean {
    return this.#wanted || (this.#asked === 1 && this.#given === 1);
  }

  #next(): void {
    if (this.#closed || this.#inflating) return;
    const message = this.#due ? this.#messages.shift() : undefined;
    if (message !== undefined) {
      this.#wanted = false;
      this.#given++;
      if (message.compressed) this.#inflate(message.bytes);
      else this.#told.message(message.bytes);
    }
    if (this.#inflating) return;
    if (this.#messages.length === 0) this.#emptied();
    else if (message !== undefined && this.#due) this.#next();
    else if (!this.#paused && !this.#ended) {
      this.#paused = true;
      this.#told.pause();
    }
  }

  #emptied(): void {
    if (this.#ended) {
      this.#closed = true;
      this.#told.drained();
    } else if (this.#paused) {
      this.#paused = false;
      this.#told.resume();
    }
  }

  #inflate(bytes: Buffer): void {
    const { encoding } = this;
    if (encoding === undefined || encoding === 'identity') {
      const which = encoding === undefined ? 'in a way that is not known here' : 'though the response says it is not';
      this.#fail(status.INTERNAL, `Received a message that is compressed ${which}`);
      return;
    }
    this.#inflating = true;
    if (!this.#paused && !this.#ended) {
      this.#paused = true;
      this.#told.pause();
    }
    decompress(encoding, bytes, this.#maxBytes, (error, inflated) => {
      this.#inflating = false;
      if (this.#closed) return;
      if (error === null) {
        this.#told.message(inflated);
        this.#next();
      } else if (error instanceof TooLong) this.#fail(status.RESOURCE_EXHAUSTED, `Received ${error.message}`);
      else this.#fail(status.INTERNAL, `Failed to inflate a ${encoding} message: ${error.message}`);
    });
  }

  #fail(code: status, details: string): void {
    this.close();
    this.#told.failed(statusOf(code, details));
  }
}
