import { parseSpiffeId } from 'inmesh/identity';
import type { Authority } from './authority-types.ts';
import { publishCrls } from './crl.ts';
import { withoutCrl } from './crl-coverage.ts';
import { type Holdings, type HoldingsStore, replaceGeneration, signing } from './holdings.ts';
import type { IssuanceEntry, IssuanceLog } from './issuance-log.ts';
import { makeGeneration } from './material.ts';
import { type AuthoritySettings, invalid } from './options.ts';
import { readPlugged } from './plugged.ts';
import { refusal } from './refusal.ts';
import { addRevoked, liftIdentity, type RevokedCertificate } from './revocation.ts';
import { abort, activate, finish, prepare, type ValidCertificates } from './rotation.ts';
import { keyIdentifierOf } from './signing.ts';

/** No certificate lives longer than a day; as much again for clocks. */
const recentMs = 172_800_000;

/** What a keeper works with. */
export interface KeeperParts {
  readonly settings: AuthoritySettings;
  readonly store: HoldingsStore;
  readonly log: IssuanceLog;
  readonly extraCrls: readonly string[];
  /** Called after every change. */
  changed(): void;
}

/** What an operator does to an authority: exchanges roots, imports intermediates, revokes. */
export type Keeper = Pick<Authority, 'rotation' | 'importIntermediate' | 'revoke' | 'reinstate'> & {
  /** Certificates that are valid still, of the root that does not sign. */
  validOfOther(holdings: Holdings): ValidCertificates;
};

