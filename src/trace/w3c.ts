import { isAllZero, isLowerHex } from '../lib/hex.ts';

const dash = 0x2d;
/** `00-<32 hex>-<16 hex>-<2 hex>`. */
const lengthOfVersion0 = 55;
/** W3C asks to carry at least 512 characters; more than that is somebody's payload. */
const maxTracestateLength = 512;
const maxTracestateMembers = 32;

/**
 * W3C Trace Context section 3.2: version 00 has exactly four fields; a later version may have more
 * after them. Version ff, ids of zeros and upper case are invalid.
 */
export function isTraceparent(text: string): boolean {
  const { length } = text;
  if (length < lengthOfVersion0 || !isLowerHex(text, 0, 2) || text.startsWith('ff')) return false;
  if (length > lengthOfVersion0) {
    if (text.startsWith('00') || length > maxTracestateLength) return false;
    if (text.charCodeAt(lengthOfVersion0) !== dash) return false;
  }
  if (text.charCodeAt(2) !== dash || text.charCodeAt(35) !== dash || text.charCodeAt(52) !== dash) return false;
  if (!isLowerHex(text, 3, 35) || !isLowerHex(text, 36, 52) || !isLowerHex(text, 53, 55)) return false;
  return !isAllZero(text, 3, 35) && !isAllZero(text, 36, 52);
}

/** Short enough, and with few enough members, to be passed on. */
export function isTracestate(text: string): boolean {
  if (text === '' || text.length > maxTracestateLength) return false;
  let members = 1;
  for (let i = text.indexOf(','); i !== -1; i = text.indexOf(',', i + 1)) members++;
  return members <= maxTracestateMembers;
}
