import type { ActiveIdentity } from './identity/store.ts';
import type { ListenerStatus } from './inbound.ts';
import type { Logger } from './lib/logger.ts';
import type { Snapshot } from './model/snapshot.ts';

/** What is in force, for people who look for a mistake. */
export interface MeshInspection {
  /** May hold secrets, in headers that a route sets for instance: whoever shows it takes them out. */
  readonly snapshot: Snapshot | undefined;
  /** Why the newest configuration was refused; empty once a good one came. */
  readonly problems: readonly string[];
  /** Absent: there is no certificate just now. */
  readonly certificates: PublicCertificates | undefined;
  readonly listeners: readonly ListenerStatus[];
  /** The mesh has begun to close. */
  readonly closing: boolean;
}

/** The public part of the identity. */
export interface PublicCertificates {
  readonly spiffeId: string;
  /** Counts accepted certificates, from 1. */
  readonly generation: number;
  /** Leaf first, then intermediates, PEM. */
  readonly chainPem: string;
  /** Roots (PEM) by trust domain. */
  readonly roots: ReadonlyMap<string, readonly string[]>;
  /** Trust domains with revocation lists. */
  readonly revocations: readonly string[];
}

/** Everything but the key. */
export function publicCertificates({ credentials, generation }: ActiveIdentity): PublicCertificates {
  const { certificateChainPem, crlsByTrustDomain, spiffeId, trustBundles } = credentials;
  return {
    spiffeId,
    generation,
    chainPem: certificateChainPem,
    roots: trustBundles,
    revocations: [...(crlsByTrustDomain?.keys() ?? [])],
  };
}

/** Levels of the mesh's own logger, least important messages first. */
export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;

/**
 * Level of a logger that has one that can be set: that of the mesh, or pino's; nothing for others.
 *
 * @param next sets it, when the logger has one
 */
export function loggerLevel(logger: Logger, next?: (typeof logLevels)[number]): string | undefined {
  const levelled = logger as Logger & { level?: string };
  if (typeof levelled.level !== 'string') return undefined;
  if (next !== undefined) levelled.level = next;
  return levelled.level;
}