export function createKeeper({ settings, store, log, extraCrls, changed }: KeeperParts): Keeper {
  const { trustDomain, keyType, nameConstraints, leafTtlMs, passphrase, clock, logger } = settings;

  /** Every change of who signs, or of what is revoked, comes with its lists. */
  const change = (step: (holdings: Holdings, now: number) => Holdings): void => {
    const now = clock.wallNow();
    store.change((before) => publishCrls(step(before, now), now));
    changed();
  };

  /** Under the lock of the folder, where nobody can sign meanwhile: not the log of years. */
  const recent = (): Iterable<IssuanceEntry> => log.all(clock.wallNow() - recentMs);
  const isValid = ({ notAfter }: IssuanceEntry): boolean => clock.wallNow() < Date.parse(notAfter);

  const validOfOther = (holdings: Holdings): ValidCertificates => {
    const { current, rotation } = holdings;
    if (rotation === undefined) return { count: 0, until: 0 };
    const next = keyIdentifierOf(rotation.next.root.certificate);
    const old = keyIdentifierOf(current.root.certificate);
    let count = 0;
    let until = 0;
    for (const entry of recent()) {
      // Entries of before there were rotations name no root: they are of the oldest.
      const isOther = rotation.phase === 'active' ? (entry.root ?? old) === old : entry.root === next;
      // The authority's own server takes a new certificate when another root signs.
      if (!isOther || entry.by === 'server' || !isValid(entry)) continue;
      count++;
      until = Math.max(until, Date.parse(entry.notAfter));
    }
    return { count, until };
  };

  const entriesOf = (serial: string): readonly IssuanceEntry[] => {
    const found: IssuanceEntry[] = [];
    for (const entry of log.all()) if (entry.serial === serial) found.push(entry);
    return found;
  };

  const plugged = (folder: string): ReturnType<typeof readPlugged> => {
    const found = readPlugged(folder, { trustDomain, passphrase, now: clock.wallNow() });
    for (const warning of found.warnings) logger.warn({ folder }, warning);
    if (found.otherRoots.length > 0) {
      const roots = found.otherRoots.map(({ subject }) => subject.replaceAll('\n', ', '));
      logger.warn({ folder, roots }, 'further roots are not handed out; put them into extra-roots.pem');
    }
    if (found.crls !== undefined) {
      logger.warn({ folder }, 'revocation lists are not taken over; put them into extra-crls.pem');
    }
    return found;
  };

  return {
    validOfOther,
    rotation: {
      prepare: ({ from } = {}) => {
        const given = from === undefined ? undefined : plugged(from);
        const { current, rotation } = store.read();
        // A wrong order is refused before keys are made, and keys are made before the folder is locked: RSA takes long.
        const now = clock.wallNow();
        const next =
          rotation === undefined
            ? (given?.generation ?? makeGeneration({ trustDomain, keyType, nameConstraints, now }))
            : current;
        change((before) => prepare(before, next, given?.cross, { now, trustDomain }));
        logger.info({ trustDomain }, 'prepared a new root');
      },
      activate: ({ force = false } = {}) => {
        change((before, now) => activate(before, { now, leafTtlMs, force }));
        logger.info({ trustDomain }, 'the new root signs');
      },
      finish: ({ force = false } = {}) => {
        change((before) => finish(before, validOfOther(before), force));
        logger.info({ trustDomain }, 'the old root is gone');
      },
      abort: ({ force = false } = {}) => {
        change((before) => abort(before, validOfOther(before), force));
        logger.info({ trustDomain }, 'took back a step of the exchange of the root');
      },
    },
    importIntermediate: (folder) => {
      const { generation, warnings } = plugged(folder);
      change((before) => {
        const old = signing(before);
        if (!generation.root.certificate.raw.equals(old.root.certificate.raw)) {
          throw refusal('conflict', `${folder} belongs to another root: see \`inmesh ca rotate prepare --from\``);
        }
        return replaceGeneration(before, old, {
          root: old.root,
          intermediate: generation.intermediate,
          previous: old.intermediate,
        });
      });
      return warnings;
    },
    revoke: (request) => {
      const { reason = 'unspecified' } = request;
      const serial = 'serial' in request ? request.serial.toLowerCase().replaceAll(':', '') : undefined;
      const spiffeId = 'spiffeId' in request ? request.spiffeId : undefined;
      let added: readonly string[] = [];
      // Looked for before the folder is locked: it may be anywhere in the log.
      const named = serial === undefined ? undefined : entriesOf(serial);
      change((before, now) => {
        const fallback = keyIdentifierOf(before.current.intermediate.certificate);
        const found: RevokedCertificate[] = [];
        for (const entry of named ?? recent()) {
          const matches = named !== undefined || (entry.subject === spiffeId && isValid(entry));
          if (!matches || entry.by === 'server') continue;
          found.push({
            serial: entry.serial,
            spiffeId: entry.subject,
            issuer: entry.issuer ?? fallback,
            reason,
            revokedAt: now,
            notAfter: Date.parse(entry.notAfter),
          });
        }
        if (serial !== undefined && found.length === 0) {
          throw refusal('not_found', `no certificate with serial number ${serial.slice(0, 80)} was issued`);
        }
        const identity = spiffeId === undefined ? undefined : { spiffeId: checked(spiffeId), reason, revokedAt: now };
        const known = new Set(before.revocations.certificates.map((revoked) => revoked.serial));
        added = found.map((revoked) => revoked.serial).filter((each) => !known.has(each));
        return { ...before, revocations: addRevoked(before.revocations, found, identity) };
      });
      logger.warn({ ...(spiffeId === undefined ? { serial } : { spiffeId }), reason, count: added.length }, 'revoked');
      warnOfMissingCrls();
      return added;
    },
    reinstate: (spiffeId) => {
      change((before) => ({ ...before, revocations: liftIdentity(before.revocations, spiffeId) }));
      logger.warn({ spiffeId }, 'a revoked identity may have certificates again');
    },
  };

  function warnOfMissingCrls(): void {
    const holdings = store.read();
    const missing = withoutCrl(holdings, [...(holdings.revocations.crls?.pems ?? []), ...extraCrls], clock.wallNow());
    if (missing.length === 0) return;
    const names = missing.map(({ subject }) => subject.replaceAll('\n', ', '));
    logger.warn(
      { missing: names },
      'members get no revocation lists, because one of these is missing (put it into extra-crls.pem) or has too many entries; what is revoked is not renewed',
    );
  }

  function checked(spiffeId: string): string {
    const id = parseSpiffeId(spiffeId);
    if (id.trustDomain === trustDomain && id.path !== '') return id.uri;
    throw invalid('spiffeId', `expected a workload of trust domain ${trustDomain}`, spiffeId);
  }
}
