import forge from 'node-forge';

/**
 * The only file that uses node-forge, and only to write DER: out of our own values, and out of
 * bytes that node:crypto encoded. What strangers send never gets here.
 */
const { asn1 } = forge;

/**
 * An element that is not encoded yet: node-forge's, in words of our own. Its types are in another package, which users
 * of this one need not have.
 */
export interface Element {
  readonly tagClass: number;
  readonly type: number;
  readonly constructed: boolean;
  readonly composed: boolean;
  readonly value: string | Element[];
}

const { UNIVERSAL, CONTEXT_SPECIFIC } = asn1.Class;
// forge writes a primitive's bytes as they are; these are the inside of a SEQUENCE, so the bit for that is in the tag.
const constructedSequence = (asn1.Type.SEQUENCE | 0x20) as forge.asn1.Type;

export function sequence(...children: readonly Element[]): Element {
  return asn1.create(UNIVERSAL, asn1.Type.SEQUENCE, true, [...children]);
}

/** A SEQUENCE whose inside is encoded already. */
export function sequenceOf(content: Buffer): Element {
  return asn1.create(UNIVERSAL, constructedSequence, false, binary(content));
}

export function set(...children: readonly Element[]): Element {
  return asn1.create(UNIVERSAL, asn1.Type.SET, true, [...children]);
}

export function context(number: number, children: readonly Element[]): Element {
  return asn1.create(CONTEXT_SPECIFIC, number as forge.asn1.Type, true, [...children]);
}

export function contextBytes(number: number, bytes: Buffer): Element {
  return asn1.create(CONTEXT_SPECIFIC, number as forge.asn1.Type, false, binary(bytes));
}

export function oid(dotted: string): Element {
  return asn1.create(UNIVERSAL, asn1.Type.OID, false, asn1.oidToDer(dotted).getBytes());
}

/** INTEGER from big-endian bytes in two's complement. */
export function integer(bytes: Buffer): Element {
  return asn1.create(UNIVERSAL, asn1.Type.INTEGER, false, binary(bytes));
}

/** INTEGER of a number that is not negative. */
export function whole(value: number): Element {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  // A leading one bit would make it negative.
  return integer((bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
}

export function enumerated(value: number): Element {
  return asn1.create(UNIVERSAL, asn1.Type.ENUMERATED, false, binary(Buffer.from([value])));
}

/** TRUE; DER leaves FALSE out, where it is the default. */
export function boolean(): Element {
  return asn1.create(UNIVERSAL, asn1.Type.BOOLEAN, false, '\xff');
}

export function nothing(): Element {
  return asn1.create(UNIVERSAL, asn1.Type.NULL, false, '');
}

export function octets(bytes: Buffer): Element {
  return asn1.create(UNIVERSAL, asn1.Type.OCTETSTRING, false, binary(bytes));
}

export function bitString(unusedBits: number, bytes: Buffer): Element {
  const content = binary(Buffer.concat([Buffer.from([unusedBits]), bytes]));
  return asn1.create(UNIVERSAL, asn1.Type.BITSTRING, false, content);
}

export function utf8(text: string): Element {
  return asn1.create(UNIVERSAL, asn1.Type.UTF8, false, binary(Buffer.from(text, 'utf8')));
}

/** RFC 5280 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050. */
export function time(ms: number): Element {
  const date = new Date(ms);
  return date.getUTCFullYear() < 2050
    ? asn1.create(UNIVERSAL, asn1.Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(UNIVERSAL, asn1.Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

/** An X.509 extension (RFC 5280 4.1). */
export function extension(type: string, critical: boolean, value: Element): Element {
  return sequence(oid(type), ...(critical ? [boolean()] : []), octets(encode(value)));
}

/** DER. */
export function encode(element: Element): Buffer {
  return Buffer.from(asn1.toDer(element).getBytes(), 'latin1');
}

/** PEM: 64 characters a line. */
export function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** forge's byte strings: one character for each byte. */
function binary(bytes: Buffer): string {
  return bytes.toString('latin1');
}
