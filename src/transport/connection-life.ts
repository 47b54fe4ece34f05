import type { Socket } from 'node:net';
import { trustedUntil } from '../identity/verify-peer.ts';
import type { Clock } from '../lib/clock.ts';

/**
 * How long a new connection may take requests, milliseconds: as the cluster has it, and not beyond
 * the certificate that its server proved itself with. Infinity: for ever.
 */
export function lifeOf(socket: Socket, maxConnectionMs: number, clock: Clock): number {
  return Math.min(maxConnectionMs, trustedUntil(socket) - clock.wallNow());
}
