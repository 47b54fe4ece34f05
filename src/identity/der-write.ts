/**
 * A write-only DER encoder for the few shapes that certificate requests need. It never reads
 * anything, so that it has no attack surface; the reader is `der.ts`.
 */

/** One element: tag byte, minimal definite length, content. */
export function derElement(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), derLength(content.length), content]);
}

function derLength(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return Buffer.from([0x80 | bytes.length, ...bytes]);
}

/** SEQUENCE of elements that are encoded already. */
export function derSequence(...parts: readonly Uint8Array[]): Buffer {
  return derElement(0x30, ...parts);
}

/** SET of elements that are encoded already; the caller orders them. */
export function derSet(...parts: readonly Uint8Array[]): Buffer {
  return derElement(0x31, ...parts);
}

/** INTEGER, not negative, from big-endian bytes of any length. */
export function derUnsigned(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const minimal = bytes.subarray(start);
  // A leading one bit would make the number negative.
  const sign = minimal.length === 0 || (minimal[0] as number) >= 0x80 ? Buffer.from([0]) : Buffer.alloc(0);
  return derElement(0x02, sign, minimal);
}

/** OBJECT IDENTIFIER from its dotted form. */
export function derOid(dotted: string): Buffer {
  const numbers = dotted.split('.').map(Number);
  const [first = 0, second = 0, ...rest] = numbers;
  const bytes: number[] = [];
  for (const value of [first * 40 + second, ...rest]) {
    const group = [value % 128];
    for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128))
      group.unshift((left % 128) | 0x80);
    bytes.push(...group);
  }
  return derElement(0x06, Buffer.from(bytes));
}

/** BOOLEAN TRUE. DER omits FALSE, the default. */
export function derTrue(): Buffer {
  return derElement(0x01, Buffer.from([0xff]));
}

/** NULL. */
export function derNull(): Buffer {
  return derElement(0x05);
}

/** OCTET STRING. */
export function derOctetString(bytes: Uint8Array): Buffer {
  return derElement(0x04, bytes);
}

/** BIT STRING of whole bytes, or with `unusedBits` at the end. */
export function derBitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return derElement(0x03, Buffer.from([unusedBits]), bytes);
}

/** UTF8String. */
export function derUtf8(text: string): Buffer {
  return derElement(0x0c, Buffer.from(text, 'utf8'));
}

/** A context-specific element with this number. */
export function derContext(number: number, constructed: boolean, ...parts: readonly Uint8Array[]): Buffer {
  return derElement(0x80 | (constructed ? 0x20 : 0) | number, ...parts);
}
