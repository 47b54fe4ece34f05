import type { Socket } from 'node:net';
import type { Clock } from '../lib/clock.ts';

/** Hears of a connection, or why there is none. */
export type Done = (error: Error | null, socket: Socket | null) => void;

/** Begins to connect. @returns gives it up: nobody hears of it any more */
export type Attempt = (done: Done) => () => void;

/** How long the address is waited for alone: "Connection Attempt Delay", RFC 8305 section 5. */
const headStartMs = 250;

/**
 * Connects to one address, and beside it to another as soon as the first has failed, or does not answer for a moment
 * (RFC 8305). The one that is there first is taken. Node.js (`autoSelectFamily`) gives the first one up instead: servers
 * more than 250 ms away, and handshakes that a busy process was late to notice, would fail wherever the other family
 * does not work.
 */
export function eitherFamily(clock: Clock, first: Attempt, other: Attempt, done: Done): void {
  const errors: Error[] = [];
  let abandonOther: (() => void) | undefined;
  const startOther = (): void => {
    cancelStart();
    abandonOther ??= other((error, socket) => {
      if (socket !== null) abandonFirst();
      take(error, socket);
    });
  };
  const take: Done = (error, socket) => {
    if (socket !== null) {
      cancelStart();
      done(null, socket);
      return;
    }
    errors.push(error as Error);
    startOther();
    if (errors.length === 2) done(new AggregateError(errors), null);
  };
  const cancelStart = clock.after(headStartMs, startOther);
  const abandonFirst = first((error, socket) => {
    if (socket !== null) abandonOther?.();
    take(error, socket);
  });
}
