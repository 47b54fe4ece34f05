import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { MeshError } from '../errors.ts';
import { readPemCertificates } from './pem.ts';
import type { Credentials } from './source.ts';
import { checkLeaf } from './svid.ts';
import { checkDates, type TrustBundles, validityOf, withFacts } from './trust.ts';

/** What a source has in hand: text. */
export interface CredentialParts {
  /** Leaf first, then intermediates, PEM. */
  readonly certificateChainPem: string;
  /** PKCS#8 (or SEC1, PKCS#1) PEM, not encrypted. */
  readonly privateKeyPem: string;
  /** Roots by trust domain, PEM, any number of certificates in each text. */
  readonly trustBundles: ReadonlyMap<string, readonly string[]>;
}

/**
 * Makes credentials out of PEM texts: reads the leaf's SPIFFE ID and dates, puts the roots into
 * one form (one certificate each, duplicates dropped). Does not judge dates: {@link checkCredentials} does.
 *
 * @throws MeshError `ERR_MESH_NO_IDENTITY` or `ERR_MESH_PEER_IDENTITY` saying what is wrong.
 */
export function credentialsOf(parts: CredentialParts): Credentials {
  const chain = readPemCertificates(parts.certificateChainPem, 'certificate chain');
  const leaf = chain[0] as X509Certificate;
  const trustBundles = new Map<string, readonly string[]>();
  for (const [trustDomain, texts] of parts.trustBundles) {
    const roots = texts.flatMap((text) => readPemCertificates(text, `trust bundle of ${trustDomain}`));
    trustBundles.set(trustDomain, [...new Set(roots.map((root) => root.toString()))]);
  }
  return {
    spiffeId: checkLeaf(withFacts(leaf).facts).uri,
    certificateChainPem: chain.map((certificate) => certificate.toString()).join(''),
    privateKeyPem: parts.privateKeyPem,
    trustBundles,
    ...validityOf(leaf),
  };
}

/** What credentials are held against. */
export interface CredentialRules {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Trust domain that this process must be of. */
  readonly trustDomain?: string;
  /** SPIFFE ID that this process must have. */
  readonly spiffeId?: string;
}

/**
 * Refuses credentials that could not serve: expired or not valid yet, a key that is not the
 * certificate's, another identity than announced or expected, no roots for the own trust domain.
 *
 * @throws MeshError `ERR_MESH_NO_IDENTITY`; the message never holds key material.
 */
export function checkCredentials(credentials: Credentials, rules: CredentialRules): void {
  const refuse = (reason: string, cause?: unknown): never => {
    throw new MeshError('ERR_MESH_NO_IDENTITY', `credentials refused: ${reason}`, { cause });
  };
  const leaf = (): X509Certificate => {
    try {
      const [first] = readPemCertificates(credentials.certificateChainPem, 'certificate chain');
      return first as X509Certificate;
    } catch (cause) {
      return refuse('the certificate chain cannot be read', cause);
    }
  };
  const certificate = leaf();
  try {
    const id = checkLeaf(withFacts(certificate).facts);
    if (id.uri !== credentials.spiffeId) refuse(`announced as ${credentials.spiffeId}, the certificate says ${id.uri}`);
    if (rules.trustDomain !== undefined && id.trustDomain !== rules.trustDomain) {
      refuse(`expected trust domain ${rules.trustDomain}, the certificate says ${id.uri}`);
    }
    if (rules.spiffeId !== undefined && id.uri !== rules.spiffeId) {
      refuse(`expected ${rules.spiffeId}, the certificate says ${id.uri}`);
    }
    checkDates(certificate, rules.now, `the certificate of ${id.uri}`);
    const roots = credentials.trustBundles.get(id.trustDomain) ?? [];
    if (roots.length === 0) refuse(`no roots for its own trust domain ${id.trustDomain}`);
    for (const [trustDomain, pems] of credentials.trustBundles) {
      for (const pem of pems) readPemCertificates(pem, `trust bundle of ${trustDomain}`);
    }
  } catch (cause) {
    if (cause instanceof MeshError && cause.message.startsWith('credentials refused')) throw cause;
    refuse(cause instanceof Error ? cause.message : String(cause), cause);
  }
  let key: KeyObject | undefined;
  try {
    key = createPrivateKey(credentials.privateKeyPem);
  } catch {
    // Without the cause: an error of the key parser has no business in a log.
    refuse('the private key cannot be read');
  }
  if (key !== undefined && !certificate.checkPrivateKey(key)) refuse('the private key is not that of the certificate');
}

/** Whether two bundle maps hold the same roots. */
export function sameBundles(a: TrustBundles, b: TrustBundles): boolean {
  if (a.size !== b.size) return false;
  for (const [trustDomain, roots] of a) {
    const other = b.get(trustDomain);
    if (other === undefined || other.length !== roots.length || !roots.every((root, i) => root === other[i])) {
      return false;
    }
  }
  return true;
}
