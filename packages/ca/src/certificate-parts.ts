import { createHash, createPublicKey, type KeyObject, type X509Certificate } from 'node:crypto';
import {
  type DerNode,
  derChildren,
  derTag,
  expectTag,
  readBitString,
  readDer,
  readExtensions,
  readOid,
} from 'inmesh/identity';

/** What a certificate below an authority repeats of that authority, byte by byte. */
export interface IssuerParts {
  /** The inside of its subject, DER. */
  readonly name: Buffer;
  /** Its subjectKeyIdentifier, or that of its key when it has none. */
  readonly keyId: Buffer;
}

/** An authority signs many times with the same certificate. */
const issuers = new WeakMap<X509Certificate, IssuerParts>();

/** Reads them from the certificate of an authority. @throws MeshError when it is malformed */
export function issuerPartsOf(certificate: X509Certificate): IssuerParts {
  let parts = issuers.get(certificate);
  if (parts === undefined) {
    parts = readIssuerParts(certificate);
    issuers.set(certificate, parts);
  }
  return parts;
}

function readIssuerParts(certificate: X509Certificate): IssuerParts {
  const fields = fieldsOf(certificate);
  // version, serialNumber, signature, issuer, validity, subject
  const subject = expectTag(fields[5], derTag.sequence, 'the subject');
  const wrapped = fields.find((field) => field.tag === 0xa3);
  const [list] = wrapped === undefined ? [] : derChildren(wrapped);
  const found = list === undefined ? undefined : readExtensions(list).find(({ oid }) => oid === '2.5.29.14');
  const keyId = found === undefined ? keyIdentifier(certificate.publicKey) : octetsOf(found.value);
  return { name: Buffer.from(subject.content), keyId };
}

/** OID of the algorithm that a certificate is signed with. */
export function signatureOidOf(certificate: X509Certificate): string {
  const [, algorithm] = derChildren(readDer(certificate.raw));
  const [name] = derChildren(expectTag(algorithm, derTag.sequence, 'the signature algorithm'));
  return readOid(expectTag(name, derTag.oid, 'the signature algorithm'));
}

const infos = new WeakMap<KeyObject, Buffer>();

/** SubjectPublicKeyInfo of a public key, DER, as node:crypto writes it. Writing it takes longer than all that is made of it. */
export function publicKeyInfoOf(key: KeyObject): Buffer {
  let info = infos.get(key);
  if (info === undefined) {
    info = key.export({ type: 'spki', format: 'der' });
    infos.set(key, info);
  }
  return info;
}

/** RFC 7093 method 1: the first 160 bits of the SHA-256 of the public key. */
export function keyIdentifier(key: KeyObject): Buffer {
  const [, bits] = derChildren(readDer(publicKeyInfoOf(key)));
  const { bytes } = readBitString(bits as NonNullable<typeof bits>);
  return createHash('sha256').update(bytes).digest().subarray(0, 20);
}

/** SHA-256 of a public key (SubjectPublicKeyInfo), hex: how the issuance log names keys. */
export function keyIdOf(key: KeyObject): string {
  const info = publicKeyInfoOf(key.type === 'private' ? createPublicKey(key) : key);
  return createHash('sha256').update(info).digest('hex');
}

function fieldsOf(certificate: X509Certificate): readonly DerNode[] {
  const [tbs] = derChildren(readDer(certificate.raw));
  return derChildren(expectTag(tbs, derTag.sequence, 'tbsCertificate'));
}

function octetsOf(node: DerNode): Buffer {
  return Buffer.from(expectTag(node, derTag.octetString, 'subjectKeyIdentifier').content);
}
