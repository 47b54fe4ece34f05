import type { IssuanceEntry } from './issuance-log.ts';
import { refusal } from './refusal.ts';

/** Remembers which key was certified for whom. */
export interface KeyRegister {
  /** Refuses a key that belongs to somebody else: one key for two identities lets either speak for the other. */
  check(keyId: string, subject: string): void;
  record(keyId: string, subject: string): void;
}

const maxKeys = 100_000;

/** A register of the newest 100,000 keys, beginning with those of the issuance log. */
export function createKeyRegister(known: readonly IssuanceEntry[]): KeyRegister {
  const owners = new Map<string, string>();
  const record = (keyId: string, subject: string): void => {
    owners.delete(keyId);
    owners.set(keyId, subject);
    if (owners.size <= maxKeys) return;
    const [oldest] = owners.keys();
    if (oldest !== undefined) owners.delete(oldest);
  };
  for (const { keyId, subject } of known) record(keyId, subject);
  return {
    check: (keyId, subject) => {
      const owner = owners.get(keyId);
      if (owner !== undefined && owner !== subject) {
        throw refusal(
          'key_reused',
          `the key of the certificate request was certified for another identity than ${subject}`,
        );
      }
    },
    record,
  };
}
