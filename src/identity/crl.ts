import { verify, type X509Certificate } from 'node:crypto';
import { MeshError } from '../errors.ts';
import { readCertificate, readExtensions } from './certificate.ts';
import { type DerNode, derChildren, derTag, expectTag, readBitString, readDer, readOid, readTime } from './der.ts';
import { readPem } from './pem.ts';

/** Largest revocation list that is read, in bytes: some 30,000 entries. */
export const maxCrlBytes = 1_048_576;

/** A certificate revocation list (RFC 5280, section 5), read and not yet verified. */
export interface RevocationList {
  /** The issuer's name, DER in hex: equal to the subject of the authority that signed. */
  readonly issuer: string;
  /** Milliseconds since the epoch. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Serial numbers in hex, without leading zeros. */
  readonly revoked: ReadonlySet<string>;
  /** Whether this authority signed the list, and may sign lists. */
  signedBy(authority: X509Certificate): boolean;
}

/** How a certificate is named in revocation lists. */
export interface CertificateNames {
  /** DER in hex. */
  readonly issuer: string;
  readonly subject: string;
  /** Hex, without leading zeros. */
  readonly serial: string;
}

/** Signature algorithms by OID. What is not here (SHA-1, say) is refused. */
const algorithms: Readonly<Record<string, { readonly hash: string | null; readonly key: string }>> = {
  '1.2.840.10045.4.3.2': { hash: 'sha256', key: 'ec' },
  '1.2.840.10045.4.3.3': { hash: 'sha384', key: 'ec' },
  '1.2.840.10045.4.3.4': { hash: 'sha512', key: 'ec' },
  '1.2.840.113549.1.1.11': { hash: 'sha256', key: 'rsa' },
  '1.2.840.113549.1.1.12': { hash: 'sha384', key: 'rsa' },
  '1.2.840.113549.1.1.13': { hash: 'sha512', key: 'rsa' },
  '1.3.101.112': { hash: null, key: 'ed25519' },
  '1.3.101.113': { hash: null, key: 'ed448' },
};

/**
 * Reads all lists of a PEM text (blocks `X509 CRL`).
 *
 * @param what names the text in messages: `ca-crl.pem`
 * @throws MeshError `ERR_MESH_NO_IDENTITY`
 */
export function readPemCrls(text: string, what: string): readonly RevocationList[] {
  return readPem(text, what, 'X509 CRL', 'revocation list', readCrl);
}

/**
 * Reads one list. It must be complete: one with a limited scope, a delta, or entries for other
 * issuers would leave open what it does not say, so a critical extension refuses it. It must say
 * when the next one comes, as RFC 5280 (5.1.2.5) requires.
 *
 * @throws MeshError `ERR_MESH_PEER_IDENTITY` saying what is wrong with it.
 */
export function readCrl(der: Uint8Array): RevocationList {
  const [tbs, outer, signature, ...rest] = derChildren(
    expectTag(readDer(der, maxCrlBytes), derTag.sequence, 'a revocation list'),
  );
  if (rest.length > 0) throw crlProblem('more than three parts');
  const { bytes: signed, unusedBits } = readBitString(expectTag(signature, derTag.bitString, 'the signature'));
  if (unusedBits > 0) throw crlProblem('a signature of a broken number of bytes');
  const fields = derChildren(expectTag(tbs, derTag.sequence, 'tbsCertList'));
  // The version is left out for version 1; there is no way to write version 1 or 3.
  const first = fields[0];
  const version2 = first?.tag === derTag.integer;
  if (version2 && first.content.toString('hex') !== '01') throw crlProblem('neither version 1 nor 2');
  let at = version2 ? 1 : 0;
  const inner = expectTag(fields[at++], derTag.sequence, 'the signature algorithm');
  if (!inner.bytes.equals(expectTag(outer, derTag.sequence, 'the signature algorithm').bytes)) {
    throw crlProblem('two different signature algorithms');
  }
  const algorithm = algorithmOf(inner);
  const issuer = expectTag(fields[at++], derTag.sequence, 'the issuer').bytes.toString('hex');
  const thisUpdate = readTime(expectPresent(fields[at++], 'thisUpdate'));
  const next = fields[at];
  if (next?.tag !== derTag.utcTime && next?.tag !== derTag.generalizedTime) throw crlProblem('no nextUpdate');
  const nextUpdate = readTime(next);
  at++;
  const revoked =
    fields[at]?.tag === derTag.sequence ? entriesOf(fields[at++] as DerNode, version2) : new Set<string>();
  if (fields[at]?.tag === 0xa0 && version2) refuseCritical(derChildren(fields[at++] as DerNode)[0]);
  if (at < fields.length) throw crlProblem('a part that is not known');
  return {
    issuer,
    thisUpdate,
    nextUpdate,
    revoked,
    signedBy: signatureCheck((tbs as DerNode).bytes, signed, algorithm),
  };
}

