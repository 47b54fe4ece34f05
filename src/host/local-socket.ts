import { STATUS_CODES, validateHeaderValue } from 'node:http';
import { Duplex } from 'node:stream';
import type { LocalAnswer } from '../pipeline/local-answer.ts';

/**
 * The other end of a node:http request that the mesh answers itself: node:http reads the answer from
 * here as if it had come over a connection. What the request sends is dropped.
 */
export class LocalSocket extends Duplex {
  readonly #answer: Buffer;
  #answered: boolean;

  /**
   * @throws TypeError of node:http when a value may not stand in a head.
   */
  constructor(answer: LocalAnswer, method: string) {
    super();
    this.#answer = bytesOf(answer, method);
    this.#answered = false;
  }

  override _read(): void {}

  override _write(_chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    if (!this.#answered) {
      this.#answered = true;
      // Not in the middle of sending the request.
      process.nextTick(() => this.push(this.#answer));
    }
    callback();
  }

  // What node:http asks of every socket.

  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

function bytesOf({ status, headers, body }: LocalAnswer, method: string): Buffer {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      validateHeaderValue(name, one);
      head += `${name}: ${one}\r\n`;
    }
  }
  const start = Buffer.from(`${head}\r\n`, 'latin1');
  return body === undefined || method === 'HEAD' ? start : Buffer.concat([start, body]);
}
