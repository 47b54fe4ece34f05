import type { X509Certificate } from 'node:crypto';
import { readPemCrls } from 'inmesh/identity';
import { encode, sequenceOf } from './asn1.ts';
import { issuerPartsOf } from './certificate-parts.ts';
import { generationsOf, type Holdings } from './holdings.ts';

/** Longest list that members read, characters of PEM: some 14,000 entries. */
const maxListLength = 1_048_576;

/**
 * Authorities above a leaf (below or at the root) of which there is no revocation list. Whoever
 * checks any list wants one of each of them, and refuses everybody as long as one is missing.
 *
 * @param pems the lists that there are; those that have expired, or are too long for members, do not count
 */
export function withoutCrl(holdings: Holdings, pems: readonly string[], now: number): readonly X509Certificate[] {
  const readable = pems.filter(({ length }) => length <= maxListLength);
  const lists = readable.flatMap((pem) => readPemCrls(pem, 'revocation lists'));
  const listed = new Set(lists.filter(({ nextUpdate }) => now < nextUpdate).map(({ issuer }) => issuer));
  const needed = generationsOf(holdings).flatMap(({ root, intermediate: { certificate, above = [] } }) => [
    certificate,
    ...above,
    root.certificate,
  ]);
  return needed.filter((authority) => !listed.has(encode(sequenceOf(issuerPartsOf(authority).name)).toString('hex')));
}
