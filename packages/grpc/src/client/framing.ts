/** Bytes before each message: is it compressed, and how long is it (gRPC over HTTP/2). */
const prefixBytes = 5;

/** So many pieces of a message are put together: in crumbs they would cost a hundred times what they are. */
const piecesTogether = 256;

/** A message as it arrived. */
export interface RawMessage {
  readonly compressed: boolean;
  readonly bytes: Buffer;
}

/** What cannot be a message: too long, or no frame of gRPC. */
export class FramingError extends Error {
  /** The message is longer than is accepted; otherwise the bytes are no message. */
  readonly tooLong: boolean;

  constructor(tooLong: boolean, message: string) {
    super(message);
    this.name = 'FramingError';
    this.tooLong = tooLong;
  }
}

/** One message, ready to be sent. */
export function frameMessage(bytes: Uint8Array, compressed: boolean): Buffer {
  const framed = Buffer.allocUnsafe(prefixBytes + bytes.byteLength);
  framed[0] = compressed ? 1 : 0;
  framed.writeUInt32BE(bytes.byteLength, 1);
  framed.set(bytes, prefixBytes);
  return framed;
}

/**
 * Cuts what arrives into messages. What a message says of its length is checked before anything is
 * kept for it, and nothing is kept that has not arrived.
 */
export class MessageReader {
  readonly #maxBytes: number;
  readonly #prefix: Buffer;
  #prefixed: number;
  #compressed: boolean;
  /** Bytes of the message that are still to come. */
  #missing: number;
  #parts: Buffer[];
  /** The pieces behind `parts`. */
  #pieces: Buffer[];

  /** @param maxBytes of one message as it arrives; Infinity: any. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#prefix = Buffer.alloc(prefixBytes);
    this.#prefixed = 0;
    this.#compressed = false;
    this.#missing = 0;
    this.#parts = [];
    this.#pieces = [];
  }

  /** Is a message begun and not complete? */
  get partial(): boolean {
    return this.#prefixed > 0;
  }

  /** @throws FramingError; there is no going on after it. */
  push(chunk: Buffer, messages: RawMessage[]): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#prefixed < prefixBytes) {
        const count = Math.min(prefixBytes - this.#prefixed, chunk.length - at);
        chunk.copy(this.#prefix, this.#prefixed, at, at + count);
        this.#prefixed += count;
        at += count;
        if (this.#prefixed < prefixBytes) return;
        this.#begin();
      }
      const count = Math.min(this.#missing, chunk.length - at);
      if (count > 0) {
        this.#keep(chunk.subarray(at, at + count));
        this.#missing -= count;
        at += count;
      }
      if (this.#missing === 0) messages.push(this.#complete());
    }
  }

  #begin(): void {
    const flag = this.#prefix[0] as number;
    if (flag > 1) throw new FramingError(false, `a message must begin with 0 or 1, and begins with ${flag}`);
    this.#compressed = flag === 1;
    this.#missing = this.#prefix.readUInt32BE(1);
    if (this.#missing > this.#maxBytes) {
      throw new FramingError(true, `a message of ${this.#missing} bytes is longer than ${this.#maxBytes}`);
    }
  }

  #keep(piece: Buffer): void {
    if (this.#pieces.push(piece) < piecesTogether) return;
    this.#parts.push(Buffer.concat(this.#pieces));
    this.#pieces = [];
  }

  #complete(): RawMessage {
    const parts = this.#parts.length === 0 ? this.#pieces : this.#parts.concat(this.#pieces);
    const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    if (this.#parts.length > 0) this.#parts = [];
    this.#pieces = [];
    this.#prefixed = 0;
    return { compressed: this.#compressed, bytes };
  }
}
