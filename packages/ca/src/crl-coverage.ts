import type { X509Certificate } from 'node:crypto';
import { readPemCrls } from 'inmesh/identity';
import { encode, sequenceOf } from './asn1.ts';
import { issuerPartsOf } from './certificate-parts.ts';
import { generationsOf, type Holdings } from './holdings.ts';

/**
 * Authorities above a leaf (below or at the root) of which there is no revocation list. Whoever
 * checks any list wants one of each of them, and refuses everybody as long as one is missing.
 *
 * @param pems the lists that there are
 */
export function withoutCrl(holdings: Holdings, pems: readonly string[]): readonly X509Certificate[] {
  const listed = new Set(pems.flatMap((pem) => readPemCrls(pem, 'revocation lists')).map(({ issuer }) => issuer));
  const needed = generationsOf(holdings).flatMap(({ root, intermediate: { certificate, above = [] } }) => [
    certificate,
    ...above,
    root.certificate,
  ]);
  return needed.filter((authority) => !listed.has(encode(sequenceOf(issuerPartsOf(authority).name)).toString('hex')));
}
