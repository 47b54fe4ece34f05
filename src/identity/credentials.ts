import { createPrivateKey, type KeyObject, type X509Certificate } from 'node:crypto';
import { MeshError } from '../errors.ts';
import { readPemCertificates } from './pem.ts';
import type { Credentials } from './source.ts';
import { checkLeaf } from './svid.ts';
import { checkDates, validityOf, withFacts } from './trust.ts';

/** What a source has in hand: text. */
export interface CredentialParts {
  /** Leaf first, then intermediates, PEM. */
  readonly certificateChainPem: string;
  /** PKCS#8 (or SEC1, PKCS#1) PEM, not encrypted. */
  readonly privateKeyPem: string;
  /** Roots by trust domain, PEM, any number of certificates in each text. */
  readonly trustBundles: ReadonlyMap<string, readonly string[]>;
  /** Revocation lists by trust domain, PEM; see {@link Credentials}. */
  readonly crlsByTrustDomain?: ReadonlyMap<string, readonly string[]>;
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
    ...(parts.crlsByTrustDomain === undefined ? {} : { crlsByTrustDomain: parts.crlsByTrustDomain }),
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
  try {
    examine(credentials, rules);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError('ERR_MESH_NO_IDENTITY', `credentials refused: ${reason}`, { cause });
  }
}

function examine(credentials: Credentials, { now, trustDomain, spiffeId }: CredentialRules): void {
  const chain = readPemCertificates(credentials.certificateChainPem, 'certificate chain');
  const certificate = chain[0] as X509Certificate;
  const id = checkLeaf(withFacts(certificate).facts);
  const expected = (what: string): MeshError =>
    new MeshError('ERR_MESH_NO_IDENTITY', `expected ${what}, the certificate says ${id.uri}`);
  if (id.uri !== credentials.spiffeId) throw expected(`${credentials.spiffeId}, as announced`);
  if (trustDomain !== undefined && id.trustDomain !== trustDomain) throw expected(`trust domain ${trustDomain}`);
  if (spiffeId !== undefined && id.uri !== spiffeId) throw expected(spiffeId);
  checkDates(certificate, now, `the certificate of ${id.uri}`);
  if (!certificate.checkPrivateKey(readKey(credentials.privateKeyPem))) {
    throw new MeshError('ERR_MESH_NO_IDENTITY', 'the private key is not that of the certificate');
  }
  if ((credentials.trustBundles.get(id.trustDomain) ?? []).length === 0) {
    throw new MeshError('ERR_MESH_NO_IDENTITY', `there are no roots for its own trust domain ${id.trustDomain}`);
  }
  for (const [domain, roots] of credentials.trustBundles) {
    for (const root of roots) readPemCertificates(root, `trust bundle of ${domain}`);
  }
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // Without the cause: an error of the key parser has no business in a log.
    throw new MeshError('ERR_MESH_NO_IDENTITY', 'the private key cannot be read');
  }
}
