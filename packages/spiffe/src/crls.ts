import type { X509Certificate } from 'node:crypto';
import { readCrl } from 'inmesh/identity';
import { badAnswer } from './problem.ts';

/** Certificate revocation lists, DER, by trust domain. */
export type RevocationLists = ReadonlyMap<string, readonly Buffer[]>;

/**
 * Finds out whose revocation lists these are. The Workload API sends them in one list for all trust
 * domains; a domain that has a list is checked strictly from then on, so a list must be held
 * against the domain that signed it and no other. One that no known authority signed (that of an
 * intermediate of elsewhere) can only be meant for the one trust domain that there is.
 *
 * @param authorities roots of each trust domain, and what else is known to sign in it
 * @throws MeshError when one cannot be read, or it cannot be known whose it is
 */
export function attributeCrls(
  crls: readonly Uint8Array[],
  authorities: ReadonlyMap<string, readonly X509Certificate[]>,
): RevocationLists {
  const found = new Map<string, Buffer[]>();
  crls.forEach((der, i) => {
    const list = readCrl(der);
    const signing = [...authorities].filter(([, known]) => known.some((one) => list.signedBy(one)));
    const domains = signing.length > 0 || authorities.size > 1 ? signing : [...authorities];
    if (domains.length === 0) {
      throw badAnswer(
        `list ${i + 1} is signed by no authority of the trust domains ${[...authorities.keys()].join(', ')}`,
      );
    }
    for (const [domain] of domains) found.set(domain, [...(found.get(domain) ?? []), Buffer.from(der)]);
  });
  return found;
}

/** PEM of a list. */
export function crlPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN X509 CRL-----\n${lines.join('\n')}\n-----END X509 CRL-----\n`;
}
