import { refusal } from './refusal.ts';

/** Why a certificate is revoked: RFC 5280 5.3.1, without the reasons that make no sense for workloads. */
export const revocationReasons = {
  unspecified: 0,
  keyCompromise: 1,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
} as const;

/** One of {@link revocationReasons}. */
export type RevocationReason = keyof typeof revocationReasons;

/** A certificate that must not be accepted any more. */
export interface RevokedCertificate {
  /** Hex, lower case. */
  readonly serial: string;
  readonly spiffeId: string;
  /** Key identifier of the authority that signed it, hex: whose revocation list it goes into. */
  readonly issuer: string;
  readonly reason: RevocationReason;
  /** Milliseconds since the epoch. */
  readonly revokedAt: number;
  /** It leaves the list some time after that. */
  readonly notAfter: number;
}

/** An identity that gets no certificates any more. */
export interface RevokedIdentity {
  readonly spiffeId: string;
  readonly reason: RevocationReason;
  /** Milliseconds since the epoch. */
  readonly revokedAt: number;
}

/** A published revocation list for each authority that signs. */
export interface PublishedCrls {
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** PEM, one for each issuer. */
  readonly pems: readonly string[];
}

/** All that was revoked. */
export interface Revocations {
  /** Number of the newest list. Never goes back (RFC 5280 5.2.3). */
  readonly number: number;
  readonly certificates: readonly RevokedCertificate[];
  readonly identities: readonly RevokedIdentity[];
  readonly crls?: PublishedCrls;
}

export const noRevocations: Revocations = { number: 0, certificates: [], identities: [] };

/** Adds certificates and, when given, an identity. What is there already stays as it is. */
export function addRevoked(
  before: Revocations,
  certificates: readonly RevokedCertificate[],
  identity: RevokedIdentity | undefined,
): Revocations {
  const known = new Set(before.certificates.map(({ serial }) => serial));
  const isNew = identity !== undefined && !before.identities.some(({ spiffeId }) => spiffeId === identity.spiffeId);
  return {
    ...before,
    certificates: [...before.certificates, ...certificates.filter(({ serial }) => !known.has(serial))],
    identities: isNew ? [...before.identities, identity] : before.identities,
  };
}

/** Lets an identity have certificates again. Those that were revoked stay so. */
export function liftIdentity(before: Revocations, spiffeId: string): Revocations {
  const identities = before.identities.filter((identity) => identity.spiffeId !== spiffeId);
  if (identities.length === before.identities.length) throw refusal('not_found', `${spiffeId} is not revoked`);
  return { ...before, identities };
}

/** The text of `revoked.json`. The lists themselves are beside it, in `crl.pem`. */
export function renderRevocations({ number, certificates, identities, crls }: Revocations): string {
  const { thisUpdate, nextUpdate } = crls ?? {};
  return `${JSON.stringify({ version: 1, number, thisUpdate, nextUpdate, certificates, identities }, undefined, 2)}\n`;
}

/** Reads what {@link renderRevocations} wrote. Refuses anything else: a revocation must not be lost in silence. */
export function parseRevocations(text: string, crlText: string | undefined, path: string): Revocations {
  try {
    const value = JSON.parse(text) as Record<string, unknown>;
    const { version, number, thisUpdate, nextUpdate, certificates, identities } = value;
    if (version === 1 && isWhole(number) && isListOf(certificates, isCertificate) && isListOf(identities, isIdentity)) {
      const pems = crlText?.match(/-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----\n/g);
      const crls =
        isWhole(thisUpdate) && isWhole(nextUpdate) && pems !== null && pems !== undefined
          ? { crls: { thisUpdate, nextUpdate, pems: [...pems] } }
          : {};
      return { number, certificates, identities, ...crls };
    }
  } catch {
    // The same answer for text that is no JSON and for another kind of JSON.
  }
  throw refusal('unavailable', `${path} is not a list of revocations of a certificate authority`);
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}

function isListOf<T>(value: unknown, isItem: (item: unknown) => item is T): value is readonly T[] {
  return Array.isArray(value) && value.every(isItem);
}

function isCertificate(value: unknown): value is RevokedCertificate {
  if (!isIdentity(value)) return false;
  const item = value as RevokedIdentity & Partial<RevokedCertificate>;
  return typeof item.serial === 'string' && typeof item.issuer === 'string' && isWhole(item.notAfter);
}

function isIdentity(value: unknown): value is RevokedIdentity {
  if (typeof value !== 'object' || value === null) return false;
  const { spiffeId, reason, revokedAt } = value as Record<string, unknown>;
  const known = typeof reason === 'string' && Object.hasOwn(revocationReasons, reason);
  return typeof spiffeId === 'string' && known && isWhole(revokedAt);
}
