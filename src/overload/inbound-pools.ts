import type { InboundPool, InboundPools } from '../model/inbound.ts';
import { WaitingLine } from './waiting-line.ts';

/** Somebody who waits for a place. */
export interface Waiting {
  /** It has a place now. */
  admitted(): void;
  /** There is a connection for it by now, and too many requests are under way. */
  refused(): void;
}

/**
 * What Envoy counts for the cluster of one inbound port. Its connections go to the application: one for each
 * connection of a protocol that nobody reads, and one for each HTTP/1.1 request; requests of HTTP/2 share theirs. In a
 * process there are none, so that what would need one is counted.
 */
export class PortPool {
  pool: InboundPool;
  #requests: number;
  #connections: number;
  #waiting: number;
  readonly #line: WaitingLine<Waiting>;

  constructor(pool: InboundPool) {
    this.pool = pool;
    this.#requests = 0;
    this.#connections = 0;
    this.#waiting = 0;
    this.#line = new WaitingLine();
  }

  /** A connection of a protocol that nobody reads: one too many does not wait. */
  connect(): boolean {
    if (this.#connections >= this.pool.maxConnections) return false;
    this.#connections++;
    return true;
  }

  disconnect(): void {
    this.#connections--;
    this.moveUp();
  }

  /** A request, which shares a connection (`guest` absent) or needs one. Who was admitted must {@link leave}. */
  enter(guest: Waiting | undefined): 'admitted' | 'waiting' | 'full' {
    const { maxConnections, maxPendingRequests, maxRequests } = this.pool;
    if (guest !== undefined && (this.#connections >= maxConnections || this.#waiting > 0)) {
      if (this.#waiting >= maxPendingRequests) return 'full';
      this.#line.add(guest);
      this.#waiting++;
      return 'waiting';
    }
    if (this.#requests >= maxRequests) return 'full';
    this.#requests++;
    if (guest !== undefined) this.#connections++;
    return 'admitted';
  }

  leave(guest: Waiting | undefined): void {
    this.#requests--;
    if (guest === undefined) return;
    this.disconnect();
  }

  /** A guest that waits has given up. */
  giveUp(guest: Waiting): void {
    if (this.#line.remove(guest)) this.#waiting--;
  }

  /** Lets in who waits, as far as there is room; also when the limits were changed. */
  moveUp(): void {
    for (let first = this.#line.first; first !== undefined; first = this.#line.first) {
      if (this.#connections >= this.pool.maxConnections) return;
      this.giveUp(first);
      if (this.#requests >= this.pool.maxRequests) {
        first.refused();
        continue;
      }
      this.#requests++;
      this.#connections++;
      first.admitted();
    }
  }
}

const unlimited: InboundPool = {
  maxConnections: Number.POSITIVE_INFINITY,
  maxPendingRequests: Number.POSITIVE_INFINITY,
  maxRequests: Number.POSITIVE_INFINITY,
};

/** The pools of all ports; what is under way goes on to count when the configuration changes. */
export interface InboundPoolMemory {
  of(port: number): PortPool;
  /** Takes other limits; nothing: none. */
  adopt(pools: InboundPools | undefined): void;
}

export function createInboundPoolMemory(): InboundPoolMemory {
  const ports = new Map<number, PortPool>();
  let current: InboundPools | undefined;
  const limitsOf = (port: number): InboundPool => current?.ports.get(port) ?? current?.others ?? unlimited;
  return {
    of(port) {
      let found = ports.get(port);
      if (found === undefined) ports.set(port, (found = new PortPool(limitsOf(port))));
      return found;
    },
    adopt(pools) {
      if (pools === current) return;
      current = pools;
      for (const [port, pool] of ports) {
        pool.pool = limitsOf(port);
        pool.moveUp();
      }
    },
  };
}