/** Names and serial number of a certificate, from its own bytes. */
export function namesOf({ raw }: X509Certificate): CertificateNames {
  const [tbs] = derChildren(readDer(raw));
  // version, serialNumber, signature, issuer, validity, subject; version 3, or it was refused before.
  const [, serial, , issuer, , subject] = derChildren(expectTag(tbs, derTag.sequence, 'tbsCertificate'));
  return {
    serial: serialOf(serial),
    issuer: expectTag(issuer, derTag.sequence, 'the issuer').bytes.toString('hex'),
    subject: expectTag(subject, derTag.sequence, 'the subject').bytes.toString('hex'),
  };
}

function crlProblem(reason: string): MeshError {
  return new MeshError('ERR_MESH_PEER_IDENTITY', `malformed revocation list: ${reason}`);
}

function expectPresent(node: DerNode | undefined, what: string): DerNode {
  if (node === undefined) throw crlProblem(`${what} is missing`);
  return node;
}

interface Algorithm {
  readonly hash: string | null;
  readonly key: string;
}

function algorithmOf(identifier: DerNode): Algorithm {
  const oid = readOid(expectPresent(derChildren(identifier)[0], 'the signature algorithm'));
  const known = algorithms[oid];
  if (known === undefined) throw crlProblem(`the signature algorithm ${oid} is not supported`);
  return known;
}

function entriesOf(list: DerNode, version2: boolean): ReadonlySet<string> {
  const revoked = new Set<string>();
  for (const entry of derChildren(list)) {
    const [serial, date, extensions, ...rest] = derChildren(expectTag(entry, derTag.sequence, 'an entry'));
    readTime(expectPresent(date, 'a revocation date'));
    if (rest.length > 0 || (extensions !== undefined && !version2)) throw crlProblem('an entry with too many parts');
    if (extensions !== undefined) refuseCritical(extensions);
    revoked.add(serialOf(serial));
  }
  return revoked;
}

/** What limits a list, or says whose certificates it means: RFC 5280 wants them critical, and they mean the same when they are not. */
const limits: ReadonlySet<string> = new Set(['2.5.29.27', '2.5.29.28', '2.5.29.29']);

/** Reasons, dates and numbers may be there; what must be understood (RFC 5280 5.2, 5.3) is beyond what is supported. */
function refuseCritical(list: DerNode | undefined): void {
  for (const { oid, critical } of readExtensions(expectPresent(list, 'the list of extensions'))) {
    if (!critical && !limits.has(oid)) continue;
    throw crlProblem(`the ${critical ? 'critical ' : ''}extension ${oid} is not supported: only complete lists are`);
  }
}

function serialOf(node: DerNode | undefined): string {
  const { content } = expectTag(node, derTag.integer, 'a serial number');
  if (content.length === 0 || content.length > 64) throw crlProblem('a serial number of no or absurd length');
  return content.toString('hex').replace(/^(00)+(?=..)/, '');
}

/** Most verdicts that are remembered for one list. */
const maxVerdicts = 64;

/** An authority is asked about for each handshake: its signature is verified once, not each time. */
function signatureCheck(tbs: Buffer, signature: Buffer, { hash, key }: Algorithm): RevocationList['signedBy'] {
  const known = new Map<string, boolean>();
  const check = (authority: X509Certificate): boolean => {
    try {
      const { publicKey, raw } = authority;
      const { keyUsage } = readCertificate(raw);
      if (publicKey.asymmetricKeyType !== key || keyUsage?.crlSign === false) return false;
      return verify(hash, tbs, publicKey, signature);
    } catch {
      // A key that Node cannot verify with: not a signature that counts.
      return false;
    }
  };
  return (authority) => {
    const name = authority.fingerprint256;
    let verdict = known.get(name);
    if (verdict === undefined) {
      // Whoever presents many authorities of one name makes us forget, not remember.
      if (known.size >= maxVerdicts) known.clear();
      known.set(name, (verdict = check(authority)));
    }
    return verdict;
  };
}
