import { isAllZero, isLowerHex } from '../lib/hex.ts';

/** Trace ids have 16 or 32 digits, span ids 16. B3 allows either case; writers use lower case. */
function isId(text: string, long: boolean): boolean {
  const lower = text.toLowerCase();
  if (lower.length !== 16 && !(long && lower.length === 32)) return false;
  return isLowerHex(lower, 0, lower.length) && !isAllZero(lower, 0, lower.length);
}

/** The single header `b3`: `{trace}-{span}[-{sampling}[-{parent}]]`, or a sampling decision alone. */
export function isB3(text: string): boolean {
  if (text === '0' || text === '1' || text === 'd') return true;
  if (text.length > 68) return false;
  const [trace = '', span = '', sampling, parent, ...more] = text.split('-');
  if (!isId(trace, true) || !isId(span, false) || more.length > 0) return false;
  if (sampling !== undefined && sampling !== '0' && sampling !== '1' && sampling !== 'd') return false;
  return parent === undefined || isId(parent, false);
}

/** One of the headers `x-b3-…`. */
export function isB3Field(name: string, text: string): boolean {
  switch (name) {
    case 'x-b3-traceid':
      return isId(text, true);
    case 'x-b3-spanid':
    case 'x-b3-parentspanid':
      return isId(text, false);
    case 'x-b3-sampled':
      return text === '0' || text === '1' || text === 'true' || text === 'false' || text === 'd';
    default:
      return name === 'x-b3-flags' && (text === '0' || text === '1');
  }
}
