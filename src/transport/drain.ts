import type { Duplex } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import type { ServedConnection } from './served-connection.ts';

/**
 * How long an idle connection is left open once draining has begun, milliseconds: a request that
 * is on its way when we decide to close it would be lost.
 */
const settleMs = 250;

/** Knows all connections, and ends them in an order that loses nothing. */
export interface Drain {
  started(): boolean;
  /** A connection exists, in whatever state. */
  add(socket: Duplex): void;
  /** It has sent nothing yet, so ending it loses nothing; `undefined` when that is over. */
  waiting(socket: Duplex, giveUp: (() => void) | undefined): void;
  /** It serves requests: HTTP/1, or HTTP/2 with the function that says GOAWAY. */
  serving(socket: Duplex, how: ServedConnection | (() => void)): void;
  /** Resolves when no connection is left, at the latest `graceMs` from now. */
  run(graceMs: number): Promise<void>;
  destroyAll(): void;
}

/** Makes the record of the connections of one acceptor. */
export function createDrain(clock: Clock): Drain {
  const all = new Set<Duplex>();
  const waiting = new Map<Duplex, () => void>();
  const http1 = new Map<Duplex, ServedConnection>();
  const goAways = new Map<Duplex, () => void>();
  let started = false;
  let settled = false;
  let onEmpty = (): void => {};

  const forget = (socket: Duplex): void => {
    all.delete(socket);
    waiting.delete(socket);
    http1.delete(socket);
    goAways.delete(socket);
    if (all.size === 0) onEmpty();
  };

  /** Ends a connection between two requests; one in the middle ends after its response. */
  const endWhenIdle = (socket: Duplex, connection: ServedConnection): void => {
    if (!connection.busy) {
      socket.end(() => socket.destroy());
      return;
    }
    if (connection.response?.headersSent === false) connection.response.shouldKeepAlive = false;
    connection.response?.once('close', () => endWhenIdle(socket, connection));
  };

  const retire = (): void => {
    for (const connection of http1.values()) connection.retire();
    for (const goAway of goAways.values()) goAway();
  };

  const settle = (): void => {
    settled = true;
    for (const giveUp of [...waiting.values()]) giveUp();
    for (const [socket, connection] of http1) endWhenIdle(socket, connection);
  };

  const destroyAll = (): void => {
    for (const socket of [...all]) socket.destroy();
  };

  return {
    started: () => started,
    add: (socket) => {
      if (all.has(socket)) return;
      all.add(socket);
      socket.once('close', () => forget(socket));
    },
    waiting: (socket, giveUp) => {
      if (giveUp === undefined) waiting.delete(socket);
      else waiting.set(socket, giveUp);
    },
    serving: (socket, how) => {
      if (typeof how === 'function') {
        goAways.set(socket, how);
        if (started) how();
      } else {
        http1.set(socket, how);
        if (settled) how.retire();
      }
    },
    run: (graceMs) =>
      new Promise((resolve) => {
        started = true;
        if (all.size === 0) {
          resolve();
          return;
        }
        const cancelSettle = clock.after(Math.min(settleMs, graceMs), settle);
        const cancelGrace = clock.after(graceMs, destroyAll);
        onEmpty = () => {
          cancelSettle();
          cancelGrace();
          resolve();
        };
        retire();
      }),
    destroyAll,
  };
}
