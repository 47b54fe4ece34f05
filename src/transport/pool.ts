import { type Dispatcher, errors } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { admitWaiting, type ConnectionBudget } from './budget.ts';
import { ClosingDispatcher } from './closing-dispatcher.ts';
import { ConnectionClient, type ConnectionOwner, type Passenger } from './connection.ts';
import { hasEnded, lifeOf, usableUntil } from './connection-life.ts';
import { type ConnectTarget, openConnection } from './connector.ts';
import { originOf } from './origin.ts';
import { WaitingLine } from './waiting-line.ts';

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
export class ConnectionPool extends ClosingDispatcher implements ConnectionOwner {
  readonly #open: (owner: ConnectionPool) => ConnectionClient;
  readonly #budget: ConnectionBudget | undefined;
  readonly #cluster: string;
  readonly #clock: Clock;
  readonly #all: Set<ConnectionClient>;
  /** Ready for a request, last used last. */
  readonly #idle: ConnectionClient[];
  /** Had its response in this turn of the event loop. */
  #resting: ConnectionClient[];
  #rested: ConnectionClient[];
  readonly #waiting: WaitingLine;
  #drained: (() => void) | undefined;

  constructor(
    open: (owner: ConnectionPool) => ConnectionClient,
    cluster: string,
    budget: ConnectionBudget | undefined,
    clock: Clock,
  ) {
    super();
    this.#clock = clock;
    this.#open = open;
    this.#cluster = cluster;
    this.#budget = budget;
    this.#all = new Set();
    this.#idle = [];
    this.#resting = [];
    this.#rested = [];
    this.#waiting = new WaitingLine(() => this.#left());
    this.#drained = undefined;
  }

  /** Sends the request, now or when a connection is free. */
  override dispatch(options: Dispatcher.DispatchOptions, handler: Passenger): boolean {
    if (this.closing) {
      handler.onResponseError?.(null as never, new errors.ClientClosedError());
      return false;
    }
    let connection = handler.fresh === true && !this.#full() ? undefined : this.#newestIdle();
    if (connection === undefined) {
      if (this.#budget !== undefined && !admitWaiting(this.#budget, this.#cluster, handler)) return false;
      connection = this.#another();
      if (connection === undefined) {
        this.#waiting.push(options, handler);
        return true;
      }
      if (connection.awaited) handler.place = connection;
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

  protected override async drain(): Promise<void> {
    if (this.#waiting.length > 0) await new Promise<void>((resolve) => (this.#drained = resolve));
    await Promise.all([...this.#all].map((connection) => (connection.destroyed ? undefined : connection.close())));
    this.#forget();
  }

  protected override async cut(error: Error): Promise<void> {
    for (let waiting = this.#waiting.shift(); waiting !== undefined; waiting = this.#waiting.shift()) {
      this.served();
      waiting.handler.onResponseError?.(null as never, error);
    }
    const destroying = [...this.#all].map((connection) => connection.destroy(error));
    this.#drained?.();
    await Promise.all(destroying);
    this.#forget();
  }

  /** One more connection, where the limits allow it; as in Envoy an endpoint may always have one. */
  #another(): ConnectionClient | undefined {
    const budget = this.#budget;
    if (this.#full() && this.#all.size > 0) return undefined;
    const connection = this.#open(this);
    this.#all.add(connection);
    if (budget !== undefined) {
      budget.connections++;
      connection.awaited = true;
    }
    return connection;
  }

  #full(): boolean {
    const budget = this.#budget;
    return budget !== undefined && budget.connections >= budget.maxConnections;
  }

  #remove(connection: ConnectionClient): void {
    // Not there any more: it was counted off when the pool was closed.
    if (!this.#all.delete(connection)) return;
    if (this.#budget !== undefined) this.#budget.connections--;
    if (!connection.destroyed) void connection.close();
  }

  #newestIdle(): ConnectionClient | undefined {
    let connection = this.#idle.pop();
    while (connection !== undefined && hasEnded(connection.until, this.#clock)) {
      this.#remove(connection);
      connection = this.#idle.pop();
    }
    return connection;
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
    // Without a socket it takes no place from others: an endpoint that cannot be reached has none.
    if (given.old || hasEnded(given.until, this.#clock) || (this.#budget !== undefined && !given.up)) {
      this.#remove(given);
      // Who waits needs another one in its place.
      const fresh = this.#waiting.length > 0 ? this.#another() : undefined;
      if (fresh === undefined) {
        if (this.#waiting.length === 0) this.#drained?.();
        return;
      }
      fresh.awaited = false;
      connection = fresh;
    }
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) {
      this.served();
      waiting.handler.connection = connection;
      waiting.runInAsyncScope(() => connection.dispatch(waiting.options, waiting.handler));
      return;
    }
    this.#drained?.();
    this.#idle.push(connection);
  }

  #left(): void {
    this.served();
    if (this.#waiting.length === 0) this.#drained?.();
  }

  #forget(): void {
    if (this.#budget !== undefined) this.#budget.connections -= this.#all.size;
    this.#all.clear();
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
  const origin = originOf(options.host);
  const clientOptions = {
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
    let socketLifeMs = Number.POSITIVE_INFINITY;
    let until = Number.POSITIVE_INFINITY;
    let cancel = (): void => {};
    const connect = (_: unknown, callback: Parameters<typeof openConnection>[1]): void =>
      openConnection(options, (error, socket) => {
        if (socket !== null) {
          socketLifeMs = lifeOf(socket, maxConnectionMs, clock);
          until = usableUntil(socket);
        }
        callback(error, socket);
      });
    const connection = new ConnectionClient(origin, { ...clientOptions, connect } as never, owner);
    connection.on('connect', () => {
      cancel();
      connection.old = false;
      connection.until = until;
      if (Number.isFinite(socketLifeMs)) cancel = clock.after(socketLifeMs, () => owner.retire(connection));
    });
    connection.on('disconnect', () => cancel());
    return connection;
  };
  return new ConnectionPool(open, cluster, budget, clock);
}
