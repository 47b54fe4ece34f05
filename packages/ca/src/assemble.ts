import { createHash, type KeyObject, sign } from 'node:crypto';
import { derChildren, readBitString, readDer } from 'inmesh/identity';
import forge from 'node-forge';

/**
 * The only file that uses node-forge, and only to write: certificates are assembled from our own
 * values and signed with node:crypto. What strangers send never gets here; a public key arrives as
 * a KeyObject and leaves node:crypto encoded anew.
 */
const { asn1 } = forge;
type Node = forge.asn1.Asn1;

/** Name of an authority: its common name. Leaves have none, their subjectAltName is critical instead. */
export type AuthorityName = string;

/** A name in the subjectAltName. */
export type SubjectName = { readonly uri: string } | { readonly dns: string } | { readonly ip: Buffer };

/** Everything that goes into one certificate. */
export interface CertificatePlan {
  /** 16 random bytes; made positive here. */
  readonly serial: Buffer;
  readonly issuer: AuthorityName;
  /** '' for leaves. */
  readonly subject: AuthorityName | '';
  /** Milliseconds since the epoch; certificates count in seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: KeyObject;
  readonly issuerPublicKey: KeyObject;
  readonly names: readonly SubjectName[];
  /** An authority that allows this many authorities below itself; absent for leaves. */
  readonly pathLength?: number;
  /** Of a leaf. */
  readonly extendedKeyUsage?: readonly ('serverAuth' | 'clientAuth')[];
}

const oids = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/**
 * Assembles and signs one certificate (X.509 version 3, ECDSA with SHA-256).
 *
 * @param key the issuer's P-256 private key
 * @returns DER
 */
export function assembleCertificate(plan: CertificatePlan, key: KeyObject): Buffer {
  const algorithm = sequence(oid(oids.ecdsaWithSha256));
  const tbs = sequence(
    context(0, [integer(Buffer.from([2]))]),
    integer(positive(plan.serial)),
    algorithm,
    name(plan.issuer),
    sequence(time(plan.notBefore), time(plan.notAfter)),
    name(plan.subject),
    publicKeyInfo(plan.publicKey),
    context(3, [sequence(...extensions(plan))]),
  );
  const signature = sign('sha256', encode(tbs), key);
  return encode(sequence(tbs, algorithm, bitString(0, signature)));
}

function extensions(plan: CertificatePlan): Node[] {
  const authority = plan.pathLength !== undefined;
  const list = [
    extension(
      oids.basicConstraints,
      true,
      authority ? sequence(boolean(), integer(Buffer.from([plan.pathLength]))) : sequence(),
    ),
    // RFC 5280 4.2.1.3: keyCertSign is bit 5 and cRLSign bit 6, digitalSignature is bit 0.
    extension(oids.keyUsage, true, authority ? bitString(1, Buffer.from([0x06])) : bitString(7, Buffer.from([0x80]))),
    extension(oids.subjectKeyIdentifier, false, octets(keyIdentifier(plan.publicKey))),
    extension(oids.authorityKeyIdentifier, false, sequence(contextBytes(0, keyIdentifier(plan.issuerPublicKey)))),
  ];
  if (plan.extendedKeyUsage !== undefined) {
    const usages = plan.extendedKeyUsage.map((usage) => oid(oids[usage]));
    list.push(extension(oids.extendedKeyUsage, false, sequence(...usages)));
  }
  if (plan.names.length > 0) {
    // RFC 5280 4.1.2.6: critical when there is no subject.
    list.push(extension(oids.subjectAltName, plan.subject === '', sequence(...plan.names.map(generalName))));
  }
  return list;
}

function generalName(given: SubjectName): Node {
  if ('uri' in given) return contextBytes(6, Buffer.from(given.uri, 'ascii'));
  if ('dns' in given) return contextBytes(2, Buffer.from(given.dns, 'ascii'));
  return contextBytes(7, given.ip);
}

/** RFC 7093 method 1: the first 160 bits of the SHA-256 of the public key. */
function keyIdentifier(key: KeyObject): Buffer {
  const [, bits] = derChildren(readDer(key.export({ type: 'spki', format: 'der' })));
  const { bytes } = readBitString(bits as NonNullable<typeof bits>);
  return createHash('sha256').update(bytes).digest().subarray(0, 20);
}

function publicKeyInfo(key: KeyObject): Node {
  // Written as it comes out of node:crypto: forge knows no EC keys, and it must not parse.
  const { content } = readDer(key.export({ type: 'spki', format: 'der' }));
  return asn1.create(asn1.Class.UNIVERSAL, constructedSequence, false, binary(content));
}

// forge writes a primitive's bytes as they are; these are the inside of a SEQUENCE, so the bit for that is in the tag.
const constructedSequence = (asn1.Type.SEQUENCE | 0x20) as forge.asn1.Type;

function name(commonName: string): Node {
  if (commonName === '') return sequence();
  const part = (type: string, value: string): Node =>
    asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SET, true, [sequence(oid(type), utf8(value))]);
  return sequence(part(oids.organization, 'inmesh'), part(oids.commonName, commonName));
}

function extension(type: string, critical: boolean, value: Node): Node {
  return sequence(oid(type), ...(critical ? [boolean()] : []), octets(encode(value)));
}

/** At most 16 bytes, positive, not zero, minimal: RFC 5280 4.1.2.2. */
function positive(serial: Buffer): Buffer {
  const bytes = Buffer.from(serial.subarray(0, 16));
  // A set bit just below the sign keeps 126 random bits and rules out negative, zero and padded numbers.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function time(ms: number): Node {
  const date = new Date(ms);
  // RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050.
  return date.getUTCFullYear() < 2050
    ? asn1.create(asn1.Class.UNIVERSAL, asn1.Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(asn1.Class.UNIVERSAL, asn1.Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

function sequence(...children: readonly Node[]): Node {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, [...children]);
}

function context(number: number, children: Node[]): Node {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, number as forge.asn1.Type, true, children);
}

function contextBytes(number: number, bytes: Buffer): Node {
  return asn1.create(asn1.Class.CONTEXT_SPECIFIC, number as forge.asn1.Type, false, binary(bytes));
}

function oid(dotted: string): Node {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OID, false, asn1.oidToDer(dotted).getBytes());
}

function integer(bytes: Buffer): Node {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.INTEGER, false, binary(bytes));
}

function boolean(): Node {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.BOOLEAN, false, '\xff');
}

function octets(bytes: Buffer): Node {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OCTETSTRING, false, binary(bytes));
}

function bitString(unusedBits: number, bytes: Buffer): Node {
  const content = binary(Buffer.concat([Buffer.from([unusedBits]), bytes]));
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.BITSTRING, false, content);
}

function utf8(text: string): Node {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.UTF8, false, binary(Buffer.from(text, 'utf8')));
}

/** forge's byte strings: one character for each byte. */
function binary(bytes: Buffer): string {
  return bytes.toString('latin1');
}

function encode(node: Node): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1');
}
