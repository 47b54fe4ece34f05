import { AsyncResource } from 'node:async_hooks';
import { Dispatcher, errors } from 'undici';
import { ConnectionClient, type ConnectionOwner, type Passenger } from './connection.ts';
import { type ConnectTarget, openConnection } from './connector.ts';

export interface PoolOptions extends ConnectTarget {
  /** Host header of requests that have none of their own. */
  readonly host: string;
  readonly maxConnections: number;
  readonly idleTimeoutMs: number;
}

/**
 * The connections to one endpoint, one request on each at a time. The one that was used last is
 * used first, so that connections beyond what the load needs grow old and close.
 *
 * Not undici's `Pool`: that looks through all connections for each request, twice, and waits for
 * the event loop once for each connection instead of once for all of them.
 */
export class ConnectionPool extends Dispatcher implements ConnectionOwner {
  readonly #open: (owner: ConnectionOwner) => ConnectionClient;
  readonly #maxConnections: number;
  readonly #all: Set<ConnectionClient>;
  /** Ready for a request, last used last. */
  readonly #idle: ConnectionClient[];
  /** Had its response in this turn of the event loop. */
  #resting: ConnectionClient[];
  #rested: ConnectionClient[];
  readonly #waiting: Waiting[];
  #closed: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(open: (owner: ConnectionOwner) => ConnectionClient, maxConnections: number) {
    super();
    this.#open = open;
    this.#maxConnections = maxConnections;
    this.#all = new Set();
    this.#idle = [];
    this.#resting = [];
    this.#rested = [];
    this.#waiting = [];
    this.#closed = undefined;
    this.#drained = undefined;
  }

  /** Sends the request, now or when a connection is free. */
  override dispatch(options: Dispatcher.DispatchOptions, handler: Passenger): boolean {
    if (this.#closed !== undefined) {
      handler.onResponseError?.(null as never, new errors.ClientClosedError());
      return false;
    }
    const connection = this.#idle.pop() ?? this.#another();
    if (connection === undefined) this.#waiting.push(new Waiting(options, handler));
    else {
      handler.connection = connection;
      connection.dispatch(options, handler);
    }
    return true;
  }

  freed(connection: ConnectionClient): void {
    // Used again in the next turn of the event loop: a server that closes a connection after a
    // response without having said so has its FIN seen by then.
    if (this.#resting.push(connection) === 1) setImmediate(this.#wake);
  }

  lost(connection: ConnectionClient): void {
    const index = this.#idle.indexOf(connection);
    if (index === -1 || this.#closed !== undefined) return;
    this.#idle.splice(index, 1);
    this.#all.delete(connection);
    void connection.close();
  }

  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: () => void): Promise<void> | undefined {
    this.#closed ??= this.#drain();
    if (callback === undefined) return this.#closed;
    this.#closed.then(callback, callback);
    return undefined;
  }

  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> | undefined {
    const callback = typeof first === 'function' ? first : second;
    const error = (typeof first === 'function' ? undefined : first) ?? new errors.ClientDestroyedError();
    for (const { handler } of this.#waiting.splice(0)) handler.onResponseError?.(null as never, error);
    const destroyed = Promise.all([...this.#all].map((connection) => connection.destroy(error))).then(() => {});
    this.#drained?.();
    this.#closed ??= destroyed;
    if (callback === undefined) return destroyed;
    destroyed.then(callback, callback);
    return undefined;
  }

  #another(): ConnectionClient | undefined {
    if (this.#all.size >= this.#maxConnections) return undefined;
    const connection = this.#open(this);
    this.#all.add(connection);
    return connection;
  }

  readonly #wake = (): void => {
    const connections = this.#resting;
    this.#resting = this.#rested;
    this.#rested = connections;
    for (let i = 0; i < connections.length; i++) this.#reuse(connections[i] as ConnectionClient);
    connections.length = 0;
  };

  #reuse(connection: ConnectionClient): void {
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting.shift() as Waiting;
      if (waiting.handler.gone) continue;
      waiting.handler.connection = connection;
      waiting.runInAsyncScope(() => connection.dispatch(waiting.options, waiting.handler));
      return;
    }
    this.#drained?.();
    this.#idle.push(connection);
  }

  async #drain(): Promise<void> {
    if (this.#waiting.length > 0) await new Promise<void>((resolve) => (this.#drained = resolve));
    await Promise.all([...this.#all].map((connection) => (connection.destroyed ? undefined : connection.close())));
  }
}

/** A request that waits for a connection, in the asynchronous context of its caller. */
class Waiting extends AsyncResource {
  readonly options: Dispatcher.DispatchOptions;
  readonly handler: Passenger;

  constructor(options: Dispatcher.DispatchOptions, handler: Passenger) {
    super('inmesh.waiting');
    this.options = options;
    this.handler = handler;
  }
}

/**
 * The connections to one endpoint. undici takes the URL of a client for the Host header only; the
 * real address and the TLS are ours. Always `http:`, even over our TLS: for `https:` undici would
 * derive the server name from the Host header, and drop the connection when that changes.
 */
export function createPool(options: PoolOptions): ConnectionPool {
  // As in Envoy 0 means that idle connections are kept; undici wants a number.
  const idleTimeoutMs = options.idleTimeoutMs > 0 ? options.idleTimeoutMs : Number.POSITIVE_INFINITY;
  const origin = `http://${options.host}`;
  const clientOptions = {
    connect: (_: unknown, callback: unknown) =>
      openConnection(options, callback as Parameters<typeof openConnection>[1]),
    // A server that says how long it keeps idle connections is believed; for one that does not,
    // stay below the 60 s that is the shortest of common defaults.
    keepAliveTimeout: Math.min(idleTimeoutMs, 55_000),
    keepAliveMaxTimeout: Math.min(idleTimeoutMs, 600_000),
    // The pool sees to it that there is one at a time. With 1, undici would take a turn of the event
    // loop for each connection, and tell of each that it is busy and free again.
    pipelining: 2,
  };
  // As in Envoy an endpoint may always have one connection.
  const maxConnections = Math.max(1, options.maxConnections);
  return new ConnectionPool((owner) => new ConnectionClient(origin, clientOptions as never, owner), maxConnections);
}
