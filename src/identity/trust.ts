import { X509Certificate } from 'node:crypto';
import type { SpiffeId } from '../model/spiffe-id.ts';
import { type CertificateFacts, readCertificate } from './certificate.ts';
import { checkAnchor, checkRevocation } from './revocation.ts';
import { checkAuthority, peerProblem } from './svid.ts';

/** Roots (PEM, one certificate each) by trust domain, as {@link Credentials} carries them. Never changed in place. */
export type TrustBundles = ReadonlyMap<string, readonly string[]>;

/** Longest chain that is followed, leaf and root included. */
export const maxChainLength = 5;

/** A certificate with what was read from its bytes. */
export interface ReadCertificate {
  readonly x509: X509Certificate;
  readonly facts: CertificateFacts;
}

/** Reads the bytes of a parsed certificate. */
export function withFacts(x509: X509Certificate): ReadCertificate {
  return { x509, facts: readCertificate(x509.raw) };
}

// Parsing a root costs more than checking a leaf against it, and bundles change rarely.
const parsed = new WeakMap<TrustBundles, Map<string, readonly ReadCertificate[]>>();

/** The roots of one trust domain, parsed once per bundle map. Nothing for a domain that is not in it. */
export function rootsOf(bundles: TrustBundles, trustDomain: string): readonly ReadCertificate[] | undefined {
  let domains = parsed.get(bundles);
  if (domains === undefined) parsed.set(bundles, (domains = new Map()));
  let roots = domains.get(trustDomain);
  if (roots === undefined) {
    const pems = bundles.get(trustDomain);
    if (pems === undefined) return undefined;
    domains.set(trustDomain, (roots = pems.flatMap(readRoot)));
  }
  return roots;
}

// A root that cannot be read (version 1, say) is no root. It must not take the others with it.
function readRoot(pem: string): readonly ReadCertificate[] {
  try {
    return [withFacts(new X509Certificate(pem))];
  } catch {
    return [];
  }
}

const hints = new WeakMap<TrustBundles, readonly ReadCertificate[]>();

/**
 * Authorities between leaves and these roots that are known from elsewhere: those of the own
 * chain. They help where a peer's chain cannot be seen (nodejs/node#65579: on the server side of
 * some releases only the leaf can), and are checked like those that a peer presents.
 */
export function rememberIntermediates(bundles: TrustBundles, intermediates: readonly X509Certificate[]): void {
  hints.set(bundles, intermediates.slice(0, maxChainLength).map(withFacts));
}

/** All roots of all trust domains, each once: what TLS verifies chains against before the SPIFFE checks. */
export function allRoots(bundles: TrustBundles): readonly string[] {
  return [...new Set([...bundles.values()].flat())];
}

/** When a certificate is valid, milliseconds since the epoch. */
export function validityOf(x509: X509Certificate): { readonly notBefore: number; readonly notAfter: number } {
  return { notBefore: x509.validFromDate.getTime(), notAfter: x509.validToDate.getTime() };
}

/** Refuses chains that are too long to follow. */
export function checkLength(chain: readonly unknown[]): void {
  if (chain.length > maxChainLength) {
    throw peerProblem(`a chain of more than ${maxChainLength} certificates was presented`);
  }
}

/** Refuses a certificate that is expired or not valid yet. */
export function checkDates(x509: X509Certificate, now: number, of: string): void {
  const { notBefore, notAfter } = validityOf(x509);
  const at = (ms: number): string => new Date(ms).toISOString();
  // NaN (a date that cannot be read) must not pass, hence the positive comparisons.
  if (!(notBefore <= now)) throw peerProblem(`${of} is valid from ${at(notBefore)} only, and it is ${at(now)}`);
  if (!(now <= notAfter)) throw peerProblem(`${of} expired at ${at(notAfter)}, and it is ${at(now)}`);
}

