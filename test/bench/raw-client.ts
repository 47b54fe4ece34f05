import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';

const endOfHead = '\r\n\r\n';

/** One keep-alive connection that does GETs one after the other, as cheaply as Node can. */
export class RawConnection {
  readonly #socket: Socket;
  readonly #request: () => Buffer;
  #received = '';
  #settle: { resolve(): void; reject(error: Error): void } | undefined;

  private constructor(socket: Socket, request: () => Buffer) {
    this.#socket = socket;
    this.#request = request;
    socket.on('data', (data) => this.#read(data.toString('latin1')));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  /**
   * `secure`: over TLS, with these. `lineOf`: each request has what it answers in its head; without it all
   * are the same bytes.
   */
  static async open(
    port: number,
    path: string,
    secure?: ConnectionOptions,
    lineOf?: () => string,
  ): Promise<RawConnection> {
    const where = { port, host: '127.0.0.1', noDelay: true };
    const socket = secure === undefined ? connect(where) : connectTls({ ...where, ...secure });
    await once(socket, secure === undefined ? 'connect' : 'secureConnect');
    const head = `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n`;
    const same = Buffer.from(`${head}\r\n`);
    return new RawConnection(socket, lineOf === undefined ? () => same : () => Buffer.from(`${head}${lineOf()}\r\n`));
  }

  call(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#socket.write(this.#request());
    });
  }

  close(): void {
    this.#socket.removeAllListeners('close').destroy();
  }

  #read(text: string): void {
    this.#received += text;
    const end = this.#received.indexOf(endOfHead);
    if (end === -1) return;
    const head = this.#received.slice(0, end);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (!head.startsWith('HTTP/1.1 200 ') || length === undefined) {
      this.#fail(new Error(`unexpected response: ${head.split('\r\n', 1)[0]}`));
    } else if (this.#received.length >= end + endOfHead.length + Number(length)) {
      this.#received = '';
      const settle = this.#settle;
      this.#settle = undefined;
      settle?.resolve();
    }
  }

  #fail(error: Error): void {
    this.#received = '';
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.reject(error);
  }
}
