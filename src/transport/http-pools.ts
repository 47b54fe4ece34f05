import type { Dispatcher } from 'undici';
import { ClosingDispatcher } from './closing-dispatcher.ts';
import type { Passenger } from './connection.ts';

/** A request that knows whether what caused it came in over HTTP/2. */
interface Caused extends Passenger {
  readonly overHttp2?: boolean;
}

/** For which calls HTTP/2 is spoken; calls of gRPC clients go over HTTP/2 in any case. */
export type Http2Use =
  /** All. */
  | 'always'
  /** Those whose cause came in over HTTP/2 (Istio `useClientProtocol`). */
  | 'asCaller'
  /** No others. */
  | 'forGrpc';

/**
 * Connections of both versions to one endpoint, each made when it is needed. What only HTTP/1.1 can do
 * (upgrades and CONNECT) never goes over HTTP/2.
 */
export class HttpPools extends ClosingDispatcher {
  readonly #http1: () => Dispatcher;
  readonly #http2: () => Dispatcher;
  readonly #use: Http2Use;
  #one: Dispatcher | undefined;
  #two: Dispatcher | undefined;

  constructor(http1: () => Dispatcher, http2: () => Dispatcher, use: Http2Use) {
    super();
    this.#http1 = http1;
    this.#http2 = http2;
    this.#use = use;
    this.#one = undefined;
    this.#two = undefined;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Caused): boolean {
    return this.#pool(this.#takesTwo(options, handler)).dispatch(options, handler);
  }

  #takesTwo(options: Dispatcher.DispatchOptions, handler: Caused): boolean {
    if (handler.grpc !== undefined) return true;
    if (this.#use === 'forGrpc' || options.upgrade || options.method === 'CONNECT') return false;
    return this.#use === 'always' || handler.overHttp2 === true;
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
