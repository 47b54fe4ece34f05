import type { Readable } from 'node:stream';
import { compress, type Encoding } from './compression.ts';
import { frameMessage } from './framing.ts';
import { RequestBody } from './request-body.ts';

/** The messages of a call on their way out, in the order in which they were sent, compressed where that is asked for. */
export class Outgoing {
  readonly #body: RequestBody;
  readonly #encoding: Encoding;
  readonly #failed: (details: string) => void;
  /** What is being compressed, and what waits behind it. */
  #sending: Promise<void> | undefined;

  /** @param failed a message could not be compressed */
  constructor(encoding: Encoding, failed: (details: string) => void) {
    this.#body = new RequestBody();
    this.#encoding = encoding;
    this.#failed = failed;
    this.#sending = undefined;
  }

  /** Can it be opened again, as nothing of it was read? */
  get untouched(): boolean {
    return this.#body.untouched;
  }

  /** @param bare not to be compressed, whatever the call does */
  send(message: Buffer, bare: boolean, callback: (() => void) | undefined): void {
    const asIs = bare || this.#encoding === 'identity';
    if (asIs && this.#sending === undefined) this.#body.write(frameMessage(message, false), callback);
    else this.#sendLater(message, !asIs, callback);
  }

  end(): void {
    if (this.#sending === undefined) this.#body.end();
    else void this.#sending.then(() => this.#body.end());
  }

  /** What a request is sent with. */
  open(): Buffer | Readable {
    return this.#body.open();
  }

  close(): void {
    this.#body.close();
  }

  #sendLater(message: Buffer, compressed: boolean, callback: (() => void) | undefined): void {
    const before = this.#sending ?? Promise.resolve();
    this.#sending = before.then(
      () =>
        new Promise<void>((resolve) => {
          const write = (bytes: Buffer): void => {
            this.#body.write(frameMessage(bytes, compressed), callback);
            resolve();
          };
          if (!compressed) write(message);
          else {
            compress(this.#encoding, message, (error, bytes) => {
              if (error === null) write(bytes);
              else {
                this.#failed(`Failed to compress a message: ${error.message}`);
                resolve();
              }
            });
          }
        }),
    );
  }
}
