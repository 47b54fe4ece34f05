import { createPrivateKey } from 'node:crypto';
import { open } from 'node:fs/promises';
import {
  type Credentials,
  checkCredentials,
  credentialsOf,
  MeshError,
  parseSpiffeBundleMap,
  parseSpiffeId,
  readPemCertificates,
  verifyPeer,
  withoutRoots,
} from 'inmesh/identity';
import type { DataSource, ReadRoots, ReadSecret } from './secret.ts';

/** A certificate with its key, as one secret brought them. */
export interface HeldCertificate {
  readonly chainPem: string;
  /** PKCS#8. */
  readonly keyPem: string;
}

/** Roots of a trust domain that the secret did not name, or of those that it named. */
export type HeldRoots =
  | { readonly kind: 'own'; readonly pem: string; readonly crl?: string }
  | { readonly kind: 'domains'; readonly pems: ReadonlyMap<string, string> };

/** Largest file or inline text that is taken. */
const maxBytes = 1_048_576;

/** @throws MeshError `ERR_MESH_NO_IDENTITY` saying what is wrong; never with a byte of the key */
export async function takeCertificate({ name, certificate, refused }: ReadSecret): Promise<HeldCertificate> {
  checkFields(name, refused);
  if (certificate === undefined) {
    throw problem(name, 'expected tls_certificate with certificate_chain and private_key');
  }
  const chainPem = await textOf(certificate.chain, name, 'tls_certificate.certificate_chain');
  const [leaf] = readPemCertificates(chainPem, `secret ${name}`);
  const key = privateKey(await textOf(certificate.key, name, 'tls_certificate.private_key'), name);
  if (leaf?.checkPrivateKey(key) !== true) throw problem(name, 'the private key is not that of the certificate');
  return { chainPem, keyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString() };
}

/** @throws MeshError `ERR_MESH_NO_IDENTITY` saying what is wrong */
export async function takeRoots({ name, refused, roots }: ReadSecret): Promise<HeldRoots> {
  checkFields(name, refused);
  if (roots === undefined) throw problem(name, 'expected validation_context');
  if (roots.crl !== undefined && roots.trustedCa === undefined) {
    // Envoy's SPIFFE validator does not look at it, and it does not say whose it is.
    throw problem(name, 'validation_context.crl is supported beside trusted_ca only');
  }
  if (roots.bundleMap !== undefined) {
    const bundles = parseSpiffeBundleMap(await textOf(roots.bundleMap, name, 'trust_bundles'), `secret ${name}`);
    return {
      kind: 'domains',
      pems: new Map([...bundles].map(([domain, one]) => [domain, one.x509Authorities.join('')])),
    };
  }
  if (roots.domains !== undefined) return { kind: 'domains', pems: await takeDomains(name, roots.domains) };
  if (roots.trustedCa === undefined) {
    throw problem(name, 'expected validation_context with trusted_ca or the SPIFFE validator');
  }
  const pem = await textOf(roots.trustedCa, name, 'validation_context.trusted_ca');
  readPemCertificates(pem, `secret ${name}`);
  if (roots.crl === undefined) return { kind: 'own', pem };
  return { kind: 'own', pem, crl: await textOf(roots.crl, name, 'validation_context.crl') };
}

async function takeDomains(
  name: string,
  domains: NonNullable<ReadRoots['domains']>,
): Promise<ReadonlyMap<string, string>> {
  const pems = new Map<string, string>();
  for (const [domain, source] of domains) {
    // As a trust domain by itself, so that a name with a slash is none.
    if (parseSpiffeId(`spiffe://${domain}`).path !== '')
      throw problem(name, `${JSON.stringify(domain)} is no trust domain`);
    const pem = await textOf(source, name, `the roots of ${domain}`);
    readPemCertificates(pem, `secret ${name}, ${domain}`);
    pems.set(domain, pem);
  }
  return pems;
}

/**
 * Both halves together.
 *
 * @param trustDomains further trust domains for which roots speak that come without one
 * @throws MeshError `ERR_MESH_NO_IDENTITY` or `ERR_MESH_PEER_IDENTITY` saying what is wrong
 */
export function combine(
  { chainPem, keyPem }: HeldCertificate,
  roots: HeldRoots,
  trustDomains: readonly string[],
  now: number,
): Credentials {
  const parts = { certificateChainPem: chainPem, privateKeyPem: keyPem };
  const { spiffeId } = credentialsOf({ ...parts, trustBundles: new Map() });
  const own = parseSpiffeId(spiffeId).trustDomain;
  const trustBundles = new Map<string, readonly string[]>(
    roots.kind === 'own'
      ? [own, ...trustDomains].map((domain) => [domain, [roots.pem]] as const)
      : [...roots.pems].filter(([, pem]) => pem !== '').map(([domain, pem]) => [domain, [pem]] as const),
  );
  const crl = roots.kind === 'own' ? roots.crl : undefined;
  const crls =
    crl === undefined ? {} : { crlsByTrustDomain: new Map([...trustBundles.keys()].map((id) => [id, [crl]])) };
  const credentials = withoutRoots(credentialsOf({ ...parts, trustBundles, ...crls }));
  checkCredentials(credentials, { now });
  return credentials;
}

/** Whether peers that have these roots would accept this certificate. */
export function fits(credentials: Credentials, now: number): boolean {
  try {
    verifyPeer(
      readPemCertificates(credentials.certificateChainPem, 'certificate chain'),
      credentials.trustBundles,
      now,
    );
    return true;
  } catch {
    return false;
  }
}

function checkFields(name: string, refused: readonly string[]): void {
  if (refused.length > 0) throw problem(name, `${refused.join(', ')}: not supported, and not to be left out`);
}

function privateKey(pem: string, name: string): ReturnType<typeof createPrivateKey> {
  try {
    return createPrivateKey(pem);
  } catch {
    // Without the cause: an error of the key parser has no business in a log.
    throw problem(name, 'the private key cannot be read');
  }
}

async function textOf(source: DataSource, name: string, field: string): Promise<string> {
  if (source.kind === 'environment') throw problem(name, `${field}.environment_variable is not supported`);
  if (source.kind === 'file') return readBounded(source.path, name, field);
  if (source.bytes.length > maxBytes) throw problem(name, `${field} is larger than ${maxBytes} bytes`);
  return Buffer.from(source.bytes).toString('utf8');
}

async function readBounded(path: string, name: string, field: string): Promise<string> {
  try {
    await using file = await open(path, 'r');
    const bytes = Buffer.alloc(maxBytes + 1);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    if (bytesRead > maxBytes) throw new Error(`larger than ${maxBytes} bytes`);
    return bytes.toString('utf8', 0, bytesRead);
  } catch (cause) {
    throw problem(name, `${field}.filename cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

function problem(name: string, reason: string): MeshError {
  return new MeshError('ERR_MESH_NO_IDENTITY', `secret ${JSON.stringify(name.slice(0, 200))}: ${reason}`);
}
