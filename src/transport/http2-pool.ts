import { type Dispatcher, errors } from 'undici';
import { createDeadlines, type Deadlines } from '../lib/deadlines.ts';
import { admitWaiting, type ConnectionBudget } from './budget.ts';
import { ClosingDispatcher } from './closing-dispatcher.ts';
import type { Passenger } from './connection.ts';
import type { ConnectTarget } from './connector.ts';
import {
  Http2Connection,
  type Http2ConnectionOptions,
  type Http2ConnectionOwner,
  untoldStreams,
} from './http2-client-connection.ts';
import { originOf } from './origin.ts';
import { WaitingLine } from './waiting-line.ts';

export interface Http2PoolOptions
  extends ConnectTarget,
    Pick<Http2ConnectionOptions, 'idleTimeoutMs' | 'maxConnectionMs' | 'pings'> {
  /** `:authority` of requests that have no Host header of their own. */
  readonly host: string;
  readonly budget?: ConnectionBudget | undefined;
  /** Infinity: no limit. */
  readonly maxRequestsPerConnection: number;
  /** Streams at once on one connection. Infinity: Envoy's default of 1,024. */
  readonly maxConcurrentStreams: number;
}

/** Envoy's default of `max_concurrent_streams`. */
const defaultMaxStreams = 1_024;

/**
 * The HTTP/2 connections to one endpoint. Requests share one connection as long as it has room, as
 * in Envoy; another one is made when none has, and requests wait when the limits allow no more.
 */
export class Http2Pool extends ClosingDispatcher implements Http2ConnectionOwner {
  readonly #connectionOptions: Http2ConnectionOptions;
  readonly #deadlines: Deadlines;
  readonly #budget: ConnectionBudget | undefined;
  readonly #cluster: string;
  streamsAllowed: number;
  /** Every connection that exists, those that end included. */
  readonly #all: Set<Http2Connection>;
  /** Those that take requests, or will. */
  readonly #usable: Http2Connection[];
  #current: Http2Connection | undefined;
  readonly #waiting: WaitingLine;
  #serving: boolean;
  #drained: (() => void) | undefined;
  #emptied: (() => void) | undefined;

