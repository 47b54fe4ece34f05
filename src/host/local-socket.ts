import { STATUS_CODES, validateHeaderValue } from 'node:http';
import { Duplex } from 'node:stream';

/** What a {@link LocalSocket} answers. */
export interface SocketAnswer {
  readonly status: number;
  /** Names in lower case; with `content-length` where there is a body. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body?: Uint8Array;
}

/**
 * A connection to nobody: whatever request is written to it gets one answer, and then it closes.
 * With it an Agent can answer a request of node:http without a server.
 */
export class LocalSocket extends Duplex {
  #answer: Buffer | undefined;

  /** @throws TypeError of node:http when a value may not stand in a head. */
  constructor(answer: SocketAnswer, method: string) {
    super();
    this.#answer = serialise(answer, method);
  }

  override _read(): void {
    // The answer comes with the first bytes of the request.
  }

  override _write(_chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const answer = this.#answer;
    if (answer !== undefined) {
      this.#answer = undefined;
      this.push(answer);
      this.push(null);
    }
    done();
  }

  // What node:http and its users ask of a socket.
  setKeepAlive(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  /** The answer does not let anybody wait. */
  setTimeout(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

function serialise({ body, headers, status }: SocketAnswer, method: string): Buffer {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
  let measured = status < 200 || status === 204 || status === 304;
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined) continue;
    if (name === 'content-length') measured = true;
    for (const one of typeof value === 'string' ? [value] : value) {
      validateHeaderValue(name, one);
      head += `${name}: ${one}\r\n`;
    }
  }
  if (!measured) head += `content-length: ${body?.byteLength ?? 0}\r\n`;
  const start = Buffer.from(`${head}connection: close\r\n\r\n`, 'latin1');
  return body === undefined || method === 'HEAD' ? start : Buffer.concat([start, body]);
}
