import type { Socket } from 'node:net';
import { trustedUntil } from '../identity/verify-peer.ts';
import type { Clock } from '../lib/clock.ts';

/** End of the own certificate with which a connection was made. */
const ownEnds = new WeakMap<Socket, number>();

/** Remembers until when the certificate is valid that this connection was made with, milliseconds since the epoch. */
export function madeWith(socket: Socket, ownNotAfter: number): void {
  ownEnds.set(socket, ownNotAfter);
}

/** While the certificates of both ends of a connection are valid, milliseconds since the epoch. Infinity without any. */
export function usableUntil(socket: Socket): number {
  return Math.min(ownEnds.get(socket) ?? Number.POSITIVE_INFINITY, trustedUntil(socket));
}

/**
 * How long a new connection may take requests, milliseconds: as the cluster has it, and not beyond
 * the certificates that both ends proved themselves with. Infinity: for ever.
 */
export function lifeOf(socket: Socket, maxConnectionMs: number, clock: Clock): number {
  return Math.min(maxConnectionMs, usableUntil(socket) - clock.wallNow());
}

/** Is it over? Timers are late in a process that is busy; this is for the moment of use, and asks no clock in vain. */
export function hasEnded(until: number, clock: Clock): boolean {
  return until !== Number.POSITIVE_INFINITY && until <= clock.wallNow();
}
