import { createPublicKey, type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { assembleCertificate, authorityName, type CertificatePlan } from './assemble.ts';
import { issuerPartsOf, keyIdentifier } from './certificate-parts.ts';
import { type KeyType, makeKey } from './key-type.ts';
import { refusal } from './refusal.ts';

const dayMs = 86_400_000;
const rootLifeMs = 3_650 * dayMs;
const intermediateLifeMs = 365 * dayMs;

/** Clocks differ: a certificate is valid a little before it is made. Istio's `ClockSkewGracePeriod`. */
export const backdateMs = 120_000;

/** The certificate of an authority with its private key. */
export interface Signer {
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
  /** Authorities between it and the root, nearest first, when it does not come right below. */
  readonly above?: readonly X509Certificate[];
}

/** The top of a chain. */
export interface Root {
  readonly certificate: X509Certificate;
  /** Absent when it is kept elsewhere: then no intermediate can be made. */
  readonly key?: KeyObject;
}

/** A root and what signs below it. */
export interface Generation {
  readonly root: Root;
  readonly intermediate: Signer;
  /** The intermediate before, while certificates of it may be valid: it still signs its revocations. */
  readonly previous?: Signer;
}

/** What a new hierarchy is made of. */
export interface HierarchyOptions {
  readonly trustDomain: string;
  readonly keyType: KeyType;
  /** Whether intermediates are bound to the trust domain by name constraints. */
  readonly nameConstraints: boolean;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Assembles, signs and parses again: a certificate that OpenSSL cannot read must not leave here. */
export function issue(
  plan: Omit<CertificatePlan, 'serial'>,
  key: KeyObject,
  issuerKey: KeyObject = createPublicKey(key),
): X509Certificate {
  const serial = randomBytes(16);
  const certificate = new X509Certificate(assembleCertificate({ ...plan, serial }, key));
  if (!certificate.verify(issuerKey)) throw refusal('internal', 'a certificate does not verify');
  return certificate;
}

/** A new root (ten years) and an intermediate (one year) below it. */
export function makeGeneration(options: HierarchyOptions): Generation {
  const root = makeRoot(options);
  return { root, intermediate: makeIntermediate(root, options) };
}

function makeRoot({ trustDomain, keyType, now }: HierarchyOptions): Required<Root> {
  const key = makeKey(keyType);
  const publicKey = createPublicKey(key);
  const name = uniqueName('root', trustDomain);
  const certificate = issue(
    {
      issuer: { name, keyId: keyIdentifier(publicKey) },
      subject: name,
      notBefore: now - backdateMs,
      notAfter: now + rootLifeMs,
      publicKey,
      // X509-SVID 3.2: the ID of a signing certificate has no path.
      names: [{ uri: `spiffe://${trustDomain}` }],
      // Two: an intermediate, and above it a next root with a cross certificate.
      pathLength: 2,
    },
    key,
  );
  return { certificate, key };
}

/** A new intermediate, valid for a year or as long as the root. */
export function makeIntermediate(root: Required<Root>, options: HierarchyOptions): Signer {
  const { trustDomain, keyType, now } = options;
  const key = makeKey(keyType);
  const certificate = issue(
    {
      issuer: issuerPartsOf(root.certificate),
      subject: uniqueName('intermediate', trustDomain),
      notBefore: now - backdateMs,
      notAfter: Math.min(now + intermediateLifeMs, root.certificate.validToDate.getTime()),
      publicKey: createPublicKey(key),
      names: [{ uri: `spiffe://${trustDomain}` }],
      pathLength: 0,
      ...(options.nameConstraints && canBeConstrained(trustDomain) ? { permittedUriHost: trustDomain } : {}),
    },
    root.key,
    root.certificate.publicKey,
  );
  return { certificate, key };
}

/**
 * The cross certificate: name and key of the new root, signed by the old one, so that who knows
 * only the old root accepts what is below the new one.
 */
export function crossSign(old: Required<Root>, next: X509Certificate, now: number): X509Certificate {
  const { name, keyId } = issuerPartsOf(next);
  return issue(
    {
      issuer: issuerPartsOf(old.certificate),
      subject: name,
      notBefore: now - backdateMs,
      notAfter: Math.min(next.validToDate.getTime(), old.certificate.validToDate.getTime()),
      publicKey: next.publicKey,
      keyId,
      names: [],
      pathLength: 1,
    },
    old.key,
    old.certificate.publicKey,
  );
}

/**
 * Whether every implementation reads a name constraint of this trust domain: Go refuses certificates
 * with one that is an IP address or has an empty label.
 */
export function canBeConstrained(trustDomain: string): boolean {
  return !isIPv4(trustDomain) && trustDomain.split('.').every((label) => label !== '');
}

/** Authorities of one trust domain must differ in name: a chain is found by names first. */
function uniqueName(kind: string, trustDomain: string): Buffer {
  // RFC 5280 bounds a common name at 64 characters.
  return authorityName(`${kind} ${randomBytes(4).toString('hex')} ${trustDomain}`.slice(0, 64));
}

/** What is presented after a leaf: the signer and those above it, without any root. */
export function chainBelowRoot({ root }: Generation, { certificate, above = [] }: Signer): readonly X509Certificate[] {
  return [certificate, ...above].filter((authority) => !authority.raw.equals(root.certificate.raw));
}
