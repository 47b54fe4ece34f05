import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import {
  type CertificateFacts,
  type DerNode,
  derChildren,
  derTag,
  expectTag,
  factsOf,
  readBitString,
  readDer,
  readExtensions,
  readOid,
  readSmallInteger,
} from 'inmesh/identity';
import { keyIdOf } from './certificate-parts.ts';
import { weaknessOf } from './key-type.ts';
import { type Refusal, reasonOf, refusal } from './refusal.ts';

/** Largest certificate request that is read, in bytes of PEM. */
export const maxCsrBytes = 16_384;

/** What a certificate request says, after its signature was verified. */
export interface CertificateSigningRequest {
  readonly publicKey: KeyObject;
  /** SHA-256 of the public key (SubjectPublicKeyInfo), hex. */
  readonly keyId: string;
  /** What it asks for. None of it goes into a certificate. */
  readonly requested: CertificateFacts;
}

const extensionRequest = '1.2.840.113549.1.9.14';

/** Signature algorithms by OID: the key type that they belong to, and their hash. */
const algorithms: Readonly<Record<string, { readonly keyType: string; readonly hash: string | null }>> = {
  '1.2.840.10045.4.3.2': { keyType: 'ec', hash: 'sha256' },
  '1.2.840.10045.4.3.3': { keyType: 'ec', hash: 'sha384' },
  '1.2.840.10045.4.3.4': { keyType: 'ec', hash: 'sha512' },
  '1.2.840.113549.1.1.11': { keyType: 'rsa', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { keyType: 'rsa', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { keyType: 'rsa', hash: 'sha512' },
  '1.3.101.112': { keyType: 'ed25519', hash: null },
};

/**
 * Reads a certificate request (PKCS#10, RFC 2986) with the bounded DER reader of the core, checks
 * that its key is strong enough, and that whoever made it holds the private key.
 *
 * @throws Refusal `bad_csr` or `weak_key`
 */
export function readCsr(pem: string): CertificateSigningRequest {
  try {
    return read(derOf(pem));
  } catch (error) {
    if (reasonOf(error) !== undefined) throw error;
    throw bad(error instanceof Error ? error.message : 'cannot be read', error);
  }
}

function read(der: Buffer): CertificateSigningRequest {
  const parts = derChildren(expectTag(readDer(der, maxCsrBytes), derTag.sequence, 'a certificate request'));
  if (parts.length !== 3) throw bad(`it has ${parts.length} parts, not 3`);
  const information = expectTag(parts[0], derTag.sequence, 'certificationRequestInfo');
  const [version, subject, spki, attributes, ...more] = derChildren(information);
  if (readSmallInteger(expectTag(version, derTag.integer, 'the version')) !== 0) throw bad('its version is not 1');
  expectTag(subject, derTag.sequence, 'the subject');
  if (more.length > 0) throw bad('it has more than four fields');
  const publicKey = keyOf(expectTag(spki, derTag.sequence, 'the public key'));
  // The order matters: how strong a key is decides how expensive it is to verify with it.
  const weakness = weaknessOf(publicKey, true);
  if (weakness !== undefined) throw refusal('weak_key', weakness);
  checkSignature(information, parts[1] as DerNode, parts[2] as DerNode, publicKey);
  return { publicKey, keyId: keyIdOf(publicKey), requested: requestedBy(attributes) };
}

/** Exactly one block, canonical base64, nothing around it but white space. */
function derOf(pem: string): Buffer {
  if (pem.length > maxCsrBytes) throw bad(`it is larger than ${maxCsrBytes} bytes`);
  const lines = pem.trim().split(/\r?\n/);
  if (lines.shift() !== '-----BEGIN CERTIFICATE REQUEST-----' || lines.pop() !== '-----END CERTIFICATE REQUEST-----') {
    throw bad('expected one PEM block CERTIFICATE REQUEST and nothing around it');
  }
  const base64 = lines.join('');
  const der = Buffer.from(base64, 'base64');
  if (der.length === 0 || der.toString('base64') !== base64) throw bad('its base64 is not canonical');
  return der;
}

function keyOf(spki: DerNode): KeyObject {
  try {
    return createPublicKey({ key: spki.bytes, type: 'spki', format: 'der' });
  } catch (cause) {
    throw refusal('weak_key', 'the key of the certificate request cannot be read', cause);
  }
}

function checkSignature(information: DerNode, identifier: DerNode, signature: DerNode, key: KeyObject): void {
  const [name] = derChildren(expectTag(identifier, derTag.sequence, 'the signature algorithm'));
  const oid = readOid(expectTag(name, derTag.oid, 'the signature algorithm'));
  const algorithm = Object.hasOwn(algorithms, oid) ? algorithms[oid] : undefined;
  if (algorithm === undefined) throw bad(`it is signed with an algorithm that is not accepted: ${oid}`);
  if (algorithm.keyType !== key.asymmetricKeyType) throw bad('its signature algorithm does not fit its key');
  const { bytes, unusedBits } = readBitString(signature);
  if (unusedBits !== 0 || !verify(algorithm.hash, information.bytes, key, bytes)) throw bad('its signature is wrong');
}

function requestedBy(attributes: DerNode | undefined): CertificateFacts {
  if (attributes === undefined) return factsOf([]);
  if (attributes.tag !== 0xa0) throw bad('its attributes are not where they belong');
  const wanted = derChildren(attributes)
    .map((attribute) => derChildren(expectTag(attribute, derTag.sequence, 'an attribute')))
    .filter(([name]) => readOid(expectTag(name, derTag.oid, 'the name of an attribute')) === extensionRequest);
  if (wanted.length > 1) throw bad('it asks for extensions twice');
  const values = wanted[0]?.[1];
  if (values === undefined) return factsOf([]);
  const lists = derChildren(expectTag(values, derTag.set, 'the values of an attribute'));
  if (lists.length !== 1) throw bad('it asks for extensions twice');
  return factsOf(readExtensions(lists[0] as DerNode));
}

/**
 * Refuses a request that asks for anything but the identity that its sender has proven: another
 * name, an authority, the right to sign certificates. A request that asks for nothing is fine.
 *
 * @throws Refusal `identity_mismatch` or `bad_csr`
 */
export function checkRequested(csr: CertificateSigningRequest, spiffeId: string): void {
  const { uris, otherNames } = csr.requested;
  const other = uris.find((uri) => uri !== spiffeId);
  if (other !== undefined || uris.length > 1) {
    const asked = JSON.stringify((other ?? uris.join(' ')).slice(0, 200));
    throw refusal('identity_mismatch', `the certificate request asks for ${asked}, the caller is ${spiffeId}`);
  }
  if (otherNames > 0) throw bad('it asks for names that are not SPIFFE IDs');
  checkNoAuthority(csr);
}

/**
 * Refuses a request for an authority or for the right to sign certificates, whatever names it has.
 *
 * @throws Refusal `bad_csr`
 */
export function checkNoAuthority({ requested: { ca, keyUsage } }: CertificateSigningRequest): void {
  if (ca || keyUsage?.keyCertSign === true || keyUsage?.crlSign === true) throw bad('it asks for an authority');
}

function bad(reason: string, cause?: unknown): Refusal {
  return refusal('bad_csr', `the certificate request is refused: ${reason}`, cause);
}
