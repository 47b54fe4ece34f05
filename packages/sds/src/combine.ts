import { createPrivateKey } from 'node:crypto';
import {
  type Credentials,
  checkCredentials,
  credentialsOf,
  isTrustDomain,
  MeshError,
  parseSpiffeBundleMap,
  parseSpiffeId,
  readBoundedFile,
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
  | ({ readonly kind: 'own' } & RootsWithLists)
  | { readonly kind: 'domains'; readonly domains: ReadonlyMap<string, RootsWithLists> };

/** What one text has: certificates, and revocation lists among them. PEM. */
interface RootsWithLists {
  readonly pem: string;
  /** '' for none. */
  readonly crl: string;
}

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
    const domains = [...bundles].map(([id, one]) => [id, { pem: one.x509Authorities.join(''), crl: '' }] as const);
    return { kind: 'domains', domains: new Map(domains) };
  }
  if (roots.domains !== undefined) return { kind: 'domains', domains: await takeDomains(name, roots.domains) };
  if (roots.trustedCa === undefined) {
    throw problem(name, 'expected validation_context with trusted_ca or the SPIFFE validator');
  }
  const own = splitLists(await textOf(roots.trustedCa, name, 'validation_context.trusted_ca'), `secret ${name}`);
  if (roots.crl === undefined) return { kind: 'own', ...own };
  return { kind: 'own', pem: own.pem, crl: own.crl + (await textOf(roots.crl, name, 'validation_context.crl')) };
}

async function takeDomains(
  name: string,
  sources: NonNullable<ReadRoots['domains']>,
): Promise<ReadonlyMap<string, RootsWithLists>> {
  const domains = new Map<string, RootsWithLists>();
  for (const [domain, source] of sources) {
    if (!isTrustDomain(domain)) throw problem(name, `${JSON.stringify(domain.slice(0, 200))} is no trust domain`);
    const text = await textOf(source, name, `the roots of ${domain}`);
    domains.set(domain, splitLists(text, `secret ${name}, ${domain}`));
  }
  return domains;
}

/** Envoy takes revocation lists out of the text of the roots as well. @throws MeshError when the rest is no roots */
function splitLists(text: string, what: string): RootsWithLists {
  const list = /-----BEGIN X509 CRL-----[A-Za-z0-9+/=\s]*-----END X509 CRL-----\r?\n?/g;
  const crl = (text.match(list) ?? []).map((one) => `${one.trimEnd()}\n`).join('');
  const pem = text.replaceAll(list, '');
  readPemCertificates(pem, what);
  return { pem, crl };
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
  const domains: readonly (readonly [string, RootsWithLists])[] =
    roots.kind === 'own' ? [own, ...trustDomains].map((domain) => [domain, roots]) : [...roots.domains];
  const trustBundles = new Map(domains.filter(([, { pem }]) => pem !== '').map(([domain, { pem }]) => [domain, [pem]]));
  const lists = domains.filter(([, { crl }]) => crl !== '').map(([domain, { crl }]) => [domain, [crl]] as const);
  const crls = lists.length === 0 ? {} : { crlsByTrustDomain: new Map(lists) };
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
  if (source.kind === 'file') return readFile(source.path, name, field);
  if (source.bytes.length > maxBytes) throw problem(name, `${field} is larger than ${maxBytes} bytes`);
  return Buffer.from(source.bytes).toString('utf8');
}

async function readFile(path: string, name: string, field: string): Promise<string> {
  try {
    return await readBoundedFile(path, maxBytes);
  } catch (cause) {
    throw problem(name, `${field}.filename cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

function problem(name: string, reason: string): MeshError {
  return new MeshError('ERR_MESH_NO_IDENTITY', `secret ${JSON.stringify(name.slice(0, 200))}: ${reason}`);
}
