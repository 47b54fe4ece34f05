import type { X509Certificate } from 'node:crypto';
import { MeshError } from '../errors.ts';
import { namesOf, type RevocationList, readPemCrls } from './crl.ts';
import { peerProblem } from './svid.ts';
import type { TrustBundles } from './trust.ts';

/** Certificate revocation lists (PEM) by trust domain, as `Credentials` carries them. */
export type Crls = ReadonlyMap<string, readonly string[]>;

const maxTexts = 64;

type Lists = ReadonlyMap<string, readonly RevocationList[]>;
// Connections remember what they were verified against by the identity of the bundle map: other lists, another map.
const listsOf = new WeakMap<TrustBundles, Lists>();

/**
 * These bundles together with revocation lists, for `verifyPeer` and its like: a new map, or
 * the same one when there are no lists.
 *
 * @throws MeshError `ERR_MESH_NO_IDENTITY` when a list cannot be read
 */
export function withRevocations(bundles: TrustBundles, crls: Crls | undefined): TrustBundles {
  return attachLists(bundles, new Map([...(crls ?? [])].map(([domain, texts]) => [domain, readLists(domain, texts)])));
}

/** {@link withRevocations}, for lists that were read before. */
export function attachLists(bundles: TrustBundles, lists: Lists): TrustBundles {
  if (lists.size === 0 && !listsOf.has(bundles)) return bundles;
  const attached = new Map(bundles);
  listsOf.set(attached, lists);
  return attached;
}

/** Reads the lists of one trust domain. */
export function readLists(domain: string, texts: readonly string[]): readonly RevocationList[] {
  const what = `revocation lists of ${domain}`;
  if (texts.length > maxTexts) throw new MeshError('ERR_MESH_NO_IDENTITY', `${what}: more than ${maxTexts} texts`);
  return texts.flatMap((text) => readPemCrls(text, what));
}

/** Whether certificates of this trust domain may be revoked, so that all of their chain must be known. */
export function hasRevocations(bundles: TrustBundles, trustDomain: string): boolean {
  return (listsOf.get(bundles)?.get(trustDomain)?.length ?? 0) > 0;
}

/**
 * Whether somebody who stands under the lists of `before` may not stand under those of `after`: more
 * is listed, or an issuer has a list no more, or lists are asked for where none were. A list that is
 * only newer is no such thing.
 */
export function revokesMore(before: TrustBundles, after: TrustBundles): boolean {
  const [old, fresh] = [listsOf.get(before), listsOf.get(after)];
  for (const [trustDomain, lists] of fresh ?? []) {
    const known = old?.get(trustDomain);
    if (lists.length === 0) continue;
    if (known === undefined || known.length === 0) return true;
    if (known.some(({ issuer }) => !lists.some((list) => list.issuer === issuer))) return true;
    for (const { issuer, revoked } of lists) {
      const listed = known.filter((list) => list.issuer === issuer);
      for (const serial of revoked) if (!listed.some((list) => list.revoked.has(serial))) return true;
    }
  }
  return false;
}

/** One step of a path. */
export interface RevocationQuestion {
  readonly certificate: X509Certificate;
  readonly issuer: X509Certificate;
  /** Names the certificate in messages. */
  readonly of: string;
}

/**
 * Refuses a certificate that is revoked, and one of which it cannot be known: its trust domain has
 * revocation lists, but none of its issuer that is signed and has not expired. As Envoy, which sets
 * `X509_V_FLAG_CRL_CHECK_ALL`, and as gRFC A69 when undetermined means revoked.
 *
 * @returns until when this is known, milliseconds since the epoch
 */
export function checkRevocation(
  bundles: TrustBundles,
  trustDomain: string,
  { certificate, issuer, of }: RevocationQuestion,
  now: number,
): number {
  const lists = listsOf.get(bundles)?.get(trustDomain);
  if (lists === undefined || lists.length === 0) return Number.POSITIVE_INFINITY;
  const names = namesOf(certificate);
  const issuerName = namesOf(issuer).subject;
  let newest: RevocationList | undefined;
  for (const list of lists) {
    if (list.issuer !== names.issuer && list.issuer !== issuerName) continue;
    if (newest !== undefined && list.thisUpdate < newest.thisUpdate) continue;
    if (list.signedBy(issuer)) newest = list;
  }
  if (newest === undefined) {
    throw peerProblem(`${of} may be revoked: there is no revocation list of its issuer ${shown(issuer)}`);
  }
  if (newest.revoked.has(names.serial)) throw peerProblem(`${of} is revoked (serial number ${names.serial})`);
  // NaN must not pass, hence the positive comparison.
  if (!(now <= newest.nextUpdate)) {
    const expired = new Date(newest.nextUpdate).toISOString();
    throw peerProblem(`${of} may be revoked: the revocation list of its issuer ${shown(issuer)} expired at ${expired}`);
  }
  return newest.nextUpdate;
}

/**
 * Refuses the end of a path when a list of another root, or of its own, names it. It is trusted by
 * configuration and needs no list; but an intermediate that is given as a root can be revoked.
 */
export function checkAnchor(
  bundles: TrustBundles,
  trustDomain: string,
  anchor: X509Certificate,
  roots: readonly { readonly x509: X509Certificate }[],
  of: string,
): void {
  const lists = listsOf.get(bundles)?.get(trustDomain);
  if (lists === undefined || lists.length === 0) return;
  const { issuer, serial } = namesOf(anchor);
  for (const list of lists) {
    if (list.issuer !== issuer || !list.revoked.has(serial)) continue;
    if (roots.some(({ x509 }) => list.signedBy(x509))) throw peerProblem(`${of} is revoked (serial number ${serial})`);
  }
}

/** The name of an authority, for messages. */
export function shown(issuer: X509Certificate): string {
  return JSON.stringify(issuer.subject.slice(0, 200));
}