  constructor(options: Http2PoolOptions) {
    super();
    const { clock, maxConcurrentStreams } = options;
    this.#deadlines = createDeadlines(clock);
    this.#connectionOptions = {
      target: options,
      clock,
      deadlines: this.#deadlines,
      authority: options.host,
      origin: originOf(options.host),
      maxStreams: Number.isFinite(maxConcurrentStreams) ? maxConcurrentStreams : defaultMaxStreams,
      maxRequests: options.maxRequestsPerConnection,
      maxConnectionMs: options.maxConnectionMs,
      idleTimeoutMs: options.idleTimeoutMs,
      pings: options.pings,
    };
    this.#budget = options.budget;
    this.#cluster = options.cluster;
    this.streamsAllowed = untoldStreams;
    this.#all = new Set();
    this.#usable = [];
    this.#current = undefined;
    this.#waiting = new WaitingLine(() => this.#left());
    this.#serving = false;
    this.#drained = undefined;
    this.#emptied = undefined;
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Passenger): boolean {
    if (this.closing) {
      handler.onResponseError?.(null as never, new errors.ClientClosedError());
      return false;
    }
    const connection = this.#withRoom();
    if (connection !== undefined) {
      connection.carry(options, handler);
      return true;
    }
    if (this.#budget !== undefined && !admitWaiting(this.#budget, this.#cluster, handler)) return false;
    this.#waiting.push(options, handler);
    if (this.#waiting.length === 1) this.#hold(true);
    this.#grow();
    return true;
  }

  // ---- what connections tell

  told(streams: number): void {
    // One that allows none for a while may do so on its next connection.
    if (streams > 0) this.streamsAllowed = streams;
  }

  roomier(connection: Http2Connection): void {
    this.#current = connection;
    if (this.#waiting.length === 0 || this.#serving) return;
    // Not from within what made the room.
    this.#serving = true;
    queueMicrotask(this.#serve);
  }

  gone(connection: Http2Connection, error: Error | undefined): void {
    if (this.#current === connection) this.#current = undefined;
    const index = this.#usable.indexOf(connection);
    if (index !== -1) this.#usable.splice(index, 1);
    if (this.#waiting.length === 0) return;
    if (error === undefined) {
      this.#grow();
      return;
    }
    // As in Envoy: who waits for a connection shares its fate, unless there is another that takes
    // requests. In no case is it tried again at once, and for ever.
    if (!this.#usable.some(({ allowed }) => allowed > 0)) this.#failWaiting(error);
  }

  closed(connection: Http2Connection): void {
    if (!this.#all.delete(connection)) return;
    if (this.#budget !== undefined) this.#budget.connections--;
    // There is room for another one; but see `gone` for one that never was.
    if (this.#waiting.length > 0 && connection.made) this.#grow();
    if (this.#all.size > 0) return;
    this.#deadlines.rest();
    this.#emptied?.();
    // undici's Agent forgets who has no connections.
    this.emit('disconnect', new URL(this.#connectionOptions.origin), [], new errors.SocketError('closed'));
  }

  // ---- its end

  protected override async drain(): Promise<void> {
    if (this.#waiting.length > 0) await new Promise<void>((resolve) => (this.#drained = resolve));
    for (const connection of [...this.#all]) connection.retire();
    await this.#empty();
  }

  protected override async cut(error: Error): Promise<void> {
    this.#failWaiting(error);
    for (const connection of [...this.#all]) connection.destroy(error);
    await this.#empty();
  }

  async #empty(): Promise<void> {
    if (this.#all.size > 0) await new Promise<void>((resolve) => (this.#emptied = resolve));
  }

  // ---- its work

  #withRoom(): Http2Connection | undefined {
    const current = this.#current;
    if (current?.hasRoom) return current;
    for (const connection of this.#usable) {
      if (!connection.hasRoom) continue;
      this.#current = connection;
      return connection;
    }
    // Nobody may wait for room on a connection that will never have any.
    for (let i = this.#usable.length - 1; i >= 0; i--) {
      // Backwards, and without a copy: who retires leaves the list.
      const connection = this.#usable[i];
      if (connection?.outlived) connection.retire();
    }
    return undefined;
  }

  readonly #serve = (): void => {
    this.#serving = false;
    while (this.#waiting.length > 0) {
      const connection = this.#withRoom();
      if (connection === undefined) {
        this.#grow();
        return;
      }
      const waiting = this.#waiting.shift();
      if (waiting === undefined) break;
      this.#served();
      waiting.runInAsyncScope(() => connection.carry(waiting.options, waiting.handler));
    }
    this.#restful();
  };

  /** Makes another connection if more wait than the one that is being made will take. */
  #grow(): void {
    let expected = 0;
    let stuck = 0;
    for (const connection of this.#usable) {
      if (connection.connecting) expected += connection.allowed;
      // A server may allow no streams for a while. One more connection may have more luck; many would not.
      else if (connection.allowed === 0) stuck++;
    }
    if (this.#waiting.length <= expected || stuck > 1) return;
    const budget = this.#budget;
    // As in Envoy an endpoint may always have one.
    if (budget !== undefined && budget.connections >= budget.maxConnections && this.#usable.length > 0) return;
    const connection = new Http2Connection(this.#connectionOptions, this);
    this.#all.add(connection);
    this.#usable.push(connection);
    if (budget !== undefined) budget.connections++;
  }

  #served(): void {
    if (this.#budget !== undefined) this.#budget.pending--;
  }

  #left(): void {
    this.#served();
    this.#restful();
  }

  #restful(): void {
    if (this.#waiting.length > 0) return;
    this.#hold(false);
    this.#drained?.();
  }

  #hold(held: boolean): void {
    for (const connection of this.#usable) connection.hold(held);
  }

  #failWaiting(error: Error): void {
    for (let waiting = this.#waiting.shift(); waiting !== undefined; waiting = this.#waiting.shift()) {
      const { handler } = waiting;
      this.#served();
      waiting.runInAsyncScope(() => handler.onResponseError?.(null as never, error));
    }
    this.#restful();
  }
}
