import type { X509Certificate } from 'node:crypto';
import { type DerNode, derChildren, derTag, expectTag, readDer } from 'inmesh/identity';
import { issuerPartsOf } from './certificate-parts.ts';
import { generationsOf, type Holdings } from './holdings.ts';

/** Largest list that is looked at, in bytes. */
const maxCrlBytes = 1_048_576;

/**
 * Authorities above a leaf (below or at the root) of which there is no revocation list. Whoever
 * checks any list wants one of each of them, and refuses everybody as long as one is missing.
 *
 * @param pems the lists that there are
 */
export function withoutCrl(holdings: Holdings, pems: readonly string[]): readonly X509Certificate[] {
  const listed = new Set(pems.flatMap(issuersOf));
  const needed = generationsOf(holdings).flatMap(({ root, intermediate: { certificate, above = [] } }) => [
    certificate,
    ...above,
    root.certificate,
  ]);
  return needed.filter((authority) => !listed.has(issuerPartsOf(authority).name.toString('hex')));
}

/** Names of the issuers (the inside, hex) of the lists in a PEM text. */
function issuersOf(pem: string): readonly string[] {
  const blocks = pem.matchAll(/-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----/g);
  return [...blocks].map(([, base64 = '']) => {
    const [tbs] = derChildren(readDer(Buffer.from(base64, 'base64'), maxCrlBytes));
    const fields = derChildren(expectTag(tbs, derTag.sequence, 'tbsCertList'));
    // The version comes first when there is one, then the algorithm.
    const at = (fields[0] as DerNode | undefined)?.tag === derTag.integer ? 2 : 1;
    return expectTag(fields[at], derTag.sequence, 'the issuer').content.toString('hex');
  });
}
