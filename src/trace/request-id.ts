import type { Random } from '../lib/random.ts';

/** Longest request id that is kept. */
const maxLength = 128;

/** Printable ASCII without spaces and commas, not too long: safe in logs and headers. */
export function isRequestId(text: string): boolean {
  if (text === '' || text.length > maxLength) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x21 || code > 0x7e || code === 0x2c) return false;
  }
  return true;
}

const byteHex: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** A version 4 UUID (RFC 9562) from 122 random bits: an identifier, not a secret. */
export function randomRequestId(random: Random): string {
  const a = (random() * 0x1_0000_0000) >>> 0;
  const b = (random() * 0x1_0000_0000) >>> 0;
  const c = (random() * 0x1_0000_0000) >>> 0;
  const d = (random() * 0x1_0000_0000) >>> 0;
  const hex = (word: number, shift: number): string => byteHex[(word >>> shift) & 0xff] as string;
  const version = byteHex[0x40 | ((b >>> 8) & 0x0f)] as string;
  const variant = byteHex[0x80 | ((c >>> 24) & 0x3f)] as string;
  return (
    `${hex(a, 24)}${hex(a, 16)}${hex(a, 8)}${hex(a, 0)}-${hex(b, 24)}${hex(b, 16)}-${version}${hex(b, 0)}-` +
    `${variant}${hex(c, 16)}-${hex(c, 8)}${hex(c, 0)}${hex(d, 24)}${hex(d, 16)}${hex(d, 8)}${hex(d, 0)}`
  );
}
