import { AsyncResource } from 'node:async_hooks';
import { Dispatcher, errors } from 'undici';
import { MeshError } from '../errors.ts';
import type { ConnectionBudget } from './budget.ts';
import { ConnectionClient, type ConnectionOwner, type Passenger } from './connection.ts';
import { type ConnectTarget, openConnection } from './connector.ts';

export interface PoolOptions extends ConnectTarget {
  /** Host header of requests that have none of their own. */
  readonly host: string;
  /** Limits that the cluster shares; absent: none. */
  readonly budget?: ConnectionBudget | undefined;
  /** 0: never. */
  readonly idleTimeoutMs: number;
  /** Infinity: no limit. */
  readonly maxRequestsPerConnection: number;
  /** A connection takes no requests after this time. Infinity: no limit. */
  readonly maxConnectionMs: number;
}

/**
 * The connections to one endpoint, one request on each at a time. The one that was used last is
 * used first, so that connections beyond what the load needs grow old and close.
 *
 * Not undici's `Pool`: that looks through all connections for each request, twice, and waits for
 * the event loop once for each connection instead of once for all of them.
 */
export class ConnectionPool extends Dispatcher implements ConnectionOwner {
  readonly #open: (owner: ConnectionPool) => ConnectionClient;
  readonly #budget: ConnectionBudget | undefined;
  readonly #cluster: string;
  readonly #all: Set<ConnectionClient>;
  /** Ready for a request, last used last. */
  readonly #idle: ConnectionClient[];
  /** Had its response in this turn of the event loop. */
  #resting: ConnectionClient[];
  #rested: ConnectionClient[];
  readonly #waiting: Waiting[];
  #closed: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(
    open: (owner: ConnectionPool) => ConnectionClient,
    cluster: string,
    budget: ConnectionBudget | undefined,
  ) {
    super();
    this.#open = open;
    this.#cluster = cluster;
    this.#budget = budget;
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
    let connection = this.#idle.pop();
    if (connection === undefined) {
      if (this.#budget !== undefined && !this.#admit(this.#budget, handler)) return false;
      connection = this.#another();
      if (connection === undefined) {
        this.#waiting.push(new Waiting(options, handler));
        return true;
      }
    }
    handler.connection = connection;
    connection.dispatch(options, handler);
    return true;
  }

  served(): void {
    if (this.#budget !== undefined) this.#budget.pending--;
  }

  freed(connection: ConnectionClient): void {
    // Used again in the next turn of the event loop: a server that closes a connection after a
    // response without having said so has its FIN seen by then.
    if (this.#resting.push(connection) === 1) setImmediate(this.#wake);
  }

  lost(connection: ConnectionClient): void {
    const index = this.#idle.indexOf(connection);
    if (index === -1) return;
    this.#idle.splice(index, 1);
    this.#remove(connection);
  }

  /** It is too old. */
  retire(connection: ConnectionClient): void {
    connection.old = true;
    this.lost(connection);
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
    for (const { handler } of this.#waiting.splice(0)) {
      this.served();
      handler.onResponseError?.(null as never, error);
    }
    const destroyed = Promise.all([...this.#all].map((connection) => connection.destroy(error))).then(() =>
      this.#forget(),
    );
    this.#drained?.();
    this.#closed ??= destroyed;
    if (callback === undefined) return destroyed;
    destroyed.then(callback, callback);
    return undefined;
  }

  /** Lets a request wait, if not too many do: for a free connection, or for one that is made for it. */
  #admit(budget: ConnectionBudget, handler: Passenger): boolean {
    if (budget.pending < budget.maxPending) {
      budget.pending++;
      return true;
    }
    const message = `cluster ${this.#cluster} is at its limit of ${budget.maxPending} requests that wait for a connection`;
    handler.onResponseError?.(null as never, new MeshError('ERR_MESH_OVERFLOW', message, { cluster: this.#cluster }));
    return false;
  }

  /** One more connection, where the limits allow it; as in Envoy an endpoint may always have one. */
  #another(): ConnectionClient | undefined {
    const budget = this.#budget;
    const full = budget !== undefined && budget.connections >= budget.maxConnections;
    if (full && this.#all.size > 0) return undefined;
    const connection = this.#open(this);
    this.#all.add(connection);
    if (budget !== undefined) {
      budget.connections++;
      connection.awaited = true;
    }
    return connection;
  }

  #remove(connection: ConnectionClient): void {
    // Not there any more: it was counted off when the pool was closed.
    if (!this.#all.delete(connection)) return;
    if (this.#budget !== undefined) this.#budget.connections--;
    if (!connection.destroyed) void connection.close();
  }

  readonly #wake = (): void => {
    const connections = this.#resting;
    this.#resting = this.#rested;
    this.#rested = connections;
    for (let i = 0; i < connections.length; i++) this.#reuse(connections[i] as ConnectionClient);
    connections.length = 0;
  };

  #reuse(given: ConnectionClient): void {
    let connection = given;
    if (given.old) {
      this.#remove(given);
      // Who waits needs another one in its place.
      const fresh = this.#waiting.length > 0 ? this.#another() : undefined;
      if (fresh === undefined) return;
      fresh.awaited = false;
      connection = fresh;
    }
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting.shift() as Waiting;
      this.served();
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
    this.#forget();
  }

  #forget(): void {
    if (this.#budget !== undefined) this.#budget.connections -= this.#all.size;
    this.#all.clear();
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
  const { budget, clock, cluster, maxConnectionMs, maxRequestsPerConnection } = options;
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
    ...(Number.isFinite(maxRequestsPerConnection) ? { maxRequestsPerClient: maxRequestsPerConnection } : {}),
  };
  const open = (owner: ConnectionPool): ConnectionClient => {
    const connection = new ConnectionClient(origin, clientOptions as never, owner);
    if (Number.isFinite(maxConnectionMs)) {
      let cancel = (): void => {};
      connection.on('connect', () => {
        cancel();
        connection.old = false;
        cancel = clock.after(maxConnectionMs, () => owner.retire(connection));
      });
      connection.on('disconnect', () => cancel());
    }
    return connection;
  };
  return new ConnectionPool(open, cluster, budget);
}
