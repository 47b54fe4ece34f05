/**
 * A signature of ECDSA as OpenSSL reads it (RFC 3279 section 2.2.3: a sequence of two integers in DER), from that of a token
 * (RFC 7518 section 3.4: two numbers of equal length). Node.js does it, too, and asks the key for its curve each time, which
 * takes half as long again as to verify with P-256.
 *
 * @param half bytes of each number
 * @returns nothing for what is not as long as that
 */
export function derSignature(signature: Buffer, half: number): Buffer | undefined {
  if (signature.length !== 2 * half) return undefined;
  const r = startOf(signature, 0, half);
  const s = startOf(signature, half, signature.length);
  const length = lengthOf(signature, r, half) + lengthOf(signature, s, signature.length);
  const der = Buffer.alloc(length + (length > 127 ? 3 : 2));
  der[0] = 0x30;
  let at = 1;
  // Two numbers of P-521 take more than 127 bytes, and never more than 255.
  if (length > 127) der[at++] = 0x81;
  der[at++] = length;
  at = writeInteger(der, at, signature, r, half);
  writeInteger(der, at, signature, s, signature.length);
  return der;
}

/** Where a number begins, without the zeros before it; its last byte stays. */
function startOf(bytes: Buffer, from: number, end: number): number {
  let start = from;
  while (start < end - 1 && bytes[start] === 0) start++;
  return start;
}

/** With a zero before it a number is not negative. */
function isHigh(bytes: Buffer, start: number): boolean {
  return ((bytes[start] as number) & 0x80) !== 0;
}

function lengthOf(bytes: Buffer, start: number, end: number): number {
  return 2 + end - start + (isHigh(bytes, start) ? 1 : 0);
}

function writeInteger(der: Buffer, at: number, bytes: Buffer, start: number, end: number): number {
  der[at] = 0x02;
  der[at + 1] = lengthOf(bytes, start, end) - 2;
  const value = at + (isHigh(bytes, start) ? 3 : 2);
  return value + bytes.copy(der, value, start, end);
}
