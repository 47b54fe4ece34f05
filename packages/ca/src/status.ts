import type { X509Certificate } from 'node:crypto';
import { generationsOf, type Holdings, signing } from './holdings.ts';
import type { IssuanceEntry, LogCheck } from './issuance-log.ts';
import type { Generation, Signer } from './material.ts';

/** A certificate of the authority itself. */
export interface AuthorityCertificate {
  readonly role: 'root' | 'intermediate' | 'previous intermediate';
  /** `signing`, or for a generation that does not sign: the one that comes, or the one that goes. */
  readonly state: 'signing' | 'next' | 'old';
  readonly subject: string;
  /** SHA-256 of the certificate. */
  readonly fingerprint: string;
  /** `P-256`, `RSA 2048`. */
  readonly key: string;
  readonly notAfter: string;
  /** Whole days; negative when it has expired. */
  readonly daysLeft: number;
  /** Whether its private key is in the folder. */
  readonly keyHere: boolean;
}

/** How an authority is doing: what `inmesh ca status` shows. */
export interface AuthorityStatus {
  readonly trustDomain: string;
  readonly leafTtlMs: number;
  readonly certificates: readonly AuthorityCertificate[];
  /** Roots in the bundle of the own trust domain, those from `extra-roots.pem` included. */
  readonly rootsInBundle: number;
  readonly rotation?: {
    readonly phase: 'prepared' | 'active';
    readonly crossSigned: boolean;
    readonly preparedAt: string;
    readonly activatedAt?: string;
    /** Certificates of the root that does not sign: of the old one before `finish`, of the new one before `abort`. */
    readonly validOfOther: number;
    readonly validOfOtherUntil?: string;
  };
  readonly issued: {
    readonly total: number;
    readonly valid: number;
    /** The newest five, newest first. */
    readonly last: readonly Pick<IssuanceEntry, 'time' | 'subject' | 'serial' | 'notAfter' | 'by'>[];
  };
  readonly log: LogCheck;
  readonly revoked: {
    readonly certificates: number;
    readonly identities: readonly string[];
  };
  readonly crl?: {
    readonly number: number;
    readonly thisUpdate: string;
    readonly nextUpdate: string;
    /** Authorities without a list here; while there is one, members get no lists at all. */
    readonly missing: readonly string[];
  };
}

/** What status is made of. */
export interface StatusParts {
  readonly trustDomain: string;
  readonly leafTtlMs: number;
  readonly holdings: Holdings;
  readonly rootsInBundle: number;
  readonly log: Iterable<IssuanceEntry>;
  readonly check: LogCheck;
  /** Authorities of which there is no revocation list. */
  readonly withoutCrl: readonly X509Certificate[];
  readonly ofOther: { readonly count: number; readonly until: number };
  readonly now: number;
}

export function statusOf(parts: StatusParts): AuthorityStatus {
  const { holdings, now, ofOther } = parts;
  const { rotation, revocations } = holdings;
  let total = 0;
  let valid = 0;
  const last: IssuanceEntry[] = [];
  for (const entry of parts.log) {
    total++;
    if (now < Date.parse(entry.notAfter)) valid++;
    last.push(entry);
    if (last.length > 5) last.shift();
  }
  return {
    trustDomain: parts.trustDomain,
    leafTtlMs: parts.leafTtlMs,
    certificates: generationsOf(holdings).flatMap((generation) => certificatesOf(generation, holdings, now)),
    rootsInBundle: parts.rootsInBundle,
    ...(rotation === undefined
      ? {}
      : {
          rotation: {
            phase: rotation.phase,
            crossSigned: rotation.cross !== undefined,
            preparedAt: iso(rotation.preparedAt),
            ...(rotation.activatedAt === undefined ? {} : { activatedAt: iso(rotation.activatedAt) }),
            validOfOther: ofOther.count,
            ...(ofOther.count === 0 ? {} : { validOfOtherUntil: iso(ofOther.until) }),
          },
        }),
    issued: {
      total,
      valid,
      last: last.reverse().map(({ time, subject, serial, notAfter, by }) => ({ time, subject, serial, notAfter, by })),
    },
    log: parts.check,
    revoked: {
      certificates: revocations.certificates.filter(({ notAfter }) => now < notAfter).length,
      identities: revocations.identities.map(({ spiffeId }) => spiffeId),
    },
    ...(revocations.crls === undefined
      ? {}
      : {
          crl: {
            number: revocations.number,
            thisUpdate: iso(revocations.crls.thisUpdate),
            nextUpdate: iso(revocations.crls.nextUpdate),
            missing: parts.withoutCrl.map(({ subject }) => subject.replaceAll('\n', ', ')),
          },
        }),
  };
}

function certificatesOf(generation: Generation, holdings: Holdings, now: number): readonly AuthorityCertificate[] {
  const { root, intermediate, previous } = generation;
  const state = generation === signing(holdings) ? 'signing' : generation === holdings.current ? 'old' : 'next';
  const show = (
    role: AuthorityCertificate['role'],
    { certificate, key }: Pick<Signer, 'certificate'> & Partial<Signer>,
  ) => ({
    role,
    state,
    subject: certificate.subject.replaceAll('\n', ', '),
    fingerprint: certificate.fingerprint256,
    key: keyOf(certificate),
    notAfter: certificate.validToDate.toISOString(),
    daysLeft: Math.floor((certificate.validToDate.getTime() - now) / 86_400_000),
    keyHere: key !== undefined,
  });
  return [
    show('root', root),
    show('intermediate', intermediate),
    ...(previous === undefined ? [] : [show('previous intermediate', previous)]),
  ] as readonly AuthorityCertificate[];
}

function keyOf({ publicKey }: X509Certificate): string {
  const { namedCurve, modulusLength } = publicKey.asymmetricKeyDetails ?? {};
  if (modulusLength !== undefined) return `RSA ${modulusLength}`;
  return namedCurve === 'secp384r1'
    ? 'P-384'
    : namedCurve === 'prime256v1'
      ? 'P-256'
      : String(publicKey.asymmetricKeyType);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
