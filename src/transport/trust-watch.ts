import type { Duplex } from 'node:stream';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/logger.ts';

/** Cuts connections whose other end is no longer trusted. */
export interface TrustWatch {
  /**
   * Looks after a connection until it closes.
   *
   * @param check throws when the other end is not trusted any more; cheap while nothing has changed
   */
  add(connection: Duplex, check: () => unknown): void;
  /** Trust has changed: looks at all connections, begun once input and output that is waiting was handled. */
  review(): void;
  /** Looks after nothing any more. */
  close(): void;
}

/** How often all connections are looked at, milliseconds: certificates and revocation lists also run out by themselves. */
const everyMs = 1_000;
/** How many are looked at before others have their turn: judging one anew may cost a signature. */
const atOnce = 128;

export function createTrustWatch(clock: Clock, logger: Logger): TrustWatch {
  const watched = new Map<Duplex, () => unknown>();
  let cancelTick: (() => void) | undefined;
  let walking = false;
  let again = false;

  const tick = (): void => {
    cancelTick = undefined;
    walk();
    arm();
  };
  const arm = (): void => {
    if (watched.size > 0) cancelTick ??= clock.after(everyMs, tick);
  };
  const walk = (): void => {
    if (walking) {
      again = true;
      return;
    }
    walking = true;
    step(watched.entries(), 0, undefined);
  };
  const step = (rest: MapIterator<[Duplex, () => unknown]>, closedBefore: number, first: unknown): void => {
    let [closed, why] = [closedBefore, first];
    for (let i = 0; i < atOnce; i++) {
      const { done, value } = rest.next();
      if (done === true) {
        finish(closed, why);
        return;
      }
      const [connection, check] = value;
      try {
        check();
      } catch (error) {
        closed++;
        why ??= error;
        connection.destroy(error as Error);
      }
    }
    clock.afterIo(() => step(rest, closed, why));
  };
  const finish = (closed: number, why: unknown): void => {
    walking = false;
    if (closed > 0) {
      const fields = { connections: closed, error: (why as Error).message };
      logger.warn(fields, 'connections were closed: their other end is no longer trusted');
    }
    if (!again) return;
    again = false;
    walk();
  };

  return {
    add(connection, check) {
      watched.set(connection, check);
      connection.once('close', () => watched.delete(connection));
      arm();
    },
    review: () => clock.afterIo(walk),
    close() {
      watched.clear();
      cancelTick?.();
      cancelTick = undefined;
    },
  };
}
