import type { X509Certificate } from 'node:crypto';
import type { Generation } from './material.ts';
import type { Revocations } from './revocation.ts';

/** Everything that an authority holds and that changes together. Never changed in place. */
export interface Holdings {
  /** The root that is on its way out while there is a rotation, else the only one. */
  readonly current: Generation;
  readonly rotation?: Rotation;
  readonly revocations: Revocations;
}

/** An exchange of the root that is under way. */
export interface Rotation {
  /** `prepared`: both roots are handed out, the old one signs. `active`: the new one signs. */
  readonly phase: 'prepared' | 'active';
  readonly next: Generation;
  /** The new root's name and key, signed by the old root. */
  readonly cross?: X509Certificate;
  /** Milliseconds since the epoch. */
  readonly preparedAt: number;
  readonly activatedAt?: number;
}

/** Where holdings live. */
export interface HoldingsStore {
  /** Those in force; the same object until something changes. Looks for what other processes changed. */
  read(): Holdings;
  /** Applies a change to the newest holdings; when it returns, the change lasts. Changes nothing when `step` throws. */
  change(step: (holdings: Holdings) => Holdings): Holdings;
}

/** Holdings that end with the process. */
export function memoryHoldings(first: Holdings): HoldingsStore {
  let held = first;
  return { read: () => held, change: (step) => (held = step(held)) };
}

/** The generation that signs. */
export function signing({ current, rotation }: Holdings): Generation {
  return rotation?.phase === 'active' ? rotation.next : current;
}

/** Both generations while the root is exchanged; the one that signs first. */
export function generationsOf(holdings: Holdings): readonly Generation[] {
  const first = signing(holdings);
  const { current, rotation } = holdings;
  if (rotation === undefined) return [first];
  return [first, first === current ? rotation.next : current];
}

/** Holdings with another generation in the place of one of theirs. */
export function replaceGeneration(holdings: Holdings, old: Generation, by: Generation): Holdings {
  const { rotation } = holdings;
  if (rotation !== undefined && rotation.next === old) return { ...holdings, rotation: { ...rotation, next: by } };
  return { ...holdings, current: by };
}
