import type { CallWatcher, ClientCall } from '../pipeline/client-call.ts';
import { PassingHandler } from '../pipeline/passing-handler.ts';

/** A body that is a stream is copied up to this size; the copies of a longer one are dropped. */
export const maxCopiedBody = 65_536;

/**
 * Copies the body of a call as it goes out. It only listens to what the connection says it has
 * sent: the stream is read by nobody but the call itself, at its own pace.
 *
 * `complete` is called once: with the body, or with what kept it from being copied.
 */
export function copyBody(call: ClientCall, complete: (body: Buffer | 'too long' | 'not sent') => void): void {
  const copying = new CopyingHandler(call, complete);
  call.handler = copying;
  call.watch(copying);
}

class CopyingHandler extends PassingHandler implements CallWatcher {
  readonly #complete: (body: Buffer | 'too long' | 'not sent') => void;
  #chunks: Buffer[];
  #length: number;
  #over: boolean;
  readonly #call: ClientCall;
  #tries: number;

  constructor(call: ClientCall, complete: (body: Buffer | 'too long' | 'not sent') => void) {
    super(call.handler);
    this.#complete = complete;
    this.#chunks = [];
    this.#length = 0;
    this.#over = false;
    this.#call = call;
    this.#tries = 0;
  }

  override onBodySent(chunk: Buffer | string): void {
    if (!this.#over) {
      this.#restart();
      this.#length += Buffer.byteLength(chunk);
      if (this.#length > maxCopiedBody) this.#finish('too long');
      // A copy: whoever made the chunk may write the next one into the same memory.
      else this.#chunks.push(Buffer.from(chunk as Buffer));
    }
    super.onBodySent(chunk as Buffer);
  }

  override onRequestSent(): void {
    if (!this.#over) this.#finish(Buffer.concat(this.#chunks));
    super.onRequestSent();
  }

  /** A retry sends the body again from its beginning. */
  #restart(): void {
    const { tries } = this.#call;
    if (tries === this.#tries) return;
    this.#tries = tries;
    this.#chunks = [];
    this.#length = 0;
  }

  callEnded(): void {
    this.#finish('not sent');
  }

  #finish(body: Buffer | 'too long' | 'not sent'): void {
    if (this.#over) return;
    this.#over = true;
    this.#chunks = [];
    this.#complete(body);
  }
}

/** About how many bytes a body holds that is in memory; text counts its characters. */
export function sizeOf(body: unknown): number {
  if (typeof body === 'string') return body.length;
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return body.byteLength;
  if (body instanceof Blob) return body.size;
  if (typeof body !== 'object' || body === null) return 0;
  let size = 0;
  // What is left is a form, of this class or that of undici.
  for (const [, value] of body as Iterable<readonly [string, unknown]>) size += sizeOf(value);
  return size;
}
