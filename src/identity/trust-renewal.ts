import { X509Certificate } from 'node:crypto';
import { MeshError } from '../errors.ts';
import { namesOf, type RevocationList } from './crl.ts';
import { readPemCertificates } from './pem.ts';
import { attachLists, type Crls, readLists, revokesMore, shown } from './revocation.ts';
import type { Credentials } from './source.ts';
import type { TrustBundles } from './trust.ts';

/** How far in the future a list may begin, milliseconds: clocks differ, and a list that is early is only newer. */
export const crlSkewMs = 300_000;

/** What peers are checked against from now on. */
export interface Trust {
  /** The map of before, when nothing has changed. */
  readonly trustBundles: TrustBundles;
  readonly crlsByTrustDomain: Crls;
  /** Lists that were refused; the last good ones of their trust domains stay in force. */
  readonly problems: readonly MeshError[];
}

/**
 * Takes over the trust of new credentials. A list that cannot be read, has expired, begins in the
 * future or was not signed by its issuer is refused: what was in force for its trust domain stays,
 * and the rest of the credentials is taken. Without anything in force there is nothing to stay:
 * then the credentials are refused, and a trust domain that is new is not trusted yet.
 *
 * @throws MeshError `ERR_MESH_NO_IDENTITY`
 */
export function renewTrust(before: Credentials | undefined, offered: Credentials, now: number): Trust {
  const problems: MeshError[] = [];
  const crls = new Map<string, readonly string[]>();
  const lists = new Map<string, readonly RevocationList[]>();
  let bundles = offered.trustBundles;
  for (const [domain, texts] of offered.crlsByTrustDomain ?? []) {
    if (texts.length === 0) continue;
    try {
      lists.set(domain, judge(domain, texts, offered, now));
      crls.set(domain, texts);
    } catch (error) {
      if (before === undefined) throw error;
      problems.push(error as MeshError);
      const last = before.crlsByTrustDomain?.get(domain);
      if (last === undefined) {
        if ((before.trustBundles.get(domain) ?? []).length === 0) bundles = without(bundles, domain);
        continue;
      }
      lists.set(domain, readLists(domain, last));
      crls.set(domain, last);
    }
  }
  const unchanged =
    before !== undefined &&
    sameBundles(before.trustBundles, bundles) &&
    sameBundles(before.crlsByTrustDomain ?? new Map(), crls);
  const trustBundles = unchanged ? before.trustBundles : attachLists(bundles, lists);
  return { trustBundles, crlsByTrustDomain: crls, problems };
}

function without(bundles: TrustBundles, trustDomain: string): TrustBundles {
  const left = new Map(bundles);
  left.delete(trustDomain);
  return left;
}

/** Whether two maps hold the same texts for the same trust domains. */
export function sameBundles(a: Crls, b: Crls): boolean {
  if (a.size !== b.size) return false;
  for (const [trustDomain, texts] of a) {
    const other = b.get(trustDomain);
    if (other === undefined || other.length !== texts.length || !texts.every((text, i) => text === other[i])) {
      return false;
    }
  }
  return true;
}

/** Whether somebody whom the former credentials trust may not be trusted any more: a root has gone, or more is revoked. */
export function narrowsTrust(before: Credentials, after: Credentials): boolean {
  if (revokesMore(before.trustBundles, after.trustBundles)) return true;
  for (const [trustDomain, roots] of before.trustBundles) {
    const kept = after.trustBundles.get(trustDomain) ?? [];
    if (!roots.every((root) => kept.includes(root))) return true;
  }
  return false;
}

function judge(domain: string, texts: readonly string[], offered: Credentials, now: number): readonly RevocationList[] {
  const lists = readLists(domain, texts);
  const roots = offered.trustBundles.get(domain) ?? [];
  const authorities = [
    ...roots.map((pem) => new X509Certificate(pem)),
    ...readPemCertificates(offered.certificateChainPem, 'certificate chain').slice(1),
  ];
  lists.forEach((list, i) => {
    const refuse = (reason: string): never => {
      throw new MeshError('ERR_MESH_NO_IDENTITY', `revocation list ${i + 1} of ${domain}: ${reason}`);
    };
    const at = (ms: number): string => new Date(ms).toISOString();
    if (!(list.thisUpdate <= now + crlSkewMs)) refuse(`valid from ${at(list.thisUpdate)} only, and it is ${at(now)}`);
    if (!(now <= list.nextUpdate)) refuse(`expired at ${at(list.nextUpdate)}, and it is ${at(now)}`);
    // Of an authority that is not known here nothing can be said yet: peers present it.
    const named = authorities.filter((authority) => namesOf(authority).subject === list.issuer);
    if (named.length > 0 && !named.some(list.signedBy))
      refuse(`not signed by its issuer ${shown(named[0] as X509Certificate)}`);
  });
  return lists;
}
