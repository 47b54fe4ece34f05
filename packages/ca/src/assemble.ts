import { type KeyObject, sign } from 'node:crypto';
import { readDer } from 'inmesh/identity';
import {
  bitString,
  boolean,
  context,
  contextBytes,
  type Element,
  encode,
  extension,
  integer,
  octets,
  oid,
  sequence,
  sequenceOf,
  set,
  time,
  utf8,
} from './asn1.ts';
import { type IssuerParts, keyIdentifier, publicKeyInfoOf } from './certificate-parts.ts';
import { signatureAlgorithmOf } from './key-type.ts';

/** A name in the subjectAltName. */
export type SubjectName = { readonly uri: string } | { readonly dns: string } | { readonly ip: Buffer };

/** Everything that goes into one certificate. */
export interface CertificatePlan {
  /** 16 random bytes; made positive here. */
  readonly serial: Buffer;
  readonly issuer: IssuerParts;
  /** The inside of the subject, DER; empty for leaves, whose subjectAltName is critical instead. */
  readonly subject: Buffer;
  /** Milliseconds since the epoch; certificates count in seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: KeyObject;
  /** subjectKeyIdentifier, when it must be that of another certificate of the same key. */
  readonly keyId?: Buffer;
  readonly names: readonly SubjectName[];
  /** An authority that allows this many authorities below itself; absent for leaves. */
  readonly pathLength?: number;
  /** Of an authority: the only host that URI names below it may have (RFC 5280 4.2.1.10). */
  readonly permittedUriHost?: string;
  /** Of a leaf. */
  readonly extendedKeyUsage?: readonly ('serverAuth' | 'clientAuth')[];
}

const oids = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/**
 * Assembles and signs one certificate (X.509 version 3).
 *
 * @param key the issuer's private key
 * @returns DER
 */
export function assembleCertificate(plan: CertificatePlan, key: KeyObject): Buffer {
  const { identifier, hash } = signatureAlgorithmOf(key);
  const tbs = sequence(
    context(0, [integer(Buffer.from([2]))]),
    integer(positive(plan.serial)),
    identifier,
    sequenceOf(plan.issuer.name),
    sequence(time(plan.notBefore), time(plan.notAfter)),
    sequenceOf(plan.subject),
    publicKeyInfo(plan.publicKey),
    context(3, [sequence(...extensions(plan))]),
  );
  return encode(sequence(tbs, identifier, bitString(0, sign(hash, encode(tbs), key))));
}

function extensions(plan: CertificatePlan): Element[] {
  const authority = plan.pathLength !== undefined;
  const list = [
    extension(
      oids.basicConstraints,
      true,
      authority ? sequence(boolean(), integer(Buffer.from([plan.pathLength]))) : sequence(),
    ),
    // RFC 5280 4.2.1.3: keyCertSign is bit 5 and cRLSign bit 6, digitalSignature is bit 0.
    extension(oids.keyUsage, true, authority ? bitString(1, Buffer.from([0x06])) : bitString(7, Buffer.from([0x80]))),
    extension(oids.subjectKeyIdentifier, false, octets(plan.keyId ?? keyIdentifier(plan.publicKey))),
    authorityKeyIdentifier(plan.issuer),
  ];
  if (plan.extendedKeyUsage !== undefined) {
    const usages = plan.extendedKeyUsage.map((usage) => oid(oids[usage]));
    list.push(extension(oids.extendedKeyUsage, false, sequence(...usages)));
  }
  if (plan.names.length > 0) {
    // RFC 5280 4.1.2.6: critical when there is no subject.
    list.push(extension(oids.subjectAltName, plan.subject.length === 0, sequence(...plan.names.map(generalName))));
  }
  if (plan.permittedUriHost !== undefined) {
    const host = contextBytes(6, Buffer.from(plan.permittedUriHost, 'ascii'));
    list.push(extension(oids.nameConstraints, true, sequence(context(0, [sequence(host)]))));
  }
  return list;
}

/** The extension that names the issuer's key. */
export function authorityKeyIdentifier({ keyId }: IssuerParts): Element {
  return extension(oids.authorityKeyIdentifier, false, sequence(contextBytes(0, keyId)));
}

function generalName(given: SubjectName): Element {
  if ('uri' in given) return contextBytes(6, Buffer.from(given.uri, 'ascii'));
  if ('dns' in given) return contextBytes(2, Buffer.from(given.dns, 'ascii'));
  return contextBytes(7, given.ip);
}

function publicKeyInfo(key: KeyObject): Element {
  // Written as it comes out of node:crypto: forge knows no EC keys, and it must not parse.
  return sequenceOf(readDer(publicKeyInfoOf(key)).content);
}

/** The inside of the name of one of our own authorities. */
export function authorityName(commonName: string): Buffer {
  const part = (type: string, value: string): Element => set(sequence(oid(type), utf8(value)));
  const parts = [part(oids.organization, 'inmesh'), part(oids.commonName, commonName)];
  return Buffer.concat(parts.map(encode));
}

/** At most 16 bytes, positive, not zero, minimal: RFC 5280 4.1.2.2. */
function positive(serial: Buffer): Buffer {
  const bytes = Buffer.from(serial.subarray(0, 16));
  // A set bit just below the sign keeps 126 random bits and rules out negative, zero and padded numbers.
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}
