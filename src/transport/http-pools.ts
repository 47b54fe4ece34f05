import type { Dispatcher } from 'undici';
import { ClosingDispatcher } from './closing-dispatcher.ts';
import type { Passenger } from './connection.ts';

/** A request that knows whether what caused it came in over HTTP/2. */
interface Caused extends Passenger {
  readonly overHttp2?: boolean;
}

/**
 * Connections of both versions to one endpoint, each made when it is needed: HTTP/2, except for what
 * only HTTP/1.1 can do (upgrades and CONNECT), and with `asCaller` for calls whose cause came in over
 * HTTP/1.1 (Istio `useClientProtocol`).
 */
export class HttpPools extends ClosingDispatcher {
  readonly #http1: () => Dispatcher;
  readonly #http2: () => Dispatcher;
  readonly #asCaller: boolean;
  #one: Dispatcher | undefined;
  #two: Dispatcher | undefined;

  constructor(http1: () => Dispatcher, http2: () => Dispatcher, asCaller: boolean) {
    super();
    this.#http1 = http1;
    this.#http2 = http2;
    this.#asCaller = asCaller;
    this.#one = undefined;
    this.#two = undefined;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Caused): boolean {
    const two = !options.upgrade && options.method !== 'CONNECT' && (!this.#asCaller || handler.overHttp2 === true);
    return this.#pool(two).dispatch(options, handler);
  }

  protected override async drain(): Promise<void> {
    await Promise.all([this.#one?.close(), this.#two?.close()]);
  }

  protected override async cut(error: Error): Promise<void> {
    await Promise.all([this.#one?.destroy(error), this.#two?.destroy(error)]);
  }

  #pool(two: boolean): Dispatcher {
    if (two) return (this.#two ??= this.#told(this.#http2()));
    return (this.#one ??= this.#told(this.#http1()));
  }

  /** Hands on that a pool has no connections any more. */
  #told(pool: Dispatcher): Dispatcher {
    return pool.on('disconnect', (origin, targets, error) => void this.emit('disconnect', origin, targets, error));
  }
}
