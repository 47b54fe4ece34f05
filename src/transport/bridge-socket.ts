import type { AddressInfo, Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';

type Done = (error?: Error | null) => void;
type Listener = () => void;

/**
 * One end of a connection in memory. Bytes written to one end are read from the other; a reader
 * that does not keep up holds the writer back. To the application it looks like the socket of the
 * real connection: addresses, TLS and certificate are that one's.
 */
export class BridgeSocket extends Duplex {
  /** What `setTimeout` was given, as in `net`; whoever carries the stream says when it has passed. */
  timeout: number;
  /** Counts what went in or out at this end. */
  moved: number;
  /** As in `net`: bytes that came in, and went out, at this end. */
  bytesRead: number;
  bytesWritten: number;
  readonly #carrier: Socket | TLSSocket;
  #other: BridgeSocket | undefined;
  /** The write of the other end that waits until this end is read again. */
  #held: Done | undefined;

  constructor(carrier: Socket | TLSSocket) {
    super();
    this.timeout = 0;
    this.moved = 0;
    this.bytesRead = 0;
    this.bytesWritten = 0;
    this.#carrier = carrier;
    this.#other = undefined;
    this.#held = undefined;
  }

  /** Ties two ends together. */
  static connect(a: BridgeSocket, b: BridgeSocket): void {
    a.#other = b;
    b.#other = a;
  }

  /** The end that reads what is written here. */
  get other(): BridgeSocket | undefined {
    return this.#other;
  }

  override _read(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    const other = this.#other;
    this.moved++;
    this.bytesWritten += chunk.length;
    if (other !== undefined) {
      other.moved++;
      other.bytesRead += chunk.length;
    }
    if (other === undefined || other.destroyed) done(closed('EPIPE'));
    else if (other.push(chunk)) done();
    else other.#held = done;
  }

  override _writev(chunks: readonly { readonly chunk: Buffer }[], done: Done): void {
    this._write(
      chunks.length === 1 ? (chunks[0]?.chunk as Buffer) : Buffer.concat(chunks.map(({ chunk }) => chunk)),
      'buffer' as BufferEncoding,
      done,
    );
  }

  override _final(done: Done): void {
    this.#other?.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const other = this.#other;
    this.#other = undefined;
    const held = this.#held;
    this.#held = undefined;
    held?.(closed('EPIPE'));
    // Like TCP: after a clean end the other side may read what was sent, after a cut it is cut too.
    if (other !== undefined && !this.writableFinished) process.nextTick(() => other.destroy());
    done(error);
  }

  /** As in `net`: ends, and destroys when everything was written. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  get remoteAddress(): string | undefined {
    return this.#carrier.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#carrier.remotePort;
  }

  get remoteFamily(): string | undefined {
    return this.#carrier.remoteFamily;
  }

  get localAddress(): string | undefined {
    return this.#carrier.localAddress;
  }

  get localPort(): number | undefined {
    return this.#carrier.localPort;
  }

  get encrypted(): boolean {
    return 'encrypted' in this.#carrier;
  }

  get authorized(): boolean {
    return 'authorized' in this.#carrier && this.#carrier.authorized;
  }

  get alpnProtocol(): string | false | null {
    return 'alpnProtocol' in this.#carrier ? this.#carrier.alpnProtocol : false;
  }

  /** As on a TLSSocket of a server: the name that the client asked for. */
  get servername(): string | false | null | undefined {
    return 'servername' in this.#carrier ? this.#carrier.servername : undefined;
  }

  address(): AddressInfo | object {
    return this.#carrier.address();
  }

  getPeerCertificate(detailed?: boolean): object {
    if (!('getPeerCertificate' in this.#carrier)) return {};
    return detailed === true ? this.#carrier.getPeerCertificate(true) : this.#carrier.getPeerCertificate();
  }

  /** No timer of its own: the watch over the streams of the session emits `timeout`. */
  setTimeout(ms: number, onTimeout?: Listener): this {
    this.timeout = ms;
    if (onTimeout !== undefined) {
      if (ms > 0) this.once('timeout', onTimeout);
      else this.removeListener('timeout', onTimeout);
    }
    return this;
  }

  // The rest of the life of this connection is that of its HTTP/2 session: delays are set there.

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

function closed(code: string): Error {
  return Object.assign(new Error('the HTTP/2 stream is closed'), { code });
}