/**
 * Finds a path from the leaf up to a root of the bundle of the leaf's own trust domain. TLS has
 * verified the chain against the union of all roots; that is not enough, because a root may speak
 * for its own trust domain only (SPIFFE Trust Domain and Bundle, section 4; gRFC A87).
 *
 * @returns the authorities that were used, the root last
 * @throws MeshError `ERR_MESH_PEER_IDENTITY`
 */
export function findPath(
  leaf: ReadCertificate,
  presented: readonly X509Certificate[],
  id: SpiffeId,
  bundles: TrustBundles,
  now: number,
): readonly ReadCertificate[] {
  const roots = rootsOf(bundles, id.trustDomain);
  if (roots === undefined || roots.length === 0) {
    const known = [...bundles.keys()].join(', ') || 'none';
    throw peerProblem(`trust domain ${id.trustDomain} of ${id.uri} is not trusted (trusted: ${known})`);
  }
  const search: Search = { bundles, roots, id, now, problem: undefined, revoked: undefined };
  const path = climb(search, leaf, 0, [...presented.map(withFacts), ...(hints.get(bundles) ?? [])]);
  if (path !== undefined) return path;
  if (search.revoked !== undefined) throw search.revoked;
  throw peerProblem(
    `the certificate of ${id.uri} does not chain to a root of trust domain ${id.trustDomain}`,
    search.problem,
  );
}

interface Search {
  readonly bundles: TrustBundles;
  readonly roots: readonly ReadCertificate[];
  readonly id: SpiffeId;
  readonly now: number;
  /** Why the last issuer that fitted by name and signature was not accepted. */
  problem: unknown;
  /** Why the last path that would have been one was not accepted: something on it is revoked, or may be. */
  revoked: unknown;
}

function climb(
  search: Search,
  at: ReadCertificate,
  below: number,
  pool: readonly ReadCertificate[],
): readonly ReadCertificate[] | undefined {
  for (const root of search.roots) {
    if (signedBy(at, root) && acceptable(search, root, below) && unrevoked(search, at, root, below, true))
      return [root];
  }
  for (const issuer of pool) {
    if (!signedBy(at, issuer) || !acceptable(search, issuer, below)) continue;
    const rest = climb(
      search,
      issuer,
      below + 1,
      pool.filter((other) => other !== issuer),
    );
    if (rest !== undefined && unrevoked(search, at, issuer, below, false)) return [issuer, ...rest];
  }
  return undefined;
}

function nameOf(authority: ReadCertificate): string {
  return `the authority ${JSON.stringify(authority.x509.subject.slice(0, 200))}`;
}

/** Whether the certificate below `issuer` stands, and `issuer` too where the path ends with it. */
function unrevoked(
  search: Search,
  at: ReadCertificate,
  issuer: ReadCertificate,
  below: number,
  anchored: boolean,
): boolean {
  const { bundles, id, now, roots } = search;
  try {
    const of = below === 0 ? `the certificate of ${id.uri}` : nameOf(at);
    checkRevocation(bundles, id.trustDomain, { certificate: at.x509, issuer: issuer.x509, of }, now);
    if (anchored) checkAnchor(bundles, id.trustDomain, issuer.x509, roots, nameOf(issuer));
    return true;
  } catch (problem) {
    search.revoked = problem;
    return false;
  }
}

function acceptable(search: Search, authority: ReadCertificate, below: number): boolean {
  const of = nameOf(authority);
  try {
    checkAuthority(authority.facts, below, search.id, of);
    checkDates(authority.x509, search.now, of);
    return true;
  } catch (problem) {
    search.problem = problem;
    return false;
  }
}

function signedBy(subject: ReadCertificate, issuer: ReadCertificate): boolean {
  try {
    return subject.x509.checkIssued(issuer.x509) && subject.x509.verify(issuer.x509.publicKey);
  } catch {
    // A key that Node cannot read, or an algorithm it does not allow: not a signature that counts.
    return false;
  }
}
